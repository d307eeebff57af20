// What a Windlass plugin in C uses. It adds comfort to `plugin.h`, which is made from the contract when the plugin is
// built (`target/projects/NAME/bindings`), and needs none of itself: everything can be done with `plugin.h` alone.
//
// Memory: what a hook is given is its own, and what it answers is freed by the bindings once the host has read it.
// `free` leaves alone what `malloc` did not make, so that an answer may be a literal. An instance lives for one call
// of a policy, one step or one command: a plugin that never frees anything is right, too.
#ifndef WINDLASS_H
#define WINDLASS_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

// Text. The contract's strings are a pointer and a length, without a 0 at the end.

typedef plugin_string_t text_t;

// The text of a literal: `TEXT("shell")`; `&TEXT("shell")` where a function wants its address.
#define TEXT(literal) ((text_t){(uint8_t *)(literal), sizeof(literal) - 1})

// The arguments of `%.*s`: `snprintf(buffer, sizeof buffer, "%.*s", SHOW(name))`.
#define SHOW(text) (int)(text).len, (const char *)(text).ptr

// The text of a C string, not copied.
text_t text(const char *c_string);
// A new text, as `snprintf` makes it.
text_t text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
// A new C string with the same bytes.
char *text_c_string(text_t text);
bool text_is(text_t text, const char *c_string);
bool text_equal(text_t a, text_t b);
// Less than, equal to or greater than 0, by bytes.
int text_compare(text_t a, text_t b);
bool text_begins(text_t text, const char *with);
bool text_contains(text_t text, const char *what);

// A new list of C strings, not copied; the last argument is NULL: `list_of("git", "status", NULL)`.
plugin_list_string_t list_of(const char *first, ...) __attribute__((sentinel));

// Values and failures.

windlass_value_t value_boolean(bool value);
windlass_value_t value_integer(int64_t value);
windlass_value_t value_text(text_t value);
windlass_pair_t pair(const char *name, windlass_value_t value);

// Fills in a failure and answers false, which is what a hook returns then:
// `return fail(err, "bad-argument", "no worker is called %.*s", SHOW(name));`
bool fail(windlass_failure_t *err, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));

// JSON, as the arguments of a hook are. `key` names a member of an object; NULL stands for the whole text. All answer
// false where there is no such member, or it is of another type.

// The text of the value itself, not copied: of an object, a list, anything.
bool json_raw(text_t json, const char *key, text_t *found);
// A new text with the escapes undone.
bool json_text(text_t json, const char *key, text_t *found);
bool json_integer(text_t json, const char *key, int64_t *found);
bool json_number(text_t json, const char *key, double *found);
bool json_boolean(text_t json, const char *key, bool *found);
// The n-th value of a list, not copied.
bool json_item(text_t json, size_t n, text_t *found);
// A new text: this text as a JSON string, with its quotes.
text_t json_quoted(text_t text);

// What the plugin is: `plugin.describe` is written from these. In one file of the plugin:
//
//   WINDLASS_HOOKS({.kind = "next-slave", .name = "alphabetical", .summary = "the first free worker by name"})
//   WINDLASS_CAPABILITIES({.capability = "exec", .scope = {"git"}, .reason = "reads the history"})
//
// The second may be left out.

typedef struct {
  // The interface's name: `next-slave`, `build-step`.
  const char *kind;
  // As configurations call it, in kebab-case.
  const char *name;
  // One line for lists and pages.
  const char *summary;
  // JSON Schema of the arguments. NULL: it takes none.
  const char *schema;
  // Facts for the host, `plugin.hook.options` in the contract: `{{"halt-on-failure", true}}`.
  struct {
    const char *name;
    bool value;
  } options[8];
} windlass_hook_t;

typedef struct {
  // `exec`, `files`, `fetch` ...
  const char *capability;
  // Programs, hosts, names ... as the capability defines; `*` stands for all.
  const char *scope[16];
  // Why, for the person who grants.
  const char *reason;
} windlass_capability_t;

extern const windlass_hook_t *const windlass_hooks;
extern const size_t windlass_hook_count;
extern const windlass_capability_t *const windlass_capabilities;
extern const size_t windlass_capability_count;

#define WINDLASS_HOOKS(...)                                        \
  static const windlass_hook_t windlass_own_hooks[] = {__VA_ARGS__}; \
  const windlass_hook_t *const windlass_hooks = windlass_own_hooks;  \
  const size_t windlass_hook_count = sizeof windlass_own_hooks / sizeof *windlass_own_hooks;

#define WINDLASS_CAPABILITIES(...)                                                        \
  static const windlass_capability_t windlass_own_capabilities[] = {__VA_ARGS__};         \
  const windlass_capability_t *const windlass_capabilities = windlass_own_capabilities;   \
  const size_t windlass_capability_count = sizeof windlass_own_capabilities / sizeof *windlass_own_capabilities;

#ifdef WINDLASS_BUILD_STEP

// For a build step.

// Starts a command on the worker; `args` is JSON. The step gets the lines of `observe` as events; NULL: of no log.
bool start(const char *command, text_t args, const char *observe, uint32_t *number, windlass_failure_t *err);
// Sets a property of the build.
bool set_property(const char *name, windlass_value_t value, windlass_failure_t *err);
// The step's answer: how it ended, with a line that says why. Answers true.
bool ends(exports_build_step_step_result_t *ret, windlass_outcome_t outcome, text_t summary);

#endif

#if defined WINDLASS_BUILD_STEP || defined WINDLASS_CHANGE_SOURCE || defined WINDLASS_REPORTER

// For who may ask hosts, with `fetch_send`: a header of a request.
typedef plugin_tuple2_string_list_u8_t header_t;
header_t header(const char *name, const char *value);

#endif

#ifdef WINDLASS_SLAVE_COMMAND

// For a command: `options(list_of("git", "status", NULL))`, then `process_method_spawn_options_...` on it.
process_own_spawn_options_t options(plugin_list_string_t argv);
// An update for the step: one named value.
bool update(const char *name, windlass_value_t value, windlass_failure_t *err);

#endif

#endif
