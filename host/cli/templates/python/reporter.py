"""Reporter `my-plugin`: posts a line about each event of a build to a granted host."""

import json

import windlass
from windlass import fetch

# The configuration's arguments are checked against this before anything runs.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {"url": {"type": "string", "description": "Where each line is sent."}},
}

# Asking is not having: master.toml grants hosts under [grants."my-plugin:my-plugin"].
windlass.asks("fetch", ["*"], "tells the host that its configuration names")


def line(kind, build):
    """`ci #4: build-started`, `ci #4: failure, make check: exit code 2`."""
    what = f"{build['builder']} #{build['number']}"
    if kind == "build-finished":
        return f"{what}: {build['outcome']}, {build['state']}"
    return f"{what}: {kind}"


# What master.toml says, in `[[reporters]]`: `use = "my-plugin:my-plugin"` and `args = { url = "…" }`.
@windlass.hook("reporter", name="my-plugin", schema=SCHEMA)
def report(args, event_id, kind, event):
    """posts a line about each build that begins or ends"""
    # Called for each event, in order and at least once: one that comes again has the same `event_id`. What
    # stands in `event` is in docs/reporters.md. A failure that is `retryable` has it told again later; after
    # another one the event is lost.
    body = {"id": event_id, "text": line(kind, json.loads(event)["build"])}
    request = fetch.Request(
        method="POST",
        url=args["url"],
        headers=[("content-type", b"application/json")],
        body=json.dumps(body).encode(),
        timeout_ms=None,
        max_response=1024 * 1024,
    )
    try:
        status = fetch.send(request).status
    except windlass.Err as refused:
        failure = refused.value
        # A grant that is missing comes with a reconfig; until then the event waits.
        retryable = failure.retryable or failure.code == "denied"
        windlass.fail(failure.code, failure.message, failure.detail, retryable)
    if not 200 <= status < 300:
        # The receiver may be well again later.
        later = status == 429 or status >= 500
        windlass.fail("refused", f"the receiver answered with status {status}", retryable=later)
