#!/usr/bin/env python3
"""Trivial builds per second: 1,000 builds of one step that runs `true`, 4 workers with 4 slots each.

    cargo build --release && python3 tests/bench/builds.py                  Windlass alone
    python3 tests/bench/builds.py --buildbot                                beside Buildbot 4.3, in the same run

Prints medians over --runs runs, their spread, CPU per build by process, and the store's syncs. Everything
happens in a fresh directory and on loopback. Buildbot is installed into a venv in that directory.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

WORKERS, SLOTS = 4, 4
ROOT = pathlib.Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that were waited for."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(f) for f in fields[11:15]) / TICK


def cpu_by_thread(pids: list[int]) -> dict[str, float]:
    """CPU seconds of processes, by the names of their threads without their numbers; children apart."""
    spent: dict[str, float] = {}
    for pid, task in ((pid, task) for pid in pids for task in pathlib.Path(f"/proc/{pid}/task").iterdir()):
        fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        name = (task / "comm").read_text().strip().rstrip("0123456789-")
        name = "holder" if pid == pids[0] and len(pids) > 1 else name
        spent[name] = spent.get(name, 0) + (int(fields[11]) + int(fields[12])) / TICK
    fields = [pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    spent["children"] = sum(int(f[13]) + int(f[14]) for f in fields) / TICK
    return spent


def with_agent(holder: int) -> list[int]:
    """A worker's processes: the holder, which was started, and its agent. Older versions have one alone."""
    children = pathlib.Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
    is_agent = lambda pid: b"\0--held\0" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    return [holder, *(int(pid) for pid in children if is_agent(pid))]


def resident_mib(pid: int) -> float:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def wait_until(what: str, condition, seconds: float = 60.0, every: float = 0.005):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(every)
    sys.exit(f"gave up waiting for {what} after {seconds} s")


