//! `shell-command`, `compile` and `test`: one program on the worker, judged by its exit code.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook, Outcome, bad_argument};

use crate::remote::{Ending, Line, Shell, ended};

/// The hook `shell-command`.
pub struct ShellCommand;

impl Hook for ShellCommand {
    const NAME: &'static str = "shell-command";
    const SUMMARY: &'static str = "runs a program; an exit code other than 0 is a failure";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("shell-command.schema.json"));
    type Args = Args;
}

impl BuildStep for ShellCommand {
    fn run(args: Args) -> Result<StepResult, Failure> {
        args.run(None)
    }
}

/// The hook `compile`.
pub struct Compile;

impl Hook for Compile {
    const NAME: &'static str = "compile";
    const SUMMARY: &'static str = "compiles, `make all` unless told otherwise; a failure halts the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("compile.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    type Args = Args;
}

impl BuildStep for Compile {
    fn run(args: Args) -> Result<StepResult, Failure> {
        args.run(Some(["make", "all"]))
    }
}

/// The hook `test`.
pub struct Test;

impl Hook for Test {
    const NAME: &'static str = "test";
    const SUMMARY: &'static str = "runs tests, `make test` unless told otherwise; a failure flunks the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("test.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] =
        &[("halt-on-failure", false), ("flunk-on-failure", true)];
    type Args = Args;
}

impl BuildStep for Test {
    fn run(args: Args) -> Result<StepResult, Failure> {
        args.run(Some(["make", "test"]))
    }
}

/// As the schemas say.
#[derive(Deserialize)]
pub struct Args {
    command: Option<Line>,
    #[serde(default = "build")]
    workdir: String,
    #[serde(default)]
    env: BTreeMap<String, Option<String>>,
    #[serde(default)]
    logfiles: BTreeMap<String, String>,
    #[serde(default = "twenty_minutes")]
    timeout: Option<f64>,
    max_time: Option<f64>,
    max_lines: Option<u32>,
    initial_stdin: Option<String>,
    #[serde(default)]
    pty: bool,
    #[serde(default)]
    decode_rc: BTreeMap<String, Meaning>,
}

fn build() -> String {
    "build".to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "a default of an optional field")]
fn twenty_minutes() -> Option<f64> {
    Some(1200.0)
}

/// What an exit code may mean.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Meaning {
    Success,
    Warnings,
    Failure,
    Skipped,
    Exception,
    Retry,
}

impl Args {
    fn run(self, default: Option<[&str; 2]>) -> Result<StepResult, Failure> {
        let default = || default.map(|argv| Line::Argv(argv.map(str::to_owned).to_vec()));
        let command = self.command.or_else(default).ok_or_else(|| bad_argument("`command` is missing"))?;
        let title = command.title();
        let shell = Shell {
            command,
            workdir: self.workdir,
            env: self.env,
            logfiles: self.logfiles,
            idle_time_s: self.timeout,
            max_time_s: self.max_time,
            max_lines: self.max_lines,
            input: self.initial_stdin,
            pty: self.pty,
        };
        Ok(match shell.run()? {
            Ending::Code(code) => judged(&title, code, &self.decode_rc),
            Ending::Other(outcome, why) => ended(&title, outcome, &why),
        })
    }
}

fn judged(title: &str, code: i32, meanings: &BTreeMap<String, Meaning>) -> StepResult {
    let outcome = match meanings.get(&code.to_string()) {
        Some(Meaning::Success) => Outcome::Success,
        Some(Meaning::Warnings) => Outcome::Warnings,
        Some(Meaning::Failure) => Outcome::Failure,
        Some(Meaning::Skipped) => Outcome::Skipped,
        Some(Meaning::Exception) => Outcome::Exception,
        Some(Meaning::Retry) => Outcome::Retry,
        None if code == 0 => Outcome::Success,
        None => Outcome::Failure,
    };
    if code == 0 && outcome == Outcome::Success {
        StepResult::new(outcome, title)
    } else {
        ended(title, outcome, &format!("exit code {code}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_other_than_0_fails_unless_it_has_a_meaning() {
        let meanings =
            BTreeMap::from([("77".to_owned(), Meaning::Skipped), ("0".to_owned(), Meaning::Warnings)]);
        let outcome = |code, meanings: &_| judged("make", code, meanings).outcome;
        assert_eq!(outcome(0, &BTreeMap::new()), Outcome::Success);
        assert_eq!(outcome(2, &BTreeMap::new()), Outcome::Failure);
        assert_eq!(outcome(77, &meanings), Outcome::Skipped);
        assert_eq!(outcome(0, &meanings), Outcome::Warnings);
        assert_eq!(judged("make", 2, &meanings).summary.as_deref(), Some("make: exit code 2"));
    }
}
