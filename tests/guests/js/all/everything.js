// Two policies, and a step with two commands under way: it reads what one says while both run.

import { Failure, hooks } from "windlass";
import * as step from "windlass/step.js";

const text = { type: "string" };

export const { plugin, nextSlave, mergeRequests, buildStep } = hooks({
  "next-slave": {
    last: {
      summary: "the last worker by name, version 1",
      choose: (args, builder, slaves) => slaves.map((slave) => slave.name).sort().pop(),
    },
  },
  "merge-requests": {
    "same-reason": {
      summary: "requests for the same reason",
      mergeable: (args, builder, first, others) =>
        others.filter((other) => other.reason === first.reason).map((other) => other.id),
    },
  },
  "build-step": {
    pair: {
      summary: "two commands at once, and one more when the first says the word",
      schema: {
        type: "object",
        additionalProperties: false,
        required: ["watch", "beside", "word", "then"],
        properties: { watch: text, beside: text, word: text, then: text },
      },
      options: { "halt-on-failure": true },
      run: pair,
    },
  },
});

function pair({ watch, beside, word, then }) {
  const first = step.startCommand("shell", { command: watch }, ["stdio"]);
  const second = step.startCommand("shell", { command: beside });
  const running = new Set([first, second]);
  let heard = false;
  let worst = 0;
  while (running.size > 0) {
    const { tag, val } = step.nextEvent();
    if (tag === "lines" && val.command === first && val.text.includes(word) && !heard) {
      heard = true;
      step.setProperty("heard", word);
      step.startCommand("shell", { command: then });
    } else if (tag === "done") {
      running.delete(val.command);
      if (val.how.failure) throw new Failure(val.how.failure.code, val.how.failure.message);
      worst = Math.max(worst, val.how.rc ?? 0);
    } else if (tag === "interrupt") {
      for (const command of running) step.interruptCommand(command, val);
    }
  }
  if (!heard) return { outcome: "failure", summary: "the word was never said" };
  return { outcome: worst ? "failure" : "success", summary: `heard ${word}, worst exit code ${worst}` };
}
