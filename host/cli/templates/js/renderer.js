// Renderer `my-plugin`: a property of the build as a label, which files and images may be called.

import { Failure, hooks, object } from "windlass";

// Asked when a step or a build needs the value. It must follow from the arguments and the properties; a failure ends
// the step.
function render(args, properties) {
  const text = object(properties)[args.of];
  if (typeof text !== "string") throw new Failure("no-text", `there is no property \`${args.of}\` with a text`);
  return (text.toLowerCase().match(/[a-z0-9]+/g) ?? []).join("-");
}

export const { plugin, renderer } = hooks({
  renderer: {
    // What master.toml says for a value: `{ renderer = "my-plugin:my-plugin", args = { of = "branch" } }`.
    "my-plugin": {
      summary: "a property in small letters and digits, with `-` for all else",
      // The configuration's arguments are checked against this before anything runs.
      schema: {
        type: "object",
        additionalProperties: false,
        required: ["of"],
        properties: { of: { type: "string", description: "The property's name." } },
      },
      render,
    },
  },
});
