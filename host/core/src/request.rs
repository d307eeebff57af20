//! Buildsets and build requests: what is to be built, by which builders.
//!
//! Rows are immutable but for the claim and the completion: a changed priority is a new `version`,
//! so that the record of a decision can name exactly what it saw.

use serde::{Deserialize, Serialize};

use crate::change::SourceStamp;
use crate::id::{BuildsetId, Fence, MasterId, RequestId};
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
    /// The largest fence that any claim of it carried; none smaller is accepted again.
    pub last_fence: Fence,
    /// How it ended.
    pub complete: Option<Completed>,
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
