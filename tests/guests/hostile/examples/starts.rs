//! The helper of the commands: a step that starts the command that it is told, and says what came of it.

use windlass_sdk::Outcome;
use windlass_sdk::step::{self, StepResult};

struct Starts;

#[derive(serde::Deserialize)]
struct Args {
    command: String,
}

impl windlass_sdk::Hook for Starts {
    const NAME: &'static str = "starts";
    const SUMMARY: &'static str = "starts a command and says what came of it";
    const ARGS_SCHEMA: Option<&'static str> =
        Some(r#"{"type": "object", "required": ["command"], "properties": {"command": {"type": "string"}}}"#);
    type Args = Args;
}

impl windlass_sdk::BuildStep for Starts {
    fn run(args: Args) -> Result<StepResult, windlass_sdk::Failure> {
        let (completion, seen) = step::run_and_read(&args.command, &serde_json::json!({}), "seen", 900)?;
        let outcome = if completion.rc == Some(0) { Outcome::Success } else { Outcome::Failure };
        Ok(StepResult::new(outcome, seen))
    }
}

windlass_sdk::export!(build_step: Starts);
