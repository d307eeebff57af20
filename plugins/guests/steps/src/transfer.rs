//! What the steps that move files have in common: what the end of a command means.

use serde::Serialize;
use serde_json::json;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{Completion, Failure, Outcome, Value, transfer};

/// How one file went.
pub enum Went {
    /// All of it is there.
    Well(u64),
    /// It is not, and the step ends so.
    Otherwise(Outcome, String),
}

/// Runs a command that moves a file.
pub fn run(command: &str, args: &impl Serialize) -> Result<Went, Failure> {
    went(step::run_command(command, args))
}

fn went(answer: Result<Completion, Failure>) -> Result<Went, Failure> {
    let completion = match answer {
        Ok(completion) => completion,
        Err(failure) if failure.code == "interrupted" => {
            return Ok(Went::Otherwise(Outcome::Cancelled, "interrupted".to_owned()));
        }
        Err(failure) if failure.retryable => return Ok(Went::Otherwise(Outcome::Retry, failure.message)),
        Err(failure) => return Err(failure),
    };
    if completion.rc == Some(0) {
        let bytes = match completion.get("bytes") {
            Some(Value::Integer(bytes)) => u64::try_from(*bytes).unwrap_or_default(),
            _ => 0,
        };
        return Ok(Went::Well(bytes));
    }
    let why = match completion.get("error").and_then(Value::as_text) {
        Some("not-found") => "it is not there",
        Some("too-large") => "it is too large",
        Some("denied") => "that is not allowed",
        _ => "it failed",
    };
    Ok(Went::Otherwise(Outcome::Failure, format!("{why}; see the log")))
}

/// What an upload is made with.
pub struct Upload<'a> {
    /// The file or directory, relative to the builder's.
    pub path: &'a str,
    /// The artifact.
    pub name: &'a str,
    /// Bytes that are taken.
    pub max_size: Option<u64>,
    /// Whether times are kept.
    pub keep_stamp: bool,
    /// `zstd` or `gzip`.
    pub compress: Option<&'a str>,
}

impl Upload<'_> {
    /// Sends it by one of the two commands.
    pub fn run(&self, command: &str) -> Result<Went, Failure> {
        let token = transfer::accept(self.name, self.max_size.unwrap_or(u64::MAX))?;
        let args = json!({
            "path": self.path,
            "token": token,
            "max_bytes": self.max_size,
            "keep_times": self.keep_stamp,
            "compression": self.compress,
        });
        run(command, &args)
    }
}

/// The end of a step that moved one thing.
pub fn ended(went: Went, what: &str) -> StepResult {
    match went {
        Went::Well(bytes) => StepResult::new(Outcome::Success, format!("{what}: {}", size(bytes))),
        Went::Otherwise(outcome, why) => StepResult::new(outcome, format!("{what}: {why}")),
    }
}

/// Bytes as people say them.
pub fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit behind the point")]
    let mut size = bytes as f64;
    for unit in ["bytes", "KiB", "MiB"] {
        if size < 1024.0 {
            return if unit == "bytes" { format!("{bytes} bytes") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_fails_and_a_lost_worker_is_a_retry() {
        let outcome = |answer| match went(answer).expect("it is an ending") {
            Went::Otherwise(outcome, _) => outcome,
            Went::Well(_) => Outcome::Success,
        };
        assert_eq!(outcome(Ok(Completion::rc(0).with("bytes", 3_u64))), Outcome::Success);
        assert_eq!(outcome(Ok(Completion::rc(1).with("error", "not-found"))), Outcome::Failure);
        assert_eq!(outcome(Err(Failure::retryable("worker-lost", "gone"))), Outcome::Retry);
        assert_eq!(outcome(Err(Failure::new("interrupted", "stop"))), Outcome::Cancelled);
        assert!(went(Err(Failure::new("denied", "no"))).is_err());
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [0, 1023, 1536, 5 << 20, 3 << 30].map(size),
            ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 MiB", "3.0 GiB"]
        );
    }
}
