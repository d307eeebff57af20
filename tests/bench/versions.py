#!/usr/bin/env python3
"""What a change costs or gains: trivial builds of several versions of the program, in turns.

    python3 tests/bench/versions.py before=/path/to/windlass after=target/release/windlass

All of them are up all the time, each with 4 workers of its own, and one builds. So whatever else the machine does falls
on all alike. The ratios are those within a turn: each version beside the first.
"""

import argparse
import os
import pathlib
import platform
import statistics
import tempfile
from contextlib import ExitStack

import builds


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", metavar="NAME=BINARY")
    parser.add_argument("--builds", type=int, default=1000, help="in each run")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    versions = {name: pathlib.Path(path).resolve() for name, path in (v.split("=", 1) for v in options.versions)}
    print(f"{platform.machine()}, {os.cpu_count()} cores; {builds.WORKERS} workers x {builds.SLOTS} slots; "
          f"{options.turns} turns of {options.builds} builds; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder, ExitStack() as up:
        sites = {n: up.enter_context(builds.Windlass(b, pathlib.Path(folder) / n)) for n, b in versions.items()}
        for site in sites.values():
            site.run(100)
        turns: dict[str, list[dict]] = {name: [] for name in sites}
        threads: dict[str, list[dict]] = {name: [] for name in sites}
        for turn in range(options.turns):
            # Who goes first changes, since the one before leaves its dirty pages.
            for name in list(sites)[:: 1 if turn % 2 == 0 else -1]:
                turns[name].append(sites[name].run(options.builds))
                threads[name].append(dict(sites[name].where))
    first = next(iter(turns.values()))
    for name, runs in turns.items():
        print(f"\n{name}")
        for key in runs[0]:
            ratios = [run[key] / base[key] for run, base in zip(runs, first)]
            beside = "" if runs is first else f"   beside the first: {spread(ratios)}"
            print(f"  {key:22} {spread([run[key] for run in runs])}{beside}")
        for process in threads[name][0]:
            seen = {thread for run in threads[name] for thread in run[process]}
            of = {t: statistics.median(run[process].get(t, 0.0) for run in threads[name]) for t in seen}
            shown = ", ".join(f"{thread} {ms:.2f}" for thread, ms in sorted(of.items(), key=lambda i: -i[1]))
            print(f"  CPU ms/build in {process}: {shown}")


if __name__ == "__main__":
    main()
