//! `log-renderable`: writes a value into a log, to see what templates become. It runs on the master.

use serde::Deserialize;
use serde_json::Value as Json;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Origin, Outcome, bad_argument};

/// What one call takes.
const PIECE: usize = 48 * 1024;

/// The hook.
pub struct LogRenderable;

impl Hook for LogRenderable {
    const NAME: &'static str = "log-renderable";
    const SUMMARY: &'static str = "writes a value into a log, to see what templates become";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("log-renderable.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    content: Json,
    #[serde(default = "output")]
    log: String,
}

fn output() -> String {
    "output".to_owned()
}

impl BuildStep for LogRenderable {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let text = match &args.content {
            Json::String(text) => text.clone(),
            value => serde_json::to_string_pretty(value).map_err(|error| bad_argument(error.to_string()))?,
        };
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.floor_char_boundary(PIECE));
            step::log_text(&args.log, Origin::Stdout, piece)?;
            rest = more;
        }
        step::log_text(&args.log, Origin::Stdout, "\n")?;
        Ok(StepResult::new(Outcome::Success, format!("see log {}", args.log)))
    }
}
