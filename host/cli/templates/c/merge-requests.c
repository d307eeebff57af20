// `merge-requests` policy `my-plugin`: requests for the same branches are built together.

#include <windlass.h>

// What master.toml says: `merge_requests = "my-plugin:my-plugin"`.
WINDLASS_HOOKS({.kind = "merge-requests",
                .name = "my-plugin",
                .summary = "requests for the same branches, without patches"})

static bool same(plugin_option_string_t a, plugin_option_string_t b) {
  return a.is_some == b.is_some && (!a.is_some || text_equal(a.val, b.val));
}

// Whoever asks for an exact revision gets that one, built by itself or with its like.
static bool same_source(const model_source_stamp_t *a, const model_source_stamp_t *b) {
  return text_equal(a->codebase, b->codebase) && text_equal(a->repository, b->repository) &&
         same(a->branch, b->branch) && same(a->revision, b->revision) && !a->has_patch && !b->has_patch;
}

static bool mergeable(const model_build_request_t *a, const model_build_request_t *b) {
  if (a->stamps.len != b->stamps.len) return false;
  for (size_t i = 0; i < a->stamps.len; i++)
    if (!same_source(&a->stamps.ptr[i], &b->stamps.ptr[i])) return false;
  return true;
}

// The answer are the ids of those of `others` that one build may serve together with `first`. After an
// error nothing is merged.
bool exports_merge_requests_mergeable(text_t *name, text_t *args, model_builder_info_t *builder,
                                      model_build_request_t *first,
                                      model_build_requests_t *others,
                                      plugin_list_u64_t *ret, windlass_failure_t *err) {
  ret->ptr = calloc(others->len + 1, sizeof *ret->ptr);
  for (size_t i = 0; i < others->len; i++)
    if (mergeable(first, &others->ptr[i])) ret->ptr[ret->len++] = others->ptr[i].id;
  return true;
}
