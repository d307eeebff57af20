//! `copy-directory`: copies a directory on the worker.

use serde::Deserialize;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook};

use crate::remote::simple;

/// The hook.
pub struct CopyDirectory;

impl Hook for CopyDirectory {
    const NAME: &'static str = "copy-directory";
    const SUMMARY: &'static str = "copies a directory on the worker; a failure halts the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("copy-directory.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    src: String,
    dest: String,
}

impl BuildStep for CopyDirectory {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let title = format!("{} to {}", args.src, args.dest);
        simple(&title, "cpdir", &serde_json::json!({ "from_path": args.src, "to_path": args.dest }))
    }
}
