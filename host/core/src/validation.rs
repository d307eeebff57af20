//! What people may write who force a build: patterns for branches, revisions and properties.

use serde::{Deserialize, Serialize};

/// The most bytes of a compiled pattern.
const MAX_COMPILED: usize = 1 << 20;

/// The patterns, which [`check`] has looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    /// Of branches.
    pub branch: String,
    /// Of revisions.
    pub revision: String,
    /// Of names of properties.
    pub property_name: String,
    /// Of values of properties that are texts; none: any.
    pub property_value: Option<String>,
}

impl Default for Validation {
    /// Buildbot's, but for values, which no shell sees here.
    fn default() -> Validation {
        Validation {
            branch: r"^[\w.+/~-]*$".to_owned(),
            revision: r"^[ \w\.\-\/]*$".to_owned(),
            property_name: r"^[\w\.\-\/\~:]*$".to_owned(),
            property_value: None,
        }
    }
}

/// What is wrong with a pattern.
pub fn check(pattern: &str) -> Result<(), String> {
    compile(pattern).map(drop)
}

/// Whether a text fits. As Buildbot's, a pattern begins at the text's beginning, and ends where it likes.
#[must_use]
pub fn fits(pattern: &str, text: &str) -> bool {
    compile(pattern).is_ok_and(|compiled| compiled.is_match(text))
}

fn compile(pattern: &str) -> Result<regex::Regex, String> {
    let why = |error: regex::Error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
        other => {
            // The last line says what is wrong; those above draw where, in the pattern as we wrap it.
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    };
    // By itself first: a `)` too many would end our own group.
    regex::Regex::new(pattern).map_err(why)?;
    regex::RegexBuilder::new(&format!("^(?:{pattern})")).size_limit(MAX_COMPILED).build().map_err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_begin_at_the_beginning_and_end_where_they_like() {
        assert!(fits("main", "main-2") && !fits("main", "the main"));
        assert!(fits("^main$", "main") && !fits("^main$", "main-2"));
        assert!(fits("a|b", "bc") && !fits("a|b", "cb"));
    }

    #[test]
    fn the_defaults_take_what_buildbot_takes() {
        let usual = Validation::default();
        assert!(fits(&usual.branch, "release/1.2+x~y") && !fits(&usual.branch, "a;b"));
        assert!(fits(&usual.revision, "0f3c v1.2") && !fits(&usual.revision, "$(x)"));
        assert!(fits(&usual.property_name, "os") && !fits(&usual.property_name, "o s"));
    }

    #[test]
    fn a_broken_pattern_is_told_in_words() {
        assert_eq!(check("^[a-z$"), Err("unclosed character class".to_owned()));
        assert!(check(r"\w{100000}").is_err());
    }
}
