//! `configure`: `./configure` unless told otherwise.

use serde::Deserialize;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook};

use crate::remote::Line;
use crate::shell::{self, command_property, shell_schema};

/// The hook.
pub struct Configure;

impl Hook for Configure {
    const NAME: &'static str = "configure";
    const SUMMARY: &'static str =
        "configures, `./configure` unless told otherwise; a failure halts the build";
    const ARGS_SCHEMA: Option<&'static str> =
        Some(shell_schema!("", command_property!(r#""default": ["./configure"], "#)));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    command: Option<Line>,
    #[serde(flatten)]
    shell: shell::Args,
}

impl BuildStep for Configure {
    fn run(args: Args) -> Result<StepResult, Failure> {
        args.shell.run(args.command.unwrap_or_else(|| Line::argv(["./configure"])))
    }
}
