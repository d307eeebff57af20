//! What a guest may hand over: how long, how many, which numbers. What passes a bound is answered with
//! a failure whose code is in the contract, never with a trap.

use windlass_core::text::is_unseen;
use windlass_core::value::{Failure, MAX_INTEGER, Pair, Value};

/// Bytes of one text or blob.
pub(crate) const MAX_BYTES: usize = 64 * 1024;
/// Bytes of a summary.
pub(crate) const MAX_LINE: usize = 1_024;
/// Bytes of a name: of a property, log, command, variable.
const MAX_NAME: usize = 256;
/// Bytes of a path, as Linux has it.
const MAX_PATH: usize = 4096;
/// Entries of one list.
const MAX_ITEMS: usize = 4096;

type Checked<T = ()> = Result<T, Failure>;

fn bad(message: String) -> Failure {
    Failure::new("bad-argument", message)
}

fn too_large(what: &str, len: usize, limit: usize) -> Failure {
    Failure::new("too-large", format!("{what} has {len} bytes; at most {limit} are taken at a time"))
}

/// A blob.
pub(crate) fn blob(what: &str, data: &[u8]) -> Checked {
    if data.len() > MAX_BYTES { Err(too_large(what, data.len(), MAX_BYTES)) } else { Ok(()) }
}

/// A text.
pub(crate) fn text(what: &str, text: &str) -> Checked {
    blob(what, text.as_bytes())
}

/// A name: not empty, one line, no control characters.
pub(crate) fn name(what: &str, name: &str) -> Checked {
    if name.is_empty() {
        return Err(bad(format!("{what} is empty")));
    }
    if name.len() > MAX_NAME {
        return Err(too_large(what, name.len(), MAX_NAME));
    }
    if name.chars().any(char::is_control) {
        return Err(bad(format!("{what} has a control character in it: {name:?}")));
    }
    Ok(())
}

/// A path below the builder directory. Only what no path may have is refused here; the worker, which
/// opens it, is the judge of where it leads.
pub(crate) fn path(what: &str, path: &str) -> Checked {
    if path.len() > MAX_PATH {
        return Err(too_large(what, path.len(), MAX_PATH));
    }
    if path.contains('\0') {
        return Err(bad(format!("{what} has a NUL in it")));
    }
    Ok(())
}

/// The length of a list.
pub(crate) fn items<T>(what: &str, list: &[T]) -> Checked {
    if list.len() > MAX_ITEMS {
        let message = format!("{what} has {} entries; at most {MAX_ITEMS} are taken", list.len());
        return Err(Failure::new("too-large", message));
    }
    Ok(())
}

/// An id: every guest language holds it.
pub(crate) fn id(what: &str, id: u64) -> Checked {
    if id > MAX_INTEGER.cast_unsigned() { Err(bad(format!("{what} is not below 2^53"))) } else { Ok(()) }
}

/// A value.
pub(crate) fn value(what: &str, value: &Value) -> Checked {
    match value {
        Value::Null | Value::Boolean(_) => Ok(()),
        Value::Integer(i) if (-MAX_INTEGER..=MAX_INTEGER).contains(i) => Ok(()),
        Value::Integer(i) => Err(bad(format!("{what} is {i}, beyond 2^53; hand it over as json or text"))),
        Value::Number(n) if n.is_finite() => Ok(()),
        Value::Number(n) => Err(bad(format!("{what} is {n}, not a finite number"))),
        Value::Text(content) => text(what, content),
        Value::Json(content) => {
            text(what, content)?;
            serde_json::from_str::<serde::de::IgnoredAny>(content)
                .map_err(|error| bad(format!("{what} is not JSON: {error}")))?;
            Ok(())
        }
    }
}

/// Named values, 64 KiB in all.
pub(crate) fn pairs(what: &str, pairs: &[Pair]) -> Checked {
    items(what, pairs)?;
    for pair in pairs {
        name(&format!("a name in {what}"), &pair.name)?;
        value(&format!("`{}` in {what}", pair.name), &pair.value)?;
    }
    let sum = size(pairs);
    if sum > MAX_BYTES { Err(too_large(what, sum, MAX_BYTES)) } else { Ok(()) }
}

