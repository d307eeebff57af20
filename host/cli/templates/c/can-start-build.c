// `can-start-build` policy `my-plugin`: no build starts on a worker that is busy with something else.

#include <windlass.h>

// What master.toml says: `can_start_build = "my-plugin:my-plugin"`.
WINDLASS_HOOKS({.kind = "can-start-build", .name = "my-plugin", .summary = "only on workers whose load is below 4"})

// The answer names those of `slaves` that may take `request` now; with none it waits, and is asked about
// again. After an error nobody may. A worker that has not reported its load yet counts as idle.
bool exports_can_start_build_allow(text_t *name, text_t *args, model_builder_info_t *builder,
                                   model_slaves_t *slaves,
                                   model_build_request_t *request, plugin_list_string_t *ret,
                                   windlass_failure_t *err) {
  ret->ptr = calloc(slaves->len + 1, sizeof *ret->ptr);
  for (size_t i = 0; i < slaves->len; i++) {
    model_slave_info_t *slave = &slaves->ptr[i];
    if (!slave->load.is_some || slave->load.val < 4.0) ret->ptr[ret->len++] = slave->name;
  }
  return true;
}
