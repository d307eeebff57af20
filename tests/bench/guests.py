"""The components that the benches ask, one in each language, built by the program under test."""

import pathlib
import subprocess
import sys

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
        make(binary, project, out)
        said.append(f"{name}={out / component}.wasm:{hook}")
    return said


def make(binary: pathlib.Path, project: str, out: pathlib.Path) -> None:
    """Builds a project into the folder `out`."""
    target = ROOT / "target" / "guests" / "bench" / pathlib.Path(project).name
    command = [binary, "plugin", "build", ROOT / project, "--out", out, "--target-dir", target]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"{project} cannot be built:\n{made.stderr}")


def variant(component: bytes, number: int) -> bytes:
    """The same component, and yet another one: a custom section tells them apart."""
    text = f"variant {number:010}".encode()
    return component + bytes([0, len(text) + 1, len(text)]) + text
