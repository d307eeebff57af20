// For a build step: the step in progress. What is passed is checked, and JavaScript's own values stand where the
// contract has variants. Functions that are not here are in "windlass:master/step-host@0.1.0".

import * as host from "windlass:master/step-host@0.1.0";

import * as check from "./check.js";

/** A property of the build; null if there is none. */
export const getProperty = (name) => check.plain(host.getProperty(check.text(name, "name")));

/** All properties of the build, by name. */
export const properties = () => check.object(host.properties());

/** Sets a property of the build. */
export const setProperty = (name, value) => host.setProperty(check.text(name, "name"), check.value(value));

/** Expands `%(prop:branch)s`-style text. */
export const render = (template) => host.render(check.text(template, "template"));

/** What is built, the build, its changes. */
export const sourceStamps = () => host.sourceStamps();
export const build = () => host.build();
export const changes = () => host.changes();

/** Steps to run after this one, each an object as the configuration writes a step. */
export const addSteps = (steps) => host.addSteps(steps.map((step) => JSON.stringify(step)));

/** One line about how it goes; the last one stays. */
export const summary = (text) => host.summary(check.text(text, "text"));

/** A link on the step. */
export const addUrl = (name, url) => host.addUrl(check.text(name, "name"), check.text(url, "url"));

/** Appends text to a log of this step. */
export const log = (log, text, stream = "stdout") =>
  host.logText(check.text(log, "log"), check.origin(stream, "stream"), check.text(text, "text"));

/** A figure of the step. */
export const setStatistic = (name, value) => host.setStatistic(check.text(name, "name"), check.finite(value, "value"));

/** Lines of any log of this build. */
export const readLog = (step, log, firstLine = 0, maxLines = 1000) =>
  host.readLog(check.text(step, "step"), check.text(log, "log"), check.whole(firstLine, "firstLine"), check.small(maxLines, "maxLines"));

/** The version that the worker has of a command; null if it has none. */
export const workerSupports = (command) => host.workerSupports(check.text(command, "command"));

/** Starts a command on the worker: its number. `observe` names the logs whose lines come as events. */
export const startCommand = (command, args = {}, observe = []) =>
  host.startCommand(check.text(command, "command"), JSON.stringify(args), check.list(check.text)(observe, "observe"));

/** Asks a command to stop. */
export const interruptCommand = (command, reason) =>
  host.interruptCommand(check.small(command, "command"), check.text(reason, "reason"));

/** Waits until a command has ended: `{ rc, values }`, with values by name. Throws a failure where it gave none. */
export const wait = (command) => completion(host.wait(check.small(command, "command")));

/** Runs a command and waits for it. */
export const run = (command, args) => wait(startCommand(command, args));

/**
 * The next event: `{ tag: "lines" | "update" | "done" | "timer" | "interrupt" | "idle" ..., val }`. Updates and ends of
 * commands have their values by name; the `how` of an end is a completion, or `{ failure }`.
 */
export function nextEvent(timeoutMs) {
  const event = host.nextEvent(check.maybe(check.small)(timeoutMs, "timeoutMs") ?? null);
  switch (event.tag) {
    case "update":
      return { tag: event.tag, val: { command: event.val.command, values: check.object(event.val.values) } };
    case "done":
    case "process-done": {
      const { how, ...whose } = event.val;
      return { tag: event.tag, val: { ...whose, how: how.tag === "ok" ? completion(how.val) : { failure: how.val } } };
    }
    default:
      return event;
  }
}

/** Waits; throws a failure with the code `interrupted` at an interrupt. */
export const sleep = (ms) => host.sleep(check.small(ms, "ms"));

/** Starts a timer that fires once, as an event: its number. */
export const setTimer = (afterMs) => host.setTimer(check.small(afterMs, "afterMs"));

/** No event comes of that timer any more. */
export const cancelTimer = (timer) => host.cancelTimer(check.small(timer, "timer"));

const completion = ({ rc, values }) => ({ rc, values: check.object(values) });
