//! Typed arguments out of the JSON text that the host hands over.

use serde::de::DeserializeOwned;

use crate::Failure;

/// A type that arguments are read into: whatever implements serde's `Deserialize`, or [`NoArgs`].
pub trait Args: Sized {
    /// Reads them.
    ///
    /// # Errors
    /// With the code `bad-argument`. The host checks arguments against the hook's schema first, so that this
    /// says where the schema and the type disagree.
    fn read(json: &str) -> Result<Self, Failure>;
}

impl<T: DeserializeOwned> Args for T {
    fn read(json: &str) -> Result<T, Failure> {
        let json = if json.trim().is_empty() { "{}" } else { json };
        serde_json::from_str(json).map_err(|error| bad_argument(error.to_string()))
    }
}

/// No arguments. A policy that takes none does without a JSON parser, and is half as large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoArgs;

impl Args for NoArgs {
    fn read(_: &str) -> Result<NoArgs, Failure> {
        Ok(NoArgs)
    }
}

/// The failure of a hook whose arguments make no sense.
pub fn bad_argument(message: impl Into<String>) -> Failure {
    Failure::new("bad-argument", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Two {
        #[serde(default)]
        a: u32,
        b: Option<String>,
    }

    #[test]
    fn arguments_are_read_and_missing_ones_are_an_empty_object() {
        assert_eq!(Two::read(r#"{"a":3,"b":"x"}"#).unwrap(), Two { a: 3, b: Some("x".into()) });
        assert_eq!(Two::read("").unwrap(), Two { a: 0, b: None });
        assert_eq!(NoArgs::read("{}").unwrap(), NoArgs);
    }

    #[test]
    fn an_argument_of_the_wrong_type_is_a_bad_argument() {
        let failure = Two::read(r#"{"a":"three"}"#).unwrap_err();
        assert_eq!(failure.code, "bad-argument");
        assert!(!failure.retryable);
    }
}
