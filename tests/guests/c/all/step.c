// A step with two commands under way: it reads what one says while both run. The other may be another command than
// `shell`; what that tells the step becomes properties.

#include <windlass.h>

static text_t shell(text_t command) {
  text_t quoted = json_quoted(command);
  return text_format("{\"command\": %.*s}", SHOW(quoted));
}

bool exports_build_step_run(text_t *name, text_t *args, exports_build_step_step_result_t *ret,
                            windlass_failure_t *err) {
  text_t watch, beside, word, then;
  if (!json_text(*args, "watch", &watch) || !json_text(*args, "beside", &beside) ||
      !json_text(*args, "word", &word) || !json_text(*args, "then", &then))
    return fail(err, "bad-argument", "watch, beside, word and then are texts");
  text_t with = TEXT("shell");
  json_text(*args, "with", &with);
  char *said = text_c_string(word);

  uint32_t first, second, third;
  if (!start("shell", shell(watch), "stdio", &first, err)) return false;
  if (!start(text_c_string(with), shell(beside), NULL, &second, err)) return false;

  bool heard = false;
  int32_t worst = 0;
  for (int ended = 0; ended < 2;) {
    step_event_t event;
    step_next_event(NULL, &event);
    switch (event.tag) {
      case STEP_EVENT_LINES:
        if (!heard && event.val.lines.command == first && text_contains(event.val.lines.text, said)) {
          heard = true;
          if (!set_property("heard", value_text(word), err)) return false;
          if (!start("shell", shell(then), NULL, &third, err)) return false;
        }
        break;
      case STEP_EVENT_UPDATE:
        for (size_t i = 0; i < event.val.update.values.len; i++) {
          windlass_pair_t *told = &event.val.update.values.ptr[i];
          if (!step_set_property(&told->name, &told->value, err)) return false;
        }
        break;
      case STEP_EVENT_DONE:
        if (event.val.done.command == first || event.val.done.command == second) ended++;
        if (event.val.done.how.is_err) {
          *err = event.val.done.how.val.err;
          return false;
        }
        if (event.val.done.how.val.ok.rc.val > worst) worst = event.val.done.how.val.ok.rc.val;
        break;
      case STEP_EVENT_INTERRUPT:
        if (!step_interrupt_command(first, &event.val.interrupt, err)) return false;
        if (!step_interrupt_command(second, &event.val.interrupt, err)) return false;
        break;
    }
  }
  if (!heard) return ends(ret, WINDLASS_OUTCOME_FAILURE, TEXT("the word was never said"));
  windlass_outcome_t outcome = worst ? WINDLASS_OUTCOME_FAILURE : WINDLASS_OUTCOME_SUCCESS;
  return ends(ret, outcome, text_format("heard %s, worst exit code %d", said, (int)worst));
}
