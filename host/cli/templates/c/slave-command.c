// Command `my-plugin`: runs a program on the worker, and tells the step how many lines it wrote.

#include <windlass.h>

WINDLASS_HOOKS({
    .kind = "slave-command",
    // What a step starts: `start("my-plugin:my-plugin", ...)`.
    .name = "my-plugin",
    .summary = "runs a program and counts its lines",
    .schema = "{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"command\"],"
              " \"properties\": {\"command\": {\"type\": \"array\", \"items\": {\"type\": \"string\"},"
              " \"description\": \"The program and its arguments.\"}}}",
})

// Asking is not having: master.toml grants it under [grants."my-plugin:my-plugin"], and worker.toml allows
// it under [allow."my-plugin:my-plugin"]. Ask for no more programs than you need.
WINDLASS_CAPABILITIES({.capability = "exec", .scope = {"*"}, .reason = "runs the program that the step names"})

// The strings of a JSON list.
static plugin_list_string_t strings(text_t list) {
  plugin_list_string_t read = {NULL, 0};
  text_t item;
  while (json_item(list, read.len, &item)) {
    read.ptr = realloc(read.ptr, (read.len + 1) * sizeof *read.ptr);
    json_text(item, NULL, &read.ptr[read.len++]);
  }
  return read;
}

bool exports_slave_command_run(text_t *name, text_t *args, windlass_completion_t *ret, windlass_failure_t *err) {
  text_t argv;
  if (!json_raw(*args, "command", &argv)) return fail(err, "bad-argument", "there is no command");
  process_own_spawn_options_t made = options(strings(argv));
  process_borrow_spawn_options_t set = process_borrow_spawn_options(made);
  process_method_spawn_options_workdir(set, &TEXT("build"));
  // All of the output goes to the log `stdio`; we see whole lines of it as well.
  process_method_spawn_options_tee_to_log(set, &TEXT("stdio"));
  process_method_spawn_options_deliver(set, PROCESS_DELIVERY_LINES);
  process_own_child_t owned;
  if (!process_spawn(made, &owned, err)) return false;
  process_borrow_child_t child = process_borrow_child(owned);
  process_method_child_close_input(child);
  int64_t lines = 0;
  for (;;) {
    process_event_t event;
    process_method_child_next_event(child, 64 * 1024, NULL, &event);
    if (event.tag == PROCESS_EVENT_LINES) {
      text_t read = event.val.lines.text;
      for (size_t i = 0; i < read.len; i++) lines += read.ptr[i] == '\n';
    } else if (event.tag == PROCESS_EVENT_INTERRUPT) {
      process_method_child_stop(child, PROCESS_STOP_INTERRUPT);
    } else if (event.tag == PROCESS_EVENT_EXITED) {
      if (event.val.exited.tag != PROCESS_EXIT_CODE)
        return fail(err, "stopped", "the program did not end by itself");
      // The exit code, and what else the step is told.
      windlass_pair_t *values = malloc(sizeof *values);
      *values = pair("lines", value_integer(lines));
      *ret = (windlass_completion_t){.rc = {true, event.val.exited.val.code}, .values = {values, 1}};
      return true;
    }
  }
}
