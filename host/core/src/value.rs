//! The shapes of `windlass:base/types`, as host types. WIT types are converted at the edge only.

use serde::{Deserialize, Serialize};

/// The largest integer that every guest language holds exactly: 2^53 - 1.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A property or update value. Nested data travels as JSON text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// Between -[`MAX_INTEGER`] and [`MAX_INTEGER`].
    Integer(i64),
    /// Finite.
    Number(f64),
    /// Text.
    Text(String),
    /// JSON text of anything nested.
    Json(String),
}

impl Value {
    /// The value of a JSON document: scalars become scalars, the rest JSON text.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Boolean(*b),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(i) if (-MAX_INTEGER..=MAX_INTEGER).contains(&i) => Value::Integer(i),
                Some(_) => Value::Json(n.to_string()),
                None if n.is_f64() => Value::Number(n.as_f64().unwrap_or_default()),
                None => Value::Json(n.to_string()),
            },
            serde_json::Value::String(s) => Value::Text(s.clone()),
            nested => Value::Json(nested.to_string()),
        }
    }

    /// What it takes up, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => 8,
        }
    }

    /// As a JSON document. JSON text that does not parse becomes a JSON string.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Boolean(b) => (*b).into(),
            Value::Integer(i) => (*i).into(),
            Value::Number(n) => (*n).into(),
            Value::Text(s) => s.as_str().into(),
            Value::Json(s) => serde_json::from_str(s).unwrap_or_else(|_| s.as_str().into()),
        }
    }

    /// As it is put into text by interpolation: text as it is, null as nothing, the rest as JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Value::Null => String::new(),
            Value::Text(s) => s.clone(),
            other => other.to_json().to_string(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Value,
}

impl Pair {
    /// What it takes up, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.name.len() + self.value.bytes()
    }
}

/// How a remote command ended. No `rc`: it has none, or never got one.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Completion {
    /// The exit code.
    pub rc: Option<i32>,
    /// What else the command answered.
    pub values: Vec<Pair>,
}

/// A refusal or a failure that a guest or the host foresaw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Failure {
    /// One of the documented constants in kebab-case, or a plugin's own.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// More, where there is more.
    pub detail: Option<String>,
    /// Whether the same again may succeed: the step ends as *retry*, not *exception*.
    pub retryable: bool,
}

impl Failure {
    /// A failure that is not worth a retry.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Failure {
        Failure { code: code.to_owned(), message: message.into(), detail: None, retryable: false }
    }

    /// A failure after which the same again may succeed.
    #[must_use]
    pub fn retryable(code: &str, message: impl Into<String>) -> Failure {
        Failure { retryable: true, ..Failure::new(code, message) }
    }

    /// What a later version of the host will do.
    #[must_use]
    pub fn unsupported(what: &str) -> Failure {
        Failure::new("unsupported", format!("this host does not support {what} yet"))
    }
}

/// Which stream a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What the host or the command says about the output.
    Header,
}
