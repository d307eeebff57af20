// Command `my-plugin`: runs a program on the worker, and tells the step how many lines it wrote.

import { Failure, hooks } from "windlass";
import { spawn } from "windlass/command.js";

function run(args) {
  // All of the output goes to the log `stdio`; we see whole lines of it as well.
  const child = spawn(args.command, { workdir: "build", teeToLog: "stdio", deliver: "lines" });
  child.closeInput();
  let lines = 0;
  for (;;) {
    const event = child.nextEvent(64 * 1024, null);
    switch (event.tag) {
      case "lines":
        lines += event.val.text.split("\n").length - 1;
        break;
      case "interrupt":
        child.stop("interrupt");
        break;
      case "exited":
        if (event.val.tag !== "code") {
          throw new Failure("stopped", `the program did not end by itself: ${event.val.tag}`);
        }
        // The exit code, and what else the step is told.
        return { rc: event.val.val, values: { lines } };
    }
  }
}

export const { plugin, slaveCommand } = hooks(
  {
    "slave-command": {
      // What a step starts: `startCommand("my-plugin:my-plugin", { command: [...] })`.
      "my-plugin": {
        summary: "runs a program and counts its lines",
        schema: {
          type: "object",
          additionalProperties: false,
          required: ["command"],
          properties: {
            command: { type: "array", items: { type: "string" }, description: "The program and its arguments." },
          },
        },
        run,
      },
    },
  },
  // Asking is not having: master.toml grants it under [grants."my-plugin:my-plugin"], and worker.toml
  // allows it under [allow."my-plugin:my-plugin"]. Ask for no more programs than you need.
  [{ capability: "exec", scope: ["*"], reason: "runs the program that the step names" }],
);
