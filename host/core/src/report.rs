//! What reporters are told: which moments of a build are events, which reporter wants which, how many wait, and when
//! one that failed is tried again.
//!
//! An event is put by the very commit that starts or ends the build. Its id is made of what never changes, so that a
//! repetition has the same.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::change::SourceStamp;
use crate::id::RequestId;
use crate::outcome::Outcome;
use crate::policy::{Fault, FaultKind};
use crate::properties::Properties;
use crate::record::BuildRow;
use crate::request::Completed;
use crate::time::Timestamp;

/// Events that may wait for one reporter; the oldest ones go.
pub const MAX_WAITING: u64 = 10_000;
/// Bytes that they may have together; the oldest ones go, the newest stays.
pub const MAX_BYTES: u64 = 32 << 20;
/// Properties of a build that have more bytes are left out of an event, and so are the changes of its stamps beyond
/// [`MAX_CHANGES`].
pub const MAX_PROPERTIES: usize = 256 << 10;
/// See [`MAX_PROPERTIES`].
pub const MAX_CHANGES: usize = 1_000;
/// So many builds of a builder are looked at for the one before.
pub const LOOKED_BACK: usize = 100;

/// The first pause after a failure, in milliseconds; each further one is twice as long.
pub const FIRST_PAUSE_MS: u64 = 1_000;
/// The longest pause, in milliseconds.
pub const LONGEST_PAUSE_MS: u64 = 300_000;

/// A moment of a build that reporters are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It was claimed, and has a worker.
    BuildStarted,
    /// It ended.
    BuildFinished,
}

impl Kind {
    /// Its name in the contract: `build-started`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::BuildStarted => "build-started",
            Kind::BuildFinished => "build-finished",
        }
    }

    /// What a write of a build's row tells, by whether it ran before and whether it runs now.
    #[must_use]
    pub fn of(is_new: bool, ran: bool, is_complete: bool) -> Option<Kind> {
        match (is_new, ran, is_complete) {
            (true, _, false) => Some(Kind::BuildStarted),
            (true, _, true) | (false, true, true) => Some(Kind::BuildFinished),
            (false, true | false, false) | (false, false, true) => None,
        }
    }
}

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

/// A moment of a build, with the build as it was then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// The build's number over all builders.
    pub build: u64,
    /// Its number within the builder.
    pub number: u64,
    /// The builder.
    pub builder: String,
    /// The worker.
    pub worker: String,
    /// Its requests.
    pub requests: Vec<RequestId>,
    /// Who submitted them: schedulers, `force`, a step.
    pub schedulers: Vec<String>,
    /// Why it was made.
    pub reason: String,
    /// What is built; without the bodies of patches.
    pub stamps: Vec<SourceStamp>,
    /// Its properties.
    pub properties: Properties,
    /// When it started.
    pub started: Timestamp,
    /// How and when it ended.
    pub complete: Option<Completed>,
    /// One line about it.
    pub summary: String,
    /// How the finished build of this builder before it ended, of those that did not end as *retry*.
    pub before: Option<Outcome>,
    /// Something was too long and was left out: all properties, or the oldest changes of a stamp.
    pub cut: bool,
}

impl Event {
    /// What is told of a build at this moment.
    #[must_use]
    pub fn new(kind: Kind, row: &BuildRow, schedulers: Vec<String>, before: Option<Outcome>) -> Event {
        let mut cut = row.properties.bytes() > MAX_PROPERTIES;
        let properties = if cut { Properties::default() } else { row.properties.clone() };
        let mut stamps = row.stamps.clone();
        for stamp in &mut stamps {
            if let Some(patch) = &mut stamp.patch {
                patch.body.clear();
            }
            let extra = stamp.changes.len().saturating_sub(MAX_CHANGES);
            stamp.changes.drain(..extra);
            cut |= extra > 0;
        }
        Event {
            kind,
            build: row.id.0,
            number: row.number,
            builder: row.builder.clone(),
            worker: row.worker.clone(),
            requests: row.requests.clone(),
            schedulers,
            reason: row.reason.clone(),
            stamps,
            properties,
            started: row.started,
            complete: row.complete,
            summary: row.summary.clone(),
            before,
            cut,
        }
    }

    /// How many bytes an event of this build takes in a line, roughly: before there is one.
    #[must_use]
    pub fn bytes_of(row: &BuildRow) -> u64 {
        const NUMBER: usize = 9;
        let properties = row.properties.bytes();
        let properties = if properties > MAX_PROPERTIES { 0 } else { properties };
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let stamp = |stamp: &SourceStamp| {
            let names = stamp.codebase.len() + stamp.project.len() + stamp.repository.len();
            names
                + text(&stamp.branch)
                + text(&stamp.revision)
                + stamp.changes.len().min(MAX_CHANGES) * NUMBER
        };
        let stamps: usize = row.stamps.iter().map(stamp).sum();
        let texts = row.builder.len() + row.worker.len() + row.reason.len() + row.summary.len();
        (properties + stamps + texts + row.requests.len() * NUMBER) as u64
    }

