#!/usr/bin/env python3
"""What a reconfiguration costs: a large configuration, checked and changed, and a storm of them under builds.

    cargo build --release -p windlass && python3 tests/bench/reconfig.py [--binary PATH] [--storm 1000] [--rounds 9] [--buildbot]

Large: 500 builders of 3 steps, 200 workers and 50 plugins, each a next-slave policy of ten builders. Measured are
`windlass check` with everything in its cache, and of a running master with --builds builds in flight (commands that wait
for a named pipe): a reconfig that finds nothing changed, one that changes a builder, and one that changes a plugin; the
time is that of the request. At the end the pipe is written, and all builds must have succeeded with the component that
they started with.

Buildbot: the same number of builders, steps and workers in 4.3, with nothing running; from the signal to its word that it
is done.

Storm: so many reconfigs in a row, good and bad alternating: each good one replaces a component, changes a builder and
brings or takes another; each bad one has a slip in its file, an argument that its schema refuses, or a component that is
none. Builds come and go meanwhile. All must succeed, their number must be right, each good reconfig must have taken
effect, and no bad one; the master's memory is told at the begin, in the middle and at the end.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import threading
import time

import builds
import guests
from builds import over_unix, resident_mib, wait_until
from versions import spread

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILDERS, WORKERS, PLUGINS = 500, 200, 50


class Site(builds.Windlass):
    """Real workers w0 to w3 beside `more` that never connect, and builders as `configure` is told."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, slots: int):
        builds.SLOTS = slots
        super().__init__(binary, folder, {})
        self.head = (folder / "master.toml").read_text().split("[[schedulers]]")[0]
        self.hashed = self.head.split('token_hash = "')[1].split('"')[0]
        self.socket = folder / "state" / "windlass.sock"

    def workers_that_never_come(self, number: int):
        for n in range(number):
            self.head += f'[[workers]]\nname = "away-{n}"\ntoken_hash = "{self.hashed}"\n'

    def __enter__(self):
        self.master = self.spawn("master", self.folder)
        wait_until("the master", self.answers, 300)
        self.workers = [self.spawn("worker", self.folder / f"w{n}") for n in range(builds.WORKERS)]
        connected = lambda: sum(bool(w["connected"]) for w in self.status()["workers"])
        wait_until("the workers", lambda: connected() == builds.WORKERS)
        return self

    def write(self, builders: str):
        unfinished = self.folder / ".master.toml.new"
        unfinished.write_text(self.head + builders)
        unfinished.rename(self.folder / "master.toml")

    def plugin(self, name: str, component: bytes):
        unfinished = self.folder / "plugins" / f".{name}.new"
        unfinished.write_bytes(component)
        unfinished.rename(self.folder / "plugins" / f"{name}.wasm")

    def reconfig(self) -> tuple[float, dict]:
        """One that goes well: its milliseconds, and what it answered."""
        began = time.perf_counter()
        done = over_unix(self.socket, "POST", "/api/v1/reconfig", {})
        return (time.perf_counter() - began) * 1000, done

    def refused(self) -> int:
        """One that must be refused: the status of its answer."""
        import http.client
        import socket as sockets

        connection = http.client.HTTPConnection("windlass")
        connection.sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        connection.sock.connect(str(self.socket))
        connection.request("POST", "/api/v1/reconfig", "{}", {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status


def builder(name: str, policy: str = "", command: str = "true", workers=("w0", "w1", "w2", "w3"), steps: int = 1) -> str:
    step = f"[[builders.steps]]\nuse = \"shell-command\"\nargs = {{ command = {json.dumps(['sh', '-c', command])} }}\n"
    return f'[[builders]]\nname = "{name}"\nworkers = {json.dumps(list(workers))}\nmerge_requests = false\n{policy}\n' + step * steps


def large(site: Site, gate: pathlib.Path, description: str) -> str:
    """Builders of which each tenth shares a plugin, and `waits`, which waits for the gate."""
    away = [f"away-{n}" for n in range(WORKERS - builds.WORKERS)]
    text = builder("waits", 'next_slave = "p0:placement"', f"read x < {gate}; echo done")
    for n in range(BUILDERS - 1):
        names = ["w0", "w1", *(away[(n * 7 + i) % len(away)] for i in range(8))]
        more = f'next_slave = "p{n % PLUGINS}:placement"\ntags = ["group-{n % 10}"]\nenv = {{ NUMBER = "{n}" }}\n'
        more += f'description = "{description if n == 7 else n}"'
        text += builder(f"builder-{n}", more, f"make test-{n}", names, 3)
    # All of them, so that there is nothing to warn of.
    all_builders = ["waits", *(f"builder-{n}" for n in range(BUILDERS - 1))]
    return text + f'[[schedulers]]\nname = "all"\ntype = "force"\nbuilders = {json.dumps(all_builders)}\n'


def measure_large(options, component: bytes, folder: pathlib.Path) -> dict:
    site = Site(options.binary, folder / "large", -(-options.builds // builds.WORKERS))
    site.workers_that_never_come(WORKERS - builds.WORKERS)
    gate = site.folder / "gate"
    os.mkfifo(gate)
    for n in range(PLUGINS):
        site.plugin(f"p{n}", guests.variant(component, n))
    site.write(large(site, gate, "first"))
    seen: dict[str, list[float]] = {}
    took = lambda what, ms: seen.setdefault(what, []).append(ms)
    import subprocess

    for n in range(options.rounds + 1):
        began = time.perf_counter()
        said = subprocess.run([options.binary, "check", site.folder / "master.toml"], capture_output=True, text=True)
        took("ms, check, cold" if n == 0 else "ms, check", (time.perf_counter() - began) * 1000)
        if said.returncode or said.stderr:
            sys.exit(f"the configuration is not good:\n{said.stderr}")
    with site:
        for _ in range(options.builds):
            over_unix(site.socket, "POST", "/api/v1/force", {"builder": "waits"})
        wait_until("all run", lambda: len(site.status()["running"]) == options.builds, 300, 0.1)
        held = {b["id"]: over_unix(site.socket, "GET", f"/api/v1/builds/{b['id']}") for b in site.status()["running"]}
        for n in range(options.rounds):
            ms, done = site.reconfig()
            took("ms, reconfig, nothing differs", ms)
            assert not done["changed"], done
            site.write(large(site, gate, f"round {n}"))
            ms, done = site.reconfig()
            took("ms, reconfig, a builder differs", ms)
            assert [c["name"] for c in done["plan"]["changes"]] == ["builder-7"], done["plan"]
            site.plugin("p0", guests.variant(component, 1_000 + n))
            ms, done = site.reconfig()
            took("ms, reconfig, a plugin differs", ms)
            assert len(done["plan"]["changes"]) == 1 + (BUILDERS - 1 + PLUGINS - 1) // PLUGINS, done["plan"]
            assert len(done["builds_holding"]) == options.builds, done["builds_holding"]
        os.close(os.open(gate, os.O_WRONLY))
        wait_until("all builds have ended", lambda: not site.status()["running"], 300, 0.05)
        for number, before in held.items():
            after = over_unix(site.socket, "GET", f"/api/v1/builds/{number}")
            assert after["outcome"] == "success", after
            kept = [c["digest"] for c in before["components"]]
            assert [c["digest"] for c in after["components"]][: len(kept)] == kept, number
        seen["MiB at the end"] = [resident_mib(site.master.pid)]
    return seen


BUILDBOT_CFG = """
from buildbot.plugins import *
c = BuildmasterConfig = {{}}
names = ["w%d" % n for n in range({workers})]
c["workers"] = [worker.Worker(n, "pass") for n in names]
c["protocols"] = {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}
many = ["builder-%d" % n for n in range({builders})]
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=many)]
c["builders"] = [util.BuilderConfig(name=name, workernames=[names[(n * 7 + i) % len(names)] for i in range(10)],
    tags=["group-%d" % (n % 10)], env={{"NUMBER": str(n)}}, description="{description}" if n == 7 else str(n),
    factory=util.BuildFactory([steps.ShellCommand(command=["sh", "-c", "make test-%d" % n]) for _ in range(3)]))
    for n, name in enumerate(many)]
c["db"] = {{"db_url": "sqlite:///state.sqlite"}}
c["www"] = dict(port="tcp:{www}:interface=127.0.0.1")
c["buildbotURL"] = "http://localhost:{www}/"
c["buildbotNetUsageData"] = None
"""


def measure_buildbot(options, folder: pathlib.Path) -> dict:
    import signal

    site = builds.Buildbot(folder / "buildbot")
    config, log = site.folder / "m" / "master.cfg", site.folder / "m" / "twistd.log"
    write = lambda description: config.write_text(BUILDBOT_CFG.format(
        workers=WORKERS, builders=BUILDERS, pb=site.pb, www=site.www, description=description))
    write("first")
    seen: dict[str, list[float]] = {"ms, reconfig, nothing differs": [], "ms, reconfig, a builder differs": []}
    site.sh("buildbot", "start", "--start_timeout=600", "m")
    try:
        pid = int((site.folder / "m" / "twistd.pid").read_text())

        def reconfig() -> float:
            told = lambda: log.read_text().count("configuration update complete")
            before, began = told(), time.perf_counter()
            os.kill(pid, signal.SIGHUP)
            wait_until("a reconfig of Buildbot", lambda: told() > before, 120)
            return (time.perf_counter() - began) * 1000

        for n in range(options.rounds):
            seen["ms, reconfig, nothing differs"].append(reconfig())
            write(f"round {n}")
            seen["ms, reconfig, a builder differs"].append(reconfig())
        seen["MiB at the end"] = [resident_mib(pid)]
    finally:
        site.stop()
    return seen


def measure_storm(options, component: bytes, folder: pathlib.Path) -> dict:
    site = Site(options.binary, folder / "storm", 4)
    policy = 'next_slave = "placement:placement"'

    def world(n: int) -> str:
        text = builder("b", f'description = "{n}"\n{policy}', "echo hello")
        return text + (builder("now-and-then") if n % 4 == 0 else "")

    slips = [
        lambda: site.write(world(0) + "titel = \n"),
        lambda: site.write(world(0) + builder("other").replace("command =", "comand =")),
        lambda: site.plugin("broken", b"\0asm is none"),
    ]
    site.plugin("placement", guests.variant(component, 0))
    site.write(world(0))
    with site:
        over = threading.Event()
        ordered = 0

        def order():
            nonlocal ordered
            while not over.is_set():
                over_unix(site.socket, "POST", "/api/v1/force", {"builder": "b"})
                ordered += 1
                while site.status()["pending"] > 20 and not over.is_set():
                    time.sleep(0.01)

        first = site.status()["generation"]
        orders = threading.Thread(target=order)
        orders.start()
        memory, began, good = [], time.monotonic(), 0
        for n in range(1, options.storm + 1):
            if n % 2:
                slips[n // 2 % len(slips)]()
                status = site.refused()
                assert status != 200, f"reconfig {n} was not refused"
                (site.folder / "plugins" / "broken.wasm").unlink(missing_ok=True)
            else:
                # Components go round: what is compiled anew each time is measured above.
                site.plugin("placement", guests.variant(component, n // 2 % 8))
                site.write(world(n))
                _, done = site.reconfig()
                good += 1
                assert done["changed"] and done["generation"] == first + good, done
            if n % max(1, options.storm // 20) == 0:
                memory.append(resident_mib(site.master.pid))
        took = time.monotonic() - began
        over.set()
        orders.join()
        wait_until("all builds have ended", lambda: not (s := site.status())["running"] and not s["pending"], 300, 0.05)
        ended, before = [], ""
        while page := over_unix(site.socket, "GET", f"/api/v1/builds?builder=b&limit=100{before}"):
            ended += [build["outcome"] for build in page]
            before = f"&before={page[-1]['id']}"
        assert ended == ["success"] * ordered, f"{len(ended)} builds of {ordered}: { {o: ended.count(o) for o in set(ended)} }"
        return {
            "reconfigs": [options.storm],
            "of them refused": [options.storm - good],
            "builds, all of which succeeded": [ordered],
            "s": [took],
            "MiB at the first twentieth": [memory[0]],
            "MiB in the middle": [memory[len(memory) // 2]],
            "MiB at the end": [memory[-1]],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target" / "release" / "windlass")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--builds", type=int, default=100, help="builds in flight")
    parser.add_argument("--storm", type=int, default=1_000, help="reconfigs in a row; 0: none")
    parser.add_argument("--buildbot", action="store_true", help="Buildbot's figures, too")
    parser.add_argument("--no-large", action="store_true", help="the storm alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder:
        folder = pathlib.Path(folder)
        guests.make(options.binary, "tests/guests/v1", folder / "components")
        component = (folder / "components" / "v1.wasm").read_bytes()
        if not options.no_large:
            print(f"{BUILDERS} builders, {WORKERS} workers, {PLUGINS} plugins, {options.builds} builds in flight", flush=True)
            for what, values in measure_large(options, component, folder).items():
                print(f"  {what:40} {spread(values, 1)}", flush=True)
        if options.buildbot:
            print(f"Buildbot, {BUILDERS} builders, {WORKERS} workers", flush=True)
            for what, values in measure_buildbot(options, folder).items():
                print(f"  {what:40} {spread(values, 1)}", flush=True)
        if options.storm:
            print("a storm", flush=True)
            for what, values in measure_storm(options, component, folder).items():
                print(f"  {what:40} {values[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
