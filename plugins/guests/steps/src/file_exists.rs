//! `file-exists`: a failure unless there is such a file on the worker.

use serde::Deserialize;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Outcome, Value};

use crate::remote::{Ending, ended, ending};

/// The hook.
pub struct FileExists;

impl Hook for FileExists {
    const NAME: &'static str = "file-exists";
    const SUMMARY: &'static str = "a failure unless there is such a file on the worker; it halts the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("file-exists.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    file: String,
}

impl BuildStep for FileExists {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let answer = step::run_command("stat", &serde_json::json!({ "path": args.file }));
        let is_file = answer.as_ref().is_ok_and(|answer| answer.get("kind") == Some(&Value::from("file")));
        Ok(match ending(answer)? {
            Ending::Code(0) if is_file => StepResult::new(Outcome::Success, args.file),
            Ending::Code(0) => ended(&args.file, Outcome::Failure, "it is there, and is no file"),
            Ending::Code(_) => ended(&args.file, Outcome::Failure, "it is not there"),
            Ending::Other(outcome, why) => ended(&args.file, outcome, &why),
        })
    }
}
