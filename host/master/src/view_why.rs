//! The part of [`crate::view`] about decisions: why a request waits, or a build came to be as it is.

use serde::{Deserialize, Serialize};
use windlass_core::decision;
use windlass_core::decision::replay::Verified;
use windlass_core::digest::Digest;
use windlass_core::time::Timestamp;

use crate::view::{Build, Request, Wait};

/// Why: `windlass why`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The moment of this answer.
    pub now: Timestamp,
    /// The build that was asked about; none: it was a request.
    pub build: Option<Build>,
    /// The request that was asked about, or those that the build serves; the first is the one that it began for.
    pub requests: Vec<WhyRequest>,
    /// The decisions of policies that touched them, and, while a request waits, the newest that passed it over.
    /// Oldest first.
    pub decisions: Vec<Decision>,
}

/// A request, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyRequest {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// Its buildset.
    pub buildset: u64,
    /// Why it was submitted.
    pub reason: String,
    /// The builds that served it, oldest first. Several, where some ended as *retry*.
    pub builds: Vec<Build>,
    /// What it waits for; none: it does not wait.
    pub waits: Option<Waits>,
}

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// So many requests of its builder come before it by priority and age.
    pub ahead: usize,
    /// There are more than that.
    pub ahead_is_cut: bool,
    /// What it waits for.
    #[serde(flatten)]
    pub wait: Wait,
    /// Builds that run on its workers.
    pub running: Vec<Build>,
    /// How long it may take to begin; none: too little is known.
    pub estimate: Option<Estimate>,
}

/// A guess, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Milliseconds until it begins.
    pub ms: u64,
    /// Slots of its connected workers.
    pub slots: u64,
    /// What its builder's builds take, in milliseconds: half of them less.
    pub median_ms: u64,
    /// So many recent builds, all successful, were looked at.
    pub builds: usize,
}

/// A policy that failed while a build was decided upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPolicy {
    /// Its decision's number.
    pub decision: u64,
    /// The kind of the hook.
    pub kind: String,
    /// The qualified hook.
    pub hook: String,
    /// Its bytes.
    pub digest: Digest,
    /// Why there was no answer to follow.
    pub fault: String,
}

impl FailedPolicy {
    /// A decision, if its policy failed.
    pub(crate) fn of(decision: decision::Decision) -> Option<FailedPolicy> {
        let decision::Decision { id, policy, fallback, .. } = decision;
        let fault = fallback?;
        Some(FailedPolicy {
            decision: id.0,
            kind: policy.kind,
            hook: policy.hook,
            digest: policy.digest,
            fault,
        })
    }
}

/// A decision of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its record.
    #[serde(flatten)]
    pub record: decision::Decision,
    /// What came of asking the recorded component again; none: nobody wanted that.
    pub verified: Option<Verified>,
}
