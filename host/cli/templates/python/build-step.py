"""Build step `my-plugin`: runs a program on the worker and counts the warnings in what it says."""

import windlass
from windlass import Origin, Outcome, step

# The configuration's arguments are checked against this before anything runs.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["command"],
    "properties": {
        "command": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The program and its arguments.",
        }
    },
}


# What master.toml says: `use = "my-plugin:my-plugin"` and `args = { command = ["make"] }`. Unless it says
# otherwise, warnings of this step are warnings of its build.
@windlass.hook("build-step", name="my-plugin", schema=SCHEMA, warn_on_warnings=True)
def run(args):
    """runs a program and counts the lines with `warning`"""
    # `shell` is a command that every worker has; its log `stdio` becomes a log of this step, and we want
    # to see its lines as they come.
    shell = {"command": args["command"], "workdir": "build"}
    command = windlass.start_command("shell", shell, observe=["stdio"])
    warnings = 0
    while True:
        match step.next_event(None):
            # A header says what runs; it is not the program's.
            case step.Event_Lines(lines) if lines.from_stream != Origin.HEADER:
                warnings += sum("warning" in line for line in lines.text.splitlines())
                step.summary(f"{warnings} warnings so far")
            case step.Event_Done(end):
                break
            case step.Event_Interrupt(reason):
                # Somebody wants us to stop: the command is asked to, and its end comes as an event.
                step.interrupt_command(command, reason)
    if isinstance(end.how, windlass.Err):
        raise end.how
    # The steps that follow see it as %(prop:warnings)s.
    windlass.set_property("warnings", warnings)
    if end.how.value.rc != 0:
        return Outcome.FAILURE, f"{warnings} warnings"
    return Outcome.WARNINGS if warnings else Outcome.SUCCESS, f"{warnings} warnings"
