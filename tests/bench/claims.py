#!/usr/bin/env python3
"""Durable claims per second: the store beside bare redb, and beside Buildbot's connector.

    python3 tests/bench/claims.py                  the store and bare redb, in turns in one process
    python3 tests/bench/claims.py --buildbot       and Buildbot 4.3 on an sqlite file, in the same run

Claims go one by one from 1, 8 and 64 callers at once, and in batches of 100. Everything happens in a fresh
directory on the disk of --folder. Buildbot is installed into a venv in that directory; what is measured of it is
its layer of the database alone, in the process that calls it, one claim after the other.
"""

import argparse
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Runs inside Buildbot's venv under its own test runner, which is what its master can be made for.
BUILDBOT = '''
import os, time
from twisted.internet import defer
from twisted.trial import unittest
from buildbot.test import fakedb
from buildbot.test.fake import fakemaster
from buildbot.test.reactor import TestReactorMixin

ONE, MANY, ROUNDS = 1000, 10000, int(os.environ["ROUNDS"])


class Claims(TestReactorMixin, unittest.TestCase):
    timeout = 1200

    @defer.inlineCallbacks
    def test_claims(self):
        self.setup_test_reactor(use_asyncio=False, auto_tear_down=False)
        url = "sqlite:///" + os.path.abspath("claims.sqlite")
        master = yield fakemaster.make_master(
            self, wantDb=True, wantRealReactor=True, db_url=url, sqlite_memory=False, auto_upgrade=True
        )
        total = ROUNDS * (ONE + MANY)
        rows = [fakedb.Master(id=fakedb.FakeDBConnector.MASTER_ID), fakedb.Builder(id=1, name="b"), fakedb.Buildset(id=1)]
        yield master.db.insert_test_data(rows)
        for first in range(1, total + 1, 1000):
            some = range(first, min(first + 1000, total + 1))
            yield master.db.insert_test_data([fakedb.BuildRequest(id=i, buildsetid=1, builderid=1) for i in some])
        connector, following = master.db.buildrequests, iter(range(1, total + 1))
        for _ in range(ROUNDS):
            for name, batch, requests in [("one by one", 1, ONE), ("in batches of 100", 100, MANY)]:
                began = time.perf_counter()
                for _ in range(requests // batch):
                    yield connector.claimBuildRequests([next(following) for _ in range(batch)])
                print("FIGURE", name, requests / (time.perf_counter() - began), sep="\\t", flush=True)
'''


def buildbot(folder: pathlib.Path, rounds: int):
    binaries = folder / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    wanted = ["buildbot==4.3.0", "buildbot-worker==4.3.0", "msgpack", "autobahn", "setproctitle", "parameterized", "mock"]
    subprocess.run([binaries / "pip", "install", "--quiet", *wanted], check=True)
    (folder / "claims_of_buildbot.py").write_text(BUILDBOT)
    said = subprocess.run(
        [binaries / "python", "-m", "twisted.trial", "claims_of_buildbot"],
        cwd=folder, env={**os.environ, "ROUNDS": str(rounds)}, capture_output=True, text=True,
    )
    figures: dict[str, list[float]] = {}
    for line in said.stdout.splitlines():
        if line.startswith("FIGURE"):
            _, name, figure = line.split("\t")
            figures.setdefault(name, []).append(float(figure))
    if not figures:
        sys.exit(f"Buildbot said nothing that could be measured:\n{said.stdout}\n{said.stderr}")
    print(f"\nBuildbot 4.3, sqlite, claims per second, median of {rounds} rounds (least to greatest)")
    for name, values in figures.items():
        print(f"{name:26} {statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--buildbot", action="store_true", help="take Buildbot's figures too")
    parser.add_argument("--folder", type=pathlib.Path, help="where the fresh directory is made")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-claims-", dir=options.folder))
    cargo = ["cargo", "run", "--quiet", "--release", "-p", "windlass-store", "--example", "claims", "--"]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", flush=True)
    try:
        subprocess.run([*cargo, str(options.rounds), folder / "windlass"], cwd=ROOT, check=True)
        if options.buildbot:
            buildbot(folder, min(options.rounds, 3))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
