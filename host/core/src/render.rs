//! Templates in arguments: Buildbot's `Interpolate`, the part of it that is plain data.
//!
//! | text | becomes |
//! |---|---|
//! | `%(prop:NAME)s` | the property; nothing if it is not set |
//! | `%(src:CODEBASE:ATTRIBUTE)s` | `branch`, `revision`, `repository`, `project` or `codebase` of the stamp; `%(src::branch)s` for the codebase without a name |
//! | `%(secret:NAME)s` | the placeholder of the secret, see [`crate::secret`]; it takes none of the forms below |
//! | `…:-TEXT)s` | TEXT instead, if it is not set |
//! | `…:~TEXT)s` | TEXT instead, if it is not set, empty, zero or false |
//! | `…:+TEXT)s` | TEXT, if it is set; nothing otherwise |
//! | `…:?\|A\|B)s`, `…:#?\|A\|B)s` | A if it is set (`#`: and not empty, zero or false), otherwise B; any character divides |
//! | `%%` | `%`, beside a lookup only |
//!
//! TEXT, A and B are templates again. A text without `%(` is no template and stays exactly as it is,
//! so that `date +%s` and `printf '%d%%'` need no care. Deliberately absent: `kw` (the configuration
//! is data) and positional `%s`; `worker` comes with worker information.

use std::collections::BTreeSet;

use crate::change::SourceStamp;
use crate::properties::Properties;
use crate::secret::{self, Placeholders};
use crate::value::Value;

/// What a template can look up.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Answers `prop`.
    pub properties: &'a Properties,
    /// Answer `src`, by codebase.
    pub stamps: &'a [SourceStamp],
    /// Answer `secret`.
    pub secrets: &'a Placeholders,
}

impl<'a> From<&'a Properties> for Scope<'a> {
    fn from(properties: &'a Properties) -> Scope<'a> {
        Scope { properties, stamps: &[], secrets: &secret::NONE }
    }
}

/// How deep templates may stand in each other: a guest may hand over any text, and each level is a
/// recursion on its stack.
const MAX_NESTING: usize = 16;

/// Bytes that a template, or all those of one document, may come to.
const MAX_RENDERED: usize = 1024 * 1024;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// Why a text is no template, or a document could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A `%(` without its `)s`.
    #[error("`%({0}` is not closed by `)s`")]
    Unclosed(String),
    /// The first word is none of the known ones.
    #[error("`{0}` cannot be looked up in a template; `prop`, `src` and `secret` can")]
    Selector(String),
    /// A lookup without the name of what it looks up.
    #[error(
        "`%({0})s` names nothing; write `%(prop:NAME)s`, `%(src:CODEBASE:ATTRIBUTE)s` or `%(secret:NAME)s`"
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
    /// Templates within templates within templates.
    #[error("templates stand in each other more than {MAX_NESTING} deep")]
    Nested,
    /// Properties are long, and named often.
    #[error("what is rendered is longer than {MAX_RENDERED} bytes")]
    TooLarge,
    /// The arguments are not JSON.
    #[error("failed to parse arguments as JSON")]
    Json(#[source] serde_json::Error),
}

/// Whether a text is a template.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("%(")
}

/// The secrets that a text names; none in one that is no template.
#[must_use]
pub fn secrets_of(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Ok(template) = Template::parse(text) {
        template.secrets(&mut names);
    }
    names
}

/// The secrets that the texts of a JSON document name.
#[must_use]
pub fn secrets_of_json(json: &serde_json::Value) -> BTreeSet<String> {
    match json {
        serde_json::Value::String(text) => secrets_of(text),
        serde_json::Value::Array(items) => items.iter().flat_map(secrets_of_json).collect(),
        serde_json::Value::Object(entries) => entries.values().flat_map(secrets_of_json).collect(),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            BTreeSet::new()
        }
    }
}

/// Renders a text; one without `%(` comes back as it is.
pub fn render<'a>(text: &str, scope: impl Into<Scope<'a>>) -> Result<String, RenderError> {
    if !is_template(text) {
        return Ok(text.to_owned());
    }
    Template::parse(text)?.render(scope.into(), &mut { MAX_RENDERED })
}

