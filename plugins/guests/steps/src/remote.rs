//! Runs `shell` on the worker, and says how it ended in terms of a step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_sdk::step::{self, Event, LogLines, StepResult};
use windlass_sdk::{Completion, Failure, Outcome, Value};

/// The log that a program's output goes to unless its step says otherwise.
pub const STDIO: &str = "stdio";

/// What to run: a program with its arguments, or text for a shell.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged, from = "Words")]
pub enum Line {
    /// For /bin/sh.
    Shell(String),
    /// As it is.
    Argv(Vec<String>),
}

/// A command as it may be written: lists within the list are part of it, and properties that were looked up keep
/// their type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<Words>),
    Number(serde_json::Number),
    Flag(bool),
    Nothing(()),
}

impl From<Words> for Line {
    fn from(words: Words) -> Line {
        match words {
            Words::Text(text) => Line::Shell(text),
            words => {
                let mut argv = Vec::new();
                words.flatten(&mut argv);
                Line::Argv(argv)
            }
        }
    }
}

impl Words {
    fn flatten(self, argv: &mut Vec<String>) {
        match self {
            Words::Text(text) => argv.push(text),
            Words::List(words) => words.into_iter().for_each(|word| word.flatten(argv)),
            Words::Number(number) => argv.push(number.to_string()),
            Words::Flag(flag) => argv.push(flag.to_string()),
            // A property that is not set: as it is put into a text.
            Words::Nothing(()) => argv.push(String::new()),
        }
    }
}

impl Line {
    /// A program with its arguments.
    pub fn argv<const N: usize>(words: [&str; N]) -> Line {
        Line::Argv(words.map(str::to_owned).to_vec())
    }

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

/// Variables to set; null unsets one, a list is joined as paths are.
pub type Env = BTreeMap<String, serde_json::Value>;

/// The arguments of the command `shell` that steps use.
#[derive(Clone, Serialize)]
pub struct Shell {
    /// What to run.
    pub command: Line,
    /// Where, relative to the builder's directory.
    pub workdir: String,
    /// Variables to set or unset.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Env,
    /// The log of its output.
    pub log: String,
    /// Files to follow.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub logfiles: BTreeMap<String, serde_json::Value>,
    /// Seconds without output.
    pub timeout: Option<f64>,
    /// Seconds in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_time: Option<f64>,
    /// Lines of output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lines: Option<u32>,
    /// Seconds between a friendly and an unfriendly signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigterm_time: Option<f64>,
    /// The signal at an interrupt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupt_signal: Option<String>,
    /// Standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_stdin: Option<String>,
    /// A terminal.
    #[serde(skip_serializing_if = "is_false")]
    pub pty: bool,
    /// Whether standard output goes to the log.
    #[serde(skip_serializing_if = "is_true")]
    pub want_stdout: bool,
    /// Whether standard error does.
    #[serde(skip_serializing_if = "is_true")]
    pub want_stderr: bool,
    /// Whether the log shows the environment.
    #[serde(skip_serializing_if = "is_true")]
    pub log_environ: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

/// How a step ends that cannot go on, and why.
pub type Stop = (Outcome, String);

/// How a program on the worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Code(i32),
    /// In another way, which already says what becomes of the step.
    Other(Outcome, String),
}

impl Shell {
    /// A program that runs in the builder's directory and is stopped when it has been silent for 20 minutes.
    pub fn new(command: Line) -> Shell {
        Shell {
            command,
            workdir: String::new(),
            env: BTreeMap::new(),
            log: STDIO.to_owned(),
            logfiles: BTreeMap::new(),
            timeout: Some(1200.0),
            max_time: None,
            max_lines: None,
            sigterm_time: None,
            interrupt_signal: None,
            initial_stdin: None,
            pty: false,
            want_stdout: true,
            want_stderr: true,
            log_environ: false,
        }
    }

    /// Runs it and waits.
    pub fn run(&self) -> Result<Ending, Failure> {
        ending(step::run_command("shell", self))
    }

