//! All texts of a JSON document, and the tables that stand for a value.
//!
//! `{ "interpolate": "on %(kw:host)s", "kw": { "host": … } }` is a template with values of its own beside it,
//! each rendered when it is looked up. `{ "renderer": "plugin:hook", "args": { … } }` is what that component
//! answers; its own arguments are rendered first.
//!
//! Rendering is a function of values even so: it is given the answers that there are, in the order in which
//! they were asked for, and where it needs one more it stops and says which. Whoever can ask a component
//! does, and renders again from the beginning. The answers, kept, render the same document again.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::template::{Filler, Template, is_template, secrets_of, take};
use super::{MAX_ASKS, MAX_RENDERED, Problem, RenderError, Scope};
use crate::value::Value;

/// What came of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// It is complete: JSON text.
    Done(String),
    /// A component is to be asked first.
    Ask(Ask),
}

/// A component is to compute a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// As the document names it.
    pub hook: String,
    /// Its arguments, rendered: JSON text.
    pub args: String,
    /// Where in the document its answer goes: `env.PATH`.
    pub at: String,
}

/// Whether anything in a document (JSON text) is to be rendered; it may be none of it after all.
#[must_use]
pub fn needs_rendering(json: &str) -> bool {
    is_template(json) || json.contains("\"renderer\"") || json.contains("\"interpolate\"")
}

/// Renders the texts of a table of arguments, whatever their names: the table itself stands for nothing. The
/// rest is as in [`render_value`].
pub fn render_document<'a>(
    json: &str,
    scope: impl Into<Scope<'a>>,
    answers: &[Value],
) -> Result<Rendered, RenderError> {
    rendered(json, scope.into(), answers, |work, json| match json {
        Json::Object(_) => work.entries(json),
        json => work.leaves(json),
    })
}

/// Renders every text in a JSON value. A text that is one lookup and nothing else becomes the
/// property's own JSON, so that a number stays a number and a list a list.
pub fn render_value<'a>(
    json: &str,
    scope: impl Into<Scope<'a>>,
    answers: &[Value],
) -> Result<Rendered, RenderError> {
    rendered(json, scope.into(), answers, Work::leaves)
}

fn rendered<'a, 'w>(
    json: &str,
    scope: Scope<'a>,
    answers: &'w [Value],
    work_on: impl FnOnce(&mut Work<'a, 'w>, &mut Json) -> Result<(), Stop>,
) -> Result<Rendered, RenderError> {
    if !needs_rendering(json) {
        return Ok(Rendered::Done(json.to_owned()));
    }
    let parsed = serde_json::from_str(json);
    let mut document = parsed.map_err(|error| RenderError::of_all(Problem::Json(error.to_string())))?;
    let mut work = Work { scope, answers, used: 0, room: MAX_RENDERED };
    match work_on(&mut work, &mut document) {
        Ok(()) => Ok(Rendered::Done(document.to_string())),
        Err(Stop::Ask(ask)) => Ok(Rendered::Ask(ask)),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// The secrets that the texts of a JSON document name.
#[must_use]
pub fn secrets_of_json(json: &Json) -> BTreeSet<String> {
    match json {
        Json::String(text) => secrets_of(text),
        Json::Array(items) => items.iter().flat_map(secrets_of_json).collect(),
        Json::Object(entries) => entries.values().flat_map(secrets_of_json).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) => BTreeSet::new(),
    }
}

/// The renderers that a JSON document names.
#[must_use]
pub fn renderers_of_json(json: &Json) -> BTreeSet<String> {
    match json {
        Json::Array(items) => items.iter().flat_map(renderers_of_json).collect(),
        Json::Object(entries) => {
            let inner = entries.values().flat_map(renderers_of_json);
            let own = match stand_of(entries) {
                Some(Stand::Renderer(hook, _)) => Some(hook.to_owned()),
                Some(Stand::Interpolate(..)) | None => None,
            };
            inner.chain(own).collect()
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => BTreeSet::new(),
    }
}

/// A table that stands for a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stand<'a, T> {
    /// A template, and what stands beside it.
    Interpolate(&'a str, Option<&'a T>),
    /// The name of a component's hook, and its arguments.
    Renderer(&'a str, Option<&'a T>),
}

/// Whether a table with these keys stands for a value: it has `renderer` or `interpolate`, a text, and beside it
/// nothing but `args` or `kw`, a table.
pub fn stand<'a, T>(
    mut entry: impl FnMut(&str) -> Option<&'a T>,
    len: usize,
    text: impl Fn(&'a T) -> Option<&'a str>,
    is_table: impl Fn(&T) -> bool,
) -> Option<Stand<'a, T>> {
    let mut one = |name: &str, beside: &str| {
        let (name, beside) = (text(entry(name)?)?, entry(beside));
        let fits = len == 1 + usize::from(beside.is_some()) && beside.is_none_or(&is_table);
        fits.then_some((name, beside))
    };
    if let Some((hook, args)) = one("renderer", "args") {
        return Some(Stand::Renderer(hook, args));
    }
    one("interpolate", "kw").map(|(text, kw)| Stand::Interpolate(text, kw))
}

