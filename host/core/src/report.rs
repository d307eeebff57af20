//! What reporters are told: which moments of a build are events, which reporter wants which, how many wait, and when
//! one that failed is tried again.
//!
//! An event is put by the very commit that starts or ends the build. Its id is made of what never changes, so that a
//! repetition has the same.

mod delivery;
mod line;
mod wanted;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::change::SourceStamp;
use crate::id::RequestId;
use crate::outcome::Outcome;
use crate::properties::Properties;
use crate::record::BuildRow;
use crate::request::Completed;
use crate::time::Timestamp;

pub use delivery::{FIRST_PAUSE_MS, LONGEST_PAUSE_MS, Verdict, judge, pause_ms};
pub use line::{Line, MAX_BYTES, MAX_WAITING, Taken};
pub use wanted::{LOOKED_BACK, Mode, Reader, Wanted};

/// Properties of a build that have more bytes are left out of an event, and so are the changes of its stamps beyond
/// [`MAX_CHANGES`].
pub const MAX_PROPERTIES: usize = 256 << 10;
/// See [`MAX_PROPERTIES`].
pub const MAX_CHANGES: usize = 1_000;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::id::{BuildId, ChangeId, Fence};
    use crate::value::Value;

    pub(super) fn row() -> BuildRow {
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

    pub(super) fn ended(outcome: Outcome, before: Option<Outcome>) -> Event {
        let complete = Some(Completed { outcome, at: Timestamp(9) });
        Event::new(Kind::BuildFinished, &BuildRow { complete, ..row() }, vec!["main".to_owned()], before)
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
}