    /// Runs it, and hands over the lines of these logs as they come.
    pub fn watch(
        &self,
        logs: &[&str],
        mut lines: impl FnMut(LogLines) -> Result<(), Failure>,
    ) -> Result<Ending, Failure> {
        let args = serde_json::to_string(self).map_err(|e| windlass_sdk::bad_argument(e.to_string()))?;
        let logs: Vec<String> = logs.iter().map(|&log| log.to_owned()).collect();
        let number = match step::start_command("shell", &args, &logs) {
            Ok(number) => number,
            Err(failure) => return ending(Err(failure)),
        };
        loop {
            match step::next_event(None) {
                Event::Lines(some) if some.command == number => lines(some)?,
                Event::Done(end) if end.command == number => return ending(end.how),
                Event::Interrupt(reason) => step::interrupt_command(number, &reason)?,
                _ => {}
            }
        }
    }

    /// Runs it and returns what it wrote to its log as well, at most `max_bytes`; more than that is an error.
    pub fn read(&self, max_bytes: usize) -> Result<(Ending, String), Failure> {
        let mut read = String::new();
        let mut over = false;
        let ending = self.watch(&[&self.log], |lines| {
            over |= read.len() + lines.text.len() > max_bytes;
            if !over && lines.from_stream == windlass_sdk::Origin::Stdout {
                read.push_str(&lines.text);
            }
            Ok(())
        })?;
        match over {
            true => Err(Failure::new("too-large", format!("it wrote more than {max_bytes} bytes"))),
            false => Ok((ending, read)),
        }
    }
}

/// What an answer of `shell` means. A failure that is nobody's fault but the plugin's stays one.
pub fn ending(answer: Result<Completion, Failure>) -> Result<Ending, Failure> {
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
    // Before the rc, which is -1 for all of these.
    let text = |name: &str| completion.get(name).and_then(Value::as_text);
    Ok(if completion.get("interrupted") == Some(&Value::Boolean(true)) {
        interrupted()
    } else if let Some(limit) = text("timed-out") {
        Ending::Other(Outcome::Failure, format!("stopped at its limit: {limit}"))
    } else if let Some(signal) = text("signal") {
        Ending::Other(Outcome::Failure, format!("ended by {signal}"))
    } else if let Some(rc) = completion.rc {
        Ending::Code(rc)
    } else {
        Ending::Other(Outcome::Failure, "ended by something unknown".to_owned())
    })
}

fn interrupted() -> Ending {
    Ending::Other(Outcome::Cancelled, "interrupted".to_owned())
}

/// The result of a step of which nothing but this ending is known.
pub fn ended(title: &str, outcome: Outcome, why: &str) -> StepResult {
    StepResult::new(outcome, format!("{title}: {why}"))
}

/// Runs a command other than `shell`, which went well if it answers `rc` 0.
pub fn command(name: &str, args: &impl Serialize) -> Result<Result<(), Stop>, Failure> {
    let answer = step::run_command(name, args);
    let message = answer.as_ref().ok().and_then(|answer| answer.get("message")?.as_text()).map(str::to_owned);
    Ok(match ending(answer)? {
        Ending::Code(0) => Ok(()),
        Ending::Code(code) => Err((Outcome::Failure, message.unwrap_or_else(|| format!("rc {code}")))),
        Ending::Other(outcome, why) => Err((outcome, why)),
    })
}

/// Removes what stands at a path below the builder's directory, if anything does. What stays would pass for something
/// that this build made, so that nobody may go on after it.
pub fn remove(path: &str) -> Result<Result<(), Stop>, Failure> {
    command("rmdir", &serde_json::json!({ "paths": path }))
}

/// A step that runs one command other than `shell`.
pub fn simple(title: &str, name: &str, args: &impl Serialize) -> Result<StepResult, Failure> {
    Ok(match command(name, args)? {
        Ok(()) => StepResult::new(Outcome::Success, title),
        Err((outcome, why)) => ended(title, outcome, &why),
    })
}

/// Of seconds, as a schema bounds them.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the schema bounds it")]
pub fn milliseconds(seconds: f64) -> u32 {
    (seconds * 1000.0).clamp(0.0, f64::from(u32::MAX)) as u32
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
        let none = Completion::rc(-1);
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

    #[test]
    fn lists_in_a_command_are_part_of_it_and_every_word_becomes_text() {
        let line: Line =
            serde_json::from_str(r#"["make", ["-j", 4, ["-k"]], true, null]"#).expect("a command");
        assert_eq!(line, Line::argv(["make", "-j", "4", "-k", "true", ""]));
        assert_eq!(serde_json::from_str::<Line>("\"make\"").expect("text"), Line::Shell("make".into()));
    }
}
