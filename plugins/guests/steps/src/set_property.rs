//! `set-property`: sets a property of the build, or several.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Outcome, Value, bad_argument};

/// The hook.
pub struct SetProperty;

impl Hook for SetProperty {
    const NAME: &'static str = "set-property";
    const SUMMARY: &'static str = "sets a property of the build, or several";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("set-property.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    property: Option<String>,
    #[serde(default)]
    value: Json,
    #[serde(default)]
    properties: BTreeMap<String, Json>,
}

impl BuildStep for SetProperty {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let mut properties = args.properties;
        if let Some(property) = args.property
            && let Some(_twice) = properties.insert(property.clone(), args.value)
        {
            return Err(bad_argument(format!("`{property}` is in `properties`, too")));
        }
        for (name, value) in &properties {
            step::set_property(name, &value_of(value))?;
        }
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        Ok(StepResult::new(Outcome::Success, names.join(", ")))
    }
}

/// A property's value.
pub fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) if integer.unsigned_abs() < 1 << 53 => Value::Integer(integer),
            (None, Some(float)) if !number.is_u64() => Value::Number(float),
            _ => Value::Json(number.to_string()),
        },
        Json::Array(_) | Json::Object(_) => Value::Json(json.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_type_and_what_no_language_holds_is_json() {
        let value = |text: &str| value_of(&serde_json::from_str(text).expect("it is JSON"));
        assert_eq!(value("3"), Value::Integer(3));
        assert_eq!(value("1.5"), Value::Number(1.5));
        assert_eq!(value("18446744073709551615"), Value::Json("18446744073709551615".into()));
        assert_eq!(value("-9007199254740992"), Value::Json("-9007199254740992".into()));
        assert_eq!(value("[1]"), Value::Json("[1]".into()));
        assert_eq!((value("null"), value("true")), (Value::Null, Value::Boolean(true)));
    }
}