    /// What tells it apart from every other one; `store` is of this master's store alone. A build starts once, and ends
    /// once.
    #[must_use]
    pub fn id(&self, store: &str) -> String {
        format!("{store}-{}-{}", self.build, self.kind.as_str())
    }

    /// What a reporter gets: `docs/reporters.md`. `url` is where the master is found by others.
    #[must_use]
    pub fn to_json(&self, id: &str, title: &str, url: Option<&str>) -> Json {
        let stamp = |stamp: &SourceStamp| {
            json!({
                "codebase": stamp.codebase, "project": stamp.project, "repository": stamp.repository,
                "branch": stamp.branch, "revision": stamp.revision, "changes": stamp.changes,
                "has_patch": stamp.patch.is_some(),
            })
        };
        let properties: serde_json::Map<String, Json> =
            self.properties.iter().map(|(name, value, _)| (name.to_owned(), value.to_json())).collect();
        json!({
            "event": self.kind.as_str(),
            "event_id": id,
            "master": { "title": title, "url": url },
            "build": {
                "id": self.build,
                "number": self.number,
                "builder": self.builder,
                "worker": self.worker,
                "requests": self.requests,
                "schedulers": self.schedulers,
                "reason": self.reason,
                "source_stamps": self.stamps.iter().map(stamp).collect::<Vec<_>>(),
                "properties": properties,
                "started": self.started,
                "ended": self.complete.map(|complete| complete.at),
                "outcome": self.complete.map(|complete| complete.outcome),
                "results": self.complete.map(|complete| complete.outcome.code()),
                "state": self.summary,
                "before": self.before,
                "url": url.map(|url| format!("{url}builds/{}", self.build)),
                "cut": self.cut,
            },
        })
    }
}

/// How the delivery of an event went, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The reporter has it.
    Delivered,
    /// It cannot be told: trying again would not help.
    Lost,
}

/// What waits for a reporter, and what became of the rest: durable, by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The place of the newest event, from 1.
    pub last: u64,
    /// Events that wait.
    pub waiting: u64,
    /// Bytes that they have.
    pub bytes: u64,
    /// Events that were delivered.
    pub delivered: u64,
    /// Events that could not be told.
    pub lost: u64,
    /// Events that were dropped because too many waited.
    pub dropped: u64,
}

impl Line {
    /// Whether the oldest event has to go. The newest stays, however long it is.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.waiting > MAX_WAITING || self.bytes > MAX_BYTES && self.waiting > 1
    }

    /// An event of so many bytes joins: its place.
    pub fn join(&mut self, bytes: u64) -> u64 {
        self.last += 1;
        self.waiting += 1;
        self.bytes += bytes;
        self.last
    }

    /// An event of so many bytes leaves; none: it is dropped.
    pub fn leave(&mut self, bytes: u64, taken: Option<Taken>) {
        self.waiting = self.waiting.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        match taken {
            Some(Taken::Delivered) => self.delivered += 1,
            Some(Taken::Lost) => self.lost += 1,
            None => self.dropped += 1,
        }
    }
}

/// What came of telling a reporter: it has the event; it never will, and why; or it is told again, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done with.
    Done,
    /// Trying again would not help.
    Lost(String),
    /// It is tried again.
    Again(String),
}

/// Judges an answer. Only a failure that the component itself says is not worth another try loses the event: one that
/// traps or does not come back is mended by a reconfig.
#[must_use]
pub fn judge(answer: &Result<(), Fault>) -> Verdict {
    match answer {
        Ok(()) => Verdict::Done,
        Err(fault) => match &fault.kind {
            FaultKind::Failed(failure) => {
                let detail = failure.detail.as_ref().map(|detail| format!("; {detail}")).unwrap_or_default();
                let why = fault.brief() + &detail;
                if failure.retryable { Verdict::Again(why) } else { Verdict::Lost(why) }
            }
            FaultKind::Trap(_)
            | FaultKind::Cpu(_)
            | FaultKind::Wall(_)
            | FaultKind::Memory(_)
            | FaultKind::BadAnswer(_) => Verdict::Again(fault.brief()),
        },
    }
}

