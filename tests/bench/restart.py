#!/usr/bin/env python3
"""What a restart costs: many builds in flight at a kill -9 of the master, and what steps that wait take of its memory.

    cargo build --release && python3 tests/bench/restart.py [--builds 500] [--waiting 2000] [--runs 3] [--binary PATH]

Builds: each runs one command on one of 4 workers, which blocks until a named pipe is written. The master is killed and
started again at once: how long until it answers, until all workers are linked, and until it has run every step again up
to where it waits (it uses no CPU any more). It is killed once more, all commands end while there is none, and it is
started: how long until all builds have ended, each once and with success.

Waiting steps: builds that wait in `trigger` for children which no worker can build. What each takes of the master's
memory, before and after a restart.

Everything happens in a fresh directory, on loopback.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import builds
from builds import cpu_seconds, over_unix, resident_mib, wait_until


class Site(builds.Windlass):
    """Builders `b` (waits for the pipe), `parent` (waits for children) and `child` (which nobody can build)."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, slots: int):
        builds.SLOTS = slots
        super().__init__(binary, folder, {"b": ""})
        self.gate = folder / "gate"
        os.mkfifo(self.gate)
        config = (folder / "master.toml").read_text()
        config = config.replace('["true"]', f'["sh", "-c", "read x < {self.gate}; echo done"]')
        config = config.replace('builders = ["b"]', 'builders = ["b", "parent"]')
        names = ", ".join(f'"w{n}"' for n in range(builds.WORKERS))
        hashed = config.split('token_hash = "')[1].split('"')[0]
        config = f'{config.split("[[builders]]")[0]}[[workers]]\nname = "nobody"\ntoken_hash = "{hashed}"\n' + "".join(
            "[[builders]]" + part for part in config.split("[[builders]]")[1:]
        )
        config += (
            f'[[builders]]\nname = "parent"\nworkers = [{names}]\nmerge_requests = false\n'
            '[[builders.steps]]\nuse = "trigger"\nargs = { schedulers = ["child"], wait_for_finish = true }\n'
            '[[builders]]\nname = "child"\nworkers = ["nobody"]\nmerge_requests = false\n'
            '[[builders.steps]]\nuse = "shell-command"\nargs = { command = ["true"] }\n'
            '[[schedulers]]\nname = "child"\ntype = "triggerable"\nbuilders = ["child"]\n'
        )
        (folder / "master.toml").write_text(config)

    def __enter__(self):
        self.master = self.spawn("master", self.folder)
        wait_until("the master", self.answers)
        self.workers = [self.spawn("worker", self.folder / f"w{n}") for n in range(builds.WORKERS)]
        self.linked()
        return self

    def linked(self):
        workers = lambda: [w for w in self.status()["workers"] if w["name"] != "nobody"]
        wait_until("the workers", lambda: all(w["connected"] for w in workers()))

    def kill(self):
        self.master.kill()
        self.master.wait()
        self.children.remove(self.master)

    def again(self):
        """Starts the master anew: when it answered, when all workers were linked."""
        began = time.monotonic()
        self.master = self.spawn("master", self.folder)
        wait_until("the master", self.answers, 120)
        answered = time.monotonic() - began
        self.linked()
        return answered, time.monotonic() - began

    def settles(self) -> float:
        """Waits until the master uses no CPU: when it used some last."""
        last, spent = time.monotonic(), cpu_seconds(self.master.pid)
        while time.monotonic() < last + 0.5:
            time.sleep(0.02)
            now = cpu_seconds(self.master.pid)
            # A tick of the clock now and then is what an idle master takes.
            if now > spent + 0.011:
                last, spent = time.monotonic(), now
        return last

    def order(self, builder: str, number: int):
        for _ in range(number):
            over_unix(self.folder / "state" / "windlass.sock", "POST", "/api/v1/force", {"builder": builder})
        wait_until("all run", lambda: len(self.status()["running"]) == number, 300, 0.1)

    def newest(self, builder: str, number: int):
        path = f"/api/v1/builds?builder={builder}&limit={number + 10}"
        return over_unix(self.folder / "state" / "windlass.sock", "GET", path)

    def taken_up(self, number: int) -> tuple[float, float, float]:
        """Kills the master: how long until the next answers, has its workers, and has taken up so many builds."""
        self.kill()
        began = time.monotonic()
        answered, linked = self.again()
        took = self.settles() - began
        running = len(self.status()["running"])
        if running != number:
            sys.exit(f"{running} builds of {number} were taken up")
        return answered, linked, took


def in_flight(binary: pathlib.Path, folder: pathlib.Path, number: int) -> dict[str, float]:
    with Site(binary, folder, -(-number // builds.WORKERS)) as site:
        site.order("b", number)
        # The commands have begun: their shells have the pipe.
        site.settles()
        answered, linked, taken_up = site.taken_up(number)
        spent = cpu_seconds(site.master.pid)
        site.kill()
        # Whoever opens the pipe for writing lets all readers go.
        os.close(os.open(site.gate, os.O_WRONLY))
        time.sleep(2.0)
        began = time.monotonic()
        # Workers that looked for their master in vain come back after a pause, which grows.
        _, came = site.again()
        wait_until("all builds have ended", lambda: not site.status()["running"], 300, 0.02)
        ended = time.monotonic() - began
        outcomes = [build["outcome"] for build in site.newest("b", number)]
        if outcomes != ["success"] * number:
            sys.exit(f"{len(outcomes)} builds: { {o: outcomes.count(o) for o in set(outcomes)} }")
        return {
            "answers after s": answered,
            "workers linked after s": linked,
            "all taken up after s": taken_up,
            "CPU of that in s": spent,
            "workers back after s": came,
            "all ended after s": ended,
        }


def waiting(binary: pathlib.Path, folder: pathlib.Path, number: int) -> dict[str, float]:
    with Site(binary, folder, -(-number // builds.WORKERS)) as site:
        site.settles()
        idle = resident_mib(site.master.pid)
        site.order("parent", number)
        site.settles()
        before = resident_mib(site.master.pid)
        answered, _, taken_up = site.taken_up(number)
        after = resident_mib(site.master.pid)
        site.kill()
        return {
            "idle MiB": idle,
            "MiB with all": before,
            "KiB for each": (before - idle) * 1024 / number,
            "MiB after a restart": after,
            "answers after s": answered,
            "all taken up after s": taken_up,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builds", type=int, default=500)
    parser.add_argument("--waiting", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--binary", type=pathlib.Path, default=builds.ROOT / "target" / "release" / "windlass")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-restart-"))
    try:
        for name, measure, number in (("in flight", in_flight, options.builds), ("waiting", waiting, options.waiting)):
            if number:
                runs = [measure(options.binary, folder / f"{name[:2]}{run}", number) for run in range(options.runs)]
                builds.report(f"{number} builds {name}, {options.runs} runs", runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
