//! Whether the schema of a hook's arguments is one, and can be checked in a bounded time: arguments are
//! checked against it by the master itself, where nothing interrupts a check that has no end.

use jsonschema::{Draft, PatternOptions};
use serde_json::Value;
use windlass_core::schema;

use crate::bounds::quoted;

/// The only dialect, as the contract says.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Reads a schema. The error continues the sentence "the schema of `x` ...".
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let Value::Object(root) = &json else { return Err("is not a JSON object".to_owned()) };
    if let Some(dialect) = root.get("$schema")
        && dialect.as_str().map(|dialect| dialect.trim_end_matches('#')) != Some(DIALECT)
    {
        let named = quoted(dialect.as_str().unwrap_or_default());
        return Err(format!("is of the dialect {named}, and this host has {DIALECT} only"));
    }
    schema::check(&json)?;
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(schema::MAX_COMPILED))
        .offline()
        .build(&json)
        .map_err(|error| format!("is no JSON Schema: {}", quoted(&error.to_string())))?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(schema: &Value) -> String {
        read(&schema.to_string()).expect_err("it is no schema that this host takes")
    }

    #[test]
    fn a_schema_is_read_as_it_is() {
        let schema =
            serde_json::json!({"$schema": DIALECT, "$id": "https://example.org/a", "type": "object"});
        assert_eq!(read(&schema.to_string()), Ok(schema));
    }

    #[test]
    fn what_is_no_schema_is_called_so() {
        assert!(read("{").unwrap_err().starts_with("is not JSON"));
        assert_eq!(read("[]").unwrap_err(), "is not a JSON object");
        assert!(refused(&serde_json::json!({"type": "strnig"})).starts_with("is no JSON Schema"));
        assert!(refused(&serde_json::json!({"pattern": "("})).starts_with("is no JSON Schema"));
        assert!(
            refused(&serde_json::json!({"$schema": "http://json-schema.org/draft-04/schema#"}))
                .contains("dialect")
        );
        let deep = format!("{}{}", "{\"not\":".repeat(120), "{}".to_owned() + &"}".repeat(120));
        assert!(read(&deep).is_ok());
        let deeper = format!("{}{}", "{\"not\":".repeat(5_000), "{}".to_owned() + &"}".repeat(5_000));
        assert!(read(&deeper).unwrap_err().starts_with("is not JSON"));
    }

    #[test]
    fn checks_without_an_end_and_patterns_without_bounds_are_refused() {
        assert!(refused(&serde_json::json!({"$ref": "#"})).contains("without an end"));
        assert!(
            refused(&serde_json::json!({"pattern": "((a{100}){100}){100}"})).contains("is no JSON Schema")
        );
    }
}
