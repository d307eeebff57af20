#!/usr/bin/env python3
"""One large log through one command: what is lost, how fast, in how much memory, and how quickly a line is found.

    cargo build --release && python3 tests/bench/logs.py [--mib 1024] [--binary PATH]

The same bytes go through a pipe to a file (`cat | cat > file`) in the same run, for comparison. The first line of a
window at line 9,999,999 (or the last but one, of a shorter log) is asked for while the log is being written, and again
when it lies in the archive. Everything happens in a fresh directory, on loopback.
"""

import argparse
import hashlib
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import builds

LINE = 80


def write_lines(path: pathlib.Path, lines: int) -> None:
    """Lines of 80 bytes that tell their number, so that no window is taken for another."""
    words = "compiling linking testing warning note done in of the crate module function".split()
    with path.open("wb") as out:
        for start in range(0, lines, 100_000):
            block = []
            for n in range(start, min(start + 100_000, lines)):
                text = f"{n:010d} {words[n % 12]} {words[n * 7 % 12]} {n * 2654435761 % 2**32:08x} {words[n // 12 % 12]}"
                block.append(text.ljust(LINE - 1, ".")[: LINE - 1])
            out.write(("\n".join(block) + "\n").encode())


def peak_mib(pid: int) -> float:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def through_a_pipe(data: pathlib.Path, folder: pathlib.Path) -> float:
    copy = folder / "copy"
    began = time.monotonic()
    subprocess.run(["/bin/sh", "-c", f"cat {data} | cat > {copy}"], check=True)
    took = time.monotonic() - began
    copy.unlink()
    return took


def asked(ask, times: int = 21) -> tuple[str, object]:
    took = []
    for _ in range(times):
        began = time.monotonic()
        answer = ask()
        took.append((time.monotonic() - began) * 1000)
    return f"{statistics.median(took):.1f} ms (first {took[0]:.1f}, {min(took):.1f} to {max(took):.1f})", answer


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--mib", type=int, default=1024)
    arguments.add_argument("--binary", type=pathlib.Path, default=builds.ROOT / "target/release/windlass")
    arguments.add_argument("--folder", type=pathlib.Path, help="where the bytes go (default: a temporary directory)")
    given = arguments.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="windlass-logs-", dir=given.folder))
    try:
        run(given.binary, folder, (given.mib << 20) // LINE)
    finally:
        shutil.rmtree(folder)


def run(binary: pathlib.Path, folder: pathlib.Path, lines: int) -> None:
    data, size = folder / "data", lines * LINE
    write_lines(data, lines)
    pipes = [through_a_pipe(data, folder) for _ in range(3)]
    pipe = statistics.median(pipes)
    mb = size / 1e6
    print(f"{lines:,} lines, {mb:.0f} MB; through a pipe to a file: {pipe:.2f} s, {mb / pipe:.0f} MB/s")

    site = builds.Windlass(binary, folder / "site")
    config = (folder / "site/master.toml").read_text()
    go = folder / "go"
    script = f"cat {data}; while ! test -e {go}; do sleep 0.05; done"
    config = config.replace('["true"]', f'["/bin/sh", "-c", "{script}"]') + '[logs]\nlog_max_size = "8 GiB"\n'
    (folder / "site/master.toml").write_text(config)
    socket = folder / "site/state/windlass.sock"
    with site:
        get = lambda path: builds.over_unix(socket, "GET", f"/api/v1/{path}")
        cpu = lambda: (builds.cpu_seconds(site.master.pid), site.workers_cpu())
        before, began = cpu(), time.monotonic()
        builds.over_unix(socket, "POST", "/api/v1/force", {"builder": "b"})
        build = builds.wait_until("the build", lambda: site.status()["running"])[0]["id"]

        def log():
            steps = get(f"builds/{build}")["steps"]
            found = [log for step in steps for log in step["logs"] if log["name"] == "stdio"]
            return found[0] if found else {"length": 0, "finished": False}

        # Headers are in the log, too.
        builds.wait_until("the bytes", lambda: log()["length"] >= size, 600, 0.02)
        took = time.monotonic() - began
        after = cpu()
        print(
            f"through a command into the store: {took:.2f} s, {mb / took:.0f} MB/s, {lines / took:,.0f} lines/s, "
            f"{pipe / took:.2f} of the pipe; CPU: master {after[0] - before[0]:.2f} s, worker {after[1] - before[1]:.2f} s"
        )
        print(f"peak memory: master {peak_mib(site.master.pid):.0f} MiB, worker {max(sum(map(peak_mib, pids)) for pids in site.worker_pids):.0f} MiB")

        path = f"builds/{build}/steps/0/logs/stdio"
        line = min(9_999_999, lines - 2)
        window = lambda: get(f"{path}?first={line}&lines=1")
        spread, answer = asked(window)
        print(f"line {line:,}, live: {spread}: {answer['pieces'][0]['data'][:30]!r}")

        held = site.status()["store"].get("log_bytes_held")
        go.touch()
        builds.wait_until("the end", lambda: log()["finished"], 60)
        began = time.monotonic()
        segments = folder / "site/state/logs"
        large = lambda: [f for f in segments.glob("seg-*.log") if f.stat().st_size > size // 2]
        builds.wait_until("the archive", lambda: not large(), 600, 0.1)
        archived = sum(f.stat().st_size for f in segments.glob("arc-*.log"))
        print(f"archived after {time.monotonic() - began:.1f} s: {archived / 1e6:.0f} MB instead of {(held or size) / 1e6:.0f} MB")
        spread, again = asked(window)
        print(f"line {line:,}, archived: {spread}: {again['pieces'][0]['data'][:30]!r}")
        assert answer["pieces"][0]["data"] == again["pieces"][0]["data"]

        copy, want, have = folder / "read", hashlib.sha256(), hashlib.sha256()
        began = time.monotonic()
        with copy.open("wb") as out:
            subprocess.run([binary, "--dir", site.folder, "logs", str(build), "--log", "stdio"], check=True, stdout=out)
        took = time.monotonic() - began
        with data.open("rb") as bytes_in:
            while block := bytes_in.read(1 << 20):
                want.update(block)
        # What the command wrote, without the headers before and behind it.
        with copy.open("rb") as bytes_out:
            head = bytes_out.read(1 << 16)
            first = head.index(b"0000000000 ")
            bytes_out.seek(first)
            left = size
            while left:
                block = bytes_out.read(min(1 << 20, left))
                have.update(block)
                left -= len(block)
        if want.digest() != have.digest():
            sys.exit(f"read back in {took:.1f} s: the bytes differ from those that the command wrote")
        print(f"read back in {took:.1f} s; every byte is there; BLAKE3 in its row: {log()['hash']}")
        if shutil.which("b3sum"):
            said = subprocess.run(["b3sum", "--no-names", data], check=True, capture_output=True, text=True)
            print(f"b3sum of the file: {said.stdout.strip()}")
        print(f"peak memory: master {peak_mib(site.master.pid):.0f} MiB, worker {max(sum(map(peak_mib, pids)) for pids in site.worker_pids):.0f} MiB")


main()
