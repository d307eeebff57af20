//! The workers' slots: who is connected, what runs where, who has room; and who built what last.
//!
//! Workers have numbers. Builders with the same workers share a *crew*, which keeps those that have room in order:
//! what happens to a worker costs as much as it is in different crews, and who is best is known.

use std::collections::{BTreeMap, BTreeSet};
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
    /// It is in quarantine: it gets nothing new.
    barred: bool,
    facts: Vec<Pair>,
    load: Option<f64>,
    used: u32,
    by_builder: BTreeMap<String, u32>,
    /// Counts reservations; the smaller, the longer it was left alone.
    last_used: u64,
    /// The crews that it belongs to, with its place in each.
    crews: Vec<(CrewNo, usize)>,
}

/// Builds, reported load in thousandths, how recently it was chosen.
type Burden = (u32, u64, u64);

/// A crew's number. It is good until the configuration changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CrewNo(usize);

/// The workers of some builders.
#[derive(Clone, Debug, Default)]
struct Crew {
    /// In the order of the configuration.
    workers: Vec<WorkerNo>,
    connected: usize,
    /// Connected workers with a slot for any builder, least-loaded first, then by place.
    room: BTreeSet<(Burden, usize, WorkerNo)>,
    /// Connected workers that take one build of each builder, in the same order.
    one_each: BTreeSet<(Burden, usize, WorkerNo)>,
}

/// For whom a worker has a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    None,
    Anybody,
    OneEach,
}

impl Worker {
    fn is_connected(&self) -> bool {
        self.since.is_some() && self.rule.is_some()
    }

    fn is_open(&self) -> bool {
        self.is_connected() && !self.barred
    }

    /// One slot of the asker's own does not count.
    fn burden(&self, own: bool) -> Burden {
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

    fn room(&self) -> Room {
        match self.rule.as_ref().filter(|_| self.since.is_some() && !self.barred) {
            None => Room::None,
            Some(WorkerRule { max_builds: Some(max), .. }) if self.used < *max => Room::Anybody,
            Some(WorkerRule { max_builds: Some(_), .. }) => Room::None,
            Some(WorkerRule { max_builds: None, .. }) => Room::OneEach,
        }
    }

    fn has_room(&self, builder: &str) -> bool {
        match self.room() {
            Room::None => false,
            Room::Anybody => true,
            Room::OneEach => !self.by_builder.contains_key(builder),
        }
    }
}

/// A worker that a builder could have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) worker: WorkerNo,
    /// When it last built for the builder; none: that is not known yet.
    pub(super) last_built: Option<LastBuilt>,
}

/// All workers.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// By number.
    workers: Vec<Worker>,
    numbers: BTreeMap<String, WorkerNo>,
    crews: Vec<Crew>,
    /// Each builder's.
    crew_of: BTreeMap<String, CrewNo>,
    /// When workers last built for builders, as far as it is known.
    history: BTreeMap<String, BTreeMap<WorkerNo, LastBuilt>>,
    /// What policies may look up, by worker: a question takes a share of it.
    properties: Arc<BTreeMap<String, Arc<Vec<Pair>>>>,
    reservations: u64,
}

impl Slots {
    pub(super) fn configure(&mut self, rules: &Rules) {
        for worker in &mut self.workers {
            (worker.rule, worker.crews) = (None, Vec::new());
        }
        for rule in &rules.workers {
            let no = self.enlist(&rule.name);
            self.workers[no.0].rule = Some(rule.clone());
        }
        self.crews.clear();
        self.crew_of.clear();
        let mut crews: BTreeMap<&[String], CrewNo> = BTreeMap::new();
        for (name, builder) in &rules.builders {
            let crew = match crews.get(&*builder.workers) {
                Some(crew) => *crew,
                None => self.form(&builder.workers),
            };
            crews.insert(&builder.workers, crew);
            self.crew_of.insert(name.clone(), crew);
        }
        self.history.retain(|builder, _| rules.builders.contains_key(builder));
        let configured = self.workers.iter().filter(|worker| worker.rule.is_some());
        let properties = configured.map(|worker| (worker.name.clone(), worker.properties()));
        self.properties = Arc::new(properties.collect());
    }

