//! What the board reads from the store: the requests of its lanes, piece by piece, and who built what last. Nothing
//! waits for a read but the start, or the turn, that needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lane::{Lane, Rest};
use super::slots::Member;
use super::tail::{After, Told};
use super::{Board, Effect, HOLD_MS, LastBuilt, SCANS_A_ROUND, StartId};
use crate::id::RequestId;
use crate::request::{Buildset, Pending, Request};
use crate::time::Timestamp;

/// What happens before the first read is there.
#[derive(Debug, Default)]
pub(super) struct Opening {
    pub(super) told: Vec<((Request, Arc<Buildset>), Told)>,
    pub(super) withdrawn: Vec<(String, RequestId)>,
}

/// Look-ups of one builder's history under way.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    workers: BTreeSet<String>,
    starts: Vec<StartId>,
}

impl Board {
    /// There may be requests in the store: nothing begins before [`Board::opened`].
    pub fn opening(&mut self) {
        self.opening = Some(Opening::default());
    }

    /// Takes in the first requests of each builder that has any, and how many it has, as the store had them at one
    /// moment. What arrived since [`Board::opening`] comes on top.
    pub fn opened(&mut self, heads: BTreeMap<String, Pending>) {
        let Some(Opening { told, withdrawn }) = self.opening.take() else { return };
        for (builder, head) in heads {
            self.lane(&builder).open(head);
            self.dirty.insert(builder);
        }
        told.into_iter().for_each(|(request, told)| self.add([request], told));
        for (builder, request) in withdrawn {
            self.withdrawn(&builder, request);
        }
    }

    /// The answer to an [`Effect::More`] with this limit.
    pub fn loaded(&mut self, builder: &str, found: Pending, limit: usize) {
        let Some(lane) = self.lanes.get_mut(builder) else { return };
        lane.loaded(found, limit);
        self.resumed.extend(lane.parked.take());
        self.recall(builder);
        self.dirty.insert(builder.to_owned());
    }

    /// The store could not be read for a builder: it rests for a while.
    pub fn not_loaded(&mut self, builder: &str, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(builder) else { return };
        lane.not_loaded();
        let why = "its requests could not be read from the store".to_owned();
        lane.rest = Some(Rest {
            until: now.plus_ms(HOLD_MS),
            waits_for: super::WaitsFor::Store,
            why,
            until_news: false,
        });
        if let Some(start) = lane.parked.take() {
            self.give_up(start);
        }
        self.recall(builder);
        self.dirty.insert(builder.to_owned());
        self.arm(builder);
    }

    /// So many requests wait for each builder, as the store counts. Lanes that count otherwise are read again: an
    /// event was missed, or is under way. Two errors may cancel out, so some lanes are read whatever the counts say,
    /// by turns. (A sum of numbers beside each count would tell at once; but the store has none, and one that an
    /// older master leaves as it is while it writes the count would have to be a new format.)
    pub fn counted(&mut self, mut counts: BTreeMap<String, u64>) {
        if self.opening.is_some() {
            return;
        }
        for name in self.lanes.keys() {
            counts.entry(name.clone()).or_default();
        }
        self.scans += 1;
        for (place, (builder, total)) in counts.into_iter().enumerate() {
            let anyway = (self.scans + place).is_multiple_of(SCANS_A_ROUND);
            if let Some(after) = self.lane(&builder).compare(total, anyway) {
                self.more(&builder, after);
            }
        }
    }

    /// When workers last built for builders, as looked up; none: never.
    pub fn history(&mut self, found: Vec<((String, String), LastBuilt)>) {
        for ((builder, worker), last) in found {
            if let Some(awaited) = self.awaited.get_mut(&builder) {
                awaited.workers.remove(&worker);
                if awaited.workers.is_empty() {
                    self.resumed.extend(self.awaited.remove(&builder).into_iter().flat_map(|a| a.starts));
                    self.dirty.insert(builder.clone());
                }
            }
            // A build that ended meanwhile is newer.
            self.slots.built(&builder, &worker, last);
        }
    }

    /// Whether a start has to wait until its candidates' history is known.
    pub(super) fn waits_for_history(&mut self, id: StartId, candidates: &[Member]) -> bool {
        let Some(builder) = self.starts.get(&id).map(|start| start.spec.name.clone()) else { return false };
        let unknown: Vec<String> = candidates
            .iter()
            .filter(|member| member.last_built.is_none())
            .map(|member| self.slots.name(member.worker).to_owned())
            .collect();
        if unknown.is_empty() {
            return false;
        }
        let awaited = self.awaited.entry(builder.clone()).or_default();
        awaited.starts.push(id);
        let news = unknown.into_iter().filter(|worker| awaited.workers.insert(worker.clone()));
        let wanted: Vec<_> = news.map(|worker| (builder.clone(), worker)).collect();
        if !wanted.is_empty() {
            self.effects.push(Effect::History(wanted));
        }
        true
    }

    /// Whether a start has to wait for the window of requests that its policy is to be offered.
    pub(super) fn waits_for_requests(&mut self, id: StartId) -> bool {
        let Some(start) = self.starts.get(&id) else { return false };
        let (name, after) = (start.spec.name.clone(), start.after);
        let window = self.rules.window;
        let Some(lane) = self.lanes.get_mut(&name) else { return false };
        if lane.tail.is_none() || lane.window(after, window).len() >= window {
            return false;
        }
        if let Some(after) = lane.park(id, self.rules.loaded) {
            self.more(&name, after);
        }
        true
    }

    /// Whether a start waits for the store.
    #[cfg(test)]
    pub(super) fn waits_for_store(&self, id: StartId) -> bool {
        self.awaited.values().any(|awaited| awaited.starts.contains(&id))
            || self.lanes.values().any(|lane| lane.parked == Some(id))
    }

    /// Asks for what comes after.
    pub(super) fn more(&mut self, builder: &str, after: After) {
        let (builder, limit) = (builder.to_owned(), self.rules.loaded);
        self.effects.push(Effect::More { builder, after, limit });
    }

    /// The lane of a builder.
    pub(super) fn lane(&mut self, builder: &str) -> &mut Lane {
        let keep = self.rules.loaded;
        self.lanes.entry(builder.to_owned()).or_insert_with(|| Lane::new(keep))
    }
}
