//! A text as tokens, each with its place.

use std::ops::Range;

use super::Error;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Integer(u64),
    Double(f64),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")",
    "[", "]", "{", "}",
];

/// The tokens of a text; the last one is its end.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, Error> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (token, len) = match first {
            '"' | '\'' => quoted(text, at, at)?,
            'r' | 'R' if rest[1..].starts_with(['"', '\'']) => quoted(text, at, at + 1)?,
            'b' | 'B' if rest[1..].starts_with(['"', '\'']) => {
                return Err(Error::new(&(at..at + 1), "bytes are not supported; write a text"));
            }
            '0'..='9' => number(text, at)?,
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(text, at)?,
            '_' | 'a'..='z' | 'A'..='Z' => {
                let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Token::Name(rest[..len].to_owned()), len)
            }
            other => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => {
                    let hint = match other {
                        '=' => "; write `==` to compare",
                        '&' => "; write `&&`",
                        '|' => "; write `||`",
                        _ => "",
                    };
                    let span = at..at + other.len_utf8();
                    return Err(Error::new(&span, format!("`{other}` means nothing here{hint}")));
                }
            },
        };
        found.push((token, at..at + len));
        at += len;
    }
    found.push((Token::End, at..at));
    Ok(found)
}

/// A text in quotes that begins at `at`, with its first quote at `quote`.
fn quoted(text: &str, at: usize, quote: usize) -> Result<(Token, usize), Error> {
    let is_raw = quote > at;
    let mark = &text[quote..=quote];
    let triple = mark.repeat(3);
    let end = if text[quote..].starts_with(&triple) { triple.as_str() } else { mark };
    let mut out = String::new();
    let mut now = quote + end.len();
    loop {
        let rest = &text[now..];
        if rest.starts_with(end) {
            return Ok((Token::Text(out), now + end.len() - at));
        }
        let Some(next) = rest.chars().next().filter(|next| *next != '\n' || end.len() == 3) else {
            return Err(Error::new(&(at..quote + 1), format!("this text does not end; {end} ends it")));
        };
        if next == '\\' && !is_raw {
            let (meant, len) = escape(text, now)?;
            out.push(meant);
            now += len;
        } else {
            out.push(next);
            now += next.len_utf8();
        }
    }
}

/// What the backslash at `at` means, and how long that is.
fn escape(text: &str, at: usize) -> Result<(char, usize), Error> {
    let rest = &text[at + 1..];
    let refused = |len: usize| {
        let end = at + rest.char_indices().nth(len).map_or(rest.len(), |(n, _)| n) + 1;
        Error::new(&(at..end), format!("`{}` is no escape", &text[at..end]))
    };
    let first = rest.chars().next().ok_or_else(|| refused(0))?;
    let code = |from: usize, len: usize, radix: u32| {
        let digits =
            rest.get(from..from + len).filter(|digits| digits.bytes().all(|b| b.is_ascii_alphanumeric()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, radix).ok());
        let meant = code.and_then(char::from_u32).ok_or_else(|| refused(from + len))?;
        Ok((meant, 1 + from + len))
    };
    let one = |meant: char| Ok((meant, 2));
    match first {
        'a' => one('\x07'),
        'b' => one('\x08'),
        'f' => one('\x0c'),
        'n' => one('\n'),
        'r' => one('\r'),
        't' => one('\t'),
        'v' => one('\x0b'),
        '\\' | '\'' | '"' | '`' | '?' => one(first),
        'x' | 'X' => code(1, 2, 16),
        'u' => code(1, 4, 16),
        'U' => code(1, 8, 16),
        '0'..='3' => code(0, 3, 8),
        _ => Err(refused(1)),
    }
}

fn number(text: &str, at: usize) -> Result<(Token, usize), Error> {
    let rest = &text[at..];
    let digits =
        |from: usize| from + rest[from..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - from);
    let (token, len) = if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let len = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        (u64::from_str_radix(&hex[..len], 16).ok().map(Token::Integer), len + 2)
    } else {
        let mut end = digits(0);
        let mut is_double = false;
        if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            (end, is_double) = (digits(end + 1), true);
        }
        if rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            let exponent = digits(end + 1 + sign);
            if exponent > end + 1 + sign {
                (end, is_double) = (exponent, true);
            }
        }
        let number = &rest[..end];
        let token = match is_double {
            true => number.parse().ok().filter(|n: &f64| n.is_finite()).map(Token::Double),
            false => number.parse().ok().map(Token::Integer),
        };
        (token, end)
    };
    let span = at..at + len;
    match rest[len..].chars().next() {
        Some('u' | 'U') => Err(Error::new(&span, "unsigned integers are not supported; leave the `u` out")),
        Some(c) if c.is_ascii_alphanumeric() || c == '_' => {
            Err(Error::new(&(at..at + len + 1), "this is no number"))
        }
        Some(_) | None => match token {
            Some(token) => Ok((token, len)),
            None => Err(Error::new(&span, "this is no number, or one that is too large")),
        },
    }
}
