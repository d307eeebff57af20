//! A renderer that shows what it was given, and goes wrong as it is told.

use serde_json::Value as Json;
use windlass_sdk::{Failure, Hook, Pair, Renderer, Value, value_of};

struct Stamp;

impl Hook for Stamp {
    const NAME: &'static str = "stamp";
    const SUMMARY: &'static str = "`say`, the property that `of` names, or what `how` does";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
          "type": "object",
          "properties": {
            "say": {},
            "of": { "type": "string" },
            "how": { "enum": ["trap", "spin", "err", "flood"] }
          },
          "additionalProperties": false
        }"#,
    );
    type Args = Json;
}

impl Renderer for Stamp {
    fn render(args: Json, properties: Vec<Pair>) -> Result<Value, Failure> {
        if let Some(name) = args["of"].as_str() {
            let value = value_of(&properties, name).cloned();
            return value.ok_or_else(|| Failure::new("unset", format!("there is no property {name}")));
        }
        match args["how"].as_str() {
            Some("trap") => panic!("told to"),
            Some("spin") => loop {
                std::hint::black_box(&args);
            },
            Some("err") => Err(Failure::new("unwilling", "told to")),
            // The schema lets nothing else pass.
            Some(_) => Ok(Value::Text("x".repeat(1 << 20))),
            None => Ok(match &args["say"] {
                Json::Bool(truth) => Value::Boolean(*truth),
                Json::String(text) => Value::Text(text.clone()),
                other => Value::Json(other.to_string()),
            }),
        }
    }
}

windlass_sdk::export!(renderer: Stamp);
