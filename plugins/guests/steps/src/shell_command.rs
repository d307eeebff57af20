//! `shell-command`: one program on the worker, judged by its exit code.

use serde::Deserialize;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook};

use crate::remote::Line;
use crate::shell::{self, command_property, shell_schema};

/// The hook.
pub struct ShellCommand;

impl Hook for ShellCommand {
    const NAME: &'static str = "shell-command";
    const SUMMARY: &'static str = "runs a program; an exit code other than 0 is a failure";
    const ARGS_SCHEMA: Option<&'static str> =
        Some(shell_schema!(r#""required": ["command"], "#, command_property!("")));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    command: Line,
    #[serde(flatten)]
    shell: shell::Args,
}

impl BuildStep for ShellCommand {
    fn run(args: Args) -> Result<StepResult, Failure> {
        args.shell.run(args.command)
    }
}
