//! The workers' slots: who is connected, what runs where, who has room.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{WorkerRule, WorkerStatus};
use crate::policy::SlaveInfo;
use crate::time::Timestamp;
use crate::value::Pair;

/// A worker: what the configuration says, what it said when it connected, what it does.
#[derive(Clone, Debug, Default)]
struct Worker {
    /// None: the configuration does not have it (any more).
    rule: Option<WorkerRule>,
    since: Option<Timestamp>,
    facts: Vec<Pair>,
    /// What policies may look up: its configured properties and what it said itself.
    properties: Arc<Vec<Pair>>,
    load: Option<f64>,
    used: u32,
    by_builder: BTreeMap<String, u32>,
    /// Counts reservations; the smaller, the longer it was left alone.
    last_used: u64,
}

impl Worker {
    fn is_connected(&self) -> bool {
        self.since.is_some() && self.rule.is_some()
    }

    /// Builds, reported load in thousandths, how recently it was chosen. One slot of the asker's own does not
    /// count.
    fn burden(&self, own: bool) -> (u32, u64, u64) {
        let load = self.load.filter(|l| l.is_finite()).unwrap_or(0.0).clamp(0.0, 1e9);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped above")]
        let load = (load * 1_000.0) as u64;
        (self.used.saturating_sub(u32::from(own)), load, self.last_used)
    }

    fn settle_properties(&mut self) {
        let mut pairs = self.facts.clone();
        if let Some(rule) = &self.rule {
            pairs.retain(|p| rule.properties.get(&p.name).is_none());
            pairs.extend(rule.properties.pairs());
        }
        self.properties = Arc::new(pairs);
    }

    fn has_room(&self, builder: &str) -> bool {
        let Some(rule) = &self.rule else { return false };
        self.since.is_some()
            && match rule.max_builds {
                Some(max) => self.used < max,
                None => !self.by_builder.contains_key(builder),
            }
    }
}

/// All workers.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    workers: BTreeMap<String, Worker>,
    reservations: u64,
}

impl Slots {
    pub(super) fn configure(&mut self, rules: &[WorkerRule]) {
        for worker in self.workers.values_mut() {
            worker.rule = None;
        }
        for rule in rules {
            self.workers.entry(rule.name.clone()).or_default().rule = Some(rule.clone());
        }
        self.workers.retain(|_, w| w.rule.is_some() || w.since.is_some() || w.used > 0);
        self.workers.values_mut().for_each(Worker::settle_properties);
    }

    pub(super) fn up(&mut self, name: &str, since: Timestamp, facts: Vec<Pair>) {
        let worker = self.workers.entry(name.to_owned()).or_default();
        worker.since = Some(since);
        worker.facts = facts;
        worker.load = None;
        worker.settle_properties();
    }

    pub(super) fn down(&mut self, name: &str) {
        if let Some(worker) = self.workers.get_mut(name) {
            worker.since = None;
        }
    }

    pub(super) fn load(&mut self, name: &str, load: f64) {
        if let Some(worker) = self.workers.get_mut(name) {
            worker.load = Some(load);
        }
    }

    pub(super) fn is_connected(&self, name: &str) -> bool {
        self.workers.get(name).is_some_and(Worker::is_connected)
    }

    pub(super) fn has_room(&self, name: &str, builder: &str) -> bool {
        self.workers.get(name).is_some_and(|w| w.has_room(builder))
    }

