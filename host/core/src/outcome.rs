//! How steps, builds, requests and buildsets end, and which of two endings is worse.

use serde::{Deserialize, Serialize};

/// How something ended. `docs` of the contract: `windlass:base/types.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All was well.
    Success,
    /// It went through, with something to look at.
    Warnings,
    /// The thing under test is at fault.
    Failure,
    /// It did not run, and did not need to.
    Skipped,
    /// The machinery or a plugin is at fault.
    Exception,
    /// It is to be done again.
    Retry,
    /// Somebody stopped it.
    Cancelled,
}

impl Outcome {
    /// All, best first.
    pub const ALL: [Outcome; 7] = [
        Outcome::Skipped,
        Outcome::Success,
        Outcome::Warnings,
        Outcome::Failure,
        Outcome::Exception,
        Outcome::Retry,
        Outcome::Cancelled,
    ];

    fn rank(self) -> usize {
        Outcome::ALL.iter().position(|o| *o == self).expect("ALL lists every outcome")
    }

    /// The worse of two: cancelled, retry, exception, failure, warnings, success, skipped.
    #[must_use]
    pub fn worst(self, other: Outcome) -> Outcome {
        if self.rank() >= other.rank() { self } else { other }
    }

    /// Its number in what is stored, and wherever Buildbot's numbers are expected: they are the same.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Outcome::Success => 0,
            Outcome::Warnings => 1,
            Outcome::Failure => 2,
            Outcome::Skipped => 3,
            Outcome::Exception => 4,
            Outcome::Retry => 5,
            Outcome::Cancelled => 6,
        }
    }

    /// The outcome with this number.
    #[must_use]
    pub fn of_code(code: u8) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|outcome| outcome.code() == code)
    }

    /// The word for people and machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Warnings => "warnings",
            Outcome::Failure => "failure",
            Outcome::Skipped => "skipped",
            Outcome::Exception => "exception",
            Outcome::Retry => "retry",
            Outcome::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
