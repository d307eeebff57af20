#!/usr/bin/env python3
"""A whole master with a long backlog: 500 builders, 1,000 workers with 4 slots each, 10,000 to 1,000,000 requests.

    cargo build --release -p windlass -p windlass-tests --bins --example backlog --example fleet \\
      && python3 tests/bench/master.py                    Windlass alone
    python3 tests/bench/master.py --buildbot              beside Buildbot 4.3 with 25,000 requests, in the same run

The store is filled beforehand (kept in --folder, each round has a copy). The master is the program as it is; the
workers are one process that speaks the protocol of all of them and ends each command at once, or after --takes
milliseconds on average (tests/bench/fleet.rs). They wait for the master to listen, and connect. Each builder may use 90 workers
of its group and 100 that all share; nothing merges; a build is one step with one command.

Measured are the moments after the master opened its store's file: it listens; the first worker has its welcome; the
first command is at its worker, which means that its claim and its step are durable; all workers are there. Then, over
--seconds, builds per second, the CPU of each, and the master's memory; at their end the dispatcher's own figures over
its newest 10,000 events (from when it happened until all that followed from it was handed over).
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import builds
from versions import spread

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILDERS, GROUPS, WORKERS, SHARED, SLOTS = 500, 10, 1_000, 100, 4


def configure(folder: pathlib.Path, hashed: str, port: int, policies: str) -> None:
    """Writes master.toml."""
    own = (WORKERS - SHARED) // GROUPS
    lines = [f'[master]\nlisten = "127.0.0.1:{port}"\n[policies]\nmerge_requests = false\n{policies}']
    for n in range(WORKERS):
        lines.append(f'[[workers]]\nname = "worker-{n:04}"\ntoken_hash = "{hashed}"\nmax_builds = {SLOTS}')
    shared = range(WORKERS - SHARED, WORKERS)
    for n in range(BUILDERS):
        first = n % GROUPS * own
        names = json.dumps([f"worker-{w:04}" for w in (*range(first, first + own), *shared)])
        lines.append(
            f'[[builders]]\nname = "builder-{n:04}"\nworkers = {names}\n'
            '[[builders.steps]]\nuse = "shell-command"\nargs = { command = ["true"] }'
        )
    names = json.dumps([f"builder-{n:04}" for n in range(BUILDERS)])
    lines.append(f'[[schedulers]]\nname = "force"\ntype = "force"\nbuilders = {names}')
    (folder / "master.toml").write_text("\n".join(lines) + "\n")


class Fleet:
    """The process that is all workers; `seen` is its newest report."""

    def __init__(self, program: pathlib.Path, port: int, token: str, takes: int):
        command = [program, f"127.0.0.1:{port}", str(WORKERS), token, str(takes)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seen = {"connected": 0, "started": 0, "acknowledged": 0}
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.seen = json.loads(line)

    def check(self):
        if self.process.poll() is not None:
            sys.exit("the workers gave up; their error stands above")


def opening(pid: int, store: pathlib.Path, child: subprocess.Popen) -> float:
    """When a process opens its store's file, to a millisecond."""
    while child.poll() is None:
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.readlink(fd) == str(store):
                    return time.time()
            except OSError:
                pass
        time.sleep(0.0005)
    sys.exit("the master ended before it opened its store")


