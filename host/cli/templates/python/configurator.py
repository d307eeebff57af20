"""Configurator `my-plugin`: a builder for each compiler at each level of optimisation."""

import json

import windlass

TEXTS = {"type": "array", "items": {"type": "string"}}

# The configuration's arguments are checked against this before anything runs.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["workers", "compilers", "levels"],
    "properties": {
        "workers": TEXTS | {"description": "Who builds."},
        "compilers": TEXTS | {"description": "Values of CC."},
        "levels": TEXTS | {"description": 'As in -O2: "2".'},
        "command": {"type": "string", "description": "What each builds with; unless said, `make check`."},
    },
}

BUILDER = """
[[builders]]
name = {name}
workers = {workers}
env = {{ CC = {cc}, CFLAGS = {cflags} }}
[[builders.steps]]
use = "shell-command"
args = {{ command = {command} }}
"""


# What master.toml says, in `[[configurators]]`: `use = "my-plugin:my-plugin"` and `args = { … }`.
@windlass.hook("configurator", name="my-plugin", schema=SCHEMA)
def configure(args):
    """a builder for each compiler at each level of optimisation"""
    # The answer is TOML, which is joined to what stands in the files and checked with it. The same arguments
    # must always give the same answer. A failure refuses the configuration.
    toml = ""
    for compiler in args["compilers"]:
        for level in args["levels"]:
            said = {
                "name": f"{compiler}-O{level}",
                "workers": args["workers"],
                "cc": compiler,
                "cflags": f"-O{level}",
                "command": args.get("command", "make check"),
            }
            # Texts, and lists of them, are written in TOML as they are in JSON.
            toml += BUILDER.format(**{name: json.dumps(value) for name, value in said.items()})
    return toml
