// Configurator `my-plugin`: a builder for each compiler at each level of optimisation.

#include <windlass.h>

#define TEXTS "{\"type\": \"array\", \"items\": {\"type\": \"string\"}, \"description\": "

WINDLASS_HOOKS({
    .kind = "configurator",
    // What master.toml says, in `[[configurators]]`: `use = "my-plugin:my-plugin"` and `args = { ... }`.
    .name = "my-plugin",
    .summary = "a builder for each compiler at each level of optimisation",
    // The configuration's arguments are checked against this before anything runs.
    .schema = "{\"type\": \"object\", \"additionalProperties\": false,"
              " \"required\": [\"workers\", \"compilers\", \"levels\"], \"properties\": {"
              "\"workers\": " TEXTS "\"Who builds.\"}, "
              "\"compilers\": " TEXTS "\"Values of CC.\"}, "
              "\"levels\": " TEXTS "\"As in -O2: 2.\"}, "
              "\"command\": {\"type\": \"string\","
              " \"description\": \"What each builds with; unless said, `make check`.\"}}}",
})

// Texts, and lists of them, are written in TOML as they are in JSON.
static text_t builder(text_t compiler, text_t level, text_t workers, text_t command) {
  text_t name = json_quoted(text_format("%.*s-O%.*s", SHOW(compiler), SHOW(level)));
  text_t cc = json_quoted(compiler), cflags = json_quoted(text_format("-O%.*s", SHOW(level)));
  return text_format(
      "[[builders]]\n"
      "name = %.*s\n"
      "workers = %.*s\n"
      "env = { CC = %.*s, CFLAGS = %.*s }\n"
      "[[builders.steps]]\n"
      "use = \"shell-command\"\n"
      "args = { command = %.*s }\n",
      SHOW(name), SHOW(workers), SHOW(cc), SHOW(cflags), SHOW(command));
}

// The answer is TOML, which is joined to what stands in the files and checked with it. The same arguments must
// always give the same answer. A failure refuses the configuration.
bool exports_configurator_configure(text_t *name, text_t *args, text_t *ret, windlass_failure_t *err) {
  text_t workers, compilers, levels, command = TEXT("\"make check\"");
  if (!json_raw(*args, "workers", &workers) || !json_raw(*args, "compilers", &compilers) ||
      !json_raw(*args, "levels", &levels))
    return fail(err, "bad-argument", "there are no workers, compilers or levels");
  json_raw(*args, "command", &command);
  text_t toml = TEXT(""), item, compiler, level;
  for (size_t i = 0; json_item(compilers, i, &item) && json_text(item, NULL, &compiler); i++)
    for (size_t n = 0; json_item(levels, n, &item) && json_text(item, NULL, &level); n++) {
      text_t one = builder(compiler, level, workers, command);
      toml = text_format("%.*s%.*s", SHOW(toml), SHOW(one));
    }
  *ret = toml;
  return true;
}
