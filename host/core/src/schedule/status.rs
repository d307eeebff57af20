//! What the scheduling looks like from outside: who waits for what, and how the policies are doing.

use serde::{Deserialize, Serialize};

use super::Wait;
use crate::digest::Digest;
use crate::lock::LockStatus;
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
    /// Locks: who holds them and who waits.
    pub locks: Vec<LockStatus>,
    /// Each configured use of a policy.
    pub policies: Vec<PolicyStatus>,
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
    pub wait: Option<Wait>,
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
    /// Until when it gets nothing new, since builds were lost on it before they got anywhere.
    pub quarantine: Option<Timestamp>,
    /// How often that happened since a build last went well on it.
    pub failures: u32,
}

/// One configured use of a policy: by a builder, or by the master as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Its kind.
    pub kind: HookKind,
    /// The hook as configured.
    pub hook: String,
    /// The builder that uses it; none: the order of builders.
    pub builder: Option<String>,
    /// The bytes; none: no loaded plugin has this hook.
    pub digest: Option<Digest>,
    /// Answers to this use that made sense.
    pub answers: u64,
    /// Calls for this use that gave none, or one that made no sense.
    pub faults: u64,
    /// Decisions of this use for which it was not asked, as it was suspended.
    pub skipped: u64,
    /// Decisions of this use that were made, or held, without its answer.
    pub fallbacks: u64,
    /// Until when the hook is suspended, if it is; errors of all its uses count.
    pub suspended_until: Option<Timestamp>,
    /// The newest fault: of this use, or, while the hook is suspended, of any.
    pub last_fault: Option<String>,
}