class Windlass:
    """A master and its workers, each a process of its own, in `folder`. `builders` names them, each with more of its
    keys as TOML."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, builders: dict[str, str] = {"b": ""}):
        self.binary, self.folder, self.children, self.where = binary, folder, [], {}
        folder.mkdir()
        hashes = []
        for n in range(WORKERS):
            (folder / f"w{n}").mkdir()
            said = subprocess.run([binary, "token", folder / f"w{n}" / "token", "--json"], check=True, capture_output=True)
            hashes.append(json.loads(said.stdout)["token_hash"])
        (folder / "plugins").mkdir()
        port = free_port()
        names = ", ".join(f'"w{n}"' for n in range(WORKERS))
        lines = [f'[master]\nlisten = "127.0.0.1:{port}"']
        for n, hashed in enumerate(hashes):
            lines.append(f'[[workers]]\nname = "w{n}"\ntoken_hash = "{hashed}"\nmax_builds = {SLOTS}')
        for builder, more in builders.items():
            lines.append(
                f'[[builders]]\nname = "{builder}"\nworkers = [{names}]\nmerge_requests = false\n{more}\n'
                '[[builders.steps]]\nuse = "shell-command"\nargs = { command = ["true"], workdir = "." }'
            )
        lines.append(f'[[schedulers]]\nname = "force"\ntype = "force"\nbuilders = {json.dumps(list(builders))}')
        (folder / "master.toml").write_text("\n".join(lines) + "\n")
        for n in range(WORKERS):
            (folder / f"w{n}" / "worker.toml").write_text(
                f'name = "w{n}"\nmaster = "ws://127.0.0.1:{port}"\ntoken_file = "token"\nbase_dir = "."\n'
            )

    def __enter__(self):
        began = time.monotonic()
        self.master = self.spawn("master", self.folder)
        wait_until("the master", lambda: self.call("status", check=False))
        self.answered = time.monotonic() - began
        self.idle_mib = resident_mib(self.master.pid)
        self.workers = [self.spawn("worker", self.folder / f"w{n}") for n in range(WORKERS)]
        wait_until("the workers", lambda: all(w["connected"] for w in self.call("status")["workers"]))
        self.worker_pids = [with_agent(w.pid) for w in self.workers]
        self.idle_workers_mib = [[round(resident_mib(pid), 1) for pid in pids] for pids in self.worker_pids]
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            child.wait(timeout=30)
        self.children = []

    def spawn(self, *command) -> subprocess.Popen:
        log = open(self.folder / f"{command[0]}-{len(self.children)}.log", "w")
        child = subprocess.Popen([self.binary, *command], stdout=log, stderr=log)
        self.children.append(child)
        return child

    def call(self, *command, check=True):
        said = subprocess.run([self.binary, "--dir", self.folder, "--json", *command], capture_output=True)
        if said.returncode and check:
            sys.exit(f"windlass {' '.join(command)}: {said.stderr.decode()}")
        return json.loads(said.stdout) if said.returncode == 0 else None

    def workers_cpu(self) -> float:
        return sum(cpu_seconds(pid) for pids in self.worker_pids for pid in pids)

    def status(self):
        return over_unix(self.folder / "state" / "windlass.sock", "GET", "/api/v1/status")

    def answers(self):
        """The status, or nothing while no master answers."""
        try:
            return self.status()
        except OSError:
            return None

    def run(self, builds: int, builder: str = "b", reason=lambda n: None) -> dict:
        """Builds one after the other, each for its reason."""
        socket = self.folder / "state" / "windlass.sock"
        before = self.status()["store"]
        cpu = {"master": cpu_seconds(self.master.pid), "workers": self.workers_cpu()}
        threads = {"master": cpu_by_thread([self.master.pid])}
        threads["a worker"] = cpu_by_thread(self.worker_pids[0])
        began = time.monotonic()
        for n in range(builds):
            over_unix(socket, "POST", "/api/v1/force", {"builder": builder, "reason": reason(n)})
        submitted = time.monotonic() - began
        newest = []

        def are_over() -> bool:
            # A request whose claim is under way neither waits nor runs: the list has the last word.
            nonlocal newest
            if (status := self.status())["pending"] or status["running"]:
                return False
            newest = over_unix(socket, "GET", f"/api/v1/builds?builder={builder}&limit={builds}")
            return len(newest) == builds and all(build["outcome"] for build in newest)

        wait_until("the builds", are_over, 300, 0.02)
        took = time.monotonic() - began
        after = self.status()["store"]
        outcomes = {o: sum(b["outcome"] == o for b in newest) for o in {b["outcome"] for b in newest}}
        if outcomes != {"success": builds}:
            sys.exit(f"not all builds succeeded: {outcomes}")
        for name, pids in (("master", [self.master.pid]), ("a worker", self.worker_pids[0])):
            share = builds if name == "master" else builds / WORKERS
            spent = {t: (s - threads[name].get(t, 0)) * 1000 / share for t, s in cpu_by_thread(pids).items()}
            self.where[name] = {t: ms for t, ms in sorted(spent.items(), key=lambda i: -i[1]) if ms >= 0.01}
        return {
            "builds/s": builds / took,
            "submit/s": builds / submitted,
            "master CPU ms/build": (cpu_seconds(self.master.pid) - cpu["master"]) * 1000 / builds,
            "workers CPU ms/build": (self.workers_cpu() - cpu["workers"]) * 1000 / builds,
            "syncs/build": (after["syncs"] - before["syncs"]) / builds,
            "commits/build": (after["commits"] - before["commits"]) / builds,
            "batches/build": (after["batches"] - before["batches"]) / builds,
        }


def over_unix(path: pathlib.Path, method: str, target: str, body=None):
    """One HTTP exchange over a unix socket; a command line for each would measure process starts."""
    import http.client
    import socket as sockets

    connection = http.client.HTTPConnection("windlass")
    connection.sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    connection.sock.connect(str(path))
    connection.request(method, target, json.dumps(body) if body is not None else None, {"content-type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    if response.status != 200:
        sys.exit(f"{method} {target}: {response.status} {text.decode()}")
    return json.loads(text)


def free_port() -> int:
    import socket as sockets

    with sockets.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


BUILDBOT_CFG = """
from buildbot.plugins import *
c = BuildmasterConfig = {{}}
names = ["w%d" % n for n in range({workers})]
c["workers"] = [worker.Worker(n, "pass", max_builds={slots}) for n in names]
c["protocols"] = {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]
c["builders"] = [util.BuilderConfig(name="b", workernames=names, collapseRequests=False,
    factory=util.BuildFactory([steps.ShellCommand(command=["true"])]))]
