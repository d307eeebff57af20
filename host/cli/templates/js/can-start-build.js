// `can-start-build` policy `my-plugin`: no build starts on a worker that is busy with something else.

import { hooks } from "windlass";

// The answer names those of `slaves` that may take `request` now; with none it waits, and is asked about
// again. After an error nobody may. A worker that has not reported its load yet counts as idle.
function allow(args, builder, slaves, request) {
  return slaves.filter((slave) => (slave.load ?? 0) < 4).map((slave) => slave.name);
}

export const { plugin, canStartBuild } = hooks({
  "can-start-build": {
    // What master.toml says: `can_start_build = "my-plugin:my-plugin"`.
    "my-plugin": { summary: "only on workers whose load is below 4", allow },
  },
});
