//! The workers' slots: who is connected, what runs where, who has room; and who built what last.
//!
//! A question to a policy looks at all workers of a builder. So workers have numbers, and a builder's *crew* is a list
//! of them: nothing is looked up by name, and nothing but a name is copied.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{LastBuilt, Rules, WorkerRule, WorkerStatus};
use crate::policy::SlaveInfo;
use crate::time::Timestamp;
use crate::value::Pair;

/// A worker's number. It is the same for as long as the board lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WorkerNo(usize);

/// A worker: what the configuration says, what it said when it connected, what it does.
#[derive(Clone, Debug, Default)]
struct Worker {
    name: String,
    /// None: the configuration does not have it (any more).
    rule: Option<WorkerRule>,
    since: Option<Timestamp>,
    facts: Vec<Pair>,
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

    /// What policies may look up: its configured properties and what it said itself.
    fn properties(&self) -> Arc<Vec<Pair>> {
        let mut pairs = self.facts.clone();
        if let Some(rule) = &self.rule {
            pairs.retain(|p| rule.properties.get(&p.name).is_none());
            pairs.extend(rule.properties.pairs());
        }
        Arc::new(pairs)
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

/// A worker that a builder may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) worker: WorkerNo,
    /// When it last built for the builder; none: that is not known yet.
    last_built: Option<LastBuilt>,
}

/// All workers.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// By number.
    workers: Vec<Worker>,
    numbers: BTreeMap<String, WorkerNo>,
    /// The workers of each builder, in the order of the configuration.
    crews: BTreeMap<String, Vec<Member>>,
    /// What policies may look up, by worker: a question takes a share of it.
    properties: Arc<BTreeMap<String, Arc<Vec<Pair>>>>,
    reservations: u64,
}

impl Slots {
    pub(super) fn configure(&mut self, rules: &Rules) {
        for worker in &mut self.workers {
            worker.rule = None;
        }
        for rule in &rules.workers {
            let no = self.enlist(&rule.name);
            self.workers[no.0].rule = Some(rule.clone());
        }
        let mut former = std::mem::take(&mut self.crews);
        for (name, builder) in &rules.builders {
            let former = former.remove(name).unwrap_or_default();
            let known: BTreeMap<_, _> = former.into_iter().map(|m| (m.worker, m.last_built)).collect();
            let member = |worker: &String| {
                let worker = self.enlist(worker);
                Member { worker, last_built: known.get(&worker).copied().flatten() }
            };
            let crew = builder.workers.iter().map(member).collect();
            self.crews.insert(name.clone(), crew);
        }
        let configured = self.workers.iter().filter(|worker| worker.rule.is_some());
        let properties = configured.map(|worker| (worker.name.clone(), worker.properties()));
        self.properties = Arc::new(properties.collect());
    }

    pub(super) fn up(&mut self, name: &str, since: Timestamp, facts: Vec<Pair>) {
        let no = self.enlist(name);
        let worker = &mut self.workers[no.0];
        worker.since = Some(since);
        worker.facts = facts;
        worker.load = None;
        Arc::make_mut(&mut self.properties).insert(name.to_owned(), worker.properties());
    }

    pub(super) fn down(&mut self, name: &str) {
        if let Some(worker) = self.get_mut(name) {
            worker.since = None;
        }
    }

    pub(super) fn load(&mut self, name: &str, load: f64) {
        if let Some(worker) = self.get_mut(name) {
            worker.load = Some(load);
        }
    }

    pub(super) fn is_connected(&self, name: &str) -> bool {
        self.get(name).is_some_and(Worker::is_connected)
    }

    /// What the configuration says of a worker.
    pub(super) fn rule(&self, name: &str) -> Option<&WorkerRule> {
        self.get(name)?.rule.as_ref()
    }

    pub(super) fn number(&self, name: &str) -> Option<WorkerNo> {
        self.numbers.get(name).copied()
    }

    pub(super) fn name(&self, no: WorkerNo) -> &str {
        &self.workers[no.0].name
    }

    pub(super) fn has_room(&self, no: WorkerNo, builder: &str) -> bool {
        self.workers[no.0].has_room(builder)
    }

    /// Those of a builder's workers that are connected.
    pub(super) fn connected(&self, builder: &str) -> impl Iterator<Item = WorkerNo> {
        self.crew(builder).iter().map(|m| m.worker).filter(|no| self.workers[no.0].is_connected())
    }

    /// Whether any worker of a builder has room for it.
    pub(super) fn any_room(&self, builder: &str) -> bool {
        self.crew(builder).iter().any(|m| self.has_room(m.worker, builder))
    }

    /// Those of a builder's workers that have room for it, least-loaded first: fewest builds, then the
    /// smaller reported load, then the one that was left alone longest. A slot of `mine` is the asker's
    /// own: it counts as free.
    pub(super) fn with_room(&self, builder: &str, mine: &str) -> Vec<Member> {
        let mine = self.number(mine);
        let room = |member: &Member| {
            let (worker, own) = (&self.workers[member.worker.0], mine == Some(member.worker));
            (worker.has_room(builder) || (own && worker.is_connected()))
                .then(|| (worker.burden(own), *member))
        };
        let mut found: Vec<_> = self.crew(builder).iter().filter_map(room).collect();
        found.sort_by_key(|(burden, _)| *burden);
        found.into_iter().map(|(_, member)| member).collect()
    }

