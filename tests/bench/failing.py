#!/usr/bin/env python3
"""What a policy costs that fails for a whole run of 1,000 builds, beside the default rule in the same run.

    cargo build --release && python3 tests/bench/failing.py

Builders that differ in their next-slave policy alone take turns on one master and the same 4 workers x 4 slots: none;
one that loops; one that traps; one that names a worker that is not there; and one that loops at each tenth request alone,
so that it is not suspended. Before each turn a reconfig lifts what suspensions there are. Each turn asserts that
every fallback was counted (status) and that `windlass why` tells of it.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import builds
import guests
from versions import spread

# The reasons of the builds, one after the other, which tell the policy what to do; and what is said of a failure.
WAYS = {
    "default": (["well"], []),
    "loops": (["spin"], ["20 ms of CPU", "within 250 ms"]),
    "traps": (["trap"], ["it trapped"]),
    "lies": (["ghost"], ["`nobody`"]),
    "loops-at-times": (["spin", *["well"] * 9], ["20 ms of CPU", "within 250 ms"]),
}


def expect(what: bool, message: str):
    if not what:
        sys.exit(f"FAILED: {message}")


def shown(site: builds.Windlass, builder: str) -> dict:
    """What the status says of a builder's policy."""
    return next((p for p in site.status()["policies"] if p["used_by"] == f"builder {builder}"), {})


def turn(site: builds.Windlass, name: str, count: int, look: bool) -> dict:
    """A run of one builder; what the status and `why` must tell of it is asserted."""
    socket = site.folder / "state" / "windlass.sock"
    reasons, words = WAYS[name]
    builds.over_unix(socket, "POST", "/api/v1/reconfig", {"plan": False})
    before = shown(site, name)
    figures = site.run(count, name, lambda n: reasons[n % len(reasons)])
    if not words:
        return figures
    after = shown(site, name)
    told = {key: after[key] - before[key] for key in ("calls", "answers", "faults", "fallbacks", "skipped")}
    failing = sum(reasons[n % len(reasons)] != "well" for n in range(count))
    expect(told["fallbacks"] == told["faults"] + told["skipped"], f"{name}: fallbacks are not all counted: {told}")
    expect(told["answers"] + told["fallbacks"] >= count, f"{name}: builds without a decision: {told}")
    expect(told["fallbacks"] >= failing, f"{name}: {failing} had to fall back: {told}")
    expect(any(word in after["last_fault"] for word in words), f"{name}: it says {after['last_fault']}")
    if "well" not in reasons:
        expect(told["answers"] == 0 and told["skipped"] > 0, f"{name}: it was not suspended: {told}")
        said = subprocess.run([site.binary, "--dir", site.folder, "status"], capture_output=True, text=True, check=True)
        expect("is suspended for" in said.stdout, f"{name}: the status does not show the suspension: {said.stdout}")
    if look:
        newest = builds.over_unix(socket, "GET", f"/api/v1/builds?builder={name}&limit={count}")
        why = [builds.over_unix(socket, "GET", f"/api/v1/builds/{b['id']}/why")["decisions"] for b in newest]
        fell = [b["id"] for b, decisions in zip(newest, why) if any(d["fallback"] for d in decisions)]
        figures["builds whose why tells of a fallback"] = len(fell)
        expect(len(fell) >= failing, f"{name}: why tells of {len(fell)} builds, and {failing} had to fall back")
        said = subprocess.run(
            [site.binary, "--dir", site.folder, "why", f"build-{fell[-1]}"], capture_output=True, text=True, check=True
        )
        expect(any(w in said.stdout for w in words) and "instead" in said.stdout, f"{name}: why says {said.stdout}")
    return figures | told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=guests.ROOT / "target/release/windlass")
    parser.add_argument("--builds", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores; {builds.WORKERS} workers x {builds.SLOTS} slots; "
          f"{options.turns} turns of {options.builds} builds; load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder:
        folder = pathlib.Path(folder)
        guests.make(options.binary, "tests/guests/wayward", folder)
        component = (folder / "wayward.wasm").read_bytes()
        policies = {name: f'next_slave = "{name}:wayward"' if words else "" for name, (_, words) in WAYS.items()}
        site = builds.Windlass(options.binary, folder / "site", policies)
        for number, name in enumerate(WAYS):
            # Bytes of its own: a component's failures are its own, too.
            (folder / "site" / "plugins" / f"{name}.wasm").write_bytes(guests.variant(component, number))
        turns: dict[str, list[dict]] = {name: [] for name in WAYS}
        with site:
            site.run(100, "default")
            for number in range(options.turns):
                for name in list(WAYS)[:: 1 if number % 2 == 0 else -1]:
                    turns[name].append(turn(site, name, options.builds, look=number == 0))
            dispatch = site.status()["dispatch"]
    print(json.dumps(dispatch))
    for name, runs in turns.items():
        print(f"\n{name}")
        for key in ("builds/s", "master CPU ms/build", "calls", "faults", "skipped", "fallbacks", "builds whose why tells of a fallback"):
            values = [run[key] for run in runs if key in run]
            ratios = [run[key] / base[key] for run, base in zip(runs, turns["default"]) if key in base]
            beside = f"   beside the default: {spread(ratios, 3)}" if ratios and name != "default" else ""
            if values:
                print(f"  {key:28} {spread(values)}{beside}")
        if name in ("loops", "traps", "lies"):
            loss = 1 - statistics.median(r["builds/s"] / b["builds/s"] for r, b in zip(runs, turns["default"]))
            print(f"  lost throughput: {loss:.1%} (goal: less than 10 %)")


if __name__ == "__main__":
    main()
