//! `assert`: a failure unless a value is as expected. It runs on the master.

use serde::Deserialize;
use serde_json::Value as Json;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook, Outcome};

use crate::warnings::regex;

/// The hook.
pub struct Assert;

impl Hook for Assert {
    const NAME: &'static str = "assert";
    const SUMMARY: &'static str = "a failure unless a value is as expected";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("assert.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    that: Json,
    #[serde(default, deserialize_with = "given")]
    equals: Option<Json>,
    #[serde(default, deserialize_with = "given")]
    differs_from: Option<Json>,
    one_of: Option<Vec<Json>>,
    matches: Option<String>,
    message: Option<String>,
}

/// Null is a value like any other.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(from).map(Some)
}

impl BuildStep for Assert {
    fn run(args: Args) -> Result<StepResult, Failure> {
        Ok(match args.wrong()? {
            None => StepResult::new(Outcome::Success, "it holds"),
            Some(why) => StepResult::new(Outcome::Failure, args.message.unwrap_or(why)),
        })
    }
}

impl Args {
    /// What does not hold.
    fn wrong(&self) -> Result<Option<String>, Failure> {
        let that = &self.that;
        let mut checks = Vec::new();
        if let Some(expected) = &self.equals {
            checks.push((that == expected, format!("{that} is not {expected}")));
        }
        if let Some(other) = &self.differs_from {
            checks.push((that != other, format!("it is {that}")));
        }
        if let Some(several) = &self.one_of {
            checks
                .push((several.contains(that), format!("{that} is none of {}", Json::from(several.clone()))));
        }
        if let Some(pattern) = &self.matches {
            let found = regex("matches", pattern)?.is_match(&text(that));
            checks.push((found, format!("{that} does not match {pattern}")));
        }
        if checks.is_empty() {
            checks.push((is_true(that), format!("{that} does not hold")));
        }
        Ok(checks.into_iter().find_map(|(holds, why)| (!holds).then_some(why)))
    }
}

/// Neither nothing, nor false, nor 0, nor empty.
fn is_true(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(flag) => *flag,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(entries) => !entries.is_empty(),
    }
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(args: &str) -> bool {
        serde_json::from_str::<Args>(args).expect("they fit").wrong().expect("it can be said").is_none()
    }

    #[test]
    fn a_value_alone_holds_if_it_is_something() {
        for nothing in ["null", "false", "0", "0.0", "\"\"", "[]", "{}"] {
            assert!(!holds(&format!(r#"{{"that":{nothing}}}"#)), "{nothing}");
        }
        for something in ["true", "-1", "\"false\"", "[0]", "{\"a\":0}"] {
            assert!(holds(&format!(r#"{{"that":{something}}}"#)), "{something}");
        }
    }

    #[test]
    fn a_value_holds_if_all_that_is_expected_of_it_does() {
        assert!(holds(
            r#"{"that":"main","equals":"main","differs_from":"dev","one_of":["a","main"],"matches":"^ma"}"#
        ));
        assert!(!holds(r#"{"that":"main","equals":"main","matches":"^x"}"#));
        assert!(holds(r#"{"that":null,"equals":null}"#));
        assert!(!holds(r#"{"that":1,"equals":"1"}"#));
        assert!(!holds(r#"{"that":"a","one_of":["b"]}"#));
        assert!(!holds(r#"{"that":"a","differs_from":"a"}"#));
        assert!(holds(r#"{"that":12,"matches":"^[0-9]+$"}"#));
    }
}
