//! The part of [`crate::view`] that is made of the store's rows.

use windlass_core::change;
use windlass_core::properties::Properties;
use windlass_core::record::{self, BuildRow, LogRow, StepRow};
use windlass_core::request;
use windlass_core::user::Users;
use windlass_runtime::registry::Generation;

use crate::view::{
    Build, Buildset, Change, Component, Computed, Log, PatchInfo, Property, Request, Stamp, Step,
};

impl Build {
    /// A build's row, for people.
    #[must_use]
    pub fn of(row: &BuildRow) -> Build {
        let stamp = row.stamps.first();
        let got = row.properties.get("got_revision").map(windlass_core::value::Value::to_text);
        Build {
            id: row.id.0,
            number: row.number,
            builder: row.builder.clone(),
            worker: row.worker.clone(),
            requests: row.requests.iter().map(|r| r.0).collect(),
            reason: row.reason.clone(),
            branch: stamp.and_then(|s| s.branch.clone()),
            revision: got.filter(|r| !r.is_empty()).or_else(|| stamp.and_then(|s| s.revision.clone())),
            generation: row.generation,
            started: row.started,
            ended: row.complete.map(|c| c.at),
            outcome: row.complete.map(|c| c.outcome),
            summary: row.summary.clone(),
            authors: Vec::new(),
        }
    }
}

impl Step {
    /// A step's row with its logs and their lengths, for people.
    #[must_use]
    pub fn of(row: &StepRow, logs: Vec<Log>) -> Step {
        Step {
            position: row.position,
            name: row.name.clone(),
            hook: row.hook.clone(),
            digest: row.digest,
            started: row.started,
            ended: row.complete.map(|c| c.at),
            outcome: row.complete.map(|c| c.outcome),
            summary: row.summary.clone(),
            urls: row.urls.clone(),
            fault: row.fault.clone(),
            hidden: row.hidden,
            computed: row.computed.iter().map(Computed::from).collect(),
            tests: row.tests,
            statistics: Default::default(),
            logs,
        }
    }
}

impl From<&record::Computed> for Computed {
    fn from(computed: &record::Computed) -> Computed {
        Computed {
            place: computed.place.clone(),
            hook: computed.hook.clone(),
            digest: computed.digest,
            value: computed.value.to_json(),
        }
    }
}

impl Log {
    /// A log's row and its length, for people.
    #[must_use]
    pub fn of(row: &LogRow, length: u64) -> Log {
        let LogRow { name, finished, hash, cut, expired, .. } = row.clone();
        Log { name, length, finished, hash, cut, expired }
    }
}

impl Component {
    /// A component of a build beside the current plugins, for people.
    #[must_use]
    pub fn of(component: &record::Component, now: &Generation) -> Component {
        Component {
            kind: component.kind.clone(),
            hook: component.hook.clone(),
            digest: component.digest,
            current: now.by_digest(&component.digest).is_some(),
        }
    }
}

impl From<&change::Patch> for PatchInfo {
    fn from(patch: &change::Patch) -> PatchInfo {
        PatchInfo {
            level: patch.level,
            directory: patch.directory.clone(),
            author: patch.author.clone(),
            comment: patch.comment.clone(),
            size: patch.body.len(),
        }
    }
}

impl From<&change::SourceStamp> for Stamp {
    fn from(stamp: &change::SourceStamp) -> Stamp {
        Stamp {
            codebase: stamp.codebase.clone(),
            project: stamp.project.clone(),
            repository: stamp.repository.clone(),
            branch: stamp.branch.clone(),
            revision: stamp.revision.clone(),
            patch: stamp.patch.as_ref().map(PatchInfo::from),
        }
    }
}

impl Change {
    /// A change, for people, with the user who wrote it.
    #[must_use]
    pub fn of(change: &change::Change, users: &Users) -> Change {
        Change {
            user: users.find(&change.author).map(|user| user.name.clone()),
            id: change.id.0,
            author: change.author.clone(),
            comments: change.comments.clone(),
            repository: change.repository.clone(),
            branch: change.branch.clone(),
            revision: change.revision.clone(),
            codebase: change.codebase.clone(),
            files: change.files.clone(),
            when: change.when,
        }
    }
}

impl From<&request::Request> for Request {
    fn from(request: &request::Request) -> Request {
        Request {
            id: request.id.0,
            builder: request.builder.clone(),
            priority: request.priority,
            submitted: request.submitted,
            claimed: request.claim.is_some(),
            outcome: request.complete.map(|c| c.outcome),
        }
    }
}

impl Buildset {
    /// A buildset with its requests, for people.
    #[must_use]
    pub fn of(buildset: &request::Buildset, requests: &[request::Request]) -> Buildset {
        Buildset {
            id: buildset.id.0,
            reason: buildset.reason.clone(),
            submitted: buildset.submitted,
            requests: requests.iter().map(Request::from).collect(),
            outcome: buildset.complete.map(|c| c.outcome),
        }
    }
}

/// Properties, for people.
pub(crate) fn properties(properties: &Properties) -> Vec<Property> {
    let one = |(name, value, source): (&str, &windlass_core::value::Value, &str)| Property {
        name: name.to_owned(),
        value: value.to_json(),
        source: source.to_owned(),
    };
    properties.iter().map(one).collect()
}
