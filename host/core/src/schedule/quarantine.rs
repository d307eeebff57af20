//! Workers that are lost before a build gets anywhere are left alone for a while: 10 s, then twice as long each time,
//! up to an hour. A build that goes well on one forgives it, and so may a person; a reconfiguration lifts all.
//!
//! One that connects, takes a build and dies, over and over, would otherwise use up the tries of every request.

use std::collections::BTreeMap;

use super::Board;
use crate::time::Timestamp;

/// The first quarantine.
pub const FIRST_QUARANTINE_MS: u64 = 10_000;
/// The longest quarantine.
pub const LONGEST_QUARANTINE_MS: u64 = 3_600_000;

/// The workers that failed since a build last went well on them.
#[derive(Debug, Default)]
pub(super) struct Quarantines(BTreeMap<String, Quarantine>);

#[derive(Debug)]
struct Quarantine {
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
        let quarantine = self.0.entry(worker.to_owned()).or_insert_with(fresh);
        // Builds that were lost together count once.
        if quarantine.until.is_none() {
            quarantine.until = Some(now.plus_ms(quarantine.next_ms));
            quarantine.failures += 1;
            quarantine.next_ms = (quarantine.next_ms * 2).min(LONGEST_QUARANTINE_MS);
        }
    }

    /// When the next one is over.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.values().filter_map(|quarantine| quarantine.until).min()
    }

    /// Until when a worker is left alone.
    pub(super) fn until(&self, worker: &str) -> Option<Timestamp> {
        self.0.get(worker)?.until
    }

    /// How often a worker failed since a build last went well on it.
    pub(super) fn failures(&self, worker: &str) -> u32 {
        self.0.get(worker).map_or(0, |quarantine| quarantine.failures)
    }

    fn over(&mut self, now: Timestamp) -> Vec<String> {
        let over = |q: &mut Quarantine| q.until.take_if(|until| *until <= now).is_some();
        self.0.iter_mut().filter_map(|(worker, q)| over(q).then(|| worker.clone())).collect()
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
        let Quarantine { until, failures, .. } = self.quarantines.0.remove(name)?;
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
        for worker in std::mem::take(&mut self.quarantines.0).into_keys() {
            self.let_in(&worker);
        }
    }

    fn let_in(&mut self, name: &str) {
        self.slots.bar(name, false);
        self.has_room_again(name);
    }
}
