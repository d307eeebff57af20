"""Renderer `my-plugin`: a property of the build as a label, which files and images may be called."""

import re

import windlass

# The configuration's arguments are checked against this before anything runs.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["of"],
    "properties": {"of": {"type": "string", "description": "The property's name."}},
}


# What master.toml says for a value: `{ renderer = "my-plugin:my-plugin", args = { of = "branch" } }`.
@windlass.hook("renderer", name="my-plugin", schema=SCHEMA)
def render(args, properties):
    """a property in small letters and digits, with `-` for all else"""
    # Asked when a step or a build needs the value. It must follow from the arguments and the properties; a
    # failure ends the step.
    text = windlass.as_dict(properties).get(args["of"])
    if not isinstance(text, str):
        windlass.fail("no-text", f"there is no property `{args['of']}` with a text")
    return "-".join(re.findall("[a-z0-9]+", text.lower()))
