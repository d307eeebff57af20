//! What the commands for paths below the builder's directory have in common. The host does the work.
//!
//! What the machine refuses is an `rc`, the number of the error, with a line in the log: a step may look at it and
//! go on. What is wrong with the command itself, its arguments or its grants, is a failure.

use serde::Deserialize;
use windlass_sdk::command::log_text;
use windlass_sdk::{Capability, Completion, Failure, Origin, bad_argument};

/// What all of them ask for.
pub const FILES: &[Capability] =
    &[Capability { capability: "files", scope: &[], reason: "makes, removes and looks at what steps name" }];

/// Where they say what went wrong.
const LOG: &str = "stdio";

/// Where an error has no number.
const SOME_ERROR: i32 = 1;

/// What `rc` is after an interrupt, which a command may always be asked to survive.
const STOPPED: i32 = -1;

/// One path or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

impl OneOrSeveral {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            OneOrSeveral::One(path) => std::slice::from_ref(path),
            OneOrSeveral::Several(paths) => paths,
        }
    }
}

/// Refuses paths that cannot be meant, before anything is done about any of them.
pub fn check<'a>(paths: impl IntoIterator<Item = &'a String>) -> Result<(), Failure> {
    for path in paths {
        let why = if path.is_empty() {
            "names nothing"
        } else if path.starts_with('/') {
            "is absolute; paths begin at the builder's directory"
        } else if path.split('/').any(|part| part == "..") {
            "contains `..`"
        } else {
            continue;
        };
        return Err(bad_argument(format!("the path `{path}` {why}")));
    }
    Ok(())
}

/// Why a command ends early, as far as a step may go on after it.
pub struct Refused {
    /// The number of the error.
    pub rc: i32,
    message: String,
    interrupted: bool,
}

impl Refused {
    /// Tells what was refused of an error of the machine. Everything else is a failure of the command, and so is what
    /// may go well at another try: the step is run again for that, whatever it makes of an `rc`.
    pub fn told(command: &str, failure: Failure) -> Result<Refused, Failure> {
        if failure.retryable {
            return Err(failure);
        }
        let number = failure.detail.as_deref().and_then(|detail| detail.strip_prefix("errno "));
        let number = number.and_then(|number| number.parse().ok());
        let rc = match (failure.code.as_str(), number) {
            ("interrupted", _) => STOPPED,
            (_, Some(number)) => number,
            ("io" | "not-found" | "too-large", None) => SOME_ERROR,
            _ => return Err(failure),
        };
        let refused = Refused::new(rc, failure.message, failure.code == "interrupted");
        refused.tell(command)?;
        Ok(refused)
    }

    /// The same for what the command found out by itself.
    pub fn of(command: &str, rc: i32, message: String) -> Result<Refused, Failure> {
        let refused = Refused::new(rc, message, false);
        refused.tell(command)?;
        Ok(refused)
    }

    fn new(rc: i32, message: String, interrupted: bool) -> Refused {
        Refused { rc, message, interrupted }
    }

    fn tell(&self, command: &str) -> Result<(), Failure> {
        let what = if self.interrupted { "interrupted: " } else { "" };
        log_text(LOG, Origin::Header, &format!("{command}: {what}{}\n", self.message))
    }

    /// Whether more of the same makes no sense.
    pub fn is_interrupt(&self) -> bool {
        self.interrupted
    }

    /// The answer to the step.
    pub fn completion(self) -> Completion {
        let completion = Completion::rc(self.rc).with("message", self.message);
        if self.interrupted { completion.with("interrupted", true) } else { completion }
    }
}

/// The end of a command that does one thing.
pub fn ended(command: &str, done: Result<Completion, Failure>) -> Result<Completion, Failure> {
    match done {
        Ok(completion) => Ok(completion),
        Err(failure) => Refused::told(command, failure).map(Refused::completion),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: a `mkdir` on a full worker failed its build. Cause: it was one error of the machine like another. Cure:
    /// what is worth another try stays a failure that says so.
    #[test]
    fn a_full_disk_is_no_answer_to_the_step() {
        let mut full = Failure::retryable("io", "no space left for `a`");
        full.detail = Some("errno 28".to_owned());
        assert!(Refused::told("mkdir", full).is_err_and(|failure| failure.retryable));
    }

    #[test]
    fn paths_that_cannot_be_meant_are_refused_before_anything_is_done() {
        let check = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
            super::check(&paths).map_err(|failure| (failure.code, failure.message))
        };
        assert_eq!(check(&["a/b", ".", "a..b", "..."]), Ok(()));
        for bad in ["", "/etc", "../a", "a/../b", "a/.."] {
            assert_eq!(check(&["fine", bad]).expect_err("it is refused").0, "bad-argument", "{bad}");
        }
    }
}
