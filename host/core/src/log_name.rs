//! How a log of a step may be called: names stand in URLs and on command lines, and are compared.

use crate::value::Failure;

/// The most characters of a name.
pub const MAX: usize = 100;

/// Checks a name.
pub fn check(name: &str) -> Result<(), Failure> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    if name.is_empty() || name.len() > MAX || name.starts_with('.') || !name.chars().all(allowed) {
        let message = format!(
            "`{}` cannot name a log: up to {MAX} letters, digits, `.`, `_`, `-` and `+`, no `.` in front",
            name.chars().take(MAX).collect::<String>().escape_default()
        );
        return Err(Failure::new("bad-argument", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As schemas of arguments say it.
    const PATTERN: &str = "^[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,99}$";

    #[test]
    fn a_name_stands_in_a_url_and_on_a_command_line() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        let long = "x".repeat(MAX);
        let too_long = "x".repeat(MAX + 1);
        for (name, fits) in [
            ("stdio", true),
            ("test.log", true),
            ("a", true),
            ("-_+.", true),
            (long.as_str(), true),
            ("", false),
            (".hidden", false),
            ("my log", false),
            ("a/b", false),
            ("größe", false),
            ("a\n", false),
            (too_long.as_str(), false),
        ] {
            assert_eq!(check(name).is_ok(), fits, "{name}");
            assert_eq!(pattern.is_match(name), fits, "{name}");
        }
        assert!(check("a\u{1b}").unwrap_err().message.starts_with("`a\\u{1b}` cannot name a log: "));
    }
}
