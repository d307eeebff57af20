//! What happens, as listeners are told.

use serde::{Deserialize, Serialize};

use crate::view::{Build, Change, Step};

/// Something happened: what `subscribe` hands out and progress is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A change arrived.
    Change(Change),
    /// Requests were submitted.
    Submitted {
        /// The buildset.
        buildset: u64,
        /// Its requests, with the builder of each.
        requests: Vec<(u64, String)>,
        /// Why.
        reason: String,
    },
    /// A build began.
    BuildStarted(Build),
    /// A step began.
    StepStarted {
        /// The build.
        build: u64,
        /// The step; its logs are still empty.
        step: Step,
    },
    /// A log of a step began: from now on it can be read and followed.
    LogStarted {
        /// The build.
        build: u64,
        /// The step's place in the build.
        position: u32,
        /// The log's name.
        log: String,
    },
    /// A step ended.
    StepFinished {
        /// The build.
        build: u64,
        /// The step.
        step: Step,
    },
    /// A build ended.
    BuildFinished(Build),
    /// A worker connected.
    WorkerConnected {
        /// Its name.
        worker: String,
    },
    /// A worker is gone.
    WorkerLost {
        /// Its name.
        worker: String,
        /// Why.
        reason: String,
    },
    /// A new generation is live.
    Reconfigured {
        /// Its number.
        generation: u64,
    },
    /// The listener was too slow and missed so many events; it may read the state afresh.
    Missed {
        /// How many.
        events: u64,
    },
}
