// Build step `my-plugin`: runs a program on the worker and counts the warnings in what it says.

#include <windlass.h>

WINDLASS_HOOKS({
    .kind = "build-step",
    // What master.toml says: `use = "my-plugin:my-plugin"` and `args = { command = ["make"] }`.
    .name = "my-plugin",
    .summary = "runs a program and counts the lines with `warning`",
    // The configuration's arguments are checked against this before anything runs.
    .schema = "{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"command\"],"
              " \"properties\": {\"command\": {\"type\": \"array\", \"items\": {\"type\": \"string\"},"
              " \"description\": \"The program and its arguments.\"}}}",
    // Unless the configuration says otherwise, warnings of this step are warnings of its build.
    .options = {{"warn-on-warnings", true}},
})

// How many lines of `lines` have the word in them.
static int64_t count(text_t lines, const char *word) {
  int64_t found = 0;
  for (size_t i = 0, begin = 0; i <= lines.len; i++)
    if (i == lines.len || lines.ptr[i] == '\n') {
      found += text_contains((text_t){lines.ptr + begin, i - begin}, word);
      begin = i + 1;
    }
  return found;
}

bool exports_build_step_run(text_t *name, text_t *args, exports_build_step_step_result_t *ret,
                            windlass_failure_t *err) {
  text_t argv;
  if (!json_raw(*args, "command", &argv)) return fail(err, "bad-argument", "there is no command");
  // `shell` is a command that every worker has; its log `stdio` becomes a log of this step, and we want to
  // see its lines as they come.
  uint32_t command;
  text_t shell = text_format("{\"command\": %.*s, \"workdir\": \"build\"}", SHOW(argv));
  if (!start("shell", shell, "stdio", &command, err)) return false;
  int64_t warnings = 0;
  for (;;) {
    step_event_t event;
    step_next_event(NULL, &event);
    if (event.tag == STEP_EVENT_LINES) {
      // A header says what runs; it is not the program's.
      if (event.val.lines.from_stream != WINDLASS_ORIGIN_HEADER) warnings += count(event.val.lines.text, "warning");
    } else if (event.tag == STEP_EVENT_INTERRUPT) {
      // Somebody wants us to stop: the command is asked to, and its end comes as an event.
      if (!step_interrupt_command(command, &event.val.interrupt, err)) return false;
    } else if (event.tag == STEP_EVENT_DONE) {
      step_result_completion_failure_t *how = &event.val.done.how;
      if (how->is_err) {
        *err = how->val.err;
        return false;
      }
      // The steps that follow see it as %(prop:warnings)s.
      if (!set_property("warnings", value_integer(warnings), err)) return false;
      windlass_outcome_t outcome = WINDLASS_OUTCOME_FAILURE;
      if (how->val.ok.rc.is_some && how->val.ok.rc.val == 0)
        outcome = warnings ? WINDLASS_OUTCOME_WARNINGS : WINDLASS_OUTCOME_SUCCESS;
      return ends(ret, outcome, text_format("%d warnings", (int)warnings));
    }
  }
}
