#!/usr/bin/env python3
"""What asking a policy costs in each language, from the board to the guest and back, beside a bare loop that makes an
instance and calls it, in one run: host/runtime/examples/policies.rs.

    cargo build --release && python3 tests/bench/policies.py
"""

import pathlib
import subprocess
import tempfile

import guests

with tempfile.TemporaryDirectory() as folder:
    asked = guests.build(guests.ROOT / "target/release/windlass", pathlib.Path(folder))
    example = ["cargo", "run", "--quiet", "--release", "-p", "windlass-runtime", "--example", "policies", "--"]
    subprocess.run([*example, *asked], cwd=guests.ROOT, check=True)
