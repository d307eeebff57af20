//! What the board shows.

use std::collections::BTreeSet;

use super::lane::Lane;
use super::{Board, BuilderStatus, Status};
use crate::time::Timestamp;

impl Board {
    /// Who waits for what, and how the policies are doing.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        Status {
            at: now,
            builders: self.lanes.iter().map(|(name, lane)| self.builder_status(name, lane)).collect(),
            workers: self.worker_statuses(),
            locks: self.locks(),
            policies: self.desk.policies(&self.rules, now),
            reports: self.desk.reports(),
        }
    }

    fn worker_statuses(&self) -> Vec<super::WorkerStatus> {
        let mut workers = self.slots.status(&self.rules.workers);
        for worker in &mut workers {
            worker.quarantine = self.quarantines.until(&worker.name);
            worker.failures = self.quarantines.failures(&worker.name);
        }
        workers
    }

    fn builder_status(&self, name: &str, lane: &Lane) -> BuilderStatus {
        BuilderStatus {
            name: name.to_owned(),
            configured: self.rules.builders.contains_key(name),
            pending: lane.pending(),
            held: lane.held() as u64,
            oldest: lane.oldest(),
            building: lane.building,
            wait: if lane.pending() == 0 { None } else { self.builder_waits(name, lane) },
        }
    }

    /// The hooks that the rules use, each once: what there has to be a component for.
    #[must_use]
    pub fn uses(rules: &super::Rules) -> BTreeSet<(crate::policy::HookKind, String)> {
        rules.uses().map(|(kind, policy, _)| (kind, policy.hook.clone())).collect()
    }
}
