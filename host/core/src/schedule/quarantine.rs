//! Workers that are lost before a build gets anywhere are left alone for a while: 10 s, then twice as long each time,
//! up to an hour. A build that goes well on one forgives it, and so may a person; a reconfiguration lifts all. A restart
//! of the master changes nothing ([`super::Suspension`]).
//!
//! One that connects, takes a build and dies, over and over, would otherwise use up the tries of every request.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Board;
use crate::time::Timestamp;

/// The first quarantine.
pub const FIRST_QUARANTINE_MS: u64 = 10_000;
/// The longest quarantine.
pub const LONGEST_QUARANTINE_MS: u64 = 3_600_000;

/// The workers that failed since a build last went well on them.
#[derive(Debug, Default)]
pub(super) struct Quarantines {
    of: BTreeMap<String, Quarantine>,
    /// Workers whose quarantine began or was forgotten since this was told.
    changed: BTreeSet<String>,
}

/// What is held against a worker that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// None: it is over, but nothing went well since.
    until: Option<Timestamp>,
    next_ms: u64,
    /// How often it failed.
    failures: u32,
}

/// What was held against a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Until when it would have been left alone; none: it got builds again, but none went well since.
    pub until: Option<Timestamp>,
    /// How often it was lost before a build got anywhere since one last went well on it; builds that were lost
    /// together count once.
    pub times: u32,
}

impl Quarantines {
    fn failed(&mut self, worker: &str, now: Timestamp) {
        let fresh = || Quarantine { until: None, next_ms: FIRST_QUARANTINE_MS, failures: 0 };
        let quarantine = self.of.entry(worker.to_owned()).or_insert_with(fresh);
        // Builds that were lost together count once.
        if quarantine.until.is_none() {
            quarantine.until = Some(now.plus_ms(quarantine.next_ms));
            quarantine.failures += 1;
            quarantine.next_ms = (quarantine.next_ms * 2).min(LONGEST_QUARANTINE_MS);
            self.changed.insert(worker.to_owned());
        }
    }

    /// Takes in one of an earlier run, with the time that is left of it: no more than there was, whatever became of the
    /// clock meanwhile. True: it is not over.
    pub(super) fn take_in(&mut self, worker: &str, quarantine: Quarantine, now: Timestamp) -> bool {
        let longest = now.plus_ms(quarantine.next_ms);
        let until = quarantine.until.filter(|until| now < *until).map(|until| until.min(longest));
        self.of.insert(worker.to_owned(), Quarantine { until, ..quarantine });
        until.is_some()
    }

    pub(super) fn get(&self, worker: &str) -> Option<&Quarantine> {
        self.of.get(worker)
    }

    /// Those that changed since this was asked last.
    pub(super) fn changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    fn remove(&mut self, worker: &str) -> Option<Quarantine> {
        let removed = self.of.remove(worker)?;
        self.changed.insert(worker.to_owned());
        Some(removed)
    }

    /// When the next one is over.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.of.values().filter_map(|quarantine| quarantine.until).min()
    }

    /// Until when a worker is left alone.
    pub(super) fn until(&self, worker: &str) -> Option<Timestamp> {
        self.of.get(worker)?.until
    }

    /// How often a worker failed since a build last went well on it.
    pub(super) fn failures(&self, worker: &str) -> u32 {
        self.of.get(worker).map_or(0, |quarantine| quarantine.failures)
    }

    fn over(&mut self, now: Timestamp) -> Vec<String> {
        let over = |q: &mut Quarantine| q.until.take_if(|until| *until <= now).is_some();
        self.of.iter_mut().filter_map(|(worker, q)| over(q).then(|| worker.clone())).collect()
    }
}

impl Board {
    /// A worker was lost before the first step of a build had ended: it is left alone for a while.
    pub fn worker_failed(&mut self, name: &str, now: Timestamp) {
        self.quarantines.failed(name, now);
        self.slots.bar(name, true);
        self.crowded(name);
    }

    /// A build went well on a worker: it is forgiven.
    pub fn worker_proved(&mut self, name: &str) {
        self.forgive(name);
    }

    /// Ends a worker's quarantine, as a person wants it, and forgets why it was. None: there was nothing.
    pub fn forgive(&mut self, name: &str) -> Option<Failed> {
        let Quarantine { until, failures, .. } = self.quarantines.remove(name)?;
        self.let_in(name);
        Some(Failed { until, times: failures })
    }

    /// Ends the quarantines whose moment has come.
    pub(super) fn end_quarantines(&mut self, now: Timestamp) {
        for worker in self.quarantines.over(now) {
            self.let_in(&worker);
        }
    }

    /// Ends all, and forgets why they were.
    pub(super) fn lift_quarantines(&mut self) {
        for worker in self.quarantines.of.keys().cloned().collect::<Vec<_>>() {
            self.quarantines.remove(&worker);
            self.let_in(&worker);
        }
    }

    fn let_in(&mut self, name: &str) {
        self.slots.bar(name, false);
        self.has_room_again(name);
    }
}