/// Renders every text in a JSON document. A text that is one lookup and nothing else becomes the
/// property's own JSON, so that a number stays a number and a list a list.
pub fn render_json<'a>(args: &str, scope: impl Into<Scope<'a>>) -> Result<String, RenderError> {
    if !is_template(args) {
        return Ok(args.to_owned());
    }
    let mut json = serde_json::from_str(args).map_err(RenderError::Json)?;
    render_leaves(&mut json, scope.into(), &mut { MAX_RENDERED })?;
    Ok(json.to_string())
}

fn render_leaves(
    json: &mut serde_json::Value,
    scope: Scope<'_>,
    room: &mut usize,
) -> Result<(), RenderError> {
    match json {
        serde_json::Value::String(text) if is_template(text) => {
            *json = Template::parse(text)?.render_value(scope, room)?;
        }
        serde_json::Value::Array(items) => {
            for item in items {
                render_leaves(item, scope, room)?;
            }
        }
        serde_json::Value::Object(entries) => {
            for (_, entry) in entries {
                render_leaves(entry, scope, room)?;
            }
        }
        serde_json::Value::String(_)
        | serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_) => {}
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Lookup { what: What, form: Form },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Property(String),
    Secret(String),
    Stamp { codebase: String, attribute: Attribute },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Branch,
    Revision,
    Repository,
    Project,
    Codebase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    IfUnset(Template),
    IfFalse(Template),
    IfSet(Template),
    Choose { set_is_enough: bool, yes: Template, no: Template },
}

impl Template {
    /// Parses a text. Any text without `%(` is a template of itself.
    pub fn parse(text: &str) -> Result<Template, RenderError> {
        Template::parse_at(text, 0)
    }

    fn parse_at(text: &str, depth: usize) -> Result<Template, RenderError> {
        if !is_template(text) {
            return Ok(Template { parts: vec![Part::Text(text.to_owned())] });
        }
        if depth == MAX_NESTING {
            return Err(RenderError::Nested);
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            plain.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(inside) = after.strip_prefix('(') {
                let end = closing(inside).ok_or_else(|| RenderError::Unclosed(inside.to_owned()))?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(parse_lookup(&inside[..end], depth + 1)?);
                rest = &inside[end + ")s".len()..];
            } else {
                // `%%` is one percent sign, and so is one before anything else.
                plain.push('%');
                rest = after.strip_prefix('%').unwrap_or(after);
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template { parts })
    }

    /// The names of the secrets that it may look up, in whatever branch.
    fn secrets(&self, names: &mut BTreeSet<String>) {
        for part in &self.parts {
            let Part::Lookup { what, form } = part else { continue };
            if let What::Secret(name) = what {
                names.insert(name.clone());
            }
            match form {
                Form::Plain => {}
                Form::IfUnset(text) | Form::IfFalse(text) | Form::IfSet(text) => text.secrets(names),
                Form::Choose { yes, no, .. } => {
                    yes.secrets(names);
                    no.secrets(names);
                }
            }
        }
    }

    /// The text; it takes its length from `room`.
    fn render(&self, scope: Scope<'_>, room: &mut usize) -> Result<String, RenderError> {
        let mut whole = String::new();
        for part in &self.parts {
            // The room is asked before the copy is made, and never more than one value is beyond it.
            let text = part.render(scope, room)?.to_text();
            *room = room.checked_sub(text.len()).ok_or(RenderError::TooLarge)?;
            whole.push_str(&text);
        }
        Ok(whole)
    }

    /// The property itself if the template is one lookup and nothing else, or the text.
    fn render_value(&self, scope: Scope<'_>, room: &mut usize) -> Result<serde_json::Value, RenderError> {
        let [one] = self.parts.as_slice() else {
            return self.render(scope, room).map(serde_json::Value::String);
        };
        let value = one.render(scope, room)?;
        let len = match &value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => 0,
        };
        *room = room.checked_sub(len).ok_or(RenderError::TooLarge)?;
        Ok(match value {
            // Unset is the empty text, as within a longer text.
            Value::Null => serde_json::Value::String(String::new()),
            value => value.to_json(),
        })
    }
}

