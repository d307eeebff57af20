// `next-slave` policy `my-plugin`: the free worker with the fewest builds.

#include <windlass.h>

// What master.toml says: `next_slave = "my-plugin:my-plugin"`.
WINDLASS_HOOKS({.kind = "next-slave",
                .name = "my-plugin",
                .summary = "the free worker with the fewest builds, by name among equals"})

static bool better(const model_slave_info_t *a, const model_slave_info_t *b) {
  if (a->running != b->running) return a->running < b->running;
  return text_compare(a->name, b->name) < 0;
}

// `slaves` are the workers that could take `request`, in the order of the default rule. The answer is the
// name of one of them, or none: the request waits. An error leaves the choice to the default rule.
bool exports_next_slave_choose(text_t *name, text_t *args, model_builder_info_t *builder,
                               model_slaves_t *slaves, model_build_request_t *request,
                               plugin_option_string_t *ret, windlass_failure_t *err) {
  model_slave_info_t *best = NULL;
  for (size_t i = 0; i < slaves->len; i++)
    if (!best || better(&slaves->ptr[i], best)) best = &slaves->ptr[i];
  if (best) *ret = (plugin_option_string_t){true, best->name};
  return true;
}
