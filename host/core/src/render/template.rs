//! One text: parsed once, with the place of each of its lookups, then filled in.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::{MAX_NESTING, MAX_RENDERED, Problem, RenderError, Scope};
use crate::change::SourceStamp;
use crate::secret;
use crate::value::Value;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
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
        template.each(&mut |what, _, _| {
            if let What::Secret(name) = what {
                names.insert(name.clone());
            }
        });
    }
    names
}

/// Renders a text; one without `%(` comes back as it is.
pub fn render<'a>(text: &str, scope: impl Into<Scope<'a>>) -> Result<String, RenderError> {
    if !is_template(text) {
        return Ok(text.to_owned());
    }
    let mut alone = Alone { scope: scope.into(), room: MAX_RENDERED };
    Template::parse(text)?.text(&mut alone).map_err(|error: RenderError| error.in_text(text))
}

/// What a template is filled in from. `Stop` is why it could not be.
pub(super) trait Filler<'a> {
    type Stop: From<RenderError>;

    fn scope(&self) -> Scope<'a>;

    /// The value of a `kw`; none: there is none of that name.
    fn keyword(&mut self, name: &str) -> Result<Option<Value>, Self::Stop>;

    /// Takes so many bytes of what there is room for; false: there is not so much.
    fn take(&mut self, bytes: usize) -> bool;
}

/// A text without a table around it.
struct Alone<'a> {
    scope: Scope<'a>,
    room: usize,
}

impl<'a> Filler<'a> for Alone<'a> {
    type Stop = RenderError;

    fn scope(&self) -> Scope<'a> {
        self.scope
    }

    fn keyword(&mut self, _name: &str) -> Result<Option<Value>, RenderError> {
        Ok(None)
    }

    fn take(&mut self, bytes: usize) -> bool {
        take(&mut self.room, bytes)
    }
}

pub(super) fn take(room: &mut usize, bytes: usize) -> bool {
    let left = room.checked_sub(bytes);
    *room = left.unwrap_or(0);
    left.is_some()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Lookup { what: What, form: Form, span: Range<usize> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Property(String),
    Worker(String),
    Secret(String),
    Keyword(String),
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
        parse(text, 0, 0).map_err(|error| error.in_text(text))
    }

    /// The first `kw` that `known` does not have and that would stand for nothing then, as an error.
    pub fn check_keywords(&self, text: &str, known: impl Fn(&str) -> bool) -> Result<(), RenderError> {
        let mut missing = None;
        self.each(&mut |what, form, span| {
            if let (What::Keyword(name), Form::Plain | Form::IfSet(_)) = (what, form)
                && !known(name)
            {
                missing.get_or_insert_with(|| RenderError::new(Problem::Keyword(name.clone()), span.clone()));
            }
        });
        missing.map_or(Ok(()), |error| Err(error.in_text(text)))
    }

    /// All lookups, in whatever branch.
    fn each(&self, see: &mut impl FnMut(&What, &Form, &Range<usize>)) {
        for part in &self.parts {
            let Part::Lookup { what, form, span } = part else { continue };
            see(what, form, span);
            match form {
                Form::Plain => {}
                Form::IfUnset(text) | Form::IfFalse(text) | Form::IfSet(text) => text.each(see),
                Form::Choose { yes, no, .. } => {
                    yes.each(see);
                    no.each(see);
                }
            }
        }
    }

    /// The text.
    pub(super) fn text<'a, F: Filler<'a>>(&self, from: &mut F) -> Result<String, F::Stop> {
        let mut whole = String::new();
        for part in &self.parts {
            let value = part.value(from)?;
            let text = match &*value {
                Value::Text(text) => Cow::Borrowed(text),
                other => Cow::Owned(other.to_text()),
            };
            // The room is asked before the copy is made, and never more than one value is beyond it.
            if !from.take(text.len()) {
                return Err(RenderError::of_all(Problem::TooLarge).into());
            }
            whole.push_str(&text);
        }
        Ok(whole)
    }

    /// The property itself if the template is one lookup and nothing else, or the text.
    pub(super) fn value<'a, F: Filler<'a>>(&self, from: &mut F) -> Result<serde_json::Value, F::Stop> {
        let [one @ Part::Lookup { .. }] = self.parts.as_slice() else {
            return self.text(from).map(serde_json::Value::String);
        };
        let value = one.value(from)?;
        if !from.take(value.bytes()) {
            return Err(RenderError::of_all(Problem::TooLarge).into());
        }
        Ok(match &*value {
            // Unset is the empty text, as within a longer text.
            Value::Null => serde_json::Value::String(String::new()),
            value => value.to_json(),
        })
    }
}

