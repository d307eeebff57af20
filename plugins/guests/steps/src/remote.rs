//! Runs `shell` on the worker, and says how it ended in terms of a step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{Completion, Failure, Outcome, Value};

/// What to run: a program with its arguments, or text for a shell.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// For /bin/sh.
    Shell(String),
    /// As it is.
    Argv(Vec<String>),
}

impl Line {
    /// Short enough for a summary.
    pub fn title(&self) -> String {
        const MOST: usize = 60;
        let whole = match self {
            Line::Shell(text) => text.trim().to_owned(),
            Line::Argv(argv) => argv.join(" "),
        };
        let first = whole.lines().next().unwrap_or_default();
        let short: String = first.chars().take(MOST).collect();
        if short.len() < whole.len() { format!("{}…", short.trim_end()) } else { short }
    }
}

/// The arguments of the command `shell` that steps use.
#[derive(Serialize)]
pub struct Shell {
    /// What to run.
    pub command: Line,
    /// Where, relative to the builder's directory.
    pub workdir: String,
    /// Variables to set or unset.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// Files to follow.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub logfiles: BTreeMap<String, String>,
    /// Seconds without output.
    pub idle_time_s: Option<f64>,
    /// Seconds in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_time_s: Option<f64>,
    /// Lines of output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lines: Option<u32>,
    /// Standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// A terminal.
    #[serde(skip_serializing_if = "is_false")]
    pub pty: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// How a program on the worker ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Code(i32),
    /// In another way, which already says what becomes of the step.
    Other(Outcome, String),
}

impl Shell {
    /// Runs it and waits.
    pub fn run(&self) -> Result<Ending, Failure> {
        ending(step::run_command("shell", self))
    }

    /// Runs it and returns what it wrote to the log as well, at most 64 KiB.
    pub fn read(&self) -> Result<(Ending, String), Failure> {
        match step::run_and_read("shell", self, "stdio", 1 << 16) {
            Ok((completion, text)) => Ok((ending(Ok(completion))?, text)),
            Err(failure) => Ok((ending(Err(failure))?, String::new())),
        }
    }
}

/// What an answer of `shell` means. A failure that is nobody's fault but the plugin's stays one.
fn ending(answer: Result<Completion, Failure>) -> Result<Ending, Failure> {
    let completion = match answer {
        Ok(completion) => completion,
        Err(failure) if failure.code == "interrupted" => return Ok(interrupted()),
        // A program that is not there is what the step was to find out, not an accident.
        Err(failure) if failure.code == "spawn-failed" => {
            return Ok(Ending::Other(Outcome::Failure, failure.message));
        }
        Err(failure) if failure.retryable => return Ok(Ending::Other(Outcome::Retry, failure.message)),
        Err(failure) => return Err(failure),
    };
    if let Some(rc) = completion.rc {
        return Ok(Ending::Code(rc));
    }
    let text = |name: &str| completion.get(name).and_then(Value::as_text);
    Ok(if completion.get("interrupted") == Some(&Value::Boolean(true)) {
        interrupted()
    } else if let Some(limit) = text("timed-out") {
        Ending::Other(Outcome::Failure, format!("stopped at its limit: {limit}"))
    } else {
        Ending::Other(Outcome::Failure, format!("ended by {}", text("signal").unwrap_or("something unknown")))
    })
}

fn interrupted() -> Ending {
    Ending::Other(Outcome::Cancelled, "interrupted".to_owned())
}

/// The result of a step of which nothing but this ending is known.
pub fn ended(title: &str, outcome: Outcome, why: &str) -> StepResult {
    StepResult::new(outcome, format!("{title}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: Result<Completion, Failure>, expected: Outcome) {
        match ending(answer).expect("it is an ending") {
            Ending::Other(outcome, _) => assert_eq!(outcome, expected),
            Ending::Code(code) => panic!("it has the exit code {code}"),
        }
    }

    #[test]
    fn a_lost_worker_is_a_retry_an_interrupt_cancels_and_a_missing_program_fails() {
        check(Err(Failure::retryable("worker-lost", "gone")), Outcome::Retry);
        check(Err(Failure::new("interrupted", "stop")), Outcome::Cancelled);
        check(Err(Failure::new("spawn-failed", "no such file")), Outcome::Failure);
        let none = Completion { rc: None, values: vec![] };
        check(Ok(none.clone().with("interrupted", true)), Outcome::Cancelled);
        check(Ok(none.clone().with("timed-out", "idle-time")), Outcome::Failure);
        check(Ok(none.with("signal", "SIGSEGV")), Outcome::Failure);
        assert_eq!(ending(Ok(Completion::rc(2))), Ok(Ending::Code(2)));
        assert!(ending(Err(Failure::new("denied", "no"))).is_err());
    }

    #[test]
    fn a_title_is_one_short_line() {
        assert_eq!(Line::Shell("make all".into()).title(), "make all");
        assert_eq!(Line::Shell("set -e\nmake".into()).title(), "set -e…");
        assert_eq!(Line::Argv(vec!["x".repeat(80)]).title().chars().count(), 61);
    }
}
