"""Two policies, and a step with two commands under way: it reads what one says while both run."""

import windlass
from windlass import Ok, Outcome, step


@windlass.hook("next-slave")
def last(args, builder, slaves, request):
    """the last worker by name, version 1"""
    return max(slave.name for slave in slaves)


@windlass.hook("merge-requests")
def same_reason(args, builder, first, others):
    """requests for the same reason"""
    return [other.id for other in others if other.reason == first.reason]


TEXT = {"type": "string"}
ARGS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["watch", "beside", "word", "then"],
    "properties": {"watch": TEXT, "beside": TEXT, "word": TEXT, "then": TEXT},
}


@windlass.hook("build-step", schema=ARGS, halt_on_failure=True)
def pair(args):
    """two commands at once, and one more when the first says the word"""
    first = windlass.start_command("shell", {"command": args["watch"]}, observe=["stdio"])
    second = windlass.start_command("shell", {"command": args["beside"]})
    running, heard, worst = {first, second}, False, 0
    while running:
        match step.next_event(None):
            case step.Event_Lines(lines) if lines.command == first and args["word"] in lines.text and not heard:
                heard = True
                windlass.set_property("heard", args["word"])
                windlass.start_command("shell", {"command": args["then"]})
            case step.Event_Done(end):
                running.discard(end.command)
                match end.how:
                    case Ok(completion):
                        worst = max(worst, completion.rc or 0)
                    case failed:
                        raise failed
            case step.Event_Interrupt(reason):
                for command in running:
                    step.interrupt_command(command, reason)
    if not heard:
        return Outcome.FAILURE, "the word was never said"
    return Outcome.FAILURE if worst else Outcome.SUCCESS, f"heard {args['word']}, worst exit code {worst}"
