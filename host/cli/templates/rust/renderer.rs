//! Renderer `my-plugin`: a property of the build as a label, which files and images may be called.

use serde::Deserialize;
use windlass_sdk::{Failure, Hook, Pair, Renderer, Value, value_of};

struct Label;

impl Hook for Label {
    // What master.toml says for a value: `{ renderer = "my-plugin:my-plugin", args = { of = "branch" } }`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "a property in small letters and digits, with `-` for all else";
    // The configuration's arguments are checked against this before anything runs.
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["of"],
  "properties": {
    "of": { "type": "string", "description": "The property's name." }
  }
}"#,
    );
    type Args = Args;
}

#[derive(Deserialize)]
struct Args {
    of: String,
}

impl Renderer for Label {
    // Asked when a step or a build needs the value. It must follow from the arguments and the properties; an
    // error ends the step.
    fn render(args: Args, properties: Vec<Pair>) -> Result<Value, Failure> {
        let Some(text) = value_of(&properties, &args.of).and_then(Value::as_text) else {
            return Err(Failure::new("no-text", format!("there is no property `{}` with a text", args.of)));
        };
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        Ok(words.collect::<Vec<_>>().join("-").to_ascii_lowercase().into())
    }
}

windlass_sdk::export!(renderer: Label);
