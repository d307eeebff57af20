// Checks before a value crosses into the host. QuickJS's bindings end the whole call, with no word said, where a
// value is not of the type that the contract wants (5n, -1 or undefined for a number without sign, 5 for a text);
// here that is an Error with a message, which can be caught.

/** An Error if `ok` is false. */
export function ensure(ok, what, wanted, got) {
  if (!ok) throw new TypeError(`${what}: expected ${wanted}, got ${show(got)}`);
  return got;
}

/** A text. */
export const text = (value, what) => ensure(typeof value === "string", what, "a string", value);

/** A whole number without sign, exact in JavaScript. */
export const whole = (value, what) =>
  ensure(Number.isSafeInteger(value) && value >= 0, what, "a whole number from 0 to 2^53 - 1", value);

/** A whole number of at most 32 bits, without sign. */
export const small = (value, what) =>
  ensure(Number.isInteger(value) && value >= 0 && value < 2 ** 32, what, "a whole number from 0 to 2^32 - 1", value);

/** A whole number of at most 32 bits. */
export const signed = (value, what) =>
  ensure(Number.isInteger(value) && Math.abs(value) < 2 ** 31, what, "a whole number of 32 bits", value);

/** True or false. */
export const flag = (value, what) => ensure(typeof value === "boolean", what, "true or false", value);

/** A number. */
export const finite = (value, what) => ensure(Number.isFinite(value), what, "a finite number", value);

/** One of these words. */
export const word = (words) => (value, what) => ensure(words.includes(value), what, `one of ${words.join(", ")}`, value);

/** Bytes, up to 64 KiB. */
export const bytes = (value, what) => ensure(value instanceof Uint8Array, what, "a Uint8Array", value);

/** Nothing, or what `check` wants. */
export const maybe = (check) => (value, what) =>
  value === undefined || value === null ? undefined : check(value, what);

/** A list of what `check` wants. */
export const list = (check) => (value, what) =>
  ensure(Array.isArray(value), what, "an array", value).map((item, at) => check(item, `${what}[${at}]`));

/** An object with these members. */
export const record = (checks) => (value, what) => {
  ensure(typeof value === "object" && value !== null, what, "an object", value);
  const made = {};
  for (const name of Object.keys(checks)) made[name] = checks[name](value[name], `${what}.${name}`);
  return made;
};

/** How a step, a build or a buildset ended. */
export const outcome = word(["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]);

/** Which stream a piece of a log came from. */
export const origin = word(["stdout", "stderr", "header"]);

/** A value of the contract from one of JavaScript: what is nested travels as JSON. */
export function value(plain) {
  if (plain === undefined || plain === null) return { tag: "null" };
  switch (typeof plain) {
    case "boolean":
      return { tag: "boolean", val: plain };
    case "number":
      if (Number.isSafeInteger(plain)) return { tag: "integer", val: plain };
      return { tag: "number", val: finite(plain, "a value") };
    case "string":
      return { tag: "text", val: plain };
    case "object":
      return { tag: "json", val: JSON.stringify(plain) };
    default:
      throw new TypeError(`${show(plain)} cannot be a value`);
  }
}

/** A value of JavaScript from one of the contract; null for none. */
export function plain(value) {
  if (value === undefined || value === null || value.tag === "null") return null;
  return value.tag === "json" ? JSON.parse(value.val) : value.val;
}

/** Named values, from the members of an object. */
export const pairs = (object) => Object.entries(object ?? {}).map(([name, of]) => ({ name, value: value(of) }));

/** An object, from named values. */
export const object = (pairs) => Object.fromEntries(pairs.map((pair) => [pair.name, plain(pair.value)]));

function show(value) {
  const shown = typeof value === "bigint" ? `${value}n` : typeof value === "string" ? JSON.stringify(value) : String(value);
  return shown.length > 60 ? `${shown.slice(0, 60)}...` : shown;
}
