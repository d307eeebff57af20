//! A configurator that writes a builder for each name that it is given, and takes long or goes wrong as it is told.

use serde_json::Value as Json;
use windlass_sdk::{Configurator, Failure, Hook};

struct Make;

impl Hook for Make {
    const NAME: &'static str = "make";
    const SUMMARY: &'static str = "a builder for each of `names`, or what `how` does";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
          "type": "object",
          "properties": {
            "names": { "type": "array", "items": { "type": "string" } },
            "say": { "type": "string" },
            "how": { "enum": ["trap", "spin", "err", "flood", "work"] }
          },
          "additionalProperties": false
        }"#,
    );
    type Args = Json;
}

impl Configurator for Make {
    fn configure(args: Json) -> Result<String, Failure> {
        match args["how"].as_str() {
            Some("trap") => panic!("told to"),
            Some("spin") => loop {
                std::hint::black_box(&args);
            },
            Some("err") => return Err(Failure::new("unwilling", "told to")),
            // Long enough to be looked at, and well within its time.
            Some("work") => (0..60_000_000_u32).for_each(|n| {
                std::hint::black_box(n);
            }),
            // The schema lets nothing else pass.
            Some(_) => return Ok("#".repeat(5 << 20)),
            None => {}
        }
        let names = args["names"].as_array().cloned().unwrap_or_default();
        let builder = |name: &Json| {
            format!(
                "[[builders]]\nname = {name}\nworkers = [\"w1\", \"w2\"]\n[[builders.steps]]\nuse = \"shell-command\"\n\
                 args = {{ command = \"echo made\" }}\n"
            )
        };
        Ok(names.iter().map(builder).collect::<String>() + args["say"].as_str().unwrap_or_default())
    }
}

windlass_sdk::export!(configurator: Make);
