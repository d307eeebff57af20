// What a Windlass plugin in JavaScript uses: one function that makes what the contract wants of a table of hooks.
//
//   import { hooks } from "windlass";
//
//   export const { plugin, nextSlave } = hooks({
//     "next-slave": {
//       alphabetical: {
//         summary: "the free worker that comes first in the alphabet",
//         choose: (args, builder, slaves, request) => slaves.map((slave) => slave.name).sort()[0],
//       },
//     },
//   });
//
// A step also imports "windlass/step.js", a command "windlass/command.js", who asks hosts "windlass/fetch.js". Nothing of it is needed: a module may as
// well export what componentize-qjs asks for (`plugin`, `nextSlave` ...) and import "windlass:master/step-host@0.1.0".

import { write } from "windlass:base/log@0.1.0";

import * as check from "./check.js";

export { ensure, object, pairs, plain, value } from "./check.js";

/** Thrown or answered: ends a hook with a failure that people read. `code` in kebab-case, `message` one sentence. */
export class Failure extends Error {
  constructor(code, message, { detail, retryable = false } = {}) {
    super(message);
    this.code = code;
    this.detail = detail;
    this.retryable = retryable;
  }
}

/** Tells whoever operates the host: `debug`, `info`, `warn` or `error`. */
export function log(message, level = "info") {
  write(check.word(["debug", "info", "warn", "error"])(level, "level"), String(message));
}

// The function of each kind of hook, and what it may answer.
const nothing = () => undefined;
const json = (answer) => check.value(answer);
const change = check.record({
  id: (id) => check.whole(id ?? 0, "id"),
  author: check.text,
  committer: check.maybe(check.text),
  comments: check.text,
  codebase: check.text,
  project: check.text,
  repository: check.text,
  branch: check.maybe(check.text),
  revision: check.maybe(check.text),
  category: check.maybe(check.text),
  revlink: check.maybe(check.text),
  files: check.list(check.text),
  whenMs: check.whole,
  properties: (pairs) => pairs,
});

const KINDS = {
  "slave-command": { function: "run", answer: completion },
  "build-step": { function: "run", answer: stepResult },
  "merge-requests": { function: "mergeable", answer: check.list(check.whole) },
  "prioritize-builders": { function: "order", answer: check.list(check.text) },
  "next-slave": { function: "choose", answer: check.maybe(check.text) },
  "next-build": { function: "choose", answer: check.maybe(check.whole) },
  "can-start-build": { function: "allow", answer: check.list(check.text) },
  "codebase-generator": { function: "codebase", answer: check.text },
  renderer: { function: "render", answer: json },
  configurator: { function: "configure", answer: check.text },
  scheduler: { function: "handle", answer: nothing },
  "change-source": {
    function: "poll",
    answer: check.record({ changes: check.list(change), nextPollMs: check.maybe(check.whole) }),
  },
  "change-hook": { function: "decode", answer: check.list(change) },
  reporter: { function: "report", answer: nothing },
};

/** A step answers an outcome, or `{ outcome, summary }`. */
function stepResult(answer, what) {
  const { outcome, summary } = typeof answer === "string" ? { outcome: answer } : (answer ?? {});
  return { outcome: check.outcome(outcome, what), summary: check.maybe(check.text)(summary, "summary") };
}

/** A command answers its exit code, or `{ rc, values }` with values by name. */
function completion(answer, what) {
  const { rc, values } = typeof answer === "number" ? { rc: answer } : (answer ?? {});
  return { rc: check.maybe(check.signed)(rc, what), values: check.pairs(values) };
}

/**
 * Makes what the module exports: `plugin`, and for each kind of hook an object called like it, `nextSlave`.
 *
 * The table has a member for each kind; in it one for each hook, called as configurations call it: `{ summary, schema,
 * options }` and the contract's function, which gets the arguments as an object. `schema` is a JSON Schema; without
 * one the hook takes no arguments. `capabilities` is what the plugin asks for: `[{ capability, scope, reason }]`.
 */
export function hooks(table, capabilities = []) {
  const described = [];
  const made = {};
  for (const [kind, named] of Object.entries(table)) {
    const known = KINDS[kind];
    if (!known) throw new Error(`unknown hook "${kind}"; there are ${Object.keys(KINDS).join(", ")}`);
    for (const [name, hook] of Object.entries(named)) {
      check.ensure(typeof hook[known.function] === "function", `${kind} ${name}`, `a function \`${known.function}\``, hook[known.function]);
      described.push({
        kind,
        name,
        summary: check.text(hook.summary ?? name, `summary of ${name}`),
        argsSchema: hook.schema === undefined ? null : JSON.stringify(hook.schema),
        options: check.pairs(hook.options),
      });
    }
    made[camelCase(kind)] = { [known.function]: (name, args, ...rest) => call(kind, known, named, name, args, rest) };
  }
  const asked = capabilities.map(({ capability, scope, reason }) => ({
    capability: check.text(capability, "capability"),
    scope: check.list(check.text)(scope ?? [], "scope"),
    reason: check.text(reason ?? "", "reason"),
  }));
  made.plugin = { describe: () => ({ hooks: described, capabilities: asked }) };
  return made;
}

function call(kind, known, named, name, args, rest) {
  try {
    const hook = Object.hasOwn(named, name) ? named[name] : undefined;
    if (!hook) throw new Failure("bad-argument", `this plugin has no ${kind} "${name}"`);
    const answer = hook[known.function](JSON.parse(args || "{}"), ...rest);
    // None is null for the bindings.
    return known.answer(answer, `the answer of ${name}`) ?? null;
  } catch (error) {
    throw failure(error);
  }
}

/** What was thrown, as the contract has it. */
function failure(error) {
  if (error instanceof Error && typeof error.code !== "string") {
    return { code: "exception", message: String(error), detail: error.stack || null, retryable: false };
  }
  if (typeof error?.code === "string") {
    const { code, message, detail, retryable } = error;
    return { code, message: String(message ?? ""), detail: detail ?? null, retryable: Boolean(retryable) };
  }
  return { code: "exception", message: `thrown: ${String(error)}`, detail: null, retryable: false };
}

const camelCase = (kind) => kind.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
