// `prioritize-builders` policy `my-plugin`: builders with the tag `urgent` come first.

import { hooks } from "windlass";

// `builders` have something to do, and come in the order of the default rule. The answer is the order in
// which they are offered workers; those left out wait. An error leaves it to the default rule.
function order(args, builders) {
  const urgent = (builder) => builder.tags.includes("urgent");
  const sorted = [...builders.filter(urgent), ...builders.filter((builder) => !urgent(builder))];
  return sorted.map((builder) => builder.name);
}

export const { plugin, prioritizeBuilders } = hooks({
  "prioritize-builders": {
    // What master.toml says, under `[policies]`: `prioritize_builders = "my-plugin:my-plugin"`.
    "my-plugin": { summary: "builders with the tag `urgent`, then the others in the usual order", order },
  },
});
