//! A document as a tree in which every key and value knows where it stands.
//!
//! TOML and JSON become the same tree, so that a step in `master.toml` and one from `add-steps` are
//! read by the same lines. JSON's nodes all stand at 0..0.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Report;

/// A place in the text, in bytes.
pub(crate) type Span = Range<usize>;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Tree,
    /// Whether it is a text of the environment, which may stand for a number, `true` or `false`.
    pub(crate) is_loose: bool,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    /// Of JSON only. For a setting it means that it is not there, for an argument what it says.
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Moment(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn new(span: Span, value: Tree) -> Node {
        Node { span, value, is_loose: false }
    }

    /// Parses TOML. All its syntax errors go to the report; there is no tree then, because what
    /// was guessed of a broken line would only produce errors that are none.
    ///
    /// `begin` is where the text begins among [`crate::sources::Sources`].
    pub(crate) fn parse(text: &str, begin: usize, report: &mut Report) -> Option<Node> {
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let end = text.len();
            let span = shifted(&error.span().unwrap_or(end..end), begin);
            let message = error.message().trim();
            let finding = report.error("syntax", &span, message);
            // What the parser took for one, as it begins with its letter.
            if message.starts_with("invalid boolean") {
                finding.help("a text needs quotes");
            }
        }
        if !errors.is_empty() {
            return None;
        }
        Some(Node::new(shifted(&root.span(), begin), table(root.get_ref(), begin, report)))
    }

    /// The tree of a JSON document.
    pub(crate) fn from_json(json: serde_json::Value) -> Node {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Tree::Null,
            Json::Bool(b) => Tree::Boolean(b),
            Json::Number(n) => match n.as_i64() {
                Some(i) => Tree::Integer(i),
                None => Tree::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Tree::Text(text),
            Json::Array(items) => Tree::List(items.into_iter().map(Node::from_json).collect()),
            Json::Object(entries) => {
                let entry = |(key, value)| Entry { key, key_span: 0..0, node: Node::from_json(value) };
                Tree::Table(entries.into_iter().map(entry).collect())
            }
        };
        Node::new(0..0, value)
    }

    /// As a JSON document. Moments become texts; a number that JSON does not have becomes null.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Tree::Null => serde_json::Value::Null,
            Tree::Boolean(b) => (*b).into(),
            Tree::Integer(i) => (*i).into(),
            Tree::Float(f) => (*f).into(),
            Tree::Text(text) | Tree::Moment(text) => text.as_str().into(),
            Tree::List(items) => items.iter().map(Node::to_json).collect(),
            Tree::Table(entries) => entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect(),
        }
    }

    /// The number, `true` or `false` that it is, or that it stands for as a text of the environment.
    pub(crate) fn settled(&self) -> Option<Tree> {
        match &self.value {
            Tree::Boolean(_) | Tree::Integer(_) | Tree::Float(_) => Some(self.value.clone()),
            Tree::Text(text) if self.is_loose => {
                let text = text.trim();
                let float = || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Tree::Float);
                let boolean = text.parse().ok().map(Tree::Boolean);
                boolean.or_else(|| text.parse().ok().map(Tree::Integer)).or_else(float)
            }
            _ => None,
        }
    }

    /// What it is, in words: `a text`.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Tree::Null => "null",
            Tree::Boolean(_) => "true or false",
            Tree::Integer(_) => "a whole number",
            Tree::Float(_) => "a number with a fraction",
            Tree::Text(_) => "a text",
            Tree::Moment(_) => "a date or time",
            Tree::List(_) => "a list",
            Tree::Table(_) => "a table",
        }
    }

    /// The entry of a table, or the item of a list.
    pub(crate) fn child(&self, segment: &str) -> Option<&Node> {
        match &self.value {
            Tree::Table(entries) => entries.iter().find(|e| e.key == segment).map(|e| &e.node),
            Tree::List(items) => items.get(segment.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a table.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Tree::Table(entries) => entries,
            _ => &[],
        }
    }
}

fn shifted(span: &Span, begin: usize) -> Span {
    span.start + begin..span.end + begin
}

fn node(value: &Spanned<DeValue<'_>>, begin: usize, report: &mut Report) -> Node {
    let span = shifted(&value.span(), begin);
    let tree = match value.get_ref() {
        DeValue::String(text) => Tree::Text(text.clone().into_owned()),
        DeValue::Boolean(b) => Tree::Boolean(*b),
        DeValue::Datetime(moment) => Tree::Moment(moment.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Tree::Integer(number),
            Err(_) => {
                report.error("bad-value", &span, "the number does not fit into 64 bits");
                Tree::Integer(0)
            }
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Tree::Float(number),
            Ok(_) | Err(_) => {
                report.error("bad-value", &span, "the number is not finite");
                Tree::Float(0.0)
            }
        },
        DeValue::Array(items) => Tree::List(items.iter().map(|item| node(item, begin, report)).collect()),
        DeValue::Table(entries) => table(entries, begin, report),
    };
    Node::new(span, tree)
}

/// The entries in the order of the file.
fn table(entries: &DeTable<'_>, begin: usize, report: &mut Report) -> Tree {
    let mut entries: Vec<Entry> = entries
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().clone().into_owned(),
            key_span: shifted(&key.span(), begin),
            node: node(value, begin, report),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    Tree::Table(entries)
}
