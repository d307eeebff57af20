//! A command that says something and breaks off as `how` says: `panic` or `fail`.

use serde_json::Value as Json;
use windlass_sdk::{Completion, Failure, Hook, Origin, Pair, SlaveCommand, command};

struct Breaker;

impl Hook for Breaker {
    const NAME: &'static str = "break-off";
    const SUMMARY: &'static str = "says something, and breaks off as `how` says: `panic` or `fail`";
    const ARGS_SCHEMA: Option<&'static str> = Some(r#"{"type":"object"}"#);
    type Args = Json;
}

impl SlaveCommand for Breaker {
    fn run(args: Json) -> Result<Completion, Failure> {
        command::log_text("stdio", Origin::Stdout, "all is done\n")?;
        command::update(&[Pair::new("first", 1)])?;
        command::log_text("stdio", Origin::Stdout, "but one thing\n")?;
        command::update(&[Pair::new("second", 2)])?;
        match args["how"].as_str() {
            Some("panic") => panic!("at the end"),
            _ => Err(Failure::new("unwilling", "it could not be finished")),
        }
    }
}

windlass_sdk::export!(slave_command: Breaker);
