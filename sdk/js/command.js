// For a command: a program with options by name, and what the command says. What is passed is checked. Functions that
// are not here are in "windlass:worker/process@0.1.0", "windlass:worker/command-host@0.1.0" and
// "windlass:worker/files@0.1.0".

import * as host from "windlass:worker/command-host@0.1.0";
import { SpawnOptions, spawn as start } from "windlass:worker/process@0.1.0";

import * as check from "./check.js";

const DELIVERY = check.word(["none", "chunks", "lines"]);

/**
 * Starts a program: `spawn(["git", "status"], { workdir, env, input, pty, maxTimeMs, idleTimeMs, teeToLog, deliver })`,
 * each of them as the contract's `spawn-options` has it, and others by their name there, `"max-lines": 1000`. The
 * child has `nextEvent(maxBytes, timeoutMs)`, `wait()`, `writeInput(bytes)`, `closeInput()` and `stop(how)`.
 */
export function spawn(argv, { workdir, env = {}, input, pty, maxTimeMs, idleTimeMs, teeToLog, deliver, ...others } = {}) {
  const options = new SpawnOptions(check.list(check.text)(argv, "argv"));
  if (workdir !== undefined) options.workdir(check.text(workdir, "workdir"));
  for (const [name, value] of Object.entries(env)) {
    options.env(name, check.maybe(check.text)(value, `env.${name}`) ?? null);
  }
  if (input !== undefined) options.input(check.bytes(input, "input"));
  if (pty) options.pty();
  if (maxTimeMs !== undefined) options.maxTimeMs(check.small(maxTimeMs, "maxTimeMs"));
  if (idleTimeMs !== undefined) options.idleTimeMs(check.small(idleTimeMs, "idleTimeMs"));
  if (teeToLog !== undefined) options.teeToLog(check.text(teeToLog, "teeToLog"));
  if (deliver !== undefined) options.deliver(DELIVERY(deliver, "deliver"));
  for (const [name, value] of Object.entries(others)) options.set(name, check.value(value));
  return start(options);
}

/** An event for the step: values by name. */
export const update = (values) => host.update(check.pairs(values));

/** Appends text to a log of the step. */
export const log = (log, text, stream = "stdout") =>
  host.logText(check.text(log, "log"), check.origin(stream, "stream"), check.text(text, "text"));

/** Waits; throws a failure with the code `interrupted` at an interrupt. */
export const sleep = (ms) => host.sleep(check.small(ms, "ms"));