c["db"] = {{"db_url": "sqlite:///state.sqlite"}}
c["www"] = dict(port="tcp:{www}:interface=127.0.0.1")
c["buildbotURL"] = "http://localhost:{www}/"
c["buildbotNetUsageData"] = None
"""


class Buildbot:
    """Buildbot 4.3 with the same workers, builder and step."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.bin = folder, folder / "venv" / "bin"
        folder.mkdir()
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        wanted = ["buildbot==4.3.0", "buildbot-worker==4.3.0", "msgpack", "autobahn", "setproctitle", "buildbot-www==4.3.0"]
        subprocess.run([self.bin / "pip", "install", "--quiet", *wanted], check=True)
        self.www, self.pb = free_port(), free_port()
        self.sh("buildbot", "create-master", "m")
        cfg = BUILDBOT_CFG.format(workers=WORKERS, slots=SLOTS, pb=self.pb, www=self.www)
        (folder / "m" / "master.cfg").write_text(cfg)
        for n in range(WORKERS):
            self.sh("buildbot-worker", "create-worker", f"w{n}", f"localhost:{self.pb}", f"w{n}", "pass")

    def sh(self, tool, *arguments, check=True):
        env = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}
        subprocess.run([self.bin / tool, *arguments], cwd=self.folder, check=check, stdout=subprocess.DEVNULL, env=env)

    def __enter__(self):
        self.sh("buildbot", "start", "--start_timeout=300", "m")
        for n in range(WORKERS):
            self.sh("buildbot-worker", "start", f"w{n}")
        wait_until("the workers", lambda: sum(bool(w["connected_to"]) for w in self.get("workers")["workers"]) == WORKERS)
        return self

    def __exit__(self, *_):
        for n in range(WORKERS):
            self.sh("buildbot-worker", "stop", f"w{n}", check=False)
        self.stop()

    def stop(self):
        """Returns when the master has ended; its tool gives up sooner."""
        pid = self.folder / "m" / "twistd.pid"
        self.sh("buildbot", "stop", "m", check=False)
        wait_until("Buildbot's end", lambda: not pid.exists(), 120, 0.2)

    def get(self, path):
        return json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.www}/api/v2/{path}"))

    def run(self, builds: int) -> dict:
        pid = int((self.folder / "m" / "twistd.pid").read_text())
        pids = [int((self.folder / f"w{n}" / "twistd.pid").read_text()) for n in range(WORKERS)]
        cpu, worker_cpu = cpu_seconds(pid), sum(map(cpu_seconds, pids))
        began = time.monotonic()
        order = json.dumps({"id": 1, "jsonrpc": "2.0", "method": "force", "params": {"owner": "x@y.z"}}).encode()
        url = f"http://127.0.0.1:{self.www}/api/v2/forceschedulers/force"
        for _ in range(builds):
            urllib.request.urlopen(urllib.request.Request(url, order, {"content-type": "application/json"})).read()
        submitted = time.monotonic() - began
        wait_until("the builds", lambda: not self.get("buildrequests?complete=false&limit=1")["buildrequests"], 600, 0.2)
        took = time.monotonic() - began
        return {
            "builds/s": builds / took,
            "submit/s": builds / submitted,
            "master CPU ms/build": (cpu_seconds(pid) - cpu) * 1000 / builds,
            "workers CPU ms/build": (sum(map(cpu_seconds, pids)) - worker_cpu) * 1000 / builds,
        }


def report(name: str, runs: list[dict]):
    print(f"\n{name}")
    for key in runs[0]:
        values = sorted(r[key] for r in runs)
        print(f"  {key:22} median {statistics.median(values):9.2f}   from {values[0]:.2f} to {values[-1]:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builds", type=int, default=1000, help="builds in each run of Windlass")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--buildbot", action="store_true", help="take Buildbot's figures too (200 builds a run)")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target" / "release" / "windlass")
    parser.add_argument("--keep", action="store_true", help="keep the directory and print its name")
    options = parser.parse_args()
    if not options.binary.exists():
        sys.exit(f"{options.binary} is not there: run `cargo build --release` first")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-bench-"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
          f"{WORKERS} workers x {SLOTS} slots; binary {options.binary.stat().st_size / 2**20:.1f} MiB")
    try:
        windlass = Windlass(options.binary, folder / "windlass")
        with windlass:
            cold = windlass.answered
        warm = []
        for _ in range(options.runs):
            with windlass:
                warm.append(windlass.answered)
        with windlass:
            windlass.run(100)  # Pages touched, stores warm.
            runs = [windlass.run(options.builds) for _ in range(options.runs)]
            report(f"Windlass, {options.builds} builds a run", runs)
            for name, spent in windlass.where.items():
                print(f"  CPU ms/build in {name}: " + ", ".join(f"{t} {ms:.2f}" for t, ms in spent.items()))
            print(f"  status answered {cold * 1000:.0f} ms after the first start (nothing compiled yet), "
                  f"{statistics.median(warm) * 1000:.0f} ms after others (median of {len(warm)})")
            print(f"  idle master {windlass.idle_mib:.1f} MiB, after the runs {resident_mib(windlass.master.pid):.1f} MiB; "
                  f"idle workers, holder and agent, {windlass.idle_workers_mib} MiB")
        if options.buildbot:
            with Buildbot(folder / "buildbot") as buildbot:
                buildbot.run(20)
                runs = [buildbot.run(200) for _ in range(min(options.runs, 3))]
            report("Buildbot 4.3, 200 builds a run", runs)
    finally:
        if options.keep:
            print(folder)
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