/// Where the parenthesis that is already open closes, in front of an `s`.
fn closing(inside: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, character) in inside.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            ')' => return inside[at..].starts_with(")s").then_some(at),
            _ => {}
        }
    }
    None
}

fn parse_lookup(inside: &str, depth: usize) -> Result<Part, RenderError> {
    let nameless = || RenderError::Nameless(inside.to_owned());
    let (selector, rest) = inside.split_once(':').unwrap_or((inside, ""));
    let (what, form) = match selector {
        "prop" => {
            let (name, form) = split_name(rest);
            (What::Property(name.to_owned()), form)
        }
        "src" => {
            let (codebase, rest) = rest.split_once(':').ok_or_else(nameless)?;
            let (attribute, form) = split_name(rest);
            (What::Stamp { codebase: codebase.to_owned(), attribute: Attribute::parse(attribute)? }, form)
        }
        "secret" if rest.is_empty() => return Err(nameless()),
        "secret" if !secret::is_name(rest) => return Err(RenderError::SecretName(rest.to_owned())),
        "secret" => (What::Secret(rest.to_owned()), None),
        other => return Err(RenderError::Selector(other.to_owned())),
    };
    match what {
        What::Property(name) if name.is_empty() => Err(nameless()),
        what => Ok(Part::Lookup { what, form: Form::parse(form, depth)? }),
    }
}

/// A name, and what follows its colon.
fn split_name(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(name, form)| (name, Some(form)))
}

impl Attribute {
    fn parse(name: &str) -> Result<Attribute, RenderError> {
        match name {
            "branch" => Ok(Attribute::Branch),
            "revision" => Ok(Attribute::Revision),
            "repository" => Ok(Attribute::Repository),
            "project" => Ok(Attribute::Project),
            "codebase" => Ok(Attribute::Codebase),
            other => Err(RenderError::Attribute(other.to_owned())),
        }
    }

    fn of(self, stamp: &SourceStamp) -> Value {
        match self {
            Attribute::Branch => stamp.branch.as_deref().map_or(Value::Null, Value::from),
            Attribute::Revision => stamp.revision.as_deref().map_or(Value::Null, Value::from),
            Attribute::Repository => stamp.repository.as_str().into(),
            Attribute::Project => stamp.project.as_str().into(),
            Attribute::Codebase => stamp.codebase.as_str().into(),
        }
    }
}

impl Form {
    fn parse(form: Option<&str>, depth: usize) -> Result<Form, RenderError> {
        let Some(form) = form else { return Ok(Form::Plain) };
        if let Some(text) = form.strip_prefix('-') {
            return Ok(Form::IfUnset(Template::parse_at(text, depth)?));
        }
        if let Some(text) = form.strip_prefix('~') {
            return Ok(Form::IfFalse(Template::parse_at(text, depth)?));
        }
        if let Some(text) = form.strip_prefix('+') {
            return Ok(Form::IfSet(Template::parse_at(text, depth)?));
        }
        let (set_is_enough, alternatives) = match (form.strip_prefix('?'), form.strip_prefix("#?")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(RenderError::Form(form.to_owned())),
        };
        let refused = || RenderError::Alternatives(alternatives.to_owned());
        let divider = alternatives.chars().next().ok_or_else(refused)?;
        let (yes, no) = alternatives[divider.len_utf8()..].split_once(divider).ok_or_else(refused)?;
        let (yes, no) = (Template::parse_at(yes, depth)?, Template::parse_at(no, depth)?);
        Ok(Form::Choose { set_is_enough, yes, no })
    }
}

