//! What a simulation knows by itself: who has which request, slot and lock. The board is checked by it.

use std::collections::{BTreeMap, BTreeSet};

use super::Broken;
use super::report::{Built, Served, WorkerTotals};
use crate::builder::{Builder, Merge};
use crate::id::{BuildId, RequestId};
use crate::lock::{Access, Key, Kind, Mode};
use crate::merge;
use crate::outcome::Outcome;
use crate::request::Request;
use crate::schedule::{Claim, Rules, StartId, WorkerRule};
use crate::time::Timestamp;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    /// A claim was handed out for it, or made.
    Taken,
    /// Somebody withdrew it. A start that had it then hands out one claim, which is refused.
    Withdrawn,
    Over,
}

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    /// A build, from its start on.
    Build(StartId),
    /// The step that a build is at.
    Step(BuildId),
}

pub(super) struct Books<'w> {
    rules: &'w Rules,
    places: BTreeMap<RequestId, (Place, Served)>,
    waiting: BTreeSet<RequestId>,
    /// Starts and builds: where, and since when.
    slots: BTreeMap<StartId, Slot>,
    holders: BTreeMap<Key, BTreeMap<Holder, Mode>>,
    /// Since when a worker is connected, and how long it was before.
    connected: BTreeMap<String, (Option<Timestamp>, u64)>,
}

struct Slot {
    worker: String,
    builder: String,
    since: Timestamp,
}

