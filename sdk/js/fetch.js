// For a step, a change source or a reporter that was granted it: requests over HTTP. What is passed is checked, and texts
// become bytes.

import * as host from "windlass:master/fetch@0.1.0";

import * as check from "./check.js";

const content = (value, what) =>
  typeof value === "string" ? utf8(value) : check.ensure(value instanceof Uint8Array, what, "a string or a Uint8Array", value);

/**
 * Sends a request and waits for the answer, `{ status, headers, body }`: `send({ method: "POST", url, headers: { accept:
 * "text/plain" }, body, timeoutMs, maxResponse })`. The body is a text or bytes; of an answer it is bytes, 1 MiB of them
 * at the most unless `maxResponse` says otherwise. Throws a failure where there is no answer.
 */
export function send({ method = "GET", url, headers = {}, body = "", timeoutMs, maxResponse = 1024 * 1024 }) {
  return host.send({
    method: check.text(method, "method"),
    url: check.text(url, "url"),
    headers: Object.entries(headers).map(([name, value]) => [name, content(value, `headers.${name}`)]),
    body: content(body, "body"),
    timeoutMs: check.maybe(check.small)(timeoutMs, "timeoutMs") ?? null,
    maxResponse: check.small(maxResponse, "maxResponse"),
  });
}

/** The bytes of a text, for which QuickJS has no encoder. */
export function utf8(text) {
  const bytes = [];
  const more = (code, shift) => 0x80 | ((code >> shift) & 0x3f);
  for (const character of check.text(text, "text")) {
    let code = character.codePointAt(0);
    // Half a pair is no character.
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), more(code, 0));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), more(code, 6), more(code, 0));
    else bytes.push(0xf0 | (code >> 18), more(code, 12), more(code, 6), more(code, 0));
  }
  return Uint8Array.from(bytes);
}
