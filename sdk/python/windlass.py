"""What a Windlass plugin in Python uses: one decorator, and Python's own types where the contract has variants.

    import windlass

    @windlass.hook("next-slave")
    def alphabetical(args, builder, slaves, request):
        \"\"\"the free worker that comes first in the alphabet\"\"\"
        return min(slave.name for slave in slaves)

The hook is called like the function, `alphabetical`, its summary is the first line of the documentation, `args` are
the configured arguments as a dict. What the function raises is a failure that the operator reads, with the traceback.

Nothing here is needed: a module may as well define the classes that componentize-py asks for (`Plugin`, `NextSlave`
...) and use the bindings, `wit_world`, which are laid out in `target/projects/NAME/bindings` by a build.
"""

import json as _json
import traceback as _traceback

from componentize_py_types import Err, Ok, Result
from wit_world.exports import plugin as _plugin
from wit_world.imports import log as _log
from wit_world.imports import types
from wit_world.imports.types import (
    Completion,
    Failure,
    Origin,
    Outcome,
    Pair,
    Value,
    Value_Boolean,
    Value_Integer,
    Value_Json,
    Value_Null,
    Value_Number,
    Value_Text,
)

# The imports of each kind of plugin, under short names; None where the plugin has no use for them.
try:
    from wit_world.imports import step_host as step
except ImportError:
    step = None
try:
    from wit_world.imports import decision
except ImportError:
    decision = None
try:
    from wit_world.imports import fetch
except ImportError:
    fetch = None
try:
    from wit_world.imports import command_host as command
    from wit_world.imports import files, process
except ImportError:
    command = files = process = None

# The function of each kind of hook.
_FUNCTIONS = {
    "slave-command": "run",
    "build-step": "run",
    "merge-requests": "mergeable",
    "prioritize-builders": "order",
    "next-slave": "choose",
    "next-build": "choose",
    "can-start-build": "allow",
    "codebase-generator": "codebase",
    "renderer": "render",
    "configurator": "configure",
    "scheduler": "handle",
    "change-source": "poll",
    "change-hook": "decode",
    "reporter": "report",
}

_hooks = {}
_capabilities = []


def hook(kind, name=None, summary=None, schema=None, **options):
    """Makes a function a hook of this kind, for example `next-slave`.

    It gets the arguments as a dict and then what the contract gives the hook. `schema` is a JSON Schema of the
    arguments, as a dict; without one the hook takes none. Options are facts for the host, `halt_on_failure=True`.
    """

    def register(function):
        called = name or function.__name__.replace("_", "-")
        said = summary or (function.__doc__ or called).strip().splitlines()[0]
        text = None if schema is None else _json.dumps(schema)
        facts = [pair(option.replace("_", "-"), fact) for option, fact in options.items()]
        if kind not in _FUNCTIONS:
            raise ValueError(f"unknown hook `{kind}`; there are {', '.join(_FUNCTIONS)}")
        _hooks.setdefault(kind, {})[called] = (_plugin.Hook(kind, called, said, text, facts), function)
        return function

    return register


def asks(capability, scope, reason):
    """Asks for a capability: `asks("exec", ["git"], "reads the history")`."""
    _capabilities.append(_plugin.Request(capability, list(scope), reason))


def fail(code, message, detail=None, retryable=False):
    """Ends the hook with a failure. `code` in kebab-case, `message` one sentence for people."""
    raise Err(Failure(code, message, detail, retryable))


def log(message, level="info"):
    """Tells whoever operates the host: `debug`, `info`, `warn` or `error`."""
    _log.write(getattr(_log.Level, level.upper()), str(message))


# Values.


def value(plain):
    """A value of the contract from one of Python: what is nested travels as JSON."""
    if plain is None:
        return Value_Null()
    if isinstance(plain, bool):
        return Value_Boolean(plain)
    if isinstance(plain, int):
        return Value_Integer(plain) if abs(plain) < 2**53 else Value_Json(str(plain))
    if isinstance(plain, float):
        return Value_Number(plain)
    if isinstance(plain, str):
        return Value_Text(plain)
    return Value_Json(_json.dumps(plain))


def plain(value):
    """A value of Python from one of the contract; None for none."""
    if value is None or isinstance(value, Value_Null):
        return None
    return _json.loads(value.value) if isinstance(value, Value_Json) else value.value


def pair(name, plain):
    """A named value."""
    return Pair(name, value(plain))


def as_dict(pairs):
    """Named values as a dict."""
    return {pair.name: plain(pair.value) for pair in pairs}


# For a build step.


def start_command(command, args=None, observe=()):
    """Starts a command on the worker and returns its number. `observe` names the logs whose lines come as events."""
    return step.start_command(command, _json.dumps(args or {}), list(observe))


def run_command(command, args=None):
    """Runs a command on the worker and returns its completion."""
    return step.wait(start_command(command, args))


def get_property(name):
    """A property of the build; None if there is none."""
    return plain(step.get_property(name))


def set_property(name, plain):
    """Sets a property of the build."""
    step.set_property(name, value(plain))


# For a command.


def update(**values):
    """Tells the step something: `update(files=3)`."""
    command.update([pair(name.replace("_", "-"), plain) for name, plain in values.items()])


# What the contract wants.


def _answer(kind, answer):
    """Short answers are made whole: an outcome, with or without a summary, and an exit code with or without values."""
    if kind == "build-step" and isinstance(answer, (Outcome, tuple)):
        from wit_world.exports.build_step import StepResult

        outcome, summary = answer if isinstance(answer, tuple) else (answer, None)
        return StepResult(outcome, summary)
    if kind == "slave-command" and isinstance(answer, (int, tuple)):
        rc, values = answer if isinstance(answer, tuple) else (answer, {})
        return Completion(rc, [pair(name, plain) for name, plain in values.items()])
    if kind == "renderer":
        return value(answer)
    return answer


def _class(kind, hooks):
    def call(self, name, args, *rest):
        try:
            if name not in hooks:
                fail("bad-argument", f"this plugin has no {kind} `{name}`")
            return _answer(kind, hooks[name][1](_json.loads(args or "{}"), *rest))
        except Err:
            raise
        except Exception as error:
            told = "".join(_traceback.format_exception(error))
            raise Err(Failure("exception", f"{type(error).__name__}: {error}", told, False)) from None

    return type(_class_name(kind), (), {_FUNCTIONS[kind]: call})


def _class_name(kind):
    return "".join(word.capitalize() for word in kind.split("-"))


class _Plugin:
    def describe(self):
        return _plugin.Description([hook for of in _hooks.values() for hook, _ in of.values()], _capabilities)


def exports(author, kinds):
    """The classes that componentize-py looks for: those of the author's module, or made from decorated functions."""
    unnamed = sorted(set(_hooks) - set(kinds))
    if unnamed:
        raise ValueError(f"plugin.toml does not name `{unnamed[0]}` among its hooks, but {author.__name__} has one")
    found = {"Plugin": getattr(author, "Plugin", _Plugin)}
    for kind in kinds:
        name = _class_name(kind)
        if kind in _hooks:
            found[name] = _class(kind, _hooks[kind])
        elif hasattr(author, name):
            found[name] = getattr(author, name)
        else:
            raise ValueError(
                f"{author.__name__} has no `{kind}`, which plugin.toml names: decorate a function with "
                f"@windlass.hook({kind!r}), or define a class {name}"
            )
    return found
