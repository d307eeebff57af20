// Configurator `my-plugin`: a builder for each compiler at each level of optimisation.

import { hooks } from "windlass";

// Texts, and lists of them, are written in TOML as they are in JSON.
const quoted = JSON.stringify;

// The answer is TOML, which is joined to what stands in the files and checked with it. The same arguments must
// always give the same answer. A failure refuses the configuration.
function configure({ workers, compilers, levels, command = "make check" }) {
  let toml = "";
  for (const compiler of compilers) {
    for (const level of levels) {
      toml += `
[[builders]]
name = ${quoted(`${compiler}-O${level}`)}
workers = ${quoted(workers)}
env = { CC = ${quoted(compiler)}, CFLAGS = ${quoted(`-O${level}`)} }
[[builders.steps]]
use = "shell-command"
args = { command = ${quoted(command)} }
`;
    }
  }
  return toml;
}

const texts = (description) => ({ type: "array", items: { type: "string" }, description });

export const { plugin, configurator } = hooks({
  configurator: {
    // What master.toml says, in `[[configurators]]`: `use = "my-plugin:my-plugin"` and `args = { … }`.
    "my-plugin": {
      summary: "a builder for each compiler at each level of optimisation",
      // The configuration's arguments are checked against this before anything runs.
      schema: {
        type: "object",
        additionalProperties: false,
        required: ["workers", "compilers", "levels"],
        properties: {
          workers: texts("Who builds."),
          compilers: texts("Values of CC."),
          levels: texts('As in -O2: "2".'),
          command: { type: "string", description: "What each builds with; unless said, `make check`." },
        },
      },
      configure,
    },
  },
});