impl<'w> Books<'w> {
    pub(super) fn new(rules: &'w Rules) -> Books<'w> {
        Books {
            rules,
            places: BTreeMap::new(),
            waiting: BTreeSet::new(),
            slots: BTreeMap::new(),
            holders: BTreeMap::new(),
            connected: BTreeMap::new(),
        }
    }

    pub(super) fn connected(&mut self, worker: &str, now: Timestamp) {
        self.connected.entry(worker.to_owned()).or_default().0 = Some(now);
    }

    pub(super) fn disconnected(&mut self, worker: &str, now: Timestamp) {
        let (since, before) = self.connected.entry(worker.to_owned()).or_default();
        *before += since.take().map_or(0, |since| now.ms_since(since));
    }

    pub(super) fn is_connected(&self, worker: &str) -> bool {
        self.connected.get(worker).is_some_and(|(since, _)| since.is_some())
    }

    pub(super) fn submitted(&mut self, request: &Request) {
        self.places.insert(request.id, (Place::Waiting, Served::waiting(request)));
        self.waiting.insert(request.id);
    }

    /// Somebody withdraws a request. False: it is too late.
    pub(super) fn withdrawn(&mut self, request: RequestId, now: Timestamp) -> bool {
        if !self.waiting.remove(&request) {
            return false;
        }
        if let Some((place, served)) = self.places.get_mut(&request) {
            served.ended = Some((Outcome::Cancelled, now));
            if *place == Place::Waiting {
                *place = Place::Withdrawn;
            }
        }
        true
    }

    /// Requests that nobody has claimed.
    pub(super) fn waiting(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.waiting.iter().copied()
    }

    pub(super) fn anything_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The board hands out a claim. Whatever it must not do is found here.
    pub(super) fn handed_out(&mut self, claim: &Claim, now: Timestamp) -> Result<(), Broken> {
        let broken = |what: String| Err(Broken { at: now, what });
        let (start, builder, worker) = (claim.start, &claim.builder, &claim.worker);
        for (request, _) in &claim.requests {
            match self.places.get_mut(&request.id) {
                Some((place @ (Place::Waiting | Place::Withdrawn), _)) => *place = Place::Taken,
                Some((Place::Taken, _)) => return broken(format!("{} has two builds", request.id)),
                Some((Place::Over, _)) | None => {
                    return broken(format!("{} is over, or unknown, and gets a build", request.id));
                }
            }
            if request.builder != builder.name {
                return broken(format!("{} gets a build of `{}`", request.id, builder.name));
            }
        }
        if !belong_together(claim) {
            let ids: Vec<_> = claim.requests.iter().map(|(r, _)| r.id.0).collect();
            return broken(format!("one build of `{}` serves requests {ids:?}", builder.name));
        }
        if !self.is_connected(worker) || !builder.workers.contains(worker) {
            return broken(format!("a build of `{}` goes to worker `{worker}`", builder.name));
        }
        let rule = self.rules.workers.iter().find(|rule| rule.name == *worker);
        if !self.has_room(rule, worker, &builder.name) {
            return broken(format!("worker `{worker}` has too many builds"));
        }
        let slot = Slot { worker: worker.clone(), builder: builder.name.clone(), since: now };
        self.slots.insert(start, slot);
        let locks = builder.locks.iter().chain(rule.into_iter().flat_map(|rule| &rule.locks));
        self.lock(Holder::Build(start), locks, worker, now)
    }

    /// The request for which the store refuses a claim; it takes note of that.
    pub(super) fn refused(&mut self, claim: &Claim) -> Option<RequestId> {
        let ids: Vec<RequestId> = claim.requests.iter().map(|(r, _)| r.id).collect();
        let taken = ids.iter().copied().find(|id| !self.waiting.contains(id))?;
        for id in ids {
            if let Some((place, _)) = self.places.get_mut(&id) {
                *place = if self.waiting.contains(&id) { Place::Waiting } else { Place::Over };
            }
        }
        self.forget(claim.start);
        Some(taken)
    }

    /// A claim is made. Answers when it was handed out.
    pub(super) fn claimed(&mut self, claim: &Claim, now: Timestamp) -> Timestamp {
        for (request, _) in &claim.requests {
            self.waiting.remove(&request.id);
            if let Some((_, served)) = self.places.get_mut(&request.id) {
                served.started.get_or_insert(now);
                served.builds += 1;
            }
        }
        self.slots.get(&claim.start).map_or(now, |slot| slot.since)
    }

    /// How many builds in a row of any of these ended as *retry*.
    pub(super) fn retries(&self, requests: &[RequestId]) -> u32 {
        let retries = |id| self.places.get(id).map(|(_, served)| served.retries);
        requests.iter().filter_map(retries).max().unwrap_or(0)
    }

    pub(super) fn ended(&mut self, start: StartId, build: BuildId, built: &Built, now: Timestamp) {
        for id in &built.requests {
            let Some((place, served)) = self.places.get_mut(id) else { continue };
            if built.outcome == Some(Outcome::Retry) {
                served.retries += 1;
                *place = Place::Waiting;
                self.waiting.insert(*id);
            } else {
                served.ended = built.outcome.map(|outcome| (outcome, now));
                *place = Place::Over;
            }
        }
        self.release_step(build);
        self.forget(start);
    }

    /// A step takes its locks.
    pub(super) fn lock_step(
        &mut self,
        build: BuildId,
        locks: &[Access],
        worker: &str,
        now: Timestamp,
    ) -> Result<(), Broken> {
        self.lock(Holder::Step(build), locks, worker, now)
    }

    pub(super) fn release_step(&mut self, build: BuildId) {
        self.unlock(Holder::Step(build));
    }

    /// All requests that arrived, by id.
    pub(super) fn requests(self) -> Vec<Served> {
        self.places.into_values().map(|(_, served)| served).collect()
    }

    /// What each worker did.
    pub(super) fn workers(&self, builds: &[Built], now: Timestamp) -> Vec<WorkerTotals> {
        let totals = |rule: &WorkerRule| {
            let (since, before) = self.connected.get(&rule.name).copied().unwrap_or_default();
            let mine = builds.iter().filter(|built| built.worker == rule.name);
            let busy = mine.clone().map(|built| built.ended.unwrap_or(now).ms_since(built.started)).sum();
            WorkerTotals {
                name: rule.name.clone(),
                slots: rule.max_builds,
                builds: mine.count() as u64,
                busy_ms: busy,
                connected_ms: before + since.map_or(0, |since| now.ms_since(since)),
            }
        };
        self.rules.workers.iter().map(totals).collect()
    }

    fn has_room(&self, rule: Option<&WorkerRule>, worker: &str, builder: &str) -> bool {
        let on_it = self.slots.values().filter(|slot| slot.worker == worker);
        match rule.map(|rule| rule.max_builds) {
            Some(Some(max)) => on_it.count() < max as usize,
            Some(None) => on_it.filter(|slot| slot.builder == builder).count() == 0,
            None => false,
        }
    }

    fn forget(&mut self, start: StartId) {
        self.slots.remove(&start);
        self.unlock(Holder::Build(start));
    }

    fn lock<'a>(
        &mut self,
        holder: Holder,
        uses: impl IntoIterator<Item = &'a Access>,
        worker: &str,
        now: Timestamp,
    ) -> Result<(), Broken> {
        for access in uses {
            let Some(lock) = self.rules.locks.get(&access.lock) else { continue };
            let (on, max) = match lock.kind {
                Kind::Master => (None, lock.max),
                Kind::Worker => (Some(worker.to_owned()), lock.max_on(worker)),
            };
            let key = Key { lock: access.lock.clone(), worker: on };
            let held = self.holders.entry(key.clone()).or_default();
            let mine = held.entry(holder).or_insert(Mode::Counting(0));
            *mine = match (*mine, access.mode) {
                (Mode::Counting(a), Mode::Counting(b)) => Mode::Counting(a.saturating_add(b)),
                (Mode::Exclusive, _) | (_, Mode::Exclusive) => Mode::Exclusive,
            };
            let amount = |mode: &Mode| match mode {
                Mode::Counting(count) => u64::from((*count).min(max)),
                Mode::Exclusive => max.into(),
            };
            let sum: u64 = held.values().map(amount).sum();
            if sum > max.into() {
                let what = format!("lock {key} has {max}, and {sum} of it are taken: {held:?}");
                return Err(Broken { at: now, what });
            }
        }
        Ok(())
    }

    fn unlock(&mut self, holder: Holder) {
        self.holders.retain(|_, held| {
            held.remove(&holder);
            !held.is_empty()
        });
    }
}

/// Whether one build may serve these requests. A policy may join what it likes.
fn belong_together(claim: &Claim) -> bool {
    let builder: &Builder = &claim.builder;
    let Some(((first, first_set), others)) = claim.requests.split_first() else { return false };
    others.iter().all(|(other, set)| match builder.merge_requests {
        Merge::Never => false,
        Merge::Compatible => merge::compatible((first, first_set), (other, set)),
        Merge::Policy(_) => true,
    })
}
