//! The record of one decision of a policy: what it saw, what it answered, what was done.
//!
//! Small by construction: requests are named by id and version (their rows never change), workers and
//! builders are the lean snapshots that the policy got. With the plugin's bytes, which stay in the CAS,
//! the same call can be made again and must give the same answer.
//!
//! For now the newest [`KEPT`] live in memory ([`Recent`]). To persist them: the dispatcher hands each
//! one over at a single place (`Effect::Record` of [`crate::schedule`]); a `Persist::AddDecision` in the
//! commit of the claim that it led to is where it will go.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::{BuildId, DecisionId, RequestId};
use crate::policy::{Answer, BuilderInfo, Lookup, SlaveInfo, Usage, used_by};
use crate::record::Component;
use crate::time::Timestamp;

/// So many decisions are kept in memory.
pub const KEPT: usize = 1_000;

/// One decision that a policy was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its number, from 1 since the master's start.
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
    pub requests: Vec<(RequestId, u32)>,
    /// The workers that it saw.
    pub workers: Vec<SlaveInfo>,
    /// The builders that it saw.
    pub builders: Vec<BuilderInfo>,
    /// What it looked up.
    pub lookups: Vec<Lookup>,
    /// What it answered.
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

/// The newest [`KEPT`] decisions, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Recent(VecDeque<Decision>);

impl Recent {
    /// Adds one; the oldest goes when there are too many.
    pub fn push(&mut self, decision: Decision) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(decision);
    }

    /// Notes the build that came of some of them.
    pub fn built(&mut self, decisions: &[DecisionId], build: BuildId) {
        let Some(first) = self.0.front().map(|d| d.id.0) else { return };
        for id in decisions {
            let index = id.0.checked_sub(first).and_then(|i| usize::try_from(i).ok());
            if let Some(decision) = index.and_then(|i| self.0.get_mut(i)) {
                decision.build = Some(build);
            }
        }
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Decision> {
        self.0.iter()
    }
}
