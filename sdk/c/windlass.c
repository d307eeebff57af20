// The comfort that `windlass.h` declares.

#include "windlass.h"

text_t text(const char *c_string) {
  return (text_t){(uint8_t *)c_string, strlen(c_string)};
}

static text_t format_list(const char *format, va_list args) {
  va_list again;
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, args);
  char *made = malloc((size_t)length + 1);
  if (!made) abort();
  vsnprintf(made, (size_t)length + 1, format, again);
  va_end(again);
  return (text_t){(uint8_t *)made, (size_t)length};
}

text_t text_format(const char *format, ...) {
  va_list args;
  va_start(args, format);
  text_t made = format_list(format, args);
  va_end(args);
  return made;
}

char *text_c_string(text_t text) {
  char *made = malloc(text.len + 1);
  if (!made) abort();
  memcpy(made, text.ptr, text.len);
  made[text.len] = 0;
  return made;
}

bool text_equal(text_t a, text_t b) {
  return a.len == b.len && !memcmp(a.ptr, b.ptr, a.len);
}

bool text_is(text_t it, const char *c_string) {
  return text_equal(it, text(c_string));
}

int text_compare(text_t a, text_t b) {
  int first = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
  return first ? first : a.len < b.len ? -1 : a.len > b.len;
}

bool text_begins(text_t it, const char *with) {
  size_t size = strlen(with);
  return it.len >= size && !memcmp(it.ptr, with, size);
}

bool text_contains(text_t it, const char *what) {
  for (; it.len >= strlen(what); it.ptr++, it.len--)
    if (text_begins(it, what)) return true;
  return false;
}

plugin_list_string_t list_of(const char *first, ...) {
  va_list args, again;
  va_start(args, first);
  va_copy(again, args);
  plugin_list_string_t list = {NULL, first ? 1 : 0};
  while (first && va_arg(args, const char *)) list.len++;
  list.ptr = malloc(list.len * sizeof *list.ptr);
  if (!list.ptr) abort();
  for (size_t i = 0; i < list.len; i++) list.ptr[i] = text(i ? va_arg(again, const char *) : first);
  va_end(again);
  va_end(args);
  return list;
}

windlass_value_t value_boolean(bool value) {
  return (windlass_value_t){.tag = WINDLASS_VALUE_BOOLEAN, .val.boolean = value};
}

windlass_value_t value_integer(int64_t value) {
  return (windlass_value_t){.tag = WINDLASS_VALUE_INTEGER, .val.integer = value};
}

windlass_value_t value_text(text_t value) {
  return (windlass_value_t){.tag = WINDLASS_VALUE_TEXT, .val.text = value};
}

windlass_pair_t pair(const char *name, windlass_value_t value) {
  return (windlass_pair_t){text(name), value};
}

bool fail(windlass_failure_t *err, const char *code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  *err = (windlass_failure_t){.code = text(code), .message = format_list(format, args)};
  va_end(args);
  return false;
}

// What the plugin is.

// Weak, and defined by the plugin alone: a definition here would be taken for the only one where it is read.
extern __attribute__((weak)) const windlass_capability_t *const windlass_capabilities;
extern __attribute__((weak)) const size_t windlass_capability_count;

static void *list(size_t count, size_t size) {
  void *made = calloc(count ? count : 1, size);
  if (!made) abort();
  return made;
}

// Weak: a plugin may write its own.
__attribute__((weak)) void exports_plugin_describe(exports_plugin_description_t *ret) {
  ret->hooks.len = windlass_hook_count;
  ret->hooks.ptr = list(windlass_hook_count, sizeof *ret->hooks.ptr);
  for (size_t i = 0; i < windlass_hook_count; i++) {
    const windlass_hook_t *hook = &windlass_hooks[i];
    exports_plugin_hook_t *to = &ret->hooks.ptr[i];
    to->kind = text(hook->kind);
    to->name = text(hook->name);
    to->summary = text(hook->summary ? hook->summary : "");
    to->args_schema.is_some = hook->schema != NULL;
    if (hook->schema) to->args_schema.val = text(hook->schema);
    to->options.ptr = list(8, sizeof *to->options.ptr);
    for (size_t n = 0; n < 8 && hook->options[n].name; n++)
      to->options.ptr[to->options.len++] = pair(hook->options[n].name, value_boolean(hook->options[n].value));
  }
  size_t asks = &windlass_capability_count ? windlass_capability_count : 0;
  ret->capabilities.len = asks;
  ret->capabilities.ptr = list(asks, sizeof *ret->capabilities.ptr);
  for (size_t i = 0; i < asks; i++) {
    const windlass_capability_t *asked = &windlass_capabilities[i];
    exports_plugin_request_t *to = &ret->capabilities.ptr[i];
    to->capability = text(asked->capability);
    to->reason = text(asked->reason ? asked->reason : "");
    to->scope.ptr = list(16, sizeof *to->scope.ptr);
    for (size_t n = 0; n < 16 && asked->scope[n]; n++) to->scope.ptr[to->scope.len++] = text(asked->scope[n]);
  }
}

#ifdef WINDLASS_BUILD_STEP

bool start(const char *command, text_t args, const char *observe, uint32_t *number, windlass_failure_t *err) {
  text_t name = text(command);
  plugin_list_string_t logs = list_of(observe, NULL);
  bool ok = step_start_command(&name, &args, &logs, number, err);
  free(logs.ptr);
  return ok;
}

bool set_property(const char *name, windlass_value_t value, windlass_failure_t *err) {
  text_t property = text(name);
  return step_set_property(&property, &value, err);
}

bool ends(exports_build_step_step_result_t *ret, windlass_outcome_t outcome, text_t summary) {
  ret->outcome = outcome;
  ret->summary.is_some = true;
  ret->summary.val = summary;
  return true;
}

#endif

#if defined WINDLASS_BUILD_STEP || defined WINDLASS_CHANGE_SOURCE || defined WINDLASS_REPORTER

header_t header(const char *name, const char *value) {
  text_t bytes = text(value);
  return (header_t){text(name), {bytes.ptr, bytes.len}};
}

#endif

#ifdef WINDLASS_SLAVE_COMMAND

process_own_spawn_options_t options(plugin_list_string_t argv) {
  return process_constructor_spawn_options(&argv);
}

bool update(const char *name, windlass_value_t value, windlass_failure_t *err) {
  windlass_pair_t one = pair(name, value);
  windlass_pairs_t values = {&one, 1};
  return command_update(&values, err);
}

#endif
