// `codebase-generator` policy `my-plugin`: a codebase is called as its repository's folder.

import { hooks } from "windlass";

// The answer is the codebase of a change that has just come in. After an error it has none.
function codebase(args, change) {
  const folder = change.repository.replace(/\/+$/, "").split(/[/:]/).pop();
  return folder.replace(/\.git$/, "");
}

export const { plugin, codebaseGenerator } = hooks({
  "codebase-generator": {
    // What master.toml says, under `[policies]`: `codebase_generator = "my-plugin:my-plugin"`.
    "my-plugin": { summary: "the last part of the repository's address, without `.git`", codebase },
  },
});
