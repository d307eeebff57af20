//! Calls of guests: a policy's answer, a run of a step, a run of a command.

use windlass_core::outcome::Outcome;
use windlass_core::policy::{Answer, Fault, Lookup, Usage};
use windlass_core::value::Completion;

/// What came of asking a policy.
#[derive(Debug)]
pub struct Reply {
    /// Its answer, unjudged, or why there is none.
    pub answer: Result<Answer, Fault>,
    /// What it looked up, in order.
    pub lookups: Vec<Lookup>,
    /// What it cost.
    pub usage: Usage,
}

/// What a step says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// How it ended.
    pub outcome: Outcome,
    /// Replaces what it said last.
    pub summary: Option<String>,
}

/// How a run of a step ended.
#[derive(Debug)]
pub struct StepEnd {
    /// Its result, or why there is none. A guest's own `Err` is [`windlass_core::policy::FaultKind::Failed`].
    pub result: Result<StepResult, Fault>,
    /// What it cost.
    pub usage: Usage,
}

/// How a run of a slave-command ended.
#[derive(Debug)]
pub struct CommandEnd {
    /// Its completion, or why there is none. A guest's own `Err` is
    /// [`windlass_core::policy::FaultKind::Failed`].
    pub result: Result<Completion, Fault>,
    /// What it cost.
    pub usage: Usage,
}
