// `next-build` policy `my-plugin`: what somebody waits for comes first.

#include <windlass.h>

// What master.toml says: `next_build = "my-plugin:my-plugin"`.
WINDLASS_HOOKS({.kind = "next-build",
                .name = "my-plugin",
                .summary = "requests that a running build waits for, then the usual order"})

// `requests` come in the order of the default rule: priority, then age. The answer is the id of one of
// them, or none: none of them now. An error leaves the choice to the default rule.
bool exports_next_build_choose(text_t *name, text_t *args, model_builder_info_t *builder,
                               model_build_requests_t *requests, plugin_option_u64_t *ret,
                               windlass_failure_t *err) {
  if (requests->len) *ret = (plugin_option_u64_t){true, requests->ptr[0].id};
  for (size_t i = 0; i < requests->len; i++)
    if (requests->ptr[i].waited_for) {
      ret->val = requests->ptr[i].id;
      break;
    }
  return true;
}
