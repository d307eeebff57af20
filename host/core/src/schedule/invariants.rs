//! What must hold of a board whenever it has nothing more to do: above all, that no wake-up is lost.
//!
//! A builder whose next build could begin is waited for by the order of builders. One that has to wait
//! names who will wake it: the answer of `next-build`, a timer, a look-up of history, or whoever has the
//! slots. And what was taken has a taker: slots, requests and questions all belong to a start or a build.

use std::collections::{BTreeMap, BTreeSet};

use super::Board;
use super::desk::Asker;
use super::stage::Stage;
use crate::id::RequestId;
use crate::lock::Ticket;
use crate::policy::HookKind;
use crate::time::Timestamp;

impl Board {
    /// Panics unless all of it holds. To be called when [`Board::decide`] has no effects left.
    pub(crate) fn check(&self, now: Timestamp) {
        self.check_builders(now);
        self.check_takers();
        self.check_questions();
        self.check_locks();
    }

    /// Who holds locks is there, and who stands in line could use them: nobody waits behind one that could not.
    fn check_locks(&self) {
        let starts = self.starts.values().filter_map(|start| start.locks);
        let builds = self.running.values().filter_map(|running| running.locks);
        let mut holders: BTreeSet<Ticket> = starts.chain(builds).collect();
        for (build, ticket) in &self.locks.steps {
            assert!(self.running.contains_key(build), "a step of no build has locks");
            holders.insert(*ticket);
        }
        assert!(self.locks.kept.iter().all(|build| self.locks.steps.contains_key(build)), "kept for nobody");
        for (name, line) in &self.locks.lines {
            holders.insert(line.ticket);
            let waits = self.locks.table.is_waiting(line.ticket);
            let begins = self.joining.contains(name);
            let visited = self.turns.is_waiting(name) && self.ordering;
            assert!(
                !waits || begins || visited || self.wants_slot(name),
                "`{name}` cannot use its place in line"
            );
            assert!(!self.closed, "there are lines when nobody begins");
        }
        assert_eq!(
            self.locks.table.tickets().collect::<BTreeSet<_>>(),
            holders,
            "tickets and those who have them"
        );
    }

    fn check_builders(&self, now: Timestamp) {
        let ordering: Vec<_> = self.desk.asks().filter(|a| a.asker == Asker::Round).collect();
        assert_eq!(ordering.len(), usize::from(self.ordering), "the order is being asked, or not");
        let ordered = |name: &String| ordering.iter().any(|a| a.question.names().any(|n| n == name));
        let left_out = |name: &String| self.left_out.as_ref().is_some_and(|(_, names)| names.contains(name));
        for (name, lane) in &self.lanes {
            if self.can_begin(name) && !self.is_locked(name) && !self.closed {
                let all_wait = self.ordering || self.round_rests.is_some() || self.is_reading();
                let queued = self.turns.is_waiting(name) && all_wait;
                assert!(queued || ordered(name) || left_out(name), "`{name}` could begin and nobody knows");
            }
            if let Some(at) = lane.next_wake() {
                let first = self.timers.iter().find(|(_, n)| n == name).map(|(at, _)| *at);
                assert!(first.is_some_and(|first| first <= at), "`{name}` overslept {at:?}");
            }
        }
        assert!(self.closed || self.next_tick().is_none_or(|at| at > now), "a timer is overdue");
    }

    /// Whether the first request of a builder is on its way from the store.
    fn is_reading(&self) -> bool {
        self.lanes.values().any(|lane| lane.is_dry() && lane.loading.is_some())
    }

    fn check_takers(&self) {
        let mut slots: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let mut taken: BTreeMap<RequestId, u32> = BTreeMap::new();
        let mut building: BTreeMap<&str, u32> = BTreeMap::new();
        for start in self.starts.values() {
            *slots.entry((&start.worker, &start.spec.name)).or_default() += 1;
            *building.entry(&start.spec.name).or_default() += u32::from(start.stage == Stage::Claim);
            for request in start.requests() {
                *taken.entry(request).or_default() += 1;
            }
        }
        for running in self.running.values() {
            *slots.entry((&running.worker, &running.builder)).or_default() += 1;
            *building.entry(&running.builder).or_default() += 1;
        }
        assert_eq!(self.slots.taken(), slots, "slots and those who have them");
        assert!(taken.values().all(|n| *n == 1), "a request has two starts: {taken:?}");
        let known: Vec<RequestId> = self.lanes.values().flat_map(super::lane::Lane::taken).collect();
        assert_eq!(known.len(), taken.len(), "requests that are taken, and by starts");
        assert!(known.iter().all(|r| taken.contains_key(r)), "{known:?} are taken, {taken:?} by starts");
        for (name, lane) in &self.lanes {
            assert_eq!(lane.building, building.remove(&**name).unwrap_or(0), "builds of `{name}`");
        }
    }

    fn check_questions(&self) {
        for (id, start) in &self.starts {
            let asks = self.desk.asks().filter(|a| a.asker == Asker::Start(*id)).count();
            let waits = usize::from(start.stage != Stage::Claim && !self.waits_for_store(*id));
            assert_eq!(asks, waits, "questions of a start in {:?}", start.stage);
        }
        for name in self.lanes.keys() {
            let picks = |a: &&super::desk::Asked| {
                a.question.kind() == HookKind::NextBuild && a.builder.as_ref() == Some(name)
            };
            let picks = self.desk.asks().filter(picks).count();
            assert_eq!(picks, usize::from(self.desk.is_picking(name)), "`{name}` is being picked for");
        }
    }
}
