//! The record of one decision of a policy: what it saw, what it answered, what was done.
//!
//! Small by construction: requests are named by id and version (their rows never change), workers and
//! builders are the lean snapshots that the policy got. With the plugin's bytes, which stay in the CAS,
//! the same call can be made again and must give the same answer.
//!
//! They go into the store (`Persist::AddDecision`), in the commit of the claim that they led to where there is
//! one, and stay there for as long as their budget of age and size lasts. [`replay`] makes the same question of
//! one again.

pub mod replay;

use serde::{Deserialize, Serialize};

use crate::id::{BuildId, DecisionId, RequestId};
use crate::policy::{Answer, BuilderInfo, HookKind, Lookup, SlaveInfo, Usage, used_by};
use crate::record::Component;
use crate::time::Timestamp;

/// A longer answer is not kept: it names what nobody offered.
const MAX_ANSWER: usize = 64 * 1024;

/// How much of the past is kept; the oldest records go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// What all records together may have.
    pub max_bytes: u64,
    /// How much older than the newest a record may be, in milliseconds.
    pub max_age_ms: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { max_bytes: 256 << 20, max_age_ms: 30 * 24 * 3_600_000 }
    }
}

/// One decision that a policy was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its number.
    pub id: DecisionId,
    /// When it was judged.
    pub at: Timestamp,
    /// When the policy was asked; its `now`.
    pub asked: Timestamp,
    /// The policy: kind, qualified hook, bytes.
    pub policy: Component,
    /// Its arguments, JSON text.
    pub args: String,
    /// The builder; none: it was about their order.
    pub builder: Option<String>,
    /// The requests that it saw, in the order offered, with their versions. The one that the decision
    /// is about comes first where there is one.
    pub requests: Vec<Seen>,
    /// The workers that it saw.
    pub workers: Vec<SlaveInfo>,
    /// The builders that it saw.
    pub builders: Vec<BuilderInfo>,
    /// What it looked up.
    pub lookups: Vec<Lookup>,
    /// What it answered; none: nothing, or more than is worth keeping.
    pub answer: Option<Answer>,
    /// What was done.
    pub done: Done,
    /// Parts of the answer that were ignored, each with the reason.
    pub ignored: Vec<String>,
    /// Why there was no answer to follow, in the fault's words; none: there was.
    pub fallback: Option<String>,
    /// What the call cost.
    pub usage: Usage,
    /// The build that came of it, once there is one.
    pub build: Option<BuildId>,
}

impl Decision {
    /// Whose policy it was, as meters name a use: `builder ci: next-slave`.
    #[must_use]
    pub fn used_by(&self) -> String {
        used_by(self.builder.as_deref(), &self.policy.kind)
    }

    /// The requests that it touched: the one that it was about, or that it chose, and those that joined. Others
    /// that it only saw are not among them.
    #[must_use]
    pub fn about(&self) -> Vec<RequestId> {
        let first = || self.requests.first().map(|seen| seen.id);
        match (self.kind(), &self.done) {
            (Some(HookKind::NextBuild), Done::Picked(request)) => vec![*request],
            (Some(HookKind::NextBuild | HookKind::PrioritizeBuilders) | None, _) => Vec::new(),
            (Some(HookKind::MergeRequests), Done::Joined(others)) => {
                first().into_iter().chain(others.iter().copied()).collect()
            }
            (Some(_), _) => first().into_iter().collect(),
        }
    }

    /// What it was asked for.
    #[must_use]
    pub fn kind(&self) -> Option<HookKind> {
        HookKind::ALL.into_iter().find(|kind| kind.as_str() == self.policy.kind)
    }

    /// An answer, if it is short enough to be kept.
    pub(crate) fn worth_keeping(answer: Answer) -> Option<Answer> {
        (answer.bytes() <= MAX_ANSWER).then_some(answer)
    }
}

/// A request as a policy saw it: what changes with its version. All else of it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The request.
    pub id: RequestId,
    /// Its version.
    pub version: u32,
    /// The priority of that version.
    pub priority: i32,
}

/// What was done upon an answer, or without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// `prioritize-builders`: builders were visited in this order.
    Ordered(Vec<String>),
    /// `next-build`: this request was taken up.
    Picked(RequestId),
    /// `can-start-build`: these workers may take the request.
    Allowed(Vec<String>),
    /// `next-slave`: this worker gets the request.
    Placed(String),
    /// `merge-requests`: these join the first one.
    Joined(Vec<RequestId>),
    /// The request, or the builder, waits for another time.
    Held,
    /// The state had moved on: asked again, or dropped.
    Stale,
}

#[cfg(test)]
mod tests;
