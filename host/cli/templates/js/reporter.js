// Reporter `my-plugin`: posts a line about each event of a build to a granted host.

import { Failure, hooks } from "windlass";
import { send } from "windlass/fetch.js";

// `ci #4: build-started`, `ci #4: failure, make check: exit code 2`.
function line(kind, build) {
  const what = `${build.builder} #${build.number}`;
  return kind === "build-finished" ? `${what}: ${build.outcome}, ${build.state}` : `${what}: ${kind}`;
}

// Called for each event, in order and at least once: one that comes again has the same `eventId`. What stands in
// `event` is in docs/reporters.md. A failure that is `retryable` has it told again later; after another one the
// event is lost.
function report(args, eventId, kind, event) {
  const body = JSON.stringify({ id: eventId, text: line(kind, JSON.parse(event).build) });
  let status;
  try {
    ({ status } = send({ method: "POST", url: args.url, headers: { "content-type": "application/json" }, body }));
  } catch (failure) {
    // A grant that is missing comes with a reconfig; until then the event waits.
    if (failure.code === "denied") failure.retryable = true;
    throw failure;
  }
  if (status < 200 || status > 299) {
    // The receiver may be well again later.
    const retryable = status === 429 || status >= 500;
    throw new Failure("refused", `the receiver answered with status ${status}`, { retryable });
  }
}

export const { plugin, reporter } = hooks(
  {
    reporter: {
      // What master.toml says, in `[[reporters]]`: `use = "my-plugin:my-plugin"` and `args = { url = "…" }`.
      "my-plugin": {
        summary: "posts a line about each build that begins or ends",
        // The configuration's arguments are checked against this before anything runs.
        schema: {
          type: "object",
          additionalProperties: false,
          required: ["url"],
          properties: { url: { type: "string", description: "Where each line is sent." } },
        },
        report,
      },
    },
  },
  // Asking is not having: master.toml grants hosts under [grants."my-plugin:my-plugin"].
  [{ capability: "fetch", scope: ["*"], reason: "tells the host that its configuration names" }],
);
