//! What the board shows.

use std::collections::BTreeSet;

use super::lane::Lane;
use super::{Board, BuilderStatus, Status};
use crate::time::Timestamp;

/// Why requests wait that are still in the store.
const LOADING: &str = "they are being loaded";

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
            why: if lane.pending() == 0 { None } else { self.why(name, lane) },
        }
    }

    /// Why the requests of a builder wait.
    fn why(&self, name: &str, lane: &Lane) -> Option<String> {
        if !self.rules.builders.contains_key(name) {
            return Some("no such builder in the configuration".to_owned());
        }
        if !self.slots.any_connected(name) {
            return Some("none of its workers is connected".to_owned());
        }
        if let Some(rest) = &lane.rest {
            return Some(rest.why.clone());
        }
        if !lane.has_waiting() {
            return Some(if lane.is_dry() { LOADING.to_owned() } else { lane.held_why.clone() });
        }
        if self.round_rests.is_some() {
            return Some("the order of builders is held: its policy gives no answer".to_owned());
        }
        if self.left_out.as_ref().is_some_and(|(_, names)| names.contains(name)) {
            return Some("the order of builders leaves it out".to_owned());
        }
        if !self.slots.any_room(name) {
            let barred: Vec<String> = self.slots.barred(name).map(|worker| format!("`{worker}`")).collect();
            return Some(match barred.as_slice() {
                [] => "all its workers are busy".to_owned(),
                names => format!(
                    "no worker is free, and {} in quarantine: lost before a build got anywhere",
                    names.join(", ") + if names.len() == 1 { " is" } else { " are" }
                ),
            });
        }
        self.awaited_lock(name).map(|obstacle| obstacle.to_string())
    }

    /// The hooks that the rules use, each once: what there has to be a component for.
    #[must_use]
    pub fn uses(rules: &super::Rules) -> BTreeSet<(crate::policy::HookKind, String)> {
        rules.uses().map(|(kind, policy, _)| (kind, policy.hook.clone())).collect()
    }
}
