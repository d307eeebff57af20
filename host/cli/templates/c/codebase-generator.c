// `codebase-generator` policy `my-plugin`: a codebase is called as its repository's folder.

#include <windlass.h>

// What master.toml says, under `[policies]`: `codebase_generator = "my-plugin:my-plugin"`.
WINDLASS_HOOKS({.kind = "codebase-generator",
                .name = "my-plugin",
                .summary = "the last part of the repository's address, without `.git`"})

// The answer is the codebase of a change that has just come in. After an error it has none.
bool exports_codebase_generator_codebase(text_t *name, text_t *args, model_change_t *change, text_t *ret,
                                         windlass_failure_t *err) {
  text_t folder = change->repository;
  while (folder.len && folder.ptr[folder.len - 1] == '/') folder.len--;
  for (size_t i = folder.len; i > 0; i--)
    if (folder.ptr[i - 1] == '/' || folder.ptr[i - 1] == ':') {
      folder = (text_t){folder.ptr + i, folder.len - i};
      break;
    }
  text_t ending = {folder.ptr + folder.len - 4, 4};
  if (folder.len > 4 && text_is(ending, ".git")) folder.len -= 4;
  *ret = folder;
  return true;
}
