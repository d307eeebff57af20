//! The next numbers: atomic counters, seeded from the tables at open.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use windlass_core::id::{BuildId, BuildsetId, ChangeId, DecisionId, Fence, LogId, RequestId, StepId};

/// Hands out numbers that no row has yet. A number that is handed out and never written is lost, or
/// handed out again after a restart.
#[derive(Debug, Default)]
pub struct Ids {
    pub(crate) change: AtomicU64,
    pub(crate) buildset: AtomicU64,
    pub(crate) request: AtomicU64,
    pub(crate) build: AtomicU64,
    pub(crate) step: AtomicU64,
    pub(crate) log: AtomicU64,
    pub(crate) fence: AtomicU64,
    pub(crate) decision: AtomicU64,
    /// The last number of each builder's builds.
    pub(crate) build_numbers: Mutex<HashMap<String, u64>>,
}

fn next(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

impl Ids {
    /// Returns the next change's id.
    pub fn next_change(&self) -> ChangeId {
        ChangeId(next(&self.change))
    }

    /// Returns the next buildset's id.
    pub fn next_buildset(&self) -> BuildsetId {
        BuildsetId(next(&self.buildset))
    }

    /// Returns the next request's id.
    pub fn next_request(&self) -> RequestId {
        RequestId(next(&self.request))
    }

    /// Returns the next build's id.
    pub fn next_build(&self) -> BuildId {
        BuildId(next(&self.build))
    }

    /// Returns the next step's id.
    pub fn next_step(&self) -> StepId {
        StepId(next(&self.step))
    }

    /// Returns the next log's id.
    pub fn next_log(&self) -> LogId {
        LogId(next(&self.log))
    }

    /// Returns a fence larger than all before it.
    pub fn next_fence(&self) -> Fence {
        Fence(next(&self.fence))
    }

    /// Returns the next decision's id.
    pub fn next_decision(&self) -> DecisionId {
        DecisionId(next(&self.decision))
    }

    /// Returns the number of the builder's next build, from 1.
    pub fn next_build_number(&self, builder: &str) -> u64 {
        let mut numbers = self.build_numbers.lock().expect("nothing panics while it counts");
        match numbers.get_mut(builder) {
            Some(last) => {
                *last += 1;
                *last
            }
            None => {
                numbers.insert(builder.to_owned(), 1);
                1
            }
        }
    }
}
