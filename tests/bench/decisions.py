#!/usr/bin/env python3
"""Decisions per second over a long backlog: the default rules, and a policy of each kind in Rust with 10, 100 and 1,000
candidates, in turns.

    cargo build --release -p windlass-tests --example backlog && python3 tests/bench/decisions.py

The board over the store, as in backlog.py, and the runtime with `tests/guests/wayward`, which takes the first of what it
is offered. Starts are as fast as they can be decided, recorded and made durable, 64 at a time; each build is over at
once. A policy's record goes into the store with the claim, as in a master. A question's time goes from the moment when it
is asked until its answer was judged and the claim handed over: with 64 under way most of it is waiting for its turn.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess

from versions import spread

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"
# Where the candidates come from, and the kinds of policies that are offered them.
KINDS = {
    "requests": [None, "next-build", "merge-requests", "prioritize-builders"],
    "workers": [None, "can-start-build", "next-slave"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=pathlib.Path, default=TARGET, help="cargo's directory")
    parser.add_argument("--folder", type=pathlib.Path, default=TARGET / "backlog")
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--candidates", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    example, folder = options.target / "release" / "examples" / "backlog", options.folder / str(options.pending)
    print(f"{platform.machine()}, {os.cpu_count()} cores; {options.pending} requests; {options.rounds} rounds; "
          f"load {os.getloadavg()[0]:.1f}", flush=True)
    seen: dict[tuple, list[dict]] = {}
    for _ in range(options.rounds):
        for source, kinds in KINDS.items():
            for candidates in options.candidates:
                for kind in kinds:
                    subprocess.run([example, "fill", folder, str(options.pending)], check=True, stdout=subprocess.DEVNULL)
                    command = [example, "starts", folder, source, str(candidates), *([kind] if kind else [])]
                    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                    seen.setdefault((source, candidates, kind), []).append(json.loads(said))
    for (source, candidates, kind), runs in seen.items():
        of = lambda key, digits=0: spread([run[key] for run in runs], digits)
        print(f"\n{source}, window {candidates}: {kind or 'default rules'}")
        for key in runs[0]:
            if kind or not (key.startswith("question") or key == "candidates"):
                print(f"  {key:18} {of(key)}")


if __name__ == "__main__":
    main()