/// Parses a text that begins at `start` of the whole one.
fn parse(text: &str, start: usize, depth: usize) -> Result<Template, RenderError> {
    if !is_template(text) {
        return Ok(Template { parts: vec![Part::Text(text.to_owned())] });
    }
    if depth == MAX_NESTING {
        return Err(RenderError::new(Problem::Nested, start..start + text.len()));
    }
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('%') {
        plain.push_str(&text[at..at + found]);
        at += found;
        let after = &text[at + 1..];
        if let Some(inside) = after.strip_prefix('(') {
            let Some(end) = closing(inside) else {
                return Err(RenderError::new(
                    Problem::Unclosed(inside.to_owned()),
                    start + at..start + text.len(),
                ));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            let len = "%(".len() + end + ")s".len();
            let span = start + at..start + at + len;
            parts.push(lookup(&inside[..end], span, depth + 1)?);
            at += len;
        } else {
            // `%%` is one percent sign, and so is one before anything else.
            plain.push('%');
            at += 1 + usize::from(after.starts_with('%'));
        }
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(Template { parts })
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

/// What stands between `%(` and `)s`, which take up `span` with it.
fn lookup(inside: &str, span: Range<usize>, depth: usize) -> Result<Part, RenderError> {
    let refused = |problem| RenderError::new(problem, span.clone());
    let nameless = || refused(Problem::Nameless(inside.to_owned()));
    let (selector, rest) = inside.split_once(':').unwrap_or((inside, ""));
    let (what, form) = match selector {
        "prop" | "worker" | "kw" => {
            let (name, form) = split_name(rest);
            if name.is_empty() {
                return Err(nameless());
            }
            let what = match selector {
                "prop" => What::Property,
                "worker" => What::Worker,
                _ => What::Keyword,
            };
            (what(name.to_owned()), form)
        }
        "src" => {
            let (codebase, rest) = rest.split_once(':').ok_or_else(nameless)?;
            let (name, form) = split_name(rest);
            let attribute =
                Attribute::parse(name).ok_or_else(|| refused(Problem::Attribute(name.to_owned())))?;
            (What::Stamp { codebase: codebase.to_owned(), attribute }, form)
        }
        "secret" if rest.is_empty() => return Err(nameless()),
        "secret" if !secret::is_name(rest) => return Err(refused(Problem::SecretName(rest.to_owned()))),
        "secret" => (What::Secret(rest.to_owned()), None),
        other => return Err(refused(Problem::Selector(other.to_owned()))),
    };
    let form = match form {
        None => Form::Plain,
        // The form is the end of what stands inside.
        Some(form) => Form::parse(form, span.end - ")s".len() - form.len(), depth)?,
    };
    Ok(Part::Lookup { what, form, span })
}

/// A name, and what follows its colon.
fn split_name(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(name, form)| (name, Some(form)))
}

impl Attribute {
    fn parse(name: &str) -> Option<Attribute> {
        match name {
            "branch" => Some(Attribute::Branch),
            "revision" => Some(Attribute::Revision),
            "repository" => Some(Attribute::Repository),
            "project" => Some(Attribute::Project),
            "codebase" => Some(Attribute::Codebase),
            _ => None,
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
    /// What follows the colon behind a name, and begins at `start` of the whole text.
    fn parse(form: &str, start: usize, depth: usize) -> Result<Form, RenderError> {
        if let Some(text) = form.strip_prefix('-') {
            return Ok(Form::IfUnset(parse(text, start + 1, depth)?));
        }
        if let Some(text) = form.strip_prefix('~') {
            return Ok(Form::IfFalse(parse(text, start + 1, depth)?));
        }
        if let Some(text) = form.strip_prefix('+') {
            return Ok(Form::IfSet(parse(text, start + 1, depth)?));
        }
        // From the colon on.
        let refused = |problem| RenderError::new(problem, start - 1..start + form.len());
        let (set_is_enough, alternatives) = match (form.strip_prefix('?'), form.strip_prefix("#?")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(refused(Problem::Form(form.to_owned()))),
        };
        let missing = || refused(Problem::Alternatives(alternatives.to_owned()));
        let divider = alternatives.chars().next().ok_or_else(missing)?;
        let (yes, no) = alternatives[divider.len_utf8()..].split_once(divider).ok_or_else(missing)?;
        let end = start + form.len();
        let no_at = end - no.len();
        let yes = parse(yes, no_at - divider.len_utf8() - yes.len(), depth)?;
        Ok(Form::Choose { set_is_enough, yes, no: parse(no, no_at, depth)? })
    }
}

impl Part {
    fn value<'s, 'a: 's, F: Filler<'a>>(&'s self, from: &mut F) -> Result<Cow<'s, Value>, F::Stop> {
        let (what, form, span) = match self {
            Part::Text(text) => return Ok(Cow::Owned(Value::Text(text.clone()))),
            Part::Lookup { what, form, span } => (what, form, span),
        };
        let value = what.value(from, span, matches!(form, Form::Plain))?;
        let set = *value != Value::Null;
        let (chosen, otherwise) = match form {
            Form::Plain => return Ok(value),
            Form::IfUnset(_) if set => return Ok(value),
            Form::IfFalse(_) if is_true(&value) => return Ok(value),
            Form::IfUnset(text) | Form::IfFalse(text) => (true, [text, text]),
            Form::IfSet(_) if !set => return Ok(Cow::Owned(Value::Null)),
            Form::IfSet(text) => (true, [text, text]),
            Form::Choose { set_is_enough, yes, no } => {
                (if *set_is_enough { set } else { is_true(&value) }, [yes, no])
            }
        };
        let text = otherwise[usize::from(!chosen)].text(from)?;
        Ok(Cow::Owned(Value::Text(text)))
    }
}

impl What {
    fn value<'a, F: Filler<'a>>(
        &self,
        from: &mut F,
        span: &Range<usize>,
        is_needed: bool,
    ) -> Result<Cow<'a, Value>, F::Stop> {
        let scope = from.scope();
        let value = match self {
            What::Property(name) => scope.properties.get(name).map(Cow::Borrowed),
            What::Worker(name) => scope.worker.get(name).map(Cow::Borrowed),
            What::Secret(name) => match scope.secrets.get(name) {
                Some(placeholder) => Some(Cow::Owned(placeholder.into())),
                None => {
                    let problem = Problem::SecretDenied(name.clone());
                    return Err(RenderError::new(problem, span.clone()).into());
                }
            },
            What::Keyword(name) => match from.keyword(name)? {
                None if is_needed => {
                    let problem = Problem::Keyword(name.clone());
                    return Err(RenderError::new(problem, span.clone()).into());
                }
                value => value.map(Cow::Owned),
            },
            What::Stamp { codebase, attribute } => {
                let stamp = scope.stamps.iter().find(|stamp| stamp.codebase == *codebase);
                stamp.map(|stamp| Cow::Owned(attribute.of(stamp)))
            }
        };
        Ok(value.unwrap_or(Cow::Owned(Value::Null)))
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