/// The same of JSON.
#[must_use]
pub fn stand_of(entries: &Map<String, Json>) -> Option<Stand<'_, Json>> {
    stand(|key| entries.get(key), entries.len(), Json::as_str, Json::is_object)
}

enum Stop {
    Error(RenderError),
    Ask(Ask),
}

impl From<RenderError> for Stop {
    fn from(error: RenderError) -> Stop {
        Stop::Error(error)
    }
}

impl Stop {
    fn below(self, key: &str) -> Stop {
        match self {
            Stop::Error(error) => Stop::Error(error.below(key)),
            Stop::Ask(ask) => {
                let divider = if ask.at.is_empty() || ask.at.starts_with('[') { "" } else { "." };
                Stop::Ask(Ask { at: format!("{key}{divider}{}", ask.at), ..ask })
            }
        }
    }
}

struct Work<'a, 'w> {
    scope: Scope<'a>,
    answers: &'w [Value],
    /// How many of them were asked for so far.
    used: usize,
    room: usize,
}

impl Work<'_, '_> {
    fn leaves(&mut self, json: &mut Json) -> Result<(), Stop> {
        match json {
            Json::String(text) if is_template(text) => *json = self.template(text, None)?,
            Json::Array(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    self.leaves(item).map_err(|stop| stop.below(&format!("[{n}]")))?;
                }
            }
            Json::Object(entries) => {
                let value = match stand_of(entries) {
                    Some(Stand::Interpolate(text, kw)) => {
                        let kw = kw.and_then(Json::as_object);
                        Some(self.template(text, kw)?)
                    }
                    Some(Stand::Renderer(hook, args)) => Some(self.answer(hook, args)?),
                    None => None,
                };
                if let Some(value) = value {
                    *json = value;
                    return Ok(());
                }
                self.entries(json)?;
            }
            Json::String(_) | Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
        Ok(())
    }

    /// What stands in a table, one by one.
    fn entries(&mut self, json: &mut Json) -> Result<(), Stop> {
        for (key, entry) in json.as_object_mut().into_iter().flatten() {
            self.leaves(entry).map_err(|stop| stop.below(key))?;
        }
        Ok(())
    }

    fn template(&mut self, text: &str, kw: Option<&Map<String, Json>>) -> Result<Json, Stop> {
        let template = Template::parse(text)?;
        template.value(&mut Beside { work: self, kw }).map_err(|stop| match stop {
            Stop::Error(error) if error.at.is_empty() => Stop::Error(error.in_text(text)),
            stop => stop,
        })
    }

    fn answer(&mut self, hook: &str, args: Option<&Json>) -> Result<Json, Stop> {
        let mut args = args.cloned().unwrap_or_else(|| Json::Object(Map::new()));
        self.entries(&mut args).map_err(|stop| stop.below("args"))?;
        let Some(answer) = self.answers.get(self.used) else {
            if self.used == MAX_ASKS {
                return Err(RenderError::of_all(Problem::TooMany).into());
            }
            return Err(Stop::Ask(Ask { hook: hook.to_owned(), args: args.to_string(), at: String::new() }));
        };
        self.used += 1;
        match take(&mut self.room, answer.bytes()) {
            true => Ok(answer.to_json()),
            false => Err(RenderError::of_all(Problem::TooLarge).into()),
        }
    }
}

/// A template of a document, with what stands beside it.
struct Beside<'w, 'a, 'x> {
    work: &'w mut Work<'a, 'x>,
    kw: Option<&'w Map<String, Json>>,
}

impl<'a> Filler<'a> for Beside<'_, 'a, '_> {
    type Stop = Stop;

    fn scope(&self) -> Scope<'a> {
        self.work.scope
    }

    fn keyword(&mut self, name: &str) -> Result<Option<Value>, Stop> {
        let Some(value) = self.kw.and_then(|kw| kw.get(name)) else { return Ok(None) };
        // Each look at it renders it again, and what stands in it may do the same.
        if !self.take(1 + weight(value)) {
            return Err(RenderError::of_all(Problem::TooLarge).into());
        }
        let mut value = value.clone();
        self.work.leaves(&mut value).map_err(|stop| stop.below(name).below("kw"))?;
        Ok(Some(Value::from_json(&value)))
    }

    fn take(&mut self, bytes: usize) -> bool {
        take(&mut self.work.room, bytes)
    }
}

/// What a document takes up, roughly.
fn weight(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => 8,
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(weight).sum::<usize>() + items.len(),
        Json::Object(entries) => entries.iter().map(|(key, value)| key.len() + weight(value)).sum(),
    }
}
