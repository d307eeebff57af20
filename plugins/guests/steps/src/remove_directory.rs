//! `rmdir`: removes directories and files on the worker.

use serde::Deserialize;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook};

use crate::remote::simple;

/// The hook.
pub struct RemoveDirectory;

impl Hook for RemoveDirectory {
    const NAME: &'static str = "rmdir";
    const SUMMARY: &'static str =
        "removes directories on the worker, with all that is in them; a failure halts the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("rmdir.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    dir: serde_json::Value,
}

impl BuildStep for RemoveDirectory {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let title = match &args.dir {
            serde_json::Value::Array(several) => format!("{} directories", several.len()),
            one => one.as_str().unwrap_or_default().to_owned(),
        };
        simple(&title, "rmdir", &serde_json::json!({ "paths": args.dir }))
    }
}
