// Renderer `my-plugin`: a property of the build as a label, which files and images may be called.

#include <windlass.h>

WINDLASS_HOOKS({
    .kind = "renderer",
    // What master.toml says for a value: `{ renderer = "my-plugin:my-plugin", args = { of = "branch" } }`.
    .name = "my-plugin",
    .summary = "a property in small letters and digits, with `-` for all else",
    // The configuration's arguments are checked against this before anything runs.
    .schema = "{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"of\"],"
              " \"properties\": {\"of\": {\"type\": \"string\", \"description\": \"The property's name.\"}}}",
})

static bool is_letter(uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// Small letters and digits stay, capitals become small; all that stands between two of them becomes one `-`.
static text_t label(text_t of) {
  text_t made = {malloc(of.len + 1), 0};
  if (!made.ptr) abort();
  bool gap = false;
  for (size_t i = 0; i < of.len; i++) {
    uint8_t c = of.ptr[i] >= 'A' && of.ptr[i] <= 'Z' ? of.ptr[i] | 32 : of.ptr[i];
    if (is_letter(c)) {
      if (gap && made.len) made.ptr[made.len++] = '-';
      made.ptr[made.len++] = c;
    }
    gap = !is_letter(c);
  }
  return made;
}

// Asked when a step or a build needs the value. It must follow from the arguments and the properties; a failure ends
// the step.
bool exports_renderer_render(text_t *name, text_t *args, windlass_pairs_t *properties, windlass_value_t *ret,
                             windlass_failure_t *err) {
  text_t of;
  if (!json_text(*args, "of", &of)) return fail(err, "bad-argument", "there is no of");
  for (size_t i = 0; i < properties->len; i++) {
    windlass_pair_t *property = &properties->ptr[i];
    if (text_equal(property->name, of) && property->value.tag == WINDLASS_VALUE_TEXT) {
      *ret = value_text(label(property->value.val.text));
      return true;
    }
  }
  return fail(err, "no-text", "there is no property `%.*s` with a text", SHOW(of));
}