    pub(super) fn up(&mut self, name: &str, since: Timestamp, facts: Vec<Pair>) {
        let no = self.enlist(name);
        self.change(no, |worker| (worker.since, worker.facts, worker.load) = (Some(since), facts, None));
        let properties = self.workers[no.0].properties();
        Arc::make_mut(&mut self.properties).insert(name.to_owned(), properties);
    }

    pub(super) fn down(&mut self, name: &str) {
        if let Some(no) = self.number(name) {
            self.change(no, |worker| worker.since = None);
        }
    }

    /// Lets a worker have nothing new, or something again.
    pub(super) fn bar(&mut self, name: &str, barred: bool) {
        if let Some(no) = self.number(name) {
            self.change(no, |worker| worker.barred = barred);
        }
    }

    /// Connected workers of a builder that get nothing new for now.
    pub(super) fn barred(&self, builder: &str) -> impl Iterator<Item = &str> {
        self.connected(builder).filter(|no| self.workers[no.0].barred).map(|no| self.name(no))
    }

    pub(super) fn load(&mut self, name: &str, load: f64) {
        if let Some(no) = self.number(name) {
            self.change(no, |worker| worker.load = Some(load));
        }
    }

    /// Whether a worker may have builds, if it has a slot: it is connected and not left alone.
    pub(super) fn is_open(&self, name: &str) -> bool {
        self.get(name).is_some_and(Worker::is_open)
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
        let workers = self.crew(builder).into_iter().flat_map(|crew| &crew.workers);
        workers.copied().filter(|no| self.workers[no.0].is_connected())
    }

    /// Whether any worker of a builder is connected.
    pub(super) fn any_connected(&self, builder: &str) -> bool {
        self.crew(builder).is_some_and(|crew| crew.connected > 0)
    }

    /// The crew of a builder.
    pub(super) fn crew_of(&self, builder: &str) -> Option<CrewNo> {
        self.crew_of.get(builder).copied()
    }

    /// The crews of a worker.
    pub(super) fn crews_of(&self, worker: WorkerNo) -> impl Iterator<Item = CrewNo> {
        self.workers[worker.0].crews.iter().map(|(crew, _)| *crew)
    }

    /// Whether a builder may use a worker.
    pub(super) fn serves(&self, worker: WorkerNo, builder: &str) -> bool {
        self.crew_of(builder).is_some_and(|crew| self.crews_of(worker).any(|of| of == crew))
    }

    /// Whether any builder may find room in a crew.
    pub(super) fn may_have_room(&self, crew: CrewNo) -> bool {
        let crew = &self.crews[crew.0];
        !crew.room.is_empty() || !crew.one_each.is_empty()
    }

    /// Whether any worker of a builder has room for it.
    pub(super) fn any_room(&self, builder: &str) -> bool {
        self.in_order(builder).next().is_some()
    }

    /// Those of a builder's workers that have room for it, least-loaded first: fewest builds, then the
    /// smaller reported load, then the one that was left alone longest. A slot of `mine` is the asker's
    /// own: it counts as free.
    pub(super) fn with_room(&self, builder: &str, mine: &str) -> Vec<Member> {
        let mine = self.number(mine).and_then(|no| {
            let worker = &self.workers[no.0];
            let place = worker.crews.iter().find(|(crew, _)| Some(*crew) == self.crew_of(builder))?.1;
            worker.is_open().then(|| (worker.burden(true), place, no))
        });
        let others = self.in_order(builder).filter(|(_, _, no)| mine.is_none_or(|(_, _, mine)| *no != mine));
        let mut found: Vec<_> = others.copied().collect();
        if let Some(mine) = mine {
            found.insert(found.partition_point(|other| *other < mine), mine);
        }
        let known = self.history.get(builder);
        let member = |(_, _, worker)| Member {
            worker,
            last_built: known.and_then(|known| known.get(&worker)).copied(),
        };
        found.into_iter().map(member).collect()
    }

    /// The least-loaded worker of a builder that has room for it.
    pub(super) fn best(&self, builder: &str) -> Option<&str> {
        self.in_order(builder).next().map(|(_, _, no)| self.name(*no))
    }