def measure(options, pending: int, folder: pathlib.Path) -> dict:
    """One start of a master with so many requests."""
    filled = options.folder / f"whole-{pending}"
    filled.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([options.examples / "backlog", "fill", filled, str(pending)], check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(filled, folder / "state")
    # Else the master's first commit would wait until the copy is on the disk.
    os.sync()
    (folder / "plugins").mkdir()
    said = subprocess.run([options.binary, "token", folder / "token", "--json"], check=True, capture_output=True)
    port = builds.free_port()
    configure(folder, json.loads(said.stdout)["token_hash"], port, options.policies)
    fleet = Fleet(options.examples / "fleet", port, (folder / "token").read_text().strip(), options.takes)
    socket = folder / "state" / "windlass.sock"
    with open(folder / "master.log", "w") as log:
        began = time.time()
        master = subprocess.Popen([options.binary, "master", folder], stdout=log, stderr=log)
    try:
        opened = opening(master.pid, folder / "state" / "store.redb", master)

        def moment(key: str):
            fleet.check()
            if master.poll() is not None:
                sys.exit(f"the master ended:\n{(folder / 'master.log').read_text()}")
            return fleet.seen.get(key, 0)

        builds.wait_until("the first command", lambda: moment("first_started"), 120)
        first_mib = builds.resident_mib(master.pid)
        builds.wait_until("all workers", lambda: moment("connected") == WORKERS, 120)
        after = lambda key: (fleet.seen[key] / 1e6 - opened) * 1000
        figures = {
            "ms, start of the process to opening the store": (opened - began) * 1000,
            "ms, opening to the first welcome": after("first_connected"),
            "ms, opening to the first command": after("first_started"),
            "ms, opening to the last welcome": after("last_connected"),
        }
        # Every slot had a build, and what began all at once is over.
        builds.wait_until("4,000 builds", lambda: moment("acknowledged") >= WORKERS * SLOTS, 300)
        storm = builds.over_unix(socket, "GET", "/api/v1/status")["dispatch"]
        cpu = [builds.cpu_seconds(p) for p in (master.pid, fleet.process.pid)]
        done, since = fleet.seen["acknowledged"], fleet.seen["at"]
        peak_mib, end = 0.0, time.monotonic() + options.seconds
        # Not to the very last requests, when workers are idle.
        while time.monotonic() < end and moment("acknowledged") < 0.9 * pending:
            time.sleep(0.1)
            peak_mib = max(peak_mib, builds.resident_mib(master.pid))
        count, seconds = fleet.seen["acknowledged"] - done, (fleet.seen["at"] - since) / 1e6
        cpu = [builds.cpu_seconds(p) - c for p, c in zip((master.pid, fleet.process.pid), cpu)]
        status = builds.over_unix(socket, "GET", "/api/v1/status")
        dispatch = status["dispatch"]
        if status["problems"]:
            print(f"  problems: {status['problems'][:3]}")
        figures |= {
            "builds/s": count / seconds,
            "master CPU ms/build": cpu[0] * 1000 / max(count, 1),
            "workers CPU ms/build": cpu[1] * 1000 / max(count, 1),
            "decision p50 us, at the start": storm["p50_us"],
            "decision p99 us, at the start": storm["p99_us"],
            "decision p50 us": dispatch["p50_us"],
            "decision p99 us": dispatch["p99_us"],
            "decision max us": dispatch["max_us"],
            "events/s": (dispatch["events"] - storm["events"]) / seconds,
            "MiB at the first command": first_mib,
            "MiB, the most": peak_mib,
            "still pending": status["pending"],
        }
        return figures
    finally:
        for process in (fleet.process, master):
            process.kill()
            process.wait()


BUILDBOT_CFG = """
from buildbot.plugins import *
c = BuildmasterConfig = {{}}
names = ["w%d" % n for n in range({workers})]
c["workers"] = [worker.Worker(n, "pass", max_builds={slots}) for n in names]
c["protocols"] = {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}
c["builders"] = [util.BuilderConfig(name="builder-%04d" % n, workernames=names, collapseRequests=False,
    factory=util.BuildFactory([steps.ShellCommand(command=["true"])])) for n in range({builders})]
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=[b.name for b in c["builders"]])]
c["db"] = {{"db_url": "sqlite:///state.sqlite"}}
c["www"] = dict(port="tcp:{www}:interface=127.0.0.1")
c["buildbotURL"] = "http://localhost:{www}/"
c["buildbotNetUsageData"] = None
"""


def buildbot(folder: pathlib.Path, pending: int, seconds: float) -> dict:
    """The same of Buildbot with 4 real workers, its requests written into its database beforehand."""
    import sqlite3

    bot = builds.Buildbot(folder)
    cfg = BUILDBOT_CFG.format(workers=builds.WORKERS, slots=builds.SLOTS, pb=bot.pb, www=bot.www, builders=BUILDERS)
    (folder / "m" / "master.cfg").write_text(cfg)
    # It writes the rows of its builders at its first start.
    bot.sh("buildbot", "start", "--start_timeout=300", "m")
    count = lambda: len(bot.get("builders")["builders"])
    builds.wait_until("Buildbot's builders", lambda: count() >= BUILDERS, 120, 0.5)
    ids = {b["name"]: b["builderid"] for b in bot.get("builders")["builders"]}
    bot.stop()
    with sqlite3.connect(folder / "m" / "state.sqlite") as db:
        stamp = db.execute(
            "INSERT INTO sourcestamps (ss_hash, branch, repository, codebase, project, created_at) "
            "VALUES ('bench', 'main', 'https://example.org/project.git', '', '', 1700000000)"
        ).lastrowid
        for n in range(pending):
            at = 1_700_000_000 + n // 5
            if n % 5 == 0:
                buildset = db.execute(
                    "INSERT INTO buildsets (reason, submitted_at, complete, results) VALUES ('ci', ?, 0, -1)", (at,)
                ).lastrowid
                db.execute("INSERT INTO buildset_sourcestamps (buildsetid, sourcestampid) VALUES (?, ?)", (buildset, stamp))
            db.execute(
                "INSERT INTO buildrequests (buildsetid, builderid, priority, complete, results, submitted_at, waited_for) "
                "VALUES (?, ?, 0, 0, -1, ?, 0)", (buildset, ids[f"builder-{n % BUILDERS:04}"], at)
            )
    db.close()
    began = time.monotonic()
    with bot:
        up = time.monotonic() - began
        newest = lambda: next((b["buildid"] for b in bot.get("builds?limit=1&order=-buildid")["builds"]), 0)
        builds.wait_until("Buildbot's first build", newest, 900, 0.05)
        first = time.monotonic() - began
        before, since = newest(), time.monotonic()
        time.sleep(seconds)
        rate = (newest() - before) / (time.monotonic() - since)
        pid = int((folder / "m" / "twistd.pid").read_text())
        return {"s, until the workers are connected": up, "s, start to the first build": first, "builds/s": rate,
                "MiB": builds.resident_mib(pid)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=pathlib.Path, default=ROOT / "target", help="cargo's directory")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "backlog")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 25_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--takes", type=int, default=0, help="milliseconds of a command, on average")
    parser.add_argument("--policies", default="", help="more of [policies], as TOML")
    parser.add_argument("--buildbot", action="store_true", help="take Buildbot's figures too, with 25,000 requests")
    options = parser.parse_args()
    options.binary = options.target / "release" / "windlass"
    options.examples = options.target / "release" / "examples"
    print(f"{platform.machine()}, {os.cpu_count()} cores; {BUILDERS} builders, {WORKERS} workers x {SLOTS} slots, "
          f"each command takes {options.takes} ms; {options.rounds} rounds; load {os.getloadavg()[0]:.1f}", flush=True)
    seen: dict[int, list[dict]] = {size: [] for size in options.sizes}
    for _ in range(options.rounds):
        for size in options.sizes:
            with tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder:
                seen[size].append(measure(options, size, pathlib.Path(folder)))
    for size, runs in seen.items():
        print(f"\n{size} requests")
        for key in runs[0]:
            print(f"  {key:46} {spread([run[key] for run in runs], 1)}")
    if options.buildbot:
        with tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder:
            print("\nBuildbot 4.3, 25,000 requests, 4 workers x 4 slots")
            for key, value in buildbot(pathlib.Path(folder) / "buildbot", 25_000, options.seconds).items():
                print(f"  {key:46} {value:.2f}")


if __name__ == "__main__":
    main()
