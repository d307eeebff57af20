//! The arguments that every step has that runs a program, and what its exit code means.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{Failure, Origin, Outcome, bad_argument};

use crate::paths;
use crate::remote::{Ending, Env, Line, Shell, ended};

/// The schema of a step that runs a program: what stands beside `properties`, its own properties, and those that all
/// of them have.
macro_rules! shell_schema {
    ($beside:expr, $($own:expr),* $(,)?) => {
        concat!(
            "{\n  \"type\": \"object\",\n  \"additionalProperties\": false,\n  ", $beside, "\"properties\": {\n",
            $("    ", $own, ",\n",)*
            include_str!("shell.properties"), "  }\n}\n"
        )
    };
}

/// The property `command`, with its default if it has one.
macro_rules! command_property {
    ($default:literal) => {
        concat!(
            r#""command": {"x-no-secrets": "every process can read a command line; put it into `env`, and name the variable in the command, or into `initial_stdin`", "oneOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": ["string", "number", "boolean", "array", "null"]}, "minItems": 1}], "#,
            $default,
            r#""description": "A program and its arguments, run as they are (lists within the list are part of it); or text for /bin/sh."}"#
        )
    };
}

/// The property `args` of those that add to their command.
macro_rules! args_property {
    () => {
        r#""args": {"x-no-secrets": "every process can read a command line; put it into `env`", "type": "array", "items": {"type": ["string", "number", "boolean"]}, "default": [], "description": "What follows on the command line; `command` must be a list then."}"#
    };
}

/// What stands beside the properties of those that have `args`: a text is for a shell, which would not see them.
macro_rules! needs_a_list {
    () => {
        r#""dependentSchemas": {"args": {"properties": {"command": {"type": "array"}}}}, "#
    };
}

pub(crate) use {args_property, command_property, needs_a_list, shell_schema};

/// As `shell.properties` says.
#[derive(Clone, Deserialize)]
pub struct Args {
    #[serde(default = "build")]
    workdir: String,
    #[serde(default)]
    env: Env,
    #[serde(default)]
    logfiles: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    lazy_logfiles: bool,
    #[serde(default = "twenty_minutes")]
    timeout: Option<f64>,
    max_time: Option<f64>,
    max_lines: Option<u32>,
    sigterm_time: Option<f64>,
    interrupt_signal: Option<String>,
    initial_stdin: Option<String>,
    #[serde(default)]
    pty: bool,
    #[serde(default = "yes")]
    want_stdout: bool,
    #[serde(default = "yes")]
    want_stderr: bool,
    #[serde(default)]
    log_environ: bool,
    #[serde(default)]
    decode_rc: BTreeMap<String, Meaning>,
}

fn build() -> String {
    "build".to_owned()
}

fn yes() -> bool {
    true
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
    /// The command `shell` that runs this.
    pub fn shell(&self, command: Line) -> Result<Shell, Failure> {
        if matches!(&command, Line::Argv(argv) if argv.first().is_none_or(String::is_empty)) {
            return Err(bad_argument("`command` is empty"));
        }
        Ok(Shell {
            workdir: self.workdir.clone(),
            env: self.env.clone(),
            logfiles: self.logfiles.clone(),
            timeout: self.timeout,
            max_time: self.max_time,
            max_lines: self.max_lines,
            sigterm_time: self.sigterm_time,
            interrupt_signal: self.interrupt_signal.clone(),
            initial_stdin: self.initial_stdin.clone(),
            pty: self.pty,
            want_stdout: self.want_stdout,
            want_stderr: self.want_stderr,
            log_environ: self.log_environ,
            ..Shell::new(command)
        })
    }

    /// Makes the logs of followed files, so that they are there even if nothing is ever written to them.
    pub fn make_logs(&self) -> Result<(), Failure> {
        match self.lazy_logfiles {
            true => Ok(()),
            false => self.logfiles.keys().try_for_each(|log| step::log_text(log, Origin::Header, "")),
        }
    }

    /// Runs a program to its end: all that a step without a mind of its own does.
    pub fn run(&self, command: Line) -> Result<StepResult, Failure> {
        let title = command.title();
        let shell = self.shell(command)?;
        self.make_logs()?;
        Ok(self.judge(&title, shell.run()?))
    }

    /// What an ending means.
    pub fn judge(&self, title: &str, ending: Ending) -> StepResult {
        let code = match ending {
            Ending::Code(code) => code,
            Ending::Other(outcome, why) => return ended(title, outcome, &why),
        };
        let outcome = match self.decode_rc.get(&code.to_string()) {
            Some(Meaning::Success) => Outcome::Success,
            Some(Meaning::Warnings) => Outcome::Warnings,
            Some(Meaning::Failure) => Outcome::Failure,
            Some(Meaning::Skipped) => Outcome::Skipped,
            Some(Meaning::Exception) => Outcome::Exception,
            Some(Meaning::Retry) => Outcome::Retry,
            None if code == 0 => Outcome::Success,
            None => Outcome::Failure,
        };
        match (code, outcome) {
            (0, Outcome::Success) => StepResult::new(outcome, title),
            (code, outcome) => ended(title, outcome, &format!("exit code {code}")),
        }
    }

    /// A path below the directory where the program runs.
    pub fn below(&self, path: &str) -> String {
        paths::below(&self.workdir, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(json: &str) -> Args {
        serde_json::from_str(json).expect("they fit")
    }

    #[test]
    fn an_exit_code_other_than_0_fails_unless_it_has_a_meaning() {
        let plain = args("{}");
        let with = args(r#"{"decode_rc":{"77":"skipped","0":"warnings"}}"#);
        let outcome = |args: &Args, code| args.judge("make", Ending::Code(code)).outcome;
        assert_eq!(outcome(&plain, 0), Outcome::Success);
        assert_eq!(outcome(&plain, 2), Outcome::Failure);
        assert_eq!(outcome(&with, 77), Outcome::Skipped);
        assert_eq!(outcome(&with, 0), Outcome::Warnings);
        assert_eq!(plain.judge("make", Ending::Code(2)).summary.as_deref(), Some("make: exit code 2"));
    }

    #[test]
    fn a_command_of_nothing_is_refused() {
        let refused = |line| args("{}").shell(line).err().expect("it is refused").code;
        assert_eq!(refused(Line::Argv(vec![])), "bad-argument");
        assert_eq!(refused(Line::argv([""])), "bad-argument");
    }
}
