//! Builds that run already when a board begins: their master was killed, and this one has taken them up.
//!
//! They have what they had: a slot of their worker, whether it is connected yet or not, and the locks of their builder and
//! worker, whatever else is held. A step that had its own has them still, though it asks for them again; one that stood in
//! line for them, or waited for requests, asks as if for the first time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Board;
use super::board::{AGAIN, Running, retry_after};
use super::lane::{Entry, HeldBy};
use crate::builder::Builder;
use crate::id::{BuildId, RequestId};
use crate::lock::{Access, Who};
use crate::request::{Buildset, Request};
use crate::time::Timestamp;

/// A build that runs already.
#[derive(Clone, Debug)]
pub struct TakenUp {
    /// The build.
    pub build: BuildId,
    /// Its builder, as the build goes by it.
    pub builder: Arc<Builder>,
    /// Its worker.
    pub worker: String,
    /// The requests that it holds: they wait again if it ends as *retry*.
    pub requests: Vec<(Request, Arc<Buildset>)>,
    /// Its step that had its locks: the name, and what it uses.
    pub step: Option<(String, Vec<Access>)>,
}

/// How often a request was tried in earlier runs that is not loaded yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried {
    tries: u32,
    /// Its wait begins anew then.
    at: Timestamp,
}

impl Board {
    /// Takes in builds that run already; to be called when the rules are in force, before the first decision.
    pub fn take_up(&mut self, builds: Vec<TakenUp>, now: Timestamp) {
        for TakenUp { build, builder, worker, requests, step } in builds {
            let name = builder.name.clone();
            self.lane(&name).building += 1;
            self.slots.retake(&worker, &name);
            let wants = self.wants(&builder, &worker);
            let who = Who::Build { build, builder: name.clone() };
            let locks = (!wants.is_empty()).then(|| self.locks.table.hold(who, wants, now));
            if let Some((step, uses)) = step {
                let wants = self.locks.table.wants(&uses, &worker);
                let who = Who::Step { build, builder: name.clone(), step };
                let ticket = self.locks.table.hold(who, wants, now);
                self.locks.steps.insert(build, ticket);
                self.locks.kept.insert(build);
            }
            let entries = requests.into_iter().map(|(request, buildset)| Entry::served(request, buildset));
            self.running.insert(build, Running { builder: name, worker, locks, entries: entries.collect() });
        }
    }

    /// So many builds in a row of these requests ended as *retry* in earlier runs; to be called right after
    /// [`Board::opened`]. Those that wait do so for as long as after the last of these builds, and all count on; those
    /// that are still in the store do once they are loaded.
    pub fn tried_before(&mut self, tries: BTreeMap<RequestId, u32>, now: Timestamp) {
        self.tried = tries.into_iter().map(|(request, tries)| (request, Tried { tries, at: now })).collect();
        for entry in self.running.values_mut().flat_map(|running| &mut running.entries) {
            if let Some(tried) = self.tried.remove(&entry.request.id) {
                entry.retries = tried.tries;
            }
        }
        let builders: Vec<String> = self.lanes.keys().cloned().collect();
        builders.iter().for_each(|builder| self.recall(builder));
    }

    /// Tells a lane what was tried in earlier runs of what it has loaded since.
    pub(super) fn recall(&mut self, builder: &str) {
        if self.tried.is_empty() {
            return;
        }
        let Some(lane) = self.lanes.get_mut(builder) else { return };
        let mut held = false;
        self.tried.retain(|request, Tried { tries, at }| {
            if !lane.contains(*request) {
                return true;
            }
            let wait = retry_after(*tries);
            if lane.was_tried(*request, *tries) && wait > 0 {
                lane.hold(*request, at.plus_ms(wait), Vec::new(), HeldBy::Wait, AGAIN);
                held = true;
            }
            false
        });
        if held {
            self.arm(builder);
        }
    }
}