    /// Those of `names` that have room for `builder`, least-loaded first: fewest builds, then the
    /// smaller reported load, then the one that was left alone longest. A slot of `mine` is the asker's
    /// own: it counts as free.
    pub(super) fn with_room<'a>(&self, names: &'a [String], builder: &str, mine: &str) -> Vec<&'a String> {
        let room = |name: &'a String| {
            let worker = self.workers.get(name)?;
            let own = name == mine;
            (worker.has_room(builder) || (own && worker.is_connected())).then(|| (worker.burden(own), name))
        };
        let mut found: Vec<_> = names.iter().filter_map(room).collect();
        found.sort_by_key(|(burden, _)| *burden);
        found.into_iter().map(|(_, name)| name).collect()
    }

    /// The least-loaded of `names` that has room.
    pub(super) fn best<'a>(&self, names: &'a [String], builder: &str) -> Option<&'a String> {
        let room = |name: &'a String| {
            let worker = self.workers.get(name).filter(|worker| worker.has_room(builder))?;
            Some((worker.burden(false), name))
        };
        names.iter().filter_map(room).min_by_key(|(burden, _)| *burden).map(|(_, name)| name)
    }

    /// Takes a slot. False: there is none.
    pub(super) fn reserve(&mut self, name: &str, builder: &str) -> bool {
        let Some(worker) = self.workers.get_mut(name).filter(|w| w.has_room(builder)) else { return false };
        worker.used += 1;
        *worker.by_builder.entry(builder.to_owned()).or_default() += 1;
        self.reservations += 1;
        worker.last_used = self.reservations;
        true
    }

    /// Takes back a slot that was just given, whatever the configuration says now.
    pub(super) fn retake(&mut self, name: &str, builder: &str) {
        let worker = self.workers.entry(name.to_owned()).or_default();
        worker.used += 1;
        *worker.by_builder.entry(builder.to_owned()).or_default() += 1;
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, name: &str, builder: &str) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        let Some(count) = worker.by_builder.get_mut(builder) else { return };
        *count -= 1;
        if *count == 0 {
            worker.by_builder.remove(builder);
        }
        worker.used -= 1;
        if worker.used == 0 && worker.rule.is_none() && worker.since.is_none() {
            self.workers.remove(name);
        }
    }

    /// How many slots each builder has on each worker.
    #[cfg(test)]
    pub(super) fn taken(&self) -> BTreeMap<(&str, &str), u32> {
        let mut taken = BTreeMap::new();
        for (name, worker) in &self.workers {
            assert_eq!(worker.used, worker.by_builder.values().sum::<u32>(), "slots of {name}");
            taken.extend(worker.by_builder.iter().map(|(b, n)| ((name.as_str(), b.as_str()), *n)));
        }
        taken
    }

    /// What policies see of a worker. `mine`: slots of the asker itself that must not count.
    pub(super) fn info(&self, name: &str, mine: u32) -> Option<SlaveInfo> {
        let worker = self.workers.get(name)?;
        Some(SlaveInfo {
            name: name.to_owned(),
            running: worker.used.saturating_sub(mine),
            max_builds: worker.rule.as_ref().and_then(|r| r.max_builds),
            connected_since: worker.since.unwrap_or_default(),
            last_built: None,
            last_outcome: None,
            load: worker.load,
            properties: Vec::new(),
        })
    }

    /// What policies may look up of a worker.
    pub(super) fn properties(&self, name: &str) -> Arc<Vec<Pair>> {
        self.workers.get(name).map(|worker| Arc::clone(&worker.properties)).unwrap_or_default()
    }

    pub(super) fn status(&self, order: &[WorkerRule]) -> Vec<WorkerStatus> {
        let unknown = self.workers.iter().filter(|(_, w)| w.rule.is_none()).map(|(name, _)| name);
        order
            .iter()
            .map(|r| &r.name)
            .chain(unknown)
            .filter_map(|name| self.workers.get_key_value(name))
            .map(|(name, w)| {
                let max_builds = w.rule.as_ref().and_then(|r| r.max_builds);
                let free = match (&w.rule, w.since, max_builds) {
                    (Some(_), Some(_), Some(max)) => Some(max.saturating_sub(w.used)),
                    (Some(_), Some(_), None) => None,
                    (None, _, _) | (_, None, _) => Some(0),
                };
                WorkerStatus {
                    name: name.clone(),
                    connected_since: w.since,
                    running: w.used,
                    max_builds,
                    free,
                }
            })
            .collect()
    }
}
