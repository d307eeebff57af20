//! `shell-sequence`: several programs, one after another, in one step.

use serde::Deserialize;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Outcome};

use crate::judge::{Flags, worst};
use crate::remote::{Line, STDIO};
use crate::shell::{self, command_property, shell_schema};

/// The hook.
pub struct ShellSequence;

impl Hook for ShellSequence {
    const NAME: &'static str = "shell-sequence";
    const SUMMARY: &'static str = "runs programs one after another; each has flags of its own, as steps have";
    const ARGS_SCHEMA: Option<&'static str> = Some(shell_schema!(
        r#""required": ["commands"], "#,
        concat!(
            r#""commands": {"type": "array", "minItems": 1, "maxItems": 1000, "items": {"type": "object", "additionalProperties": false, "required": ["command"], "properties": {"#,
            command_property!(""),
            r#", "logname": {"type": "string", "pattern": "^[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,99}$", "description": "The log of its output."}, "halt_on_failure": {"type": "boolean"}, "flunk_on_failure": {"type": "boolean"}, "flunk_on_warnings": {"type": "boolean"}, "warn_on_failure": {"type": "boolean"}, "warn_on_warnings": {"type": "boolean"}}}, "description": "Each with `command`, `logname` (`stdio` unless given), and the flags that steps have: `halt_on_failure`, `flunk_on_failure`, `flunk_on_warnings`, `warn_on_failure`, `warn_on_warnings`."}"#
        ),
    ));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    commands: Vec<Part>,
    #[serde(flatten)]
    shell: shell::Args,
}

/// One of the programs.
#[derive(Deserialize)]
struct Part {
    command: Line,
    logname: Option<String>,
    #[serde(flatten)]
    flags: Flags,
}

impl BuildStep for ShellSequence {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let mut overall = Outcome::Success;
        let mut told: Vec<String> = Vec::new();
        args.shell.make_logs()?;
        let count = args.commands.len();
        for (number, part) in (1..).zip(args.commands) {
            let title = part.command.title();
            let mut shell = args.shell.shell(part.command)?;
            shell.log = part.logname.unwrap_or_else(|| STDIO.to_owned());
            step::summary(&format!("{number} of {count}: {title}"));
            let result = args.shell.judge(&title, shell.run()?);
            let (counts_as, goes_on) = part.flags.judge(result.outcome);
            overall = worst(overall, counts_as);
            if result.outcome != Outcome::Success {
                told.push(result.summary.unwrap_or(title));
            }
            if !goes_on {
                break;
            }
        }
        let line = if told.is_empty() { format!("{count} commands") } else { told.join("; ") };
        Ok(StepResult::new(overall, line))
    }
}
