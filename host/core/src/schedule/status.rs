//! What the scheduling looks like from outside: who waits for what, and how the policies are doing.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::policy::HookKind;
use crate::time::Timestamp;

/// A snapshot of the board.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When it was taken.
    pub at: Timestamp,
    /// Builders by name: the configured ones, and those that requests still wait for.
    pub builders: Vec<BuilderStatus>,
    /// Workers in the order of the configuration, then unknown ones that still run builds.
    pub workers: Vec<WorkerStatus>,
    /// Each policy that was asked or skipped, by kind and hook.
    pub policies: Vec<PolicyStatus>,
    /// Each configured use of a policy that fell back at least once, with how often.
    pub fallbacks: Vec<FallbackStatus>,
    /// Oddities that are nobody's error: answers with unknown names, refused claims. Newest last, bounded.
    pub reports: Vec<String>,
}

/// One builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuilderStatus {
    /// Its name.
    pub name: String,
    /// Whether the configuration has it.
    pub configured: bool,
    /// Requests that wait, the held ones included.
    pub pending: u64,
    /// Those among them that a policy or a retry holds back for now.
    pub held: u64,
    /// When the oldest of them was submitted.
    pub oldest: Option<Timestamp>,
    /// Builds that run or are about to.
    pub building: u32,
    /// Why requests wait; none: none does, or it is their turn right now.
    pub why: Option<String>,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// Since when it is connected.
    pub connected_since: Option<Timestamp>,
    /// Builds that run or are about to.
    pub running: u32,
    /// How many may at once; none: one of each builder.
    pub max_builds: Option<u32>,
    /// Free slots; none where only the builders bound them.
    pub free: Option<u32>,
}

/// One policy: a hook of a plugin, over all its uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Its kind.
    pub kind: HookKind,
    /// The qualified hook.
    pub hook: String,
    /// The bytes.
    pub digest: Digest,
    /// Answers that made sense.
    pub answers: u64,
    /// Calls that gave none, or one that made no sense.
    pub faults: u64,
    /// Decisions made without it while it was suspended.
    pub skipped: u64,
    /// Until when it is suspended, if it is.
    pub suspended_until: Option<Timestamp>,
    /// The newest fault.
    pub last_fault: Option<String>,
}

/// How often one configured use of a policy fell back to the default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FallbackStatus {
    /// The kind.
    pub kind: HookKind,
    /// The hook as resolved.
    pub hook: String,
    /// The builder that uses it; none: the order of builders.
    pub builder: Option<String>,
    /// How often.
    pub count: u64,
    /// Why, the last time.
    pub last: String,
}