/// Bytes of named values.
pub(crate) fn size(pairs: &[Pair]) -> usize {
    let value = |value: &Value| match value {
        Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => 8,
        Value::Text(content) | Value::Json(content) => content.len(),
    };
    pairs.iter().map(|pair| pair.name.len() + value(&pair.value)).sum()
}

/// A link that people will click: nothing that a browser would run.
pub(crate) fn link(what: &str, url: &str) -> Checked {
    path(what, url)?;
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    if !(lower.starts_with("http://") || lower.starts_with("https://")) {
        return Err(bad(format!("{what} does not begin with `https://` or `http://`")));
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(bad(format!("{what} has a space or a control character in it")));
    }
    Ok(())
}

/// One line for people: without control characters, which would move a cursor or end the line, and
/// without those that turn the direction of text round; cut at `limit` bytes.
pub(crate) fn line(text: &str, limit: usize) -> String {
    cut(text, limit).chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect()
}

/// A text with what acts on a terminal written out.
pub(crate) fn visible(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// A text of a guest as messages repeat it: short, and without what acts on a terminal.
pub(crate) fn quoted(text: &str) -> String {
    let short = cut(text, 64);
    let shown = visible(short);
    if short.len() < text.len() { format!("`{shown}...`") } else { format!("`{shown}`") }
}

/// Text cut at 64 KiB, for functions that cannot answer a failure.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(checked: Checked<T>) -> Option<String> {
        checked.err().map(|failure| failure.code)
    }

    #[test]
    fn what_passes_a_bound_is_answered_by_its_code() {
        let bad = Some("bad-argument".to_owned());
        let large = Some("too-large".to_owned());
        assert_eq!(code(name("a log's name", "stdio")), None);
        assert_eq!(code(name("a log's name", "")), bad);
        assert_eq!(code(name("a log's name", "a\nb")), bad);
        assert_eq!(code(name("a log's name", &"x".repeat(257))), large);
        assert_eq!(code(blob("a chunk", &[0; 65_536])), None);
        assert_eq!(code(blob("a chunk", &[0; 65_537])), large);
        assert_eq!(code(path("a path", "a\0b")), bad);
        assert_eq!(code(id("a buildset", 1 << 53)), bad);
        assert_eq!(code(value("x", &Value::Integer(MAX_INTEGER))), None);
        assert_eq!(code(value("x", &Value::Integer(MAX_INTEGER + 1))), bad);
        assert_eq!(code(value("x", &Value::Number(f64::NAN))), bad);
        assert_eq!(code(value("x", &Value::Json("{\"a\": [1]}".to_owned()))), None);
        assert_eq!(code(value("x", &Value::Json("{a}".to_owned()))), bad);
    }

    #[test]
    fn values_are_summed() {
        let half = |name: &str| Pair { name: name.to_owned(), value: Value::Text("x".repeat(40_000)) };
        assert_eq!(code(pairs("an update", &[half("a")])), None);
        assert_eq!(code(pairs("an update", &[half("a"), half("b")])).as_deref(), Some("too-large"));
    }

    #[test]
    fn links_lead_somewhere_and_run_nothing() {
        assert_eq!(code(link("a link", "HTTPS://example.org/1?a=b")), None);
        let bad = Some("bad-argument".to_owned());
        for url in
            ["javascript:alert(1)", "data:text/html,x", "//example.org", "", "http://a\nb", "http://a b"]
        {
            assert_eq!(code(link("a link", url)), bad, "{url}");
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_and_not_done() {
        assert_eq!(quoted("a\x1b[2Jb\u{202e}"), "`a\\u{1b}[2Jb\\u{202e}`");
        assert_eq!(quoted(&"x".repeat(100)), format!("`{}...`", "x".repeat(64)));
        assert_eq!(line("done\r\n\x1b[31mred", 99), "done   [31mred");
        assert_eq!(line("done", 2), "do");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("ab", 8), "ab");
    }
}
