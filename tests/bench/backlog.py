#!/usr/bin/env python3
"""What a long backlog costs: the board over the store, with 10,000 to 1,000,000 pending requests.

    cargo build --release -p windlass-tests --example backlog && python3 tests/bench/backlog.py

Each size has a store of its own in --folder, which is filled first and kept for the next run; it is measured by a
process of its own, --rounds times.
"""

import argparse
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--target", type=pathlib.Path, default=TARGET, help="cargo's directory")
    arguments.add_argument("--folder", type=pathlib.Path, default=TARGET / "backlog")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[10_000, 25_000, 100_000, 1_000_000])
    arguments.add_argument("--groups", type=int, default=10, help="of workers; 1: every builder may use all")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    example = given.target / "release" / "examples" / "backlog"
    for size in given.sizes:
        folder = given.folder / str(size)
        given.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(given.rounds):
            subprocess.run([example, "fill", folder, str(size)], check=True)
            subprocess.run([example, "events", folder, str(given.groups)], check=True)


if __name__ == "__main__":
    main()
