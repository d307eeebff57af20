//! A buildset with its requests, ready to be committed: what schedulers and people submit.

use windlass_config::config;
use windlass_core::change::SourceStamp;
use windlass_core::persist::Persist;
use windlass_core::properties::Properties;
use windlass_core::request::{Buildset, Parent, Request};
use windlass_core::time::Timestamp;
use windlass_store::Ids;

use crate::dependents;
use crate::dispatcher::Dispatcher;
use crate::view;

/// Who is told about requests once they are durable: the dispatcher.
pub trait Submit: Send + Sync + 'static {
    /// These were committed.
    fn submitted(&self, buildset: Buildset, requests: Vec<Request>);
}

impl Submit for Dispatcher {
    fn submitted(&self, buildset: Buildset, requests: Vec<Request>) {
        Dispatcher::submitted(self, buildset, requests);
    }
}

/// What is to be built, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The builders, one request each.
    pub builders: Vec<String>,
    /// Who submits it: a scheduler's name, `force`.
    pub submitter: String,
    /// For people.
    pub reason: String,
    /// Larger is sooner.
    pub priority: i32,
    /// One for each codebase.
    pub stamps: Vec<SourceStamp>,
    /// Properties of the builds.
    pub properties: Properties,
    /// The build that submits it, if one does.
    pub parent: Option<Parent>,
    /// Whether that build waits for it.
    pub waited_for: bool,
}

/// A numbered buildset with its requests; nobody knows of it before its commit.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a submission is to be committed, then announced"]
pub struct Submission {
    /// The buildset.
    pub buildset: Buildset,
    /// Its requests.
    pub requests: Vec<Request>,
}

impl Order {
    /// Numbers it.
    pub fn number(self, ids: &Ids, now: Timestamp) -> Submission {
        let id = ids.next_buildset();
        let request = |builder: String| Request {
            priority: self.priority,
            waited_for: self.waited_for,
            ..Request::new(ids.next_request(), id, builder, now)
        };
        let requests: Vec<Request> = self.builders.into_iter().map(request).collect();
        let buildset = Buildset {
            id,
            reason: self.reason,
            submitter: self.submitter,
            stamps: self.stamps,
            properties: self.properties,
            submitted: now,
            requests: requests.iter().map(|r| r.id).collect(),
            complete: None,
            parent: self.parent,
        };
        Submission { buildset, requests }
    }
}

impl Submission {
    /// The durable effects under these schedulers.
    pub fn persist<'a>(&self, schedulers: impl IntoIterator<Item = &'a config::Scheduler>) -> Vec<Persist> {
        let (buildset, requests) = (self.buildset.clone(), self.requests.clone());
        let mut effects = dependents::notes(schedulers, &self.buildset);
        effects.insert(0, Persist::AddBuildset { buildset, requests });
        effects
    }

    /// As an event.
    #[must_use]
    pub fn event(&self) -> view::Event {
        view::Event::Submitted {
            buildset: self.buildset.id.0,
            requests: self.requests.iter().map(|r| (r.id.0, r.builder.clone())).collect(),
            reason: self.buildset.reason.clone(),
        }
    }
}
