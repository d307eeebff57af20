//! Which values a setting takes: in words, and as a JSON schema.

use super::Table;
use serde_json::{Value as Json, json};

/// Which values a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// A text with something in it.
    Name,
    /// `true` or `false`.
    Boolean,
    /// A whole number between these.
    Count {
        /// The least.
        least: i64,
        /// The most.
        most: i64,
        /// What is counted; empty: nothing.
        of: &'static str,
    },
    /// Seconds as a number, or a text with units.
    Time,
    /// Bytes as a number, or a text with units.
    Size,
    /// A list of texts, or one of them.
    Texts,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A regular expression.
    Pattern,
    /// A path; it begins where the file is.
    Path,
    /// `HOST:PORT`.
    Address,
    /// `true`, `false`, an expression or a table that stands for one.
    Condition,
    /// A hook, or a table with `use`.
    Policy,
    /// The same, or `true` or `false`.
    Merge,
    /// A table of any values, by name.
    Properties,
    /// A table of texts and templates, by name.
    Environment,
    /// A table of arguments of a component: its own schema says which.
    Arguments,
    /// Names of locks, or tables that say how much.
    Locks,
    /// Capabilities by hook.
    Grants,
    /// Whole numbers from 1 on, by name.
    Counts,
    /// A table of this form.
    Table(&'static Table),
    /// A list of tables of this form.
    Tables(&'static Table),
    /// One table of this form, or a list of them.
    TableOrTables(&'static Table),
    /// Tables of this form, by name.
    Named(&'static Table),
    /// The first or the second.
    Either(&'static Kind, &'static Kind),
    /// A table of lists, by name.
    Axes,
    /// Anything.
    Any,
}

impl Kind {
    /// In words, as the page has them.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Kind::Text | Kind::Name => "text".to_owned(),
            Kind::Boolean => "`true` or `false`".to_owned(),
            Kind::Count { of: "", .. } => "whole number".to_owned(),
            Kind::Count { of, .. } => format!("number of {of}"),
            Kind::Time => "time (s)".to_owned(),
            Kind::Size => "size (bytes)".to_owned(),
            Kind::Texts => "list of texts".to_owned(),
            Kind::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                words.join(", ")
            }
            Kind::Pattern => "regular expression".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Address => "`HOST:PORT`".to_owned(),
            Kind::Condition => "condition".to_owned(),
            Kind::Policy => "policy".to_owned(),
            Kind::Merge => "policy, `true` or `false`".to_owned(),
            Kind::Properties => "table of values".to_owned(),
            Kind::Environment => "table of texts".to_owned(),
            Kind::Arguments => "table".to_owned(),
            Kind::Locks => "list of locks".to_owned(),
            Kind::Grants => "table by hook".to_owned(),
            Kind::Counts => "table of numbers".to_owned(),
            Kind::Table(table) => format!("table: {}", link(table)),
            Kind::Tables(table) => format!("list of tables: {}", link(table)),
            Kind::TableOrTables(table) => format!("table or list of tables: {}", link(table)),
            Kind::Named(table) => format!("tables by name: {}", link(table)),
            Kind::Either(one, other) => format!("{}, or {}", one.words(), other.words()),
            Kind::Axes => "table of lists".to_owned(),
            Kind::Any => "any".to_owned(),
        }
    }

    /// What the value of a setting without a reader of its own must be; none: it fits.
    pub(crate) fn misfit(&self, json: &Json) -> Option<&'static str> {
        match self {
            Kind::Text | Kind::Name | Kind::Path | Kind::Pattern | Kind::Address => {
                (!json.is_string()).then_some("a text")
            }
            Kind::Boolean => (!json.is_boolean()).then_some("true or false"),
            Kind::Count { .. } => (!json.is_i64()).then_some("a whole number"),
            Kind::Counts => (!json.is_object()).then_some("a table of whole numbers"),
            Kind::Properties | Kind::Environment | Kind::Arguments | Kind::Grants | Kind::Table(_) => {
                (!json.is_object()).then_some("a table")
            }
            Kind::Texts => (!json.is_array() && !json.is_string()).then_some("a list of texts"),
            Kind::Tables(_) => (!json.is_array()).then_some("a list of tables"),
            Kind::Axes => (!json.is_object()).then_some("a table of lists"),
            Kind::Either(one, other) => one.misfit(json).and(other.misfit(json)),
            Kind::Time
            | Kind::Size
            | Kind::Choice(_)
            | Kind::Condition
            | Kind::Policy
            | Kind::Merge
            | Kind::Locks
            | Kind::TableOrTables(_)
            | Kind::Named(_)
            | Kind::Any => None,
        }
    }

    /// As a JSON schema. Tables are referred to by [`key`].
    #[must_use]
    pub fn schema(&self) -> Json {
        let policy = || json!([{ "type": "string", "minLength": 1 }, { "$ref": "#/$defs/a-policy" }]);
        match self {
            Kind::Text => json!({ "type": "string" }),
            Kind::Name | Kind::Path => json!({ "type": "string", "minLength": 1 }),
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Count { least, most, .. } => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Kind::Time => json!({ "anyOf": [
                { "type": "number", "minimum": 0 },
                { "type": "string", "pattern": "^\\s*([0-9]+\\s*(ms|s|m|min|h|d)\\s*)+$" },
            ] }),
            Kind::Size => json!({ "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^\\s*[0-9]+\\s*([kKmMgGtT][iI]?)?[bB]\\s*$" },
            ] }),
            Kind::Texts => json!({ "anyOf": [
                { "type": "string" }, { "type": "array", "items": or_stands(json!({ "type": "string" })) },
            ] }),
            Kind::Choice(words) => json!({ "enum": words }),
            Kind::Pattern => json!({ "type": "string", "format": "regex" }),
            Kind::Address => json!({ "type": "string", "pattern": "^.+:[0-9]+$" }),
            Kind::Condition => json!({ "type": ["boolean", "string", "object"] }),
            Kind::Policy => json!({ "anyOf": policy() }),
            Kind::Merge => {
                let mut forms = policy();
                forms.as_array_mut().into_iter().for_each(|forms| forms.push(json!({ "type": "boolean" })));
                json!({ "anyOf": forms })
            }
            Kind::Properties | Kind::Environment | Kind::Arguments => json!({ "type": "object" }),
            Kind::Locks => {
                let one = json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/the-use-of-a-lock" }] });
                json!({ "anyOf": [one.clone(), { "type": "array", "items": or_stands(one) }] })
            }
            Kind::Grants => json!({ "type": "object", "additionalProperties": {
                "type": "object", "additionalProperties": or_stands(Kind::Texts.schema()),
            } }),
            Kind::Counts => {
                let one = or_stands(json!({ "type": "integer", "minimum": 1 }));
                json!({ "type": "object", "additionalProperties": one })
            }
            Kind::Table(table) => reference(table),
            Kind::Tables(table) => json!({ "type": "array", "items": reference(table) }),
            Kind::TableOrTables(table) => json!({ "anyOf": [
                reference(table), { "type": "array", "items": reference(table) },
            ] }),
            Kind::Named(table) => json!({ "type": "object", "additionalProperties": reference(table) }),
            Kind::Either(one, other) => json!({ "anyOf": [one.schema(), other.schema()] }),
            Kind::Axes => {
                json!({ "type": "object", "additionalProperties": { "type": "array", "minItems": 1 } })
            }
            Kind::Any => json!(true),
        }
    }
}

/// A table's name in links and in schemas.
#[must_use]
pub fn key(table: &Table) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    table.what.chars().map(word).collect::<String>().trim_matches('-').to_owned()
}

fn link(table: &Table) -> String {
    format!("[{}](#{})", table.what.trim_matches(['[', ']']), key(table))
}

/// That, or what stands for a value.
fn or_stands(schema: Json) -> Json {
    json!({ "anyOf": [schema, { "$ref": "#/$defs/stands-for-a-value" }] })
}

fn reference(table: &Table) -> Json {
    json!({ "$ref": format!("#/$defs/{}", key(table)) })
}