    /// Workers with room for a builder, least-loaded first.
    fn in_order(&self, builder: &str) -> impl Iterator<Item = &(Burden, usize, WorkerNo)> {
        let crew = self.crew(builder);
        let mut anybody = crew.into_iter().flat_map(|crew| &crew.room).peekable();
        let mine = move |place: &&(Burden, usize, WorkerNo)| self.has_room(place.2, builder);
        let mut each = crew.into_iter().flat_map(|crew| &crew.one_each).filter(mine).peekable();
        std::iter::from_fn(move || match (anybody.peek(), each.peek()) {
            (Some(one), Some(other)) if other < one => each.next(),
            (Some(_), _) => anybody.next(),
            (None, _) => each.next(),
        })
    }

    /// Takes a slot. False: there is none.
    pub(super) fn reserve(&mut self, name: &str, builder: &str) -> bool {
        let Some(no) = self.number(name).filter(|no| self.has_room(*no, builder)) else { return false };
        self.reservations += 1;
        let reservation = self.reservations;
        self.change(no, |worker| {
            worker.used += 1;
            *worker.by_builder.entry(builder.to_owned()).or_default() += 1;
            worker.last_used = reservation;
        });
        true
    }

    /// Takes back a slot that was just given, whatever the configuration says now.
    pub(super) fn retake(&mut self, name: &str, builder: &str) {
        let no = self.enlist(name);
        self.change(no, |worker| {
            worker.used += 1;
            *worker.by_builder.entry(builder.to_owned()).or_default() += 1;
        });
    }

    /// Gives a slot back. Whether others than this builder may have it now.
    pub(super) fn release(&mut self, name: &str, builder: &str) -> bool {
        let Some(no) = self.number(name) else { return false };
        self.change(no, |worker| {
            let Some(count) = worker.by_builder.get_mut(builder) else { return };
            *count -= 1;
            if *count == 0 {
                worker.by_builder.remove(builder);
            }
            worker.used -= 1;
        });
        self.workers[no.0].room() == Room::Anybody
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
        let Some(no) = self.number(worker).filter(|_| self.crew_of.contains_key(builder)) else { return };
        let known = self.history.entry(builder.to_owned()).or_default().entry(no).or_insert(last);
        if known.is_none_or(|(at, _)| last.is_some_and(|(last, _)| last >= at)) {
            *known = last;
        }
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
                let free = match (&w.rule, w.since.filter(|_| !w.barred), max_builds) {
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
                    quarantine: None,
                    failures: 0,
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

    fn crew(&self, builder: &str) -> Option<&Crew> {
        self.crew_of(builder).map(|no| &self.crews[no.0])
    }

    /// Forms a crew.
    fn form(&mut self, names: &[String]) -> CrewNo {
        let no = CrewNo(self.crews.len());
        self.crews.push(Crew::default());
        for (place, name) in names.iter().enumerate() {
            let worker = self.enlist(name);
            self.crews[no.0].workers.push(worker);
            // Nobody is counted twice, however often it is listed.
            if !self.crews_of(worker).any(|of| of == no) {
                self.stand_by(worker, (no, place), true);
                self.workers[worker.0].crews.push((no, place));
            }
        }
        no
    }

    /// Changes a worker, and its standing in its crews.
    fn change(&mut self, no: WorkerNo, change: impl FnOnce(&mut Worker)) {
        let crews = std::mem::take(&mut self.workers[no.0].crews);
        crews.iter().for_each(|place| self.stand_by(no, *place, false));
        change(&mut self.workers[no.0]);
        crews.iter().for_each(|place| self.stand_by(no, *place, true));
        self.workers[no.0].crews = crews;
    }

    /// Enters a worker as it is now into a crew, or takes it out.
    fn stand_by(&mut self, no: WorkerNo, (crew, place): (CrewNo, usize), enters: bool) {
        let (worker, crew) = (&self.workers[no.0], &mut self.crews[crew.0]);
        let entry = (worker.burden(false), place, no);
        let list = match worker.room() {
            Room::None => None,
            Room::Anybody => Some(&mut crew.room),
            Room::OneEach => Some(&mut crew.one_each),
        };
        match (list, enters) {
            (Some(list), true) => drop(list.insert(entry)),
            (Some(list), false) => drop(list.remove(&entry)),
            (None, _) => {}
        }
        match (worker.is_connected(), enters) {
            (true, true) => crew.connected += 1,
            (true, false) => crew.connected -= 1,
            (false, _) => {}
        }
    }
}
