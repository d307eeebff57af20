//! Templates in arguments: Buildbot's `Interpolate`, as data.
//!
//! | text | becomes |
//! |---|---|
//! | `%(prop:NAME)s` | the property; nothing if it is not set |
//! | `%(src:CODEBASE:ATTRIBUTE)s` | `branch`, `revision`, `repository`, `project` or `codebase` of the stamp; `%(src::branch)s` for the codebase without a name |
//! | `%(worker:NAME)s` | what the worker says of itself (`name`, `os`, `arch` …), and its own properties |
//! | `%(secret:NAME)s` | the placeholder of the secret, see [`crate::secret`]; it takes none of the forms below |
//! | `%(kw:NAME)s` | what stands beside the text, in a table with `interpolate` |
//! | `…:-TEXT)s` | TEXT instead, if it is not set |
//! | `…:~TEXT)s` | TEXT instead, if it is not set, empty, zero or false |
//! | `…:+TEXT)s` | TEXT, if it is set; nothing otherwise |
//! | `…:?\|A\|B)s`, `…:#?\|A\|B)s` | A if it is set (`#`: and not empty, zero or false), otherwise B; any character divides |
//! | `%%` | `%`, beside a lookup only |
//!
//! TEXT, A and B are templates again. A text without `%(` is no template and stays exactly as it is,
//! so that `date +%s` and `printf '%d%%'` need no care. Two tables stand for a value, wherever a text may be a
//! template: `{ interpolate = "…", kw = { … } }` and `{ renderer = "plugin:hook", args = { … } }`; see
//! [`document`]. Deliberately absent: positional `%s`.
//!
//! - [`template`]: one text
//! - [`document`]: all texts of a JSON document, and what components compute for it

pub mod document;
pub mod template;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use document::{
    Ask, Rendered, needs_rendering, render_document, render_value, renderers_of_json, secrets_of_json,
};
pub use template::{Template, is_template, render, secrets_of};

use crate::change::SourceStamp;
use crate::properties::{self, Properties};
use crate::secret::{self, Placeholders};

/// What a template can look up.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Answers `prop`.
    pub properties: &'a Properties,
    /// Answer `src`, by codebase.
    pub stamps: &'a [SourceStamp],
    /// Answers `worker`.
    pub worker: &'a Properties,
    /// Answer `secret`.
    pub secrets: &'a Placeholders,
}

impl<'a> From<&'a Properties> for Scope<'a> {
    fn from(properties: &'a Properties) -> Scope<'a> {
        Scope { properties, stamps: &[], worker: &properties::NONE, secrets: &secret::NONE }
    }
}

/// How deep templates may stand in each other: a guest may hand over any text, and each level is a
/// recursion on its stack.
pub const MAX_NESTING: usize = 16;

/// Bytes that a template, or all those of one document, may come to.
pub const MAX_RENDERED: usize = 1024 * 1024;

/// How often components may be asked for one document.
pub const MAX_ASKS: usize = 100;

/// A text is no template, or a document could not be rendered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{}", self.whereabouts())]
pub struct RenderError {
    /// What is wrong.
    pub problem: Problem,
    /// Which text of a document, like `env.PATH` or `command[2]`; empty where there is only one.
    pub at: String,
    /// Where in that text, in bytes. Empty where it is about the text as a whole.
    pub span: Range<usize>,
    /// Where it begins, in characters, from 1; 0 where it is about the text as a whole.
    pub character: usize,
}

impl RenderError {
    fn new(problem: Problem, span: Range<usize>) -> RenderError {
        RenderError { problem, at: String::new(), span, character: 0 }
    }

    /// About a whole text.
    fn of_all(problem: Problem) -> RenderError {
        RenderError::new(problem, 0..0)
    }

    /// Says in which text the place is.
    fn in_text(mut self, text: &str) -> RenderError {
        if !self.span.is_empty() && self.character == 0 {
            self.character = text.get(..self.span.start).map_or(0, |before| before.chars().count() + 1);
        }
        self
    }

    /// Says in which part of a document the text is.
    fn below(mut self, key: &str) -> RenderError {
        let divider = if self.at.is_empty() || self.at.starts_with('[') { "" } else { "." };
        self.at = format!("{key}{divider}{}", self.at);
        self
    }

    fn whereabouts(&self) -> String {
        match (self.at.as_str(), self.character) {
            ("", 0) => String::new(),
            ("", character) => format!(", at character {character}"),
            (at, 0) => format!(", at `{at}`"),
            (at, character) => format!(", at `{at}`, character {character}"),
        }
    }
}

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A `%(` without its `)s`.
    #[error("`%({0}` is not closed by `)s`")]
    Unclosed(String),
    /// The first word is none of the known ones.
    #[error("`{0}` cannot be looked up in a template; `prop`, `src`, `worker`, `secret` and `kw` can")]
    Selector(String),
    /// A lookup without the name of what it looks up.
    #[error(
        "`%({0})s` names nothing; write `%(prop:NAME)s`, `%(src:CODEBASE:ATTRIBUTE)s`, `%(worker:NAME)s`, \
         `%(secret:NAME)s` or `%(kw:NAME)s`"
    )]
    Nameless(String),
    /// A secret is always there, or the configuration is refused.
    #[error(
        "`%(secret:{0})s` is no secret's name; nothing may follow the name, since a secret is always set"
    )]
    SecretName(String),
    /// The build's builder does not list it.
    #[error("the secret `{0}` is not among the `secrets` of this builder")]
    SecretDenied(String),
    /// A source stamp has no such attribute.
    #[error(
        "a source stamp has no `{0}`; it has `branch`, `revision`, `repository`, `project` and `codebase`"
    )]
    Attribute(String),
    /// What follows the name is none of the known forms.
    #[error("`:{0}` after a name is not understood; `:-`, `:~`, `:+`, `:?` and `:#?` are")]
    Form(String),
    /// `:?` needs two alternatives.
    #[error("`:?{0}` does not hold two alternatives, like `:?|yes|no`")]
    Alternatives(String),
    /// `kw` where there is none.
    #[error("there is no `{0}` in `kw`; write the text as `{{ interpolate = \"…\", kw = {{ {0} = … }} }}`")]
    Keyword(String),
    /// Templates within templates within templates.
    #[error("templates stand in each other more than {MAX_NESTING} deep")]
    Nested,
    /// Properties are long, and named often.
    #[error("what is rendered is longer than {MAX_RENDERED} bytes")]
    TooLarge,
    /// Each asks a component.
    #[error("components would be asked more than {MAX_ASKS} times")]
    TooMany,
    /// The arguments are not JSON.
    #[error("failed to parse them as JSON: {0}")]
    Json(String),
}
