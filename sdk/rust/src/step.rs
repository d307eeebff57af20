//! The step in progress, and helpers that most steps want.

use serde::Serialize;

pub use crate::bindings::build_step::exports::windlass::master::build_step::StepResult;
pub use crate::bindings::imports::windlass::master::step_host::{
    BuildInfo, BuildsetEnd, CommandEnd, CommandUpdate, Event, LogLines, PatchInfo, ProcessEnd, TestResult,
    add_steps, add_url, build, cancel_timer, changes, get_property, interrupt_command, log_chunk, log_text,
    next_event, patch, properties, read_log, read_patch, render, report_tests, set_property, set_statistic,
    set_timer, sleep, source_stamps, start_command, submit, summary, wait, worker_supports,
};

use crate::{Completion, Failure, Outcome, Pair, Value, bad_argument, value_of};

impl StepResult {
    /// A step that ended so, with a line that says why.
    pub fn new(outcome: Outcome, summary: impl Into<String>) -> StepResult {
        StepResult { outcome, summary: Some(summary.into()) }
    }
}

/// Runs a command on the worker and waits for it. At an interrupt the host interrupts the command.
///
/// # Errors
/// What the command or the host answered instead of a completion; it is retryable where the worker was lost.
pub fn run_command(command: &str, args: &impl Serialize) -> Result<Completion, Failure> {
    wait(start_command(command, &json(args)?, &[])?)
}

/// Runs a command and collects the lines of one of its logs: at most `max_bytes` of them, the rest is dropped.
/// The log itself is complete all the same.
///
/// # Errors
/// As [`run_command`].
pub fn run_and_read(
    command: &str,
    args: &impl Serialize,
    log: &str,
    max_bytes: usize,
) -> Result<(Completion, String), Failure> {
    let number = start_command(command, &json(args)?, &[log.to_owned()])?;
    let mut read = String::new();
    loop {
        match next_event(None) {
            Event::Lines(lines) if lines.command == number && lines.log == log => {
                let room = max_bytes.saturating_sub(read.len());
                read.extend(lines.text.chars().scan(room, |room, c| {
                    *room = room.checked_sub(c.len_utf8())?;
                    Some(c)
                }));
            }
            Event::Done(end) if end.command == number => return Ok((end.how?, read)),
            Event::Interrupt(reason) => interrupt_command(number, &reason)?,
            _ => {}
        }
    }
}

/// Runs `glob` or `listdir`, and collects all that it lists: a long list comes in parts, the last one with the end.
///
/// # Errors
/// As [`run_command`]; and with the code `bad-answer` where a part is no list.
pub fn list(command: &str, path: &str) -> Result<(Completion, Vec<String>), Failure> {
    let number = start_command(command, &json(&serde_json::json!({ "path": path }))?, &[])?;
    let mut listed = Vec::new();
    loop {
        match next_event(None) {
            Event::Update(update) if update.command == number => add_part(&mut listed, &update.values)?,
            Event::Done(end) if end.command == number => {
                let completion = end.how?;
                add_part(&mut listed, &completion.values)?;
                return Ok((completion, listed));
            }
            Event::Interrupt(reason) => interrupt_command(number, &reason)?,
            _ => {}
        }
    }
}

/// What is wrong with one part is wrong with all: a list that is short of some names would look whole.
fn add_part(listed: &mut Vec<String>, values: &[Pair]) -> Result<(), Failure> {
    let bad = |what: String| Failure::new("bad-answer", format!("a part of the list is none: {what}"));
    match value_of(values, "files") {
        None => Ok(()),
        Some(Value::Json(part)) => {
            listed.extend(serde_json::from_str::<Vec<String>>(part).map_err(|error| bad(error.to_string()))?);
            Ok(())
        }
        Some(other) => Err(bad(format!("{other:?}"))),
    }
}

fn json(args: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(args).map_err(|error| bad_argument(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_all_its_parts_and_one_that_is_none_is_an_error() {
        let mut listed = Vec::new();
        let part = |json: &str| [Pair::new("files", Value::Json(json.to_owned()))];
        add_part(&mut listed, &part(r#"["a","b"]"#)).unwrap();
        add_part(&mut listed, &[]).unwrap();
        add_part(&mut listed, &part(r#"["c"]"#)).unwrap();
        assert_eq!(listed, ["a", "b", "c"]);
        for wrong in [part("nonsense"), part("[1]"), [Pair::new("files", "a")]] {
            assert_eq!(add_part(&mut listed, &wrong).unwrap_err().code, "bad-answer");
        }
    }
}
