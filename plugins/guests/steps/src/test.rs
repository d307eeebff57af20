//! `test`: `make test` unless told otherwise. What its cases say is read by `junit`, `cargo-test` and `pytest`.

use serde::Deserialize;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook};

use crate::remote::Line;
use crate::shell::{self, command_property, shell_schema};

/// The hook.
pub struct Test;

impl Hook for Test {
    const NAME: &'static str = "test";
    const SUMMARY: &'static str = "runs tests, `make test` unless told otherwise; a failure flunks the build";
    const ARGS_SCHEMA: Option<&'static str> =
        Some(shell_schema!("", command_property!(r#""default": ["make", "test"], "#)));
    const OPTIONS: &'static [(&'static str, bool)] =
        &[("halt-on-failure", false), ("flunk-on-failure", true), ("warn-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    command: Option<Line>,
    #[serde(flatten)]
    shell: shell::Args,
}

impl BuildStep for Test {
    fn run(args: Args) -> Result<StepResult, Failure> {
        args.shell.run(args.command.unwrap_or_else(|| Line::argv(["make", "test"])))
    }
}
