//! Comfortable ways to make the contract's values.

use crate::{Completion, Failure, Pair, Value};

impl Failure {
    /// A failure that is not worth a retry. `code` in kebab-case, `message` one sentence for people.
    pub fn new(code: &str, message: impl Into<String>) -> Failure {
        Failure { code: code.to_owned(), message: message.into(), detail: None, retryable: false }
    }

    /// A failure after which the same again may succeed.
    pub fn retryable(code: &str, message: impl Into<String>) -> Failure {
        Failure { retryable: true, ..Failure::new(code, message) }
    }
}

impl Pair {
    /// A named value.
    pub fn new(name: &str, value: impl Into<Value>) -> Pair {
        Pair { name: name.to_owned(), value: value.into() }
    }
}

impl Completion {
    /// A command that ended with this exit code and has nothing else to say.
    #[must_use]
    pub fn rc(rc: i32) -> Completion {
        Completion { rc: Some(rc), values: Vec::new() }
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Completion {
        self.values.push(Pair::new(name, value));
        self
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        value_of(&self.values, name)
    }
}

/// The value of this name among `pairs`.
#[must_use]
pub fn value_of<'a>(pairs: &'a [Pair], name: &str) -> Option<&'a Value> {
    pairs.iter().find(|pair| pair.name == name).map(|pair| &pair.value)
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Boolean(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::Integer(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Integer(value.into())
    }
}

impl From<u64> for Value {
    /// An integer as long as every guest language holds it exactly, JSON text beyond.
    fn from(value: u64) -> Value {
        match i64::try_from(value) {
            Ok(small) if small < 1 << 53 => Value::Integer(small),
            _ => Value::Json(value.to_string()),
        }
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}
