// Build step `my-plugin`: runs a program on the worker and counts the warnings in what it says.

import { hooks } from "windlass";
import * as step from "windlass/step.js";

function run(args) {
  // `shell` is a command that every worker has; its log `stdio` becomes a log of this step, and we want to
  // see its lines as they come.
  const command = step.startCommand("shell", { command: args.command, workdir: "build" }, ["stdio"]);
  let warnings = 0;
  let how;
  while (!how) {
    const event = step.nextEvent();
    switch (event.tag) {
      case "lines":
        // A header says what runs; it is not the program's.
        if (event.val.fromStream === "header") break;
        warnings += event.val.text.split("\n").filter((line) => line.includes("warning")).length;
        step.summary(`${warnings} warnings so far`);
        break;
      case "done":
        how = event.val.how;
        break;
      case "interrupt":
        // Somebody wants us to stop: the command is asked to, and its end comes as an event.
        step.interruptCommand(command, event.val);
        break;
    }
  }
  if (how.failure) throw how.failure;
  // The steps that follow see it as %(prop:warnings)s.
  step.setProperty("warnings", warnings);
  const outcome = how.rc !== 0 ? "failure" : warnings ? "warnings" : "success";
  return { outcome, summary: `${warnings} warnings` };
}

export const { plugin, buildStep } = hooks({
  "build-step": {
    // What master.toml says: `use = "my-plugin:my-plugin"` and `args = { command = ["make"] }`.
    "my-plugin": {
      summary: "runs a program and counts the lines with `warning`",
      // The configuration's arguments are checked against this before anything runs.
      schema: {
        type: "object",
        additionalProperties: false,
        required: ["command"],
        properties: {
          command: { type: "array", items: { type: "string" }, description: "The program and its arguments." },
        },
      },
      // Unless the configuration says otherwise, warnings of this step are warnings of its build.
      options: { "warn-on-warnings": true },
      run,
    },
  },
});
