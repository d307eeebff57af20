//! Which reporter wants which events.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Event, Kind};
use crate::change::SourceStamp;
use crate::outcome::Outcome;
use crate::record::BuildRow;
use crate::request::Completed;

/// So many builds of a builder are looked at for the one before.
pub const LOOKED_BACK: usize = 100;

/// Which ends of builds a reporter wants, by Buildbot's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It ended in another way than the build before.
    Change,
    /// It failed.
    Failing,
    /// It is a success.
    Passing,
    /// It failed, and the build before did not.
    Problem,
    /// It ended with warnings.
    Warnings,
    /// It ended as *exception*.
    Exception,
    /// It was cancelled.
    Cancelled,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 7] = [
        Mode::Change,
        Mode::Failing,
        Mode::Passing,
        Mode::Problem,
        Mode::Warnings,
        Mode::Exception,
        Mode::Cancelled,
    ];

    /// Its name in a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Change => "change",
            Mode::Failing => "failing",
            Mode::Passing => "passing",
            Mode::Problem => "problem",
            Mode::Warnings => "warnings",
            Mode::Exception => "exception",
            Mode::Cancelled => "cancelled",
        }
    }

    /// The mode of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == name)
    }

    /// Whether it speaks of a build that ended so. `before` is how the finished build before it ended; without one
    /// there is neither a change nor a problem.
    #[must_use]
    pub fn covers(self, outcome: Outcome, before: Option<Outcome>) -> bool {
        match self {
            Mode::Change => before.is_some_and(|before| before != outcome),
            Mode::Failing => outcome == Outcome::Failure,
            Mode::Passing => outcome == Outcome::Success,
            Mode::Problem => {
                outcome == Outcome::Failure && before.is_some_and(|before| before != Outcome::Failure)
            }
            Mode::Warnings => outcome == Outcome::Warnings,
            Mode::Exception => outcome == Outcome::Exception,
            Mode::Cancelled => outcome == Outcome::Cancelled,
        }
    }

    /// Whether it may speak of a build that ended so, however the build before it ended.
    #[must_use]
    pub fn may_cover(self, outcome: Outcome) -> bool {
        match self {
            Mode::Change => true,
            Mode::Problem => outcome == Outcome::Failure,
            Mode::Failing | Mode::Passing | Mode::Warnings | Mode::Exception | Mode::Cancelled => {
                self.covers(outcome, None)
            }
        }
    }
}

/// What a reporter wants to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Which ends; none: all.
    pub modes: Option<BTreeSet<Mode>>,
    /// Whether it is told of starts, too.
    pub starts: bool,
    /// Of which builders; none: all.
    pub builders: Option<BTreeSet<String>>,
    /// Of requests of which schedulers; empty: all.
    pub schedulers: Vec<String>,
    /// Of which branches, one of which a source stamp has; empty: all. What has no branch has the empty name.
    pub branches: Vec<String>,
}

impl Wanted {
    /// Whether it may want a moment of a build: what the build's row says alone, whoever asked for it and however the build
    /// before it ended.
    #[must_use]
    pub fn may_cover(&self, kind: Kind, row: &BuildRow) -> bool {
        self.fits(&row.builder, &row.stamps) && self.covers_moment(kind, row.complete, Mode::may_cover)
    }

    /// The same where it is known how the build before it ended.
    #[must_use]
    pub fn may_cover_after(&self, before: Option<Outcome>, kind: Kind, row: &BuildRow) -> bool {
        self.fits(&row.builder, &row.stamps)
            && self.covers_moment(kind, row.complete, |mode, outcome| mode.covers(outcome, before))
    }

    /// Whether it wants this event.
    #[must_use]
    pub fn covers(&self, event: &Event) -> bool {
        self.fits(&event.builder, &event.stamps)
            && self
                .covers_moment(event.kind, event.complete, |mode, outcome| mode.covers(outcome, event.before))
            && (self.schedulers.is_empty() || event.schedulers.iter().any(|s| self.schedulers.contains(s)))
    }

    fn fits(&self, builder: &str, stamps: &[SourceStamp]) -> bool {
        let branch = |stamp: &SourceStamp| {
            self.branches.iter().any(|b| b == stamp.branch.as_deref().unwrap_or_default())
        };
        self.builders.as_ref().is_none_or(|builders| builders.contains(builder))
            && (self.branches.is_empty() || stamps.iter().any(branch))
    }

    fn covers_moment(
        &self,
        kind: Kind,
        complete: Option<Completed>,
        covers: impl Fn(Mode, Outcome) -> bool,
    ) -> bool {
        match (kind, complete) {
            (Kind::BuildStarted, _) => self.starts,
            (Kind::BuildFinished, Some(complete)) => self
                .modes
                .as_ref()
                .is_none_or(|modes| modes.iter().any(|mode| covers(*mode, complete.outcome))),
            (Kind::BuildFinished, None) => false,
        }
    }
}

