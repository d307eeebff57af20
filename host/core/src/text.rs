//! Texts for people: whole chains of errors, and words from outside that do nothing to a terminal.

/// An error with all that caused it: `failed to read `x`: no such file`. Errors of others may say their cause
/// themselves; that is not said again.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source()).map(ToString::to_string);
    causes.fold(error.to_string(), |said, cause| match said.ends_with(&cause) {
        true => said,
        false => format!("{said}: {cause}"),
    })
}

/// Text from outside on one line: control characters, and with them every escape sequence, become `·`.
#[must_use]
pub fn tame(text: &str) -> String {
    text.chars().map(|c| if acts(c) { '·' } else { c }).collect()
}

/// Text from outside on several lines: line ends and tabs stay, other control characters become `·`.
#[must_use]
pub fn tame_lines(text: &str) -> String {
    text.chars().map(|c| if acts(c) && c != '\n' && c != '\t' { '·' } else { c }).collect()
}

/// Whether a terminal does something at it instead of showing it: control characters, and those that turn
/// the direction of the text round them, so that it reads as something else.
#[must_use]
pub fn acts(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// Whether nothing of it is seen: what acts, and what has no width.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    acts(c) || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether a name fits a pattern, in which `*` stands for any text.
#[must_use]
pub fn is_like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_from_outside_do_not_reach_the_terminal() {
        assert_eq!(tame("a\x1b[31mred\nb"), "a·[31mred·b");
        assert_eq!(tame_lines("a\tb\x07\n"), "a\tb·\n");
        assert_eq!(tame("\u{9b}31m a\u{202e}b"), "·31m a·b");
    }

    #[test]
    fn an_error_is_shown_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to read `x`")]
        struct Outer(#[source] std::fmt::Error);
        let shown = format!("failed to read `x`: {}", std::fmt::Error);
        assert_eq!(chain(&Outer(std::fmt::Error)), shown);
        #[derive(Debug, thiserror::Error)]
        #[error("IO error: {0}")]
        struct Twice(#[source] std::fmt::Error);
        assert_eq!(chain(&Twice(std::fmt::Error)), format!("IO error: {}", std::fmt::Error));
    }

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name) in [("a", "a"), ("a*", "a"), ("*-b", "a-b"), ("a*c*e", "abcde"), ("*", "")] {
            assert!(is_like(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "ab"), ("a*b", "ac"), ("ab*ba", "aba"), ("a*c*e", "ace2")] {
            assert!(!is_like(pattern, name), "{pattern} {name}");
        }
    }
}
