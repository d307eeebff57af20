//! What a step's outcome does to its build.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// A step's flags, named as Buildbot names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flags {
    /// A failure ends the build (steps with `always_run` still run).
    pub halt_on_failure: bool,
    /// A failure makes the build fail.
    pub flunk_on_failure: bool,
    /// Warnings make the build fail.
    pub flunk_on_warnings: bool,
    /// A failure gives the build warnings.
    pub warn_on_failure: bool,
    /// Warnings give the build warnings.
    pub warn_on_warnings: bool,
    /// Runs even after the build was halted.
    pub always_run: bool,
}

impl Default for Flags {
    /// Buildbot's defaults: a failure flunks the build and does not halt it.
    fn default() -> Flags {
        Flags {
            halt_on_failure: false,
            flunk_on_failure: true,
            flunk_on_warnings: false,
            warn_on_failure: false,
            warn_on_warnings: false,
            always_run: false,
        }
    }
}

/// Which endings of a step the build's summary tells: Buildbot's `updateBuildSummaryPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SummaryPolicy {
    /// Those that end the build, and those that its flags let count.
    #[default]
    Usual,
    /// All.
    All,
    /// These.
    Only(Vec<Outcome>),
}

impl SummaryPolicy {
    /// Whether the summary tells that a step with these flags ended like this.
    #[must_use]
    pub fn tells(&self, flags: Flags, outcome: Outcome) -> bool {
        match self {
            SummaryPolicy::All => true,
            SummaryPolicy::Only(outcomes) => outcomes.contains(&outcome),
            SummaryPolicy::Usual => match outcome {
                Outcome::Success | Outcome::Skipped => false,
                Outcome::Warnings => flags.warn_on_warnings || flags.flunk_on_warnings,
                Outcome::Failure => flags.flunk_on_failure || flags.halt_on_failure || flags.warn_on_failure,
                Outcome::Exception | Outcome::Retry | Outcome::Cancelled => true,
            },
        }
    }
}

/// What a step that has ended means for its build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// How the build stands now.
    pub overall: Outcome,
    /// Only steps with `always_run` still run.
    pub halt: bool,
}

/// Judges a step that ended with `outcome` in a build that stood at `so_far`: Buildbot's rule.
///
/// A build stands at *success* before its first step, so a skipped step never shows in it.
#[must_use]
pub fn judge(flags: Flags, outcome: Outcome, so_far: Outcome) -> Judged {
    let (counts_as, halt) = match outcome {
        Outcome::Success | Outcome::Skipped => (outcome, false),
        Outcome::Warnings if flags.flunk_on_warnings => (Outcome::Failure, false),
        Outcome::Warnings if flags.warn_on_warnings => (Outcome::Warnings, false),
        Outcome::Warnings => (Outcome::Success, false),
        Outcome::Failure if flags.flunk_on_failure => (Outcome::Failure, flags.halt_on_failure),
        Outcome::Failure if flags.warn_on_failure => (Outcome::Warnings, flags.halt_on_failure),
        Outcome::Failure => (Outcome::Success, flags.halt_on_failure),
        Outcome::Exception | Outcome::Retry | Outcome::Cancelled => (outcome, true),
    };
    Judged { overall: so_far.worst(counts_as), halt }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::*;

    /// All 32 settings of the flags that `judge` reads.
    fn all_flags() -> impl Iterator<Item = Flags> {
        (0..32u8).map(|bits| Flags {
            halt_on_failure: bits & 1 != 0,
            flunk_on_failure: bits & 2 != 0,
            flunk_on_warnings: bits & 4 != 0,
            warn_on_failure: bits & 8 != 0,
            warn_on_warnings: bits & 16 != 0,
            always_run: false,
        })
    }

    /// The rule again, as a sequence of overrides: the form in which Buildbot documents it.
    fn model(flags: Flags, outcome: Outcome, so_far: Outcome) -> Judged {
        let (mut possible, mut halt) = (outcome, false);
        if outcome == Failure {
            if !flags.flunk_on_failure {
                possible = Success;
            }
            if flags.warn_on_failure {
                possible = Warnings;
            }
            if flags.flunk_on_failure {
                possible = Failure;
            }
            if flags.halt_on_failure {
                halt = true;
            }
        }
        if outcome == Warnings {
            possible = if flags.warn_on_warnings { Warnings } else { Success };
            if flags.flunk_on_warnings {
                possible = Failure;
            }
        }
        if [Exception, Retry, Cancelled].contains(&outcome) {
            halt = true;
        }
        let severity = [Skipped, Success, Warnings, Failure, Exception, Retry, Cancelled];
        let rank = |o: Outcome| severity.iter().position(|s| *s == o).unwrap();
        let overall = if rank(possible) > rank(so_far) { possible } else { so_far };
        Judged { overall, halt }
    }

    #[test]
    fn every_pair_of_outcomes_under_every_setting_of_flags_follows_the_rule() {
        for flags in all_flags() {
            for outcome in Outcome::ALL {
                for so_far in Outcome::ALL {
                    assert_eq!(
                        judge(flags, outcome, so_far),
                        model(flags, outcome, so_far),
                        "{outcome} upon {so_far} with {flags:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_summary_tells_what_its_policy_names_under_every_setting_of_flags() {
        for flags in all_flags() {
            // As a list that grows: the form in which Buildbot documents it.
            let mut usual = vec![Exception, Retry, Cancelled];
            if flags.flunk_on_failure || flags.halt_on_failure || flags.warn_on_failure {
                usual.push(Failure);
            }
            if flags.warn_on_warnings || flags.flunk_on_warnings {
                usual.push(Warnings);
            }
            for outcome in Outcome::ALL {
                let tells = |policy: SummaryPolicy| policy.tells(flags, outcome);
                assert_eq!(tells(SummaryPolicy::Usual), usual.contains(&outcome), "{outcome} {flags:?}");
                assert!(tells(SummaryPolicy::All));
                assert!(!tells(SummaryPolicy::Only(Vec::new())));
                assert_eq!(tells(SummaryPolicy::Only(vec![Success, Failure])), {
                    [Success, Failure].contains(&outcome)
                });
            }
        }
    }

    #[test]
    fn defaults_let_a_failure_flunk_without_halting() {
        let judged = judge(Flags::default(), Failure, Success);
        assert_eq!(judged, Judged { overall: Failure, halt: false });
        assert_eq!(judge(Flags::default(), Warnings, Success).overall, Success);
    }

    #[test]
    fn skipped_step_leaves_a_successful_build_alone() {
        assert_eq!(judge(Flags::default(), Skipped, Success), Judged { overall: Success, halt: false });
    }

    #[test]
    fn machinery_failures_halt_whatever_the_flags_say() {
        for flags in all_flags() {
            for outcome in [Exception, Retry, Cancelled] {
                assert_eq!(judge(flags, outcome, Success), Judged { overall: outcome, halt: true });
            }
        }
    }
}
