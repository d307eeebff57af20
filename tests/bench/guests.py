"""The components that the benches ask, one in each language, built by the program under test."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What is built, and its next-slave hook. In Rust it takes the first worker, in the others the last by name.
GUESTS = {
    "rust": ("tests/guests/v1", "v1", "placement"),
    "c": ("tests/guests/c/all", "c-all", "last"),
    "js": ("tests/guests/js/all", "js-all", "last"),
    "python": ("tests/guests/python/all", "py-all", "last"),
}


def build(binary: pathlib.Path, out: pathlib.Path) -> list[str]:
    """`NAME=FILE:HOOK` of each, as the examples of windlass-runtime take them."""
    said = []
    for name, (project, component, hook) in GUESTS.items():
        target = ROOT / "target" / "guests" / "bench" / name
        subprocess.run(
            [binary, "plugin", "build", ROOT / project, "--out", out, "--target-dir", target],
            check=True,
            capture_output=True,
        )
        said.append(f"{name}={out / component}.wasm:{hook}")
    return said


def variant(component: bytes, number: int) -> bytes:
    """The same component, and yet another one: a custom section tells them apart."""
    text = f"variant {number:010}".encode()
    return component + bytes([0, len(text) + 1, len(text)]) + text
