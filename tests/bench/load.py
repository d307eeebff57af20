#!/usr/bin/env python3
"""Loading 50 plugins, reloading one among them while 16 builds run, and the memory of plugins and instances.

    cargo build --release && python3 tests/bench/load.py

First in one process, without a master (host/runtime/examples/load.rs), then whole: a master and 4 workers with 4 slots
each, where every build writes a line each 100 ms. A build that a reload disturbs would fail, change its components, or
write its next line late.
"""

import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import builds
import guests

BINARY = guests.ROOT / "target/release/windlass"
PLUGINS, RELOADS = 50, 7
LINES = "i=0; while [ $i -lt 100 ]; do date +%s%N; sleep 0.1; i=$((i+1)); done"


def spread(seconds: list[float]) -> str:
    shown = [f"{s * 1000:.0f}" for s in (statistics.median(seconds), min(seconds), max(seconds))]
    return f"{shown[0]} ms ({shown[1]} to {shown[2]})"


def gaps(binary, site, build: int) -> list[tuple[float, float]]:
    """When each line of a build but the first was written, and how long after the one before it."""
    said = subprocess.run([binary, "--dir", site.folder, "logs", str(build)], check=True, capture_output=True, text=True)
    written = [int(line) / 1e9 for line in re.findall(r"^\d{19}$", said.stdout, re.MULTILINE)]
    return [(b, b - a) for a, b in zip(written, written[1:])]


def whole(component: bytes, folder: pathlib.Path) -> None:
    site = builds.Windlass(BINARY, folder)
    config = (folder / "master.toml").read_text()
    config = config.replace('command = ["true"]', f'command = ["/bin/sh", "-c", "{LINES}"]')
    config = config.replace("merge_requests = false", 'merge_requests = false\nnext_slave = "p7:placement"')
    (folder / "master.toml").write_text(config)
    for n in range(PLUGINS):
        (folder / "plugins" / f"p{n}.wasm").write_bytes(guests.variant(component, n))
    socket = folder / "state" / "windlass.sock"
    with site:
        print(f"a master with {PLUGINS} more plugins, nothing compiled yet, answers after {site.answered * 1000:.0f} ms")
    with site:
        print(f"the same, warm: {site.answered * 1000:.0f} ms")
        for _ in range(16):
            builds.over_unix(socket, "POST", "/api/v1/force", {"builder": "b"})
        builds.wait_until("16 builds", lambda: len(site.status()["running"]) == 16)
        running = [build["id"] for build in site.status()["running"]]
        time.sleep(2)
        took, moments = [], []
        for n in range(RELOADS):
            (folder / "plugins" / "p7.wasm").write_bytes(guests.variant(component, PLUGINS + n))
            began, moment = time.monotonic(), time.time()
            done = builds.over_unix(socket, "POST", "/api/v1/reconfig", {"plan": False})
            took.append(time.monotonic() - began)
            moments.append((moment, time.time()))
            assert done["changed"] and len(done["plugins"]["replaced"]) == 1, done
            assert sorted(done["builds_holding"]) == sorted(running), done
            time.sleep(0.5)
        print(f"a reload of one of {PLUGINS} plugins, which is compiled, with 16 builds running: {spread(took)}")
        builds.wait_until("the builds", lambda: not site.status()["running"], 60)
        near, far = [], []
        for build in running:
            detail = builds.over_unix(socket, "GET", f"/api/v1/builds/{build}")
            assert detail["outcome"] == "success", detail
            for at, gap in gaps(BINARY, site, build):
                reloads = any(begun <= at <= ended + 0.1 for begun, ended in moments)
                (near if reloads else far).append(gap)
        print(f"all 16 succeed; from line to line during a reload: {spread(near)}, at other times: {spread(far)}")
        dispatch = site.status()["dispatch"]
        print(f"the dispatcher meanwhile: p50 {dispatch['p50_us']} us, p99 {dispatch['p99_us']} us of {dispatch['events']}")


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    asked = guests.build(BINARY, folder)
    example = ["cargo", "run", "--quiet", "--release", "-p", "windlass-runtime", "--example", "load", "--"]
    subprocess.run([*example, *asked], cwd=guests.ROOT, check=True)
    whole((folder / "v1.wasm").read_bytes(), folder / "site")