/// A reporter, as far as the store has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Its name, under which its events wait.
    pub name: String,
    /// What it wants.
    pub wanted: Wanted,
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ended, row};
    use super::*;
    use crate::time::Timestamp;

    fn all() -> Wanted {
        Wanted { modes: None, starts: true, builders: None, schedulers: Vec::new(), branches: Vec::new() }
    }

    #[test]
    fn modes_are_buildbots() {
        use Outcome::{Cancelled, Exception, Failure, Retry, Skipped, Success, Warnings};
        // The modes that cover an end, by how the build before ended.
        for (outcome, before, expected) in [
            (Success, None, "passing"),
            (Success, Some(Success), "passing"),
            (Success, Some(Failure), "change passing"),
            (Failure, None, "failing"),
            (Failure, Some(Failure), "failing"),
            (Failure, Some(Success), "change failing problem"),
            (Failure, Some(Warnings), "change failing problem"),
            (Warnings, Some(Success), "change warnings"),
            (Exception, Some(Exception), "exception"),
            (Cancelled, None, "cancelled"),
            (Skipped, Some(Skipped), ""),
            (Retry, Some(Success), "change"),
        ] {
            let covering: Vec<Mode> =
                Mode::ALL.into_iter().filter(|mode| mode.covers(outcome, before)).collect();
            let names: Vec<&str> = covering.iter().copied().map(Mode::as_str).collect();
            assert_eq!(names.join(" "), expected, "{outcome} after {before:?}");
            assert!(covering.iter().all(|mode| mode.may_cover(outcome)), "{outcome}");
        }
        assert!(Mode::ALL.into_iter().all(|mode| Mode::named(mode.as_str()) == Some(mode)));
    }

    #[test]
    fn a_reporter_gets_what_all_its_conditions_cover() {
        let start = Event::new(Kind::BuildStarted, &row(), vec!["main".to_owned()], None);
        let end = ended(Outcome::Success, None);
        let check = |wanted: Wanted, starts: bool, ends: bool| {
            assert_eq!((wanted.covers(&start), wanted.covers(&end)), (starts, ends), "{wanted:?}");
        };
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let builders = |names: &[&str]| Some(texts(names).into_iter().collect());
        check(all(), true, true);
        check(Wanted { starts: false, ..all() }, false, true);
        check(Wanted { modes: Some([Mode::Failing].into()), ..all() }, true, false);
        check(Wanted { modes: Some([Mode::Failing, Mode::Passing].into()), ..all() }, true, true);
        check(Wanted { builders: builders(&["ci"]), ..all() }, true, true);
        check(Wanted { builders: builders(&["other"]), ..all() }, false, false);
        check(Wanted { schedulers: texts(&["main"]), ..all() }, true, true);
        check(Wanted { schedulers: texts(&["nightly"]), ..all() }, false, false);
        check(Wanted { branches: texts(&["", "main"]), ..all() }, true, true);
        check(Wanted { branches: texts(&[""]), ..all() }, false, false);
    }

    /// What is not read for those who cannot want it: neither requests nor the build before.
    #[test]
    fn who_cannot_want_a_moment_is_told_apart_by_the_builds_row() {
        use Mode::{Change, Failing, Passing, Problem};
        let row = |outcome: Option<Outcome>| BuildRow {
            complete: outcome.map(|outcome| Completed { outcome, at: Timestamp(9) }),
            ..row()
        };
        let of =
            |modes: &[Mode]| Wanted { modes: Some(modes.iter().copied().collect()), starts: false, ..all() };
        let (good, bad) = (Some(Outcome::Success), Some(Outcome::Failure));
        let check = |wanted: &Wanted, outcome: Option<Outcome>, expected: bool| {
            let kind = if outcome.is_some() { Kind::BuildFinished } else { Kind::BuildStarted };
            assert_eq!(wanted.may_cover(kind, &row(outcome)), expected, "{wanted:?} {outcome:?}");
        };
        check(&of(&[Failing, Problem]), None, false);
        check(&of(&[Failing, Problem]), good, false);
        check(&of(&[Failing, Problem]), bad, true);
        check(&of(&[Problem]), bad, true);
        check(&of(&[Passing]), bad, false);
        check(&of(&[Change]), good, true);
        check(&Wanted { builders: Some(["other".to_owned()].into()), ..all() }, good, false);
        check(&Wanted { branches: vec!["stable".to_owned()], ..all() }, good, false);
        check(&Wanted { schedulers: vec!["nightly".to_owned()], ..all() }, good, true);
        let after = |before| of(&[Change]).may_cover_after(before, Kind::BuildFinished, &row(good));
        assert_eq!([after(None), after(good), after(bad)], [false, false, true]);
    }
}