/// How long after so many failures in a row the next try comes, in milliseconds.
#[must_use]
pub fn pause_ms(failures: u32) -> u64 {
    FIRST_PAUSE_MS.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST_PAUSE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::id::{BuildId, ChangeId, Fence};
    use crate::value::{Failure, Value};

    fn row() -> BuildRow {
        BuildRow {
            id: BuildId(17),
            number: 4,
            builder: "ci".to_owned(),
            requests: vec![RequestId(20)],
            fence: Fence(1),
            worker: "w1".to_owned(),
            stamps: vec![SourceStamp { branch: Some("main".to_owned()), ..SourceStamp::default() }],
            reason: "scheduler main".to_owned(),
            generation: 1,
            plugins: [("p".to_owned(), Digest::of(b"p"))].into(),
            components: Vec::new(),
            properties: Properties::default(),
            started: Timestamp(5),
            complete: None,
            summary: "building".to_owned(),
            plan: None,
        }
    }

    fn ended(outcome: Outcome, before: Option<Outcome>) -> Event {
        let complete = Some(Completed { outcome, at: Timestamp(9) });
        Event::new(Kind::BuildFinished, &BuildRow { complete, ..row() }, vec!["main".to_owned()], before)
    }

    fn all() -> Wanted {
        Wanted { modes: None, starts: true, builders: None, schedulers: Vec::new(), branches: Vec::new() }
    }

    #[test]
    fn a_build_starts_once_and_ends_once() {
        use Kind::{BuildFinished, BuildStarted};
        for (is_new, ran, is_complete, expected) in [
            (true, false, false, Some(BuildStarted)),
            (true, false, true, Some(BuildFinished)),
            (false, true, false, None),
            (false, true, true, Some(BuildFinished)),
            // Its last row is written again.
            (false, false, true, None),
        ] {
            assert_eq!(Kind::of(is_new, ran, is_complete), expected, "{is_new} {ran} {is_complete}");
        }
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

    #[test]
    fn an_event_is_bounded_and_says_what_it_lacks() {
        let mut row = row();
        row.stamps[0].changes = (0..1_500).map(ChangeId).collect();
        row.properties.set("long", Value::Text("x".repeat(MAX_PROPERTIES)), "Step");
        let event = Event::new(Kind::BuildStarted, &row, Vec::new(), None);
        assert!(event.cut && event.properties.is_empty());
        assert_eq!((event.stamps[0].changes.len(), event.stamps[0].changes[0]), (MAX_CHANGES, ChangeId(500)));
        let bytes = Event::bytes_of(&row);
        assert!((9_000..10_000).contains(&bytes), "{bytes}");
        row.properties.set("long", Value::Text("x".repeat(MAX_PROPERTIES / 2)), "Step");
        assert!(Event::bytes_of(&row) > bytes + MAX_PROPERTIES as u64 / 2);
    }

    #[test]
    fn the_same_moment_has_the_same_id_and_document() {
        let event = ended(Outcome::Warnings, Some(Outcome::Success));
        assert_eq!(event.id("ab12"), "ab12-17-build-finished");
        let json = event.to_json("x", "T", Some("https://ci.example.org/"));
        assert_eq!((&json["build"]["outcome"], &json["build"]["results"]), (&json!("warnings"), &json!(1)));
        assert_eq!(json["build"]["url"], "https://ci.example.org/builds/17");
        assert_eq!(json["build"]["before"], "success");
    }

    #[test]
    fn a_line_has_an_end_and_counts_what_leaves() {
        let mut line = Line::default();
        assert_eq!((line.join(10), line.join(MAX_BYTES)), (1, 2));
        assert!(line.is_too_long());
        line.leave(10, None);
        assert!(!line.is_too_long(), "the newest stays");
        line.leave(MAX_BYTES, Some(Taken::Delivered));
        let expected = Line { last: 2, delivered: 1, dropped: 1, ..Line::default() };
        assert_eq!(line, expected);
        for _ in 0..=MAX_WAITING {
            line.join(1);
        }
        assert!(line.is_too_long());
    }

    #[test]
    fn only_what_the_component_says_is_hopeless_is_lost() {
        let fault = |kind| {
            let call = "reporter.report".to_owned();
            judge(&Err(Fault { plugin: "p".to_owned(), digest: Digest::of(b"p"), call, kind }))
        };
        assert_eq!(judge(&Ok(())), Verdict::Done);
        let failed = |failure| fault(FaultKind::Failed(failure));
        assert!(
            matches!(failed(Failure::new("refused", "no")), Verdict::Lost(why) if why.contains("no (refused)"))
        );
        assert!(matches!(failed(Failure::retryable("io", "down")), Verdict::Again(_)));
        for kind in
            [FaultKind::Trap("x".to_owned()), FaultKind::Cpu(1), FaultKind::Wall(1), FaultKind::Memory(1)]
        {
            assert!(matches!(fault(kind), Verdict::Again(_)));
        }
    }

    #[test]
    fn pauses_grow_up_to_five_minutes() {
        let pauses: Vec<u64> = [0, 1, 2, 3, 8, 9, 10, u32::MAX].map(pause_ms).to_vec();
        assert_eq!(pauses, [1_000, 1_000, 2_000, 4_000, 128_000, 256_000, 300_000, 300_000]);
    }
}
