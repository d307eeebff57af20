//! What the outcome of a part does to the whole: the rule that steps follow in their build, for parts of a step.

use serde::Deserialize;
use windlass_sdk::Outcome;

/// The flags of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Flags {
    halt_on_failure: bool,
    flunk_on_failure: bool,
    flunk_on_warnings: bool,
    warn_on_failure: bool,
    warn_on_warnings: bool,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags {
            halt_on_failure: false,
            flunk_on_failure: true,
            flunk_on_warnings: false,
            warn_on_failure: false,
            warn_on_warnings: false,
        }
    }
}

impl Flags {
    /// What an outcome counts as, and whether what comes next still runs.
    pub fn judge(self, outcome: Outcome) -> (Outcome, bool) {
        match outcome {
            Outcome::Success | Outcome::Skipped => (outcome, true),
            Outcome::Warnings if self.flunk_on_warnings => (Outcome::Failure, true),
            Outcome::Warnings if self.warn_on_warnings => (Outcome::Warnings, true),
            Outcome::Warnings => (Outcome::Success, true),
            Outcome::Failure if self.flunk_on_failure => (Outcome::Failure, !self.halt_on_failure),
            Outcome::Failure if self.warn_on_failure => (Outcome::Warnings, !self.halt_on_failure),
            Outcome::Failure => (Outcome::Success, !self.halt_on_failure),
            Outcome::Exception | Outcome::Retry | Outcome::Cancelled => (outcome, false),
        }
    }
}

/// The worse of two.
pub fn worst(one: Outcome, other: Outcome) -> Outcome {
    let rank = |outcome| match outcome {
        Outcome::Skipped => 0,
        Outcome::Success => 1,
        Outcome::Warnings => 2,
        Outcome::Failure => 3,
        Outcome::Exception => 4,
        Outcome::Retry => 5,
        Outcome::Cancelled => 6,
    };
    if rank(one) >= rank(other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(json: &str) -> Flags {
        serde_json::from_str(json).expect("they fit")
    }

    #[test]
    fn a_failure_counts_as_its_flags_say_and_flunking_comes_last() {
        assert_eq!(flags("{}").judge(Outcome::Failure), (Outcome::Failure, true));
        let halts = flags(r#"{"halt_on_failure":true,"warn_on_failure":true}"#);
        assert_eq!(halts.judge(Outcome::Failure), (Outcome::Failure, false));
        let warns = flags(r#"{"flunk_on_failure":false,"warn_on_failure":true}"#);
        assert_eq!(warns.judge(Outcome::Failure), (Outcome::Warnings, true));
        assert_eq!(flags(r#"{"flunk_on_failure":false}"#).judge(Outcome::Failure), (Outcome::Success, true));
    }

    #[test]
    fn warnings_count_where_a_flag_says_so_and_accidents_end_all() {
        assert_eq!(flags("{}").judge(Outcome::Warnings), (Outcome::Success, true));
        assert_eq!(flags(r#"{"warn_on_warnings":true}"#).judge(Outcome::Warnings), (Outcome::Warnings, true));
        assert_eq!(flags(r#"{"flunk_on_warnings":true}"#).judge(Outcome::Warnings), (Outcome::Failure, true));
        for accident in [Outcome::Exception, Outcome::Retry, Outcome::Cancelled] {
            assert_eq!(flags("{}").judge(accident), (accident, false));
        }
        assert_eq!(worst(Outcome::Failure, Outcome::Warnings), Outcome::Failure);
        assert_eq!(worst(Outcome::Skipped, Outcome::Success), Outcome::Success);
    }
}
