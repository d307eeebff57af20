// `next-slave` policy `my-plugin`: the free worker with the fewest builds.

import { hooks } from "windlass";

// `slaves` are the workers that could take `request`, in the order of the default rule. The answer is the
// name of one of them, or null: the request waits. An error leaves the choice to the default rule.
function choose(args, builder, slaves, request) {
  slaves.sort((a, b) => a.running - b.running || (a.name < b.name ? -1 : 1));
  return slaves[0].name;
}

export const { plugin, nextSlave } = hooks({
  "next-slave": {
    // What master.toml says: `next_slave = "my-plugin:my-plugin"`.
    "my-plugin": { summary: "the free worker with the fewest builds, by name among equals", choose },
  },
});