    /// The least-loaded worker of a builder that has room for it.
    pub(super) fn best(&self, builder: &str) -> Option<&str> {
        let room = |member: &Member| {
            let worker = &self.workers[member.worker.0];
            worker.has_room(builder).then(|| (worker.burden(false), worker))
        };
        let found = self.crew(builder).iter().filter_map(room);
        found.min_by_key(|(burden, _)| *burden).map(|(_, worker)| &*worker.name)
    }

    /// Takes a slot. False: there is none.
    pub(super) fn reserve(&mut self, name: &str, builder: &str) -> bool {
        let reservation = self.reservations + 1;
        let Some(worker) = self.get_mut(name).filter(|w| w.has_room(builder)) else { return false };
        worker.used += 1;
        *worker.by_builder.entry(builder.to_owned()).or_default() += 1;
        worker.last_used = reservation;
        self.reservations = reservation;
        true
    }

    /// Takes back a slot that was just given, whatever the configuration says now.
    pub(super) fn retake(&mut self, name: &str, builder: &str) {
        let no = self.enlist(name);
        let worker = &mut self.workers[no.0];
        worker.used += 1;
        *worker.by_builder.entry(builder.to_owned()).or_default() += 1;
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, name: &str, builder: &str) {
        let Some(worker) = self.get_mut(name) else { return };
        let Some(count) = worker.by_builder.get_mut(builder) else { return };
        *count -= 1;
        if *count == 0 {
            worker.by_builder.remove(builder);
        }
        worker.used -= 1;
    }

    /// How many slots each builder has on each worker.
    #[cfg(test)]
    pub(super) fn taken(&self) -> BTreeMap<(&str, &str), u32> {
        let mut taken = BTreeMap::new();
        for worker in &self.workers {
            let name = worker.name.as_str();
            assert_eq!(worker.used, worker.by_builder.values().sum::<u32>(), "slots of {name}");
            taken.extend(worker.by_builder.iter().map(|(b, n)| ((name, b.as_str()), *n)));
        }
        taken
    }

    /// When a worker last built for a builder; what is newest counts.
    pub(super) fn built(&mut self, builder: &str, worker: &str, last: LastBuilt) {
        let Some(no) = self.number(worker) else { return };
        let crew = self.crews.get_mut(builder).into_iter().flatten();
        for member in crew.filter(|member| member.worker == no) {
            let known = member.last_built.flatten();
            let newer = known.is_none_or(|(at, _)| last.is_some_and(|(last, _)| last >= at));
            member.last_built = Some(if newer { last } else { known });
        }
    }

    /// Connected workers of a builder of which it is not known when they last built for it.
    pub(super) fn unknown(&self, builder: &str) -> impl Iterator<Item = &str> {
        let unknown = self.crew(builder).iter().filter(|member| member.last_built.is_none());
        unknown.map(|m| &self.workers[m.worker.0]).filter(|w| w.is_connected()).map(|w| &*w.name)
    }

    /// What policies see of a worker. A slot of `mine` is the asker's own: it does not count.
    pub(super) fn info(&self, member: Member, mine: Option<WorkerNo>) -> SlaveInfo {
        let worker = &self.workers[member.worker.0];
        let (last_built, last_outcome) = member.last_built.flatten().unzip();
        SlaveInfo {
            name: worker.name.clone(),
            running: worker.used.saturating_sub(u32::from(mine == Some(member.worker))),
            max_builds: worker.rule.as_ref().and_then(|r| r.max_builds),
            connected_since: worker.since.unwrap_or_default(),
            last_built,
            last_outcome,
            load: worker.load,
            properties: Vec::new(),
        }
    }

    /// What policies may look up, by worker.
    pub(super) fn properties(&self) -> Arc<BTreeMap<String, Arc<Vec<Pair>>>> {
        Arc::clone(&self.properties)
    }

    pub(super) fn status(&self, order: &[WorkerRule]) -> Vec<WorkerStatus> {
        // Those that are gone from the configuration are shown as long as they do something.
        let others = self.workers.iter().filter(|w| w.rule.is_none() && (w.since.is_some() || w.used > 0));
        order
            .iter()
            .filter_map(|rule| self.get(&rule.name))
            .chain(others)
            .map(|w| {
                let max_builds = w.rule.as_ref().and_then(|r| r.max_builds);
                let free = match (&w.rule, w.since, max_builds) {
                    (Some(_), Some(_), Some(max)) => Some(max.saturating_sub(w.used)),
                    (Some(_), Some(_), None) => None,
                    (None, _, _) | (_, None, _) => Some(0),
                };
                WorkerStatus {
                    name: w.name.clone(),
                    connected_since: w.since,
                    running: w.used,
                    max_builds,
                    free,
                }
            })
            .collect()
    }

    /// The number of a worker; a new one where it has none.
    fn enlist(&mut self, name: &str) -> WorkerNo {
        if let Some(no) = self.number(name) {
            return no;
        }
        let no = WorkerNo(self.workers.len());
        self.workers.push(Worker { name: name.to_owned(), ..Worker::default() });
        self.numbers.insert(name.to_owned(), no);
        no
    }

    fn get(&self, name: &str) -> Option<&Worker> {
        self.number(name).map(|no| &self.workers[no.0])
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Worker> {
        self.number(name).map(|no| &mut self.workers[no.0])
    }

    fn crew(&self, builder: &str) -> &[Member] {
        self.crews.get(builder).map_or(&[], Vec::as_slice)
    }
}
