//! Buildsets and build requests: what is to be built, by which builders.
//!
//! Rows are immutable but for the claim and the completion: a changed priority is a new `version`,
//! so that the record of a decision can name exactly what it saw.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::change::SourceStamp;
use crate::id::{BuildId, BuildsetId, Fence, MasterId, RequestId};
use crate::outcome::Outcome;
use crate::properties::Properties;
use crate::time::Timestamp;

/// Requests that were submitted together, for the same source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Buildset {
    /// Its number.
    pub id: BuildsetId,
    /// Why, for people: "force by ana", "scheduler ci".
    pub reason: String,
    /// Who submitted it: a scheduler's name, `force`, a step.
    pub submitter: String,
    /// One for each codebase.
    pub stamps: Vec<SourceStamp>,
    /// Properties that its builds get.
    pub properties: Properties,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Its requests, one for each builder.
    pub requests: Vec<RequestId>,
    /// Once all requests are complete: the worst outcome, and when.
    pub complete: Option<Completed>,
    /// The build that submitted it, if one did.
    #[serde(default)]
    pub parent: Option<Parent>,
}

/// The build that submitted a buildset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The build.
    pub build: BuildId,
    /// What the buildset is to it, in its words: `Triggered from`, `rebuilt from`.
    pub relationship: String,
}

/// A request to run one builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// The buildset it belongs to.
    pub buildset: BuildsetId,
    /// The builder's name.
    pub builder: String,
    /// Larger is sooner.
    pub priority: i32,
    /// Counts changes of this row's own fields, from 1.
    pub version: u32,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Whether a running build waits for it.
    pub waited_for: bool,
    /// Who holds it.
    pub claim: Option<Claim>,
    /// The largest fence that any claim of it carried, or that took one away; none smaller is accepted
    /// again.
    pub last_fence: Fence,
    /// How it ended.
    pub complete: Option<Completed>,
}

impl Request {
    /// A new one that nobody waits for, of the ordinary priority.
    #[must_use]
    pub fn new(id: RequestId, buildset: BuildsetId, builder: String, submitted: Timestamp) -> Request {
        Request {
            id,
            buildset,
            builder,
            priority: 0,
            version: 1,
            submitted,
            waited_for: false,
            claim: None,
            last_fence: Fence(0),
            complete: None,
        }
    }
}

/// What waits for a builder, as a store has it at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pending {
    /// Some of the requests, in the default order, each with its buildset; those of one buildset share it.
    pub rows: Vec<(Request, Arc<Buildset>)>,
    /// How many wait in all.
    pub count: u64,
}

/// Where a request stands in the default order within its builder: priority, then age, then id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// Larger is sooner.
    pub priority: Reverse<i32>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Its number.
    pub id: RequestId,
}

impl Turn {
    /// Where `request` stands.
    #[must_use]
    pub fn of(request: &Request) -> Turn {
        Turn { priority: Reverse(request.priority), submitted: request.submitted, id: request.id }
    }
}

/// Who holds a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The master.
    pub master: MasterId,
    /// The number that each write of the build carries.
    pub fence: Fence,
    /// Since when.
    pub at: Timestamp,
}

/// How and when something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// How.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
}
