// Two policies, and what the plugin is.

#include <windlass.h>

WINDLASS_HOOKS(
    {.kind = "next-slave", .name = "last", .summary = "the last worker by name, version 1"},
    {.kind = "merge-requests", .name = "same-reason", .summary = "requests for the same reason"},
    {.kind = "build-step",
     .name = "pair",
     .summary = "two commands at once, and one more when the first says the word",
     .schema = "{\"type\": \"object\", \"additionalProperties\": false,"
               " \"required\": [\"watch\", \"beside\", \"word\", \"then\"],"
               " \"properties\": {\"watch\": {\"type\": \"string\"}, \"beside\": {\"type\": \"string\"},"
               " \"word\": {\"type\": \"string\"}, \"then\": {\"type\": \"string\"},"
               " \"with\": {\"type\": \"string\"}}}",
     .options = {{"halt-on-failure", true}}})

bool exports_next_slave_choose(text_t *name, text_t *args, model_builder_info_t *builder,
                               model_slaves_t *slaves, model_build_request_t *request,
                               plugin_option_string_t *ret, windlass_failure_t *err) {
  for (size_t i = 0; i < slaves->len; i++) {
    text_t slave = slaves->ptr[i].name;
    if (!ret->is_some || text_compare(slave, ret->val) > 0) *ret = (plugin_option_string_t){true, slave};
  }
  return true;
}

bool exports_merge_requests_mergeable(text_t *name, text_t *args, model_builder_info_t *builder,
                                      model_build_request_t *first,
                                      model_build_requests_t *others, plugin_list_u64_t *ret,
                                      windlass_failure_t *err) {
  ret->ptr = calloc(others->len + 1, sizeof *ret->ptr);
  for (size_t i = 0; i < others->len; i++)
    if (text_equal(others->ptr[i].reason, first->reason)) ret->ptr[ret->len++] = others->ptr[i].id;
  return true;
}
