//! `mkdir`: makes a directory on the worker.

use serde::Deserialize;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook};

use crate::remote::simple;

/// The hook.
pub struct MakeDirectory;

impl Hook for MakeDirectory {
    const NAME: &'static str = "mkdir";
    const SUMMARY: &'static str =
        "makes a directory on the worker, with its parents; a failure halts the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("mkdir.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    dir: String,
}

impl BuildStep for MakeDirectory {
    fn run(args: Args) -> Result<StepResult, Failure> {
        simple(&args.dir, "mkdir", &serde_json::json!({ "paths": args.dir }))
    }
}
