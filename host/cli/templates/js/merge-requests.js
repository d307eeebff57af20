// `merge-requests` policy `my-plugin`: requests for the same branches are built together.

import { hooks } from "windlass";

// The answer are the ids of those of `others` that one build may serve together with `first`. After an
// error nothing is merged.
function mergeable(args, builder, first, others) {
  if (first.stamps.some((stamp) => stamp.hasPatch)) return [];
  return others.filter((other) => sources(other) === sources(first)).map((other) => other.id);
}

// Whoever asks for an exact revision gets that one, built by itself or with its like.
function sources(request) {
  const source = (stamp) => [stamp.codebase, stamp.repository, stamp.branch, stamp.revision, stamp.hasPatch];
  return JSON.stringify(request.stamps.map(source));
}

export const { plugin, mergeRequests } = hooks({
  "merge-requests": {
    // What master.toml says: `merge_requests = "my-plugin:my-plugin"`.
    "my-plugin": { summary: "requests for the same branches, without patches", mergeable },
  },
});
