"""Command `my-plugin`: runs a program on the worker, and tells the step how many lines it wrote."""

import windlass
from windlass import process

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

# Asking is not having: master.toml grants it under [grants."my-plugin:my-plugin"], and worker.toml allows
# it under [allow."my-plugin:my-plugin"]. Ask for no more programs than you need.
windlass.asks("exec", ["*"], "runs the program that the step names")


# What a step starts: `start_command("my-plugin:my-plugin", {"command": [...]})`.
@windlass.hook("slave-command", name="my-plugin", schema=SCHEMA)
def run(args):
    """runs a program and counts its lines"""
    options = process.SpawnOptions(args["command"])
    options.workdir("build")
    # All of the output goes to the log `stdio`; we see whole lines of it as well.
    options.tee_to_log("stdio")
    options.deliver(process.Delivery.LINES)
    lines = 0
    with process.spawn(options) as child:
        child.close_input()
        while True:
            match child.next_event(64 * 1024, None):
                case process.Event_Lines(read):
                    lines += len(read.text.splitlines())
                case process.Event_Interrupt():
                    child.stop(process.Stop.INTERRUPT)
                case process.Event_Exited(exit):
                    break
    if not isinstance(exit, process.Exit_Code):
        windlass.fail("stopped", f"the program did not end by itself: {exit}")
    # The exit code, and what else the step is told.
    return exit.value, {"lines": lines}
