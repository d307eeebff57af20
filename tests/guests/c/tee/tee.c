// A command that runs a program, sends its output to a log and to itself, and tells the step how many lines there were.

#include <windlass.h>

WINDLASS_HOOKS({.kind = "slave-command",
                .name = "tee",
                .summary = "runs a shell line, counts what it writes, version 1",
                .schema = "{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"command\"],"
                          " \"properties\": {\"command\": {\"type\": \"string\"}}}"})
WINDLASS_CAPABILITIES({.capability = "exec", .scope = {"/bin/sh"}, .reason = "runs what the step says"})

bool exports_slave_command_run(text_t *name, text_t *args, windlass_completion_t *ret, windlass_failure_t *err) {
  text_t line;
  if (!json_text(*args, "command", &line)) return fail(err, "bad-argument", "command is a text");

  process_own_spawn_options_t how = options(list_of("/bin/sh", "-c", text_c_string(line), NULL));
  process_borrow_spawn_options_t set = process_borrow_spawn_options(how);
  process_method_spawn_options_tee_to_log(set, &TEXT("stdio"));
  process_method_spawn_options_deliver(set, PROCESS_DELIVERY_LINES);

  process_own_child_t child;
  if (!process_spawn(how, &child, err)) return false;
  int64_t lines = 0;
  for (;;) {
    process_event_t event;
    process_method_child_next_event(process_borrow_child(child), 65536, NULL, &event);
    if (event.tag == PROCESS_EVENT_LINES) {
      text_t text = event.val.lines.text;
      for (size_t i = 0; i < text.len; i++) lines += text.ptr[i] == '\n';
    } else if (event.tag == PROCESS_EVENT_INTERRUPT) {
      process_method_child_stop(process_borrow_child(child), PROCESS_STOP_TERMINATE);
    } else if (event.tag == PROCESS_EVENT_EXITED) {
      if (event.val.exited.tag != PROCESS_EXIT_CODE) return fail(err, "interrupted", "the program was stopped");
      *ret = (windlass_completion_t){.rc = {true, event.val.exited.val.code}};
      return update("lines", value_integer(lines), err);
    }
  }
}
