//! A reporter that goes wrong as `how` says.

use serde_json::Value as Json;
use windlass_sdk::{Failure, Hook, Reporter};

struct Stray;

impl Hook for Stray {
    const NAME: &'static str = "stray";
    const SUMMARY: &'static str = "goes wrong as `how` says";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
          "type": "object",
          "properties": { "how": { "enum": ["trap", "spin", "hoard", "err", "again", "well"] } },
          "additionalProperties": false
        }"#,
    );
    type Args = Json;
}

impl Reporter for Stray {
    fn report(args: Json, event_id: String, _: String, _: String) -> Result<(), Failure> {
        let failure = |retryable| Failure {
            code: "unwilling".to_owned(),
            message: format!("told to, for {event_id}"),
            detail: None,
            retryable,
        };
        match args["how"].as_str() {
            Some("trap") => panic!("told to"),
            Some("spin") => loop {
                std::hint::black_box(&args);
            },
            Some("hoard") => {
                std::hint::black_box(Vec::<u8>::with_capacity(1 << 30));
                Ok(())
            }
            Some("err") => Err(failure(false)),
            Some("again") => Err(failure(true)),
            Some(_) | None => Ok(()),
        }
    }
}

windlass_sdk::export!(reporter: Stray);
