// Reporter `my-plugin`: posts a line about each event of a build to a granted host.

#include <windlass.h>

WINDLASS_HOOKS({
    .kind = "reporter",
    // What master.toml says, in `[[reporters]]`: `use = "my-plugin:my-plugin"` and `args = { url = "..." }`.
    .name = "my-plugin",
    .summary = "posts a line about each build that begins or ends",
    // The configuration's arguments are checked against this before anything runs.
    .schema = "{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"url\"],"
              " \"properties\": {\"url\": {\"type\": \"string\", \"description\": \"Where each line is sent.\"}}}",
})

// Asking is not having: master.toml grants hosts under [grants."my-plugin:my-plugin"].
WINDLASS_CAPABILITIES({.capability = "fetch", .scope = {"*"}, .reason = "tells the host that its configuration names"})

// `ci #4: build-started`, `ci #4: failure, make check: exit code 2`.
static text_t line(text_t kind, text_t build) {
  text_t builder = TEXT(""), outcome = TEXT(""), state = TEXT("");
  int64_t number = 0;
  json_text(build, "builder", &builder);
  json_integer(build, "number", &number);
  if (!text_is(kind, "build-finished"))
    return text_format("%.*s #%lld: %.*s", SHOW(builder), (long long)number, SHOW(kind));
  json_text(build, "outcome", &outcome);
  json_text(build, "state", &state);
  return text_format("%.*s #%lld: %.*s, %.*s", SHOW(builder), (long long)number, SHOW(outcome), SHOW(state));
}

// Called for each event, in order and at least once: one that comes again has the same `event_id`. What stands in
// `event` is in docs/reporters.md. A failure that is `retryable` has it told again later; after another one the
// event is lost.
bool exports_reporter_report(text_t *name, text_t *args, text_t *event_id, text_t *kind, text_t *event,
                             windlass_failure_t *err) {
  text_t url, build;
  if (!json_text(*args, "url", &url)) return fail(err, "bad-argument", "there is no url");
  if (!json_raw(*event, "build", &build)) return fail(err, "bad-event", "there is no build in the event");
  text_t id = json_quoted(*event_id), said = json_quoted(line(*kind, build));
  text_t body = text_format("{\"id\": %.*s, \"text\": %.*s}", SHOW(id), SHOW(said));
  header_t headers[] = {header("content-type", "application/json")};
  fetch_request_t request = {
      .method = TEXT("POST"),
      .url = url,
      .headers = {headers, 1},
      .body = {body.ptr, body.len},
      .max_response = 1024 * 1024,
  };
  fetch_response_t answer;
  if (!fetch_send(&request, &answer, err)) {
    // A grant that is missing comes with a reconfig; until then the event waits.
    if (text_is(err->code, "denied")) err->retryable = true;
    return false;
  }
  if (answer.status >= 200 && answer.status < 300) return true;
  fail(err, "refused", "the receiver answered with status %d", answer.status);
  // The receiver may be well again later.
  err->retryable = answer.status == 429 || answer.status >= 500;
  return false;
}
