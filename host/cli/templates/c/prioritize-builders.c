// `prioritize-builders` policy `my-plugin`: builders with the tag `urgent` come first.

#include <windlass.h>

// What master.toml says, under `[policies]`: `prioritize_builders = "my-plugin:my-plugin"`.
WINDLASS_HOOKS({.kind = "prioritize-builders",
                .name = "my-plugin",
                .summary = "builders with the tag `urgent`, then the others in the usual order"})

static bool urgent(const model_builder_info_t *builder) {
  for (size_t i = 0; i < builder->tags.len; i++)
    if (text_is(builder->tags.ptr[i], "urgent")) return true;
  return false;
}

// `builders` have something to do, and come in the order of the default rule. The answer is the order in
// which they are offered workers; those left out wait. An error leaves it to the default rule.
bool exports_prioritize_builders_order(text_t *name, text_t *args,
                                       exports_prioritize_builders_list_builder_info_t *builders,
                                       plugin_list_string_t *ret, windlass_failure_t *err) {
  ret->ptr = calloc(builders->len + 1, sizeof *ret->ptr);
  for (int first = 1; first >= 0; first--)
    for (size_t i = 0; i < builders->len; i++)
      if (urgent(&builders->ptr[i]) == first) ret->ptr[ret->len++] = builders->ptr[i].name;
  return true;
}