impl Part {
    fn render(&self, scope: Scope<'_>, room: &mut usize) -> Result<Value, RenderError> {
        let (what, form) = match self {
            Part::Text(text) => return Ok(Value::Text(text.clone())),
            Part::Lookup { what, form } => (what, form),
        };
        let value = match what {
            What::Property(name) => scope.properties.get(name).cloned(),
            What::Secret(name) => match scope.secrets.get(name) {
                Some(placeholder) => Some(placeholder.into()),
                None => return Err(RenderError::SecretDenied(name.clone())),
            },
            What::Stamp { codebase, attribute } => {
                scope.stamps.iter().find(|stamp| stamp.codebase == *codebase).map(|s| attribute.of(s))
            }
        };
        let value = value.unwrap_or(Value::Null);
        let set = value != Value::Null;
        let mut text = |template: &Template| template.render(scope, room).map(Value::Text);
        match form {
            Form::Plain => Ok(value),
            Form::IfUnset(template) => {
                if set {
                    Ok(value)
                } else {
                    text(template)
                }
            }
            Form::IfFalse(template) => {
                if is_true(&value) {
                    Ok(value)
                } else {
                    text(template)
                }
            }
            Form::IfSet(template) => {
                if set {
                    text(template)
                } else {
                    Ok(Value::Null)
                }
            }
            Form::Choose { set_is_enough, yes, no } => {
                let chosen = if *set_is_enough { set } else { is_true(&value) };
                text(if chosen { yes } else { no })
            }
        }
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Boolean(b) => *b,
        Value::Integer(i) => *i != 0,
        Value::Number(n) => *n != 0.0,
        Value::Text(text) => !text.is_empty(),
        Value::Json(text) => !matches!(text.as_str(), "[]" | "{}" | "null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> Properties {
        let mut properties = Properties::default();
        for (name, value) in [
            ("branch", Value::from("main")),
            ("jobs", Value::Integer(4)),
            ("empty", Value::from("")),
            ("zero", Value::Integer(0)),
            ("list", Value::Json("[1,2]".into())),
            ("null", Value::Null),
        ] {
            properties.set(name, value, "test");
        }
        properties
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let stamp = SourceStamp {
            repository: "https://example.org/r.git".into(),
            branch: Some("dev".into()),
            ..SourceStamp::default()
        };
        let lib = SourceStamp { codebase: "lib".into(), revision: Some("abc".into()), ..stamp.clone() };
        let properties = properties();
        let scope = Scope { stamps: &[stamp, lib], ..Scope::from(&properties) };
        assert_eq!(render(text, scope).unwrap(), expected, "{text}");
    }

    #[track_caller]
    fn refuse(text: &str, expected: &str) {
        assert_eq!(Template::parse(text).unwrap_err().to_string(), expected, "{text}");
    }

    #[test]
    fn lookups_become_their_values() {
        check("on %(prop:branch)s with -j%(prop:jobs)s", "on main with -j4");
        check("%(prop:unset)s|%(prop:null)s|%(prop:list)s", "||[1,2]");
        check("%(src::branch)s of %(src::repository)s", "dev of https://example.org/r.git");
        check("%(src:lib:revision)s %(src::revision)s %(src:other:branch)s", "abc  ");
    }

    #[test]
    fn forms_follow_buildbot() {
        check("%(prop:unset:-a(b)c)s %(prop:empty:-x)s %(prop:branch:-x)s", "a(b)c  main");
        check("%(prop:unset:~x)s %(prop:empty:~x)s %(prop:zero:~x)s %(prop:jobs:~x)s", "x x x 4");
        check("%(prop:unset:+x)s %(prop:empty:+x)s", " x");
        check("%(prop:empty:?|yes|no)s %(prop:empty:#?|yes|no)s %(prop:unset:?/a|b/c)s", "yes no c");
        check("%(prop:unset:-%(prop:unset:-%(prop:branch)s)s)s", "main");
        check("%(src::revision:-HEAD)s", "HEAD");
    }

    #[test]
    fn percent_signs_need_care_beside_a_lookup_only() {
        check("date +%s; printf '%d%%'", "date +%s; printf '%d%%'");
        check("%(prop:jobs)s%% of %d", "4% of %d");
        check("%%(prop:jobs)s", "%(prop:jobs)s");
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_reason() {
        refuse("a %(prop:x", "`%(prop:x` is not closed by `)s`");
        refuse("%(prop:x)d", "`%(prop:x)d` is not closed by `)s`");
        refuse("%(kw:x)s", "`kw` cannot be looked up in a template; `prop`, `src` and `secret` can");
        refuse(
            "%(prop:)s",
            "`%(prop:)s` names nothing; write `%(prop:NAME)s`, `%(src:CODEBASE:ATTRIBUTE)s` or `%(secret:NAME)s`",
        );
        refuse(
            "%(secret:x:-y)s",
            "`%(secret:x:-y)s` is no secret's name; nothing may follow the name, since a secret is always set",
        );
        refuse("%(prop:x:!y)s", "`:!y` after a name is not understood; `:-`, `:~`, `:+`, `:?` and `:#?` are");
        refuse("%(prop:x:?|y)s", "`:?|y` does not hold two alternatives, like `:?|yes|no`");
        assert!(matches!(Template::parse("%(src::time)s"), Err(RenderError::Attribute(_))));
    }

    #[test]
    fn a_leaf_that_is_one_lookup_keeps_its_type() {
        let properties = properties();
        let args =
            r#"{"a":"%(prop:jobs)s","b":["%(prop:list)s","-j%(prop:jobs)s"],"c":1,"d":"%(prop:unset)s"}"#;
        assert_eq!(render_json(args, &properties).unwrap(), r#"{"a":4,"b":[[1,2],"-j4"],"c":1,"d":""}"#);
        assert!(matches!(render_json("{%(", &properties), Err(RenderError::Json(_))));
    }

    #[test]
    fn a_secret_renders_to_its_placeholder_where_the_build_may_use_it() {
        let seal = secret::Seal::new([1; 32]);
        let secrets = Placeholders::new(&seal, crate::id::BuildId(1), &["key".to_owned()]);
        let properties = properties();
        let scope = Scope { secrets: &secrets, ..Scope::from(&properties) };
        let placeholder = secrets.get("key").unwrap();
        assert_eq!(render("a %(secret:key)s b", scope).unwrap(), format!("a {placeholder} b"));
        assert_eq!(
            render_json(r#"{"k":"%(secret:key)s"}"#, scope).unwrap(),
            format!(r#"{{"k":"{placeholder}"}}"#)
        );
        let denied = render("%(secret:other)s", scope).unwrap_err();
        assert_eq!(denied.to_string(), "the secret `other` is not among the `secrets` of this builder");
        // What a property holds is text, whatever it looks like.
        let mut forged = Properties::default();
        forged.set("p", "%(secret:key)s".into(), "test");
        let scope = Scope { properties: &forged, ..scope };
        assert_eq!(render("%(prop:p)s", scope).unwrap(), "%(secret:key)s");
    }

    #[test]
    fn the_secrets_of_a_text_are_found_in_every_branch() {
        let names = |text: &str| secrets_of(text).into_iter().collect::<Vec<_>>();
        assert_eq!(names("%(secret:a)s %(prop:x:?|%(secret:b)s|%(prop:y:-%(secret:c)s)s)s"), ["a", "b", "c"]);
        assert_eq!(names("no template, and %(broken"), [""; 0]);
        let json = serde_json::json!({ "env": { "A": "%(secret:a)s" }, "list": ["%(secret:b)s", 1] });
        assert_eq!(secrets_of_json(&json).into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    /// Symptom: a step that rendered thousands of nested templates took the whole master down. Cause: a
    /// recursion for each level, on the small stack of the guest's call. Cure: a bound.
    #[test]
    fn nested_templates_are_refused_before_they_fill_a_stack() {
        let nested = |levels: usize| format!("{}{}", "%(prop:a:-".repeat(levels), ")s".repeat(levels));
        let properties = Properties::default();
        assert_eq!(render(&nested(MAX_NESTING), &properties).unwrap(), "");
        assert!(matches!(render(&nested(5_000), &properties), Err(RenderError::Nested)));
    }

    #[test]
    fn a_long_property_named_often_is_refused() {
        let mut properties = Properties::default();
        properties.set("a", Value::Text("x".repeat(60_000)), "test");
        assert!(render(&"%(prop:a)s".repeat(10), &properties).is_ok());
        assert!(matches!(render(&"%(prop:a)s".repeat(6_000), &properties), Err(RenderError::TooLarge)));
        let args = format!("[{}]", vec!["\"%(prop:a)s\""; 6_000].join(","));
        assert!(matches!(render_json(&args, &properties), Err(RenderError::TooLarge)));
    }
}
