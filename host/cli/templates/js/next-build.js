// `next-build` policy `my-plugin`: what somebody waits for comes first.

import { hooks } from "windlass";

// `requests` come in the order of the default rule: priority, then age. The answer is the id of one of
// them, or null: none of them now. An error leaves the choice to the default rule.
function choose(args, builder, requests) {
  const urgent = requests.find((request) => request.waitedFor);
  return (urgent ?? requests[0]).id;
}

export const { plugin, nextBuild } = hooks({
  "next-build": {
    // What master.toml says: `next_build = "my-plugin:my-plugin"`.
    "my-plugin": { summary: "requests that a running build waits for, then the usual order", choose },
  },
});
