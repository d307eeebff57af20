//! The pending requests of one builder: an ordered index, so that the cost of a decision grows with
//! what it looks at and not with the backlog.
//!
//! A request is *waiting* (it may be taken now), *held* (a policy or a retry holds it back until a
//! moment), or *taken* by a start. Held and waiting ones count as pending.
//!
//! Of a long lane only the first ones are loaded; [`super::tail`] has the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::StartId;
use super::slots::WorkerNo;
use super::tail::{Loading, Tail};
use super::wait::WaitsFor;
use crate::id::RequestId;
use crate::merge;
use crate::request::{Buildset, Request, Turn};
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    /// Until a moment, or until one of these workers has a slot if that comes first.
    Held {
        until: Timestamp,
        wants: Vec<WorkerNo>,
        by: HeldBy,
        why: Arc<str>,
    },
    Taken(StartId),
}

/// How it stands with a request that is loaded.
pub(super) enum Stands<'l> {
    Waiting,
    /// By whom, why and until when.
    Held(HeldBy, &'l str, Timestamp),
    Taken,
}

/// Who holds a request back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldBy {
    /// A policy, which may judge otherwise of another worker.
    Policy,
    /// It waits for its next try, whoever comes.
    Wait,
}

/// A request as the board keeps it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) request: Arc<Request>,
    pub(super) buildset: Arc<Buildset>,
    /// How many builds of it in a row ended as *retry*.
    pub(super) retries: u32,
    alike: Option<u64>,
    /// Workers that it was offered in vain since its last hold was over.
    refused: BTreeSet<WorkerNo>,
    /// It was completed while a start had taken it: it never waits again.
    withdrawn: bool,
    /// A look into the store did not find it while a start had taken it: if no claim tells what became of it, it is
    /// forgotten when the start gives it back.
    missing: bool,
    place: Place,
}

impl Entry {
    /// One of which nothing is known but what it says.
    fn new(request: Request, buildset: Arc<Buildset>) -> Entry {
        Entry {
            request: Arc::new(request),
            alike: merge::alike(&buildset),
            buildset,
            retries: 0,
            refused: BTreeSet::new(),
            withdrawn: false,
            missing: false,
            place: Place::Waiting,
        }
    }

    /// One that a build serves.
    pub(super) fn served(request: Request, buildset: Arc<Buildset>) -> Entry {
        // It waits again if that build has to be made again.
        Entry::new(Request { claim: None, ..request }, buildset)
    }

    /// Whether nothing is known of it that the store does not know.
    fn is_as_stored(&self) -> bool {
        self.retries == 0 && self.refused.is_empty()
    }
}

/// Why a builder is left alone for a while, and until when.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    pub(super) until: Timestamp,
    pub(super) waits_for: WaitsFor,
    pub(super) why: String,
    /// A new request ends it: `next-build` has not seen that one.
    pub(super) until_news: bool,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    entries: BTreeMap<RequestId, Entry>,
    waiting: BTreeSet<Turn>,
    /// Waiting ones by what they ask for.
    alike: BTreeSet<(u64, Turn)>,
    /// Waiting and held ones by age.
    ages: BTreeSet<(Timestamp, RequestId)>,
    held: BTreeSet<(Timestamp, Turn)>,
    /// Held ones by the worker that they want a slot of.
    wanting: BTreeMap<WorkerNo, BTreeSet<Turn>>,
    /// Builds that run or are being claimed.
    pub(super) building: u32,
    pub(super) rest: Option<Rest>,
    /// Requests that policies held back since the last start or rest.
    pub(super) refusals: u32,
    /// What the store has beyond the loaded ones; none: all are loaded.
    pub(super) tail: Option<Tail>,
    /// A look into the store under way.
    pub(super) loading: Option<Loading>,
    /// The start that waits for it: its policy is to see what comes next.
    pub(super) parked: Option<StartId>,
    /// So many waiting ones stay loaded at least.
    pub(super) keep: usize,
}

impl Lane {
    /// A lane that keeps so many waiting ones, or twice as many, before it leaves some to the store.
    pub(super) fn new(keep: usize) -> Lane {
        Lane { keep, ..Lane::default() }
    }

    /// Adds a request; one that is there already stays as it is, unless the row is a newer version.
    pub(super) fn insert(&mut self, request: Request, buildset: Arc<Buildset>) -> bool {
        let id = request.id;
        if let Some(known) = self.entries.get_mut(&id) {
            known.missing = false;
            return self.renew(request);
        }
        self.note_arrival(id);
        self.entries.insert(id, Entry::new(request, buildset));
        self.wait(id);
        true
    }

    /// Puts the newer version of a request in the place of the older one: it waits, is held or is taken as before.
    /// False: there is nothing to decide.
    fn renew(&mut self, request: Request) -> bool {
        let id = request.id;
        if self.entries.get(&id).is_none_or(|known| known.request.version >= request.version) {
            return false;
        }
        self.note_arrival(id);
        self.unplace(id);
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        entry.request = Arc::new(request);
        match entry.place.clone() {
            Place::Waiting => {
                self.wait(id);
                true
            }
            Place::Held { until, wants, by, why } => {
                self.hold(id, until, wants, by, &why);
                false
            }
            Place::Taken(_) => false,
        }
    }

    pub(super) fn contains(&self, id: RequestId) -> bool {
        self.entries.contains_key(&id)
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// The first of the default order.
    pub(super) fn head(&self) -> Option<Turn> {
        self.waiting.first().copied().filter(|turn| self.is_loaded_up_to(*turn))
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.head().is_some()
    }

    /// How it stands with a request; none: it is not loaded.
    pub(super) fn stands(&self, id: RequestId) -> Option<Stands<'_>> {
        Some(match &self.entries.get(&id)?.place {
            Place::Waiting => Stands::Waiting,
            Place::Held { until, wants: _, by, why } => Stands::Held(*by, why, *until),
            Place::Taken(_) => Stands::Taken,
        })
    }

    /// The held one that waits again first: who holds it, why and until when.
    pub(super) fn first_held(&self) -> Option<(HeldBy, &str, Timestamp)> {
        match self.stands(self.held.first()?.1.id)? {
            Stands::Held(by, why, until) => Some((by, why, until)),
            Stands::Waiting | Stands::Taken => None,
        }
    }

    /// The held ones, in the order in which they wait again.
    pub(super) fn held_ones(&self) -> impl Iterator<Item = RequestId> {
        self.held.iter().map(|(_, turn)| turn.id)
    }

    /// Waiting and held ones, in the store or here.
    pub(super) fn pending(&self) -> u64 {
        self.ages.len() as u64 + self.tail.as_ref().map_or(0, |tail| tail.count)
    }

    /// Requests that are loaded, the taken ones included.
    pub(super) fn loaded_ones(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.tail.is_none()
    }

    /// Of the loaded ones.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.ages.first().map(|(at, _)| *at)
    }

    /// Requests that wait or are held here.
    #[cfg(test)]
    pub(super) fn known(&self) -> impl Iterator<Item = &Request> {
        self.ages.iter().map(|(_, id)| &*self.entries[id].request)
    }

    /// Requests that starts have taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> Vec<RequestId> {
        let taken = |e: &&Entry| matches!(e.place, Place::Taken(_));
        self.entries.values().filter(taken).map(|e| e.request.id).collect()
    }

    /// At most `limit` waiting ones in the default order, after `after`.
    pub(super) fn window(&self, after: Option<Turn>, limit: usize) -> Vec<(Turn, &Entry)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let loaded = |turn: &&Turn| self.is_loaded_up_to(**turn);
        let found = self.waiting.range((from, Bound::Unbounded)).take_while(loaded).take(limit);
        found.map(|k| (*k, &self.entries[&k.id])).collect()
    }

    /// The waiting one at a place, from 0.
    pub(super) fn waiting_at(&self, place: usize) -> Option<Turn> {
        self.waiting.iter().nth(place).copied()
    }

    pub(super) fn waiting_ones(&self) -> usize {
        self.waiting.len()
    }

    /// At most `limit` waiting ones that the default rule lets one build serve together with `first`.
    pub(super) fn partners(&self, first: &Entry, limit: usize) -> Vec<RequestId> {
        let Some(alike) = first.alike else { return Vec::new() };
        self.alike
            .iter_from(alike)
            .map(|key| &self.entries[&key.id])
            .filter(|e| merge::compatible((&first.request, &first.buildset), (&e.request, &e.buildset)))
            .map(|e| e.request.id)
            .take(limit)
            .collect()
    }

    /// Takes a waiting request for a start. False: it is not waiting any more.
    pub(super) fn take(&mut self, id: RequestId, start: StartId) -> bool {
        if self.entries.get(&id).is_none_or(|e| e.place != Place::Waiting) {
            return false;
        }
        self.unplace(id);
        self.place(id, Place::Taken(start));
        true
    }

    /// Puts a taken request back among the waiting ones.
    pub(super) fn put_back(&mut self, id: RequestId) {
        self.unplace(id);
        if self.is_over(id) {
            return;
        }
        self.wait(id);
    }

    /// Notes that a request was offered these workers in vain; the others of `all` are news to it.
    pub(super) fn refused(
        &mut self,
        id: RequestId,
        offered: Vec<WorkerNo>,
        mut all: Vec<WorkerNo>,
    ) -> Vec<WorkerNo> {
        let Some(entry) = self.entries.get_mut(&id) else { return Vec::new() };
        entry.refused.extend(offered);
        all.retain(|worker| !entry.refused.contains(worker));
        all
    }

    /// Holds a request until a moment, or until one of the workers `wants` has a slot if that comes first.
    pub(super) fn hold(
        &mut self,
        id: RequestId,
        until: Timestamp,
        wants: Vec<WorkerNo>,
        by: HeldBy,
        why: &str,
    ) {
        self.unplace(id);
        if self.is_over(id) {
            return;
        }
        let Some(key) = self.place(id, Place::Held { until, wants: wants.clone(), by, why: why.into() })
        else {
            return;
        };
        self.held.insert((until, key));
        self.ages.insert((key.submitted, id));
        for worker in wants {
            self.wanting.entry(worker).or_default().insert(key);
        }
    }

    /// Removes a request: it is served, or nobody's business of ours any more.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<Entry> {
        if let Some(loading) = &mut self.loading {
            loading.gone.insert(id);
        }
        self.take_out(id)
    }

    /// Whether a request that a start gives back does not wait any more: it is removed.
    fn is_over(&mut self, id: RequestId) -> bool {
        match self.entries.get(&id) {
            Some(entry) if entry.withdrawn => self.remove(id).is_some(),
            // The store may have it again by now, as the next look would tell.
            Some(entry) if entry.missing => self.take_out(id).is_some(),
            Some(_) | None => false,
        }
    }

    /// Forgets a request that the store still has, or has not any more.
    pub(super) fn take_out(&mut self, id: RequestId) -> Option<Entry> {
        self.unplace(id);
        self.entries.remove(&id)
    }

    /// So many builds of it ended as *retry* before this board was made. True: it waits.
    pub(super) fn was_tried(&mut self, id: RequestId, tries: u32) -> bool {
        let Some(known) = self.entries.get_mut(&id) else { return false };
        known.retries = tries;
        known.place == Place::Waiting
    }

    /// Adds one again whose build ended as *retry*. True: it waits. A scan may have found it before word of the
    /// build's end came: its place in the index stays as it is.
    pub(super) fn restore(&mut self, mut entry: Entry) -> bool {
        entry.retries += 1;
        let id = entry.request.id;
        if let Some(known) = self.entries.get_mut(&id) {
            known.retries = known.retries.max(entry.retries);
            known.missing = false;
            return known.place == Place::Waiting;
        }
        entry.refused.clear();
        entry.missing = false;
        self.note_arrival(id);
        self.entries.insert(id, entry);
        self.wait(id);
        true
    }

    /// What the store is being read for may be older than this.
    fn note_arrival(&mut self, id: RequestId) {
        if let Some(loading) = &mut self.loading {
            loading.came.insert(id);
        }
    }

    /// Forgets what waits here up to `last` (none: all) and nowhere in the store, which has been read so far: events
    /// that came in another order than what they tell of have left it. What a start has taken is missing from now on.
    pub(super) fn forget_ghosts(
        &mut self,
        last: Option<Turn>,
        loading: &Loading,
        stored: &BTreeSet<RequestId>,
    ) {
        let is_ghost = |entry: &&mut Entry| {
            let id = entry.request.id;
            last.is_none_or(|last| Turn::of(&entry.request) <= last)
                && !stored.contains(&id)
                && !loading.came.contains(&id)
        };
        let mut ghosts = Vec::new();
        for ghost in self.entries.values_mut().filter(is_ghost) {
            match ghost.place {
                Place::Taken(_) => ghost.missing = true,
                Place::Waiting | Place::Held { .. } => ghosts.push(ghost.request.id),
            }
        }
        for ghost in ghosts {
            self.take_out(ghost);
        }
    }

    /// Leaves to the store what waits after a turn, as far as the store knows all of it.
    pub(super) fn leave_after(&mut self, end: Turn) -> u64 {
        let after: Vec<RequestId> =
            self.waiting.range((Bound::Excluded(end), Bound::Unbounded)).map(|turn| turn.id).collect();
        let mut left = 0;
        for id in after {
            // What the store does not know of it stays known: it waits beyond the end.
            if self.entries[&id].is_as_stored() {
                self.take_out(id);
                left += 1;
            }
        }
        left
    }

    /// How many entries come after a turn.
    pub(super) fn loaded_after(&self, end: Turn) -> u64 {
        self.entries.values().filter(|entry| Turn::of(&entry.request) > end).count() as u64
    }

    /// Lets held ones wait again whose moment has come, and ends a rest that is over.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some(&(until, key)) = self.held.first()
            && until <= now
        {
            self.end_hold(key.id);
            // What it was put behind the others for is over.
            self.refusals = 0;
        }
        if self.rest.as_ref().is_some_and(|r| r.until <= now) {
            self.end_rest();
        }
    }

    /// Lets at most `limit` of those wait again that want a slot of this worker.
    pub(super) fn wake_for_slot(&mut self, worker: WorkerNo, limit: usize) {
        for _ in 0..limit {
            let Some(key) = self.wanting.get(&worker).and_then(BTreeSet::first).copied() else { break };
            self.put_back(key.id);
        }
    }

    /// Lets those wait again that a policy held back: there is a worker that it was not asked about.
    pub(super) fn wake_judged(&mut self) {
        let judged =
            |id: &RequestId| matches!(self.entries[id].place, Place::Held { by: HeldBy::Policy, .. });
        let ids: Vec<RequestId> = self.held.iter().map(|(_, key)| key.id).filter(judged).collect();
        ids.into_iter().for_each(|id| self.end_hold(id));
        self.end_rest();
    }

    /// A request is complete. One that a start has taken leaves when the start gives it back.
    pub(super) fn withdraw(&mut self, id: RequestId) -> bool {
        match self.entries.get_mut(&id) {
            Some(entry) if matches!(entry.place, Place::Taken(_)) => {
                entry.withdrawn = true;
                true
            }
            Some(_) | None => self.remove(id).is_some(),
        }
    }

    /// Lets all held ones wait again: what they were judged by has changed.
    pub(super) fn wake_all(&mut self) {
        while let Some(&(_, key)) = self.held.first() {
            self.end_hold(key.id);
        }
        self.end_rest();
    }

    /// There is a request that nobody has judged.
    pub(super) fn has_news(&mut self) {
        if self.rest.as_ref().is_some_and(|rest| rest.until_news) {
            self.end_rest();
        }
    }

    pub(super) fn end_rest(&mut self) {
        self.rest = None;
        self.refusals = 0;
    }

    /// When [`Lane::wake`] has something to do.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let held = self.held.first().map(|(until, _)| *until);
        held.into_iter().chain(self.rest.as_ref().map(|r| r.until)).min()
    }

    /// Whether a request is held until this worker has a slot.
    pub(super) fn wants_slot_of(&self, worker: WorkerNo) -> bool {
        self.wanting.contains_key(&worker)
    }

    /// Its moment has come: it may be offered every worker again.
    fn end_hold(&mut self, id: RequestId) {
        self.put_back(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.refused.clear();
        }
    }

    fn wait(&mut self, id: RequestId) {
        let Some(key) = self.place(id, Place::Waiting) else { return };
        self.waiting.insert(key);
        self.ages.insert((key.submitted, id));
        if let Some(alike) = self.entries[&id].alike {
            self.alike.insert((alike, key));
        }
    }

    fn place(&mut self, id: RequestId, place: Place) -> Option<Turn> {
        let entry = self.entries.get_mut(&id)?;
        entry.place = place;
        Some(Turn::of(&entry.request))
    }

    /// Takes a request out of the index of the place where it is.
    fn unplace(&mut self, id: RequestId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let key = Turn::of(&entry.request);
        match &entry.place {
            Place::Waiting => {
                self.waiting.remove(&key);
                if let Some(alike) = entry.alike {
                    self.alike.remove(&(alike, key));
                }
            }
            Place::Held { until, wants, by: _, why: _ } => {
                self.held.remove(&(*until, key));
                for worker in wants {
                    if let Some(keys) = self.wanting.get_mut(worker) {
                        keys.remove(&key);
                        if keys.is_empty() {
                            self.wanting.remove(worker);
                        }
                    }
                }
            }
            Place::Taken(_) => return,
        }
        self.ages.remove(&(key.submitted, id));
    }
}

trait IterFrom {
    fn iter_from(&self, alike: u64) -> impl Iterator<Item = &Turn>;
}

impl IterFrom for BTreeSet<(u64, Turn)> {
    fn iter_from(&self, alike: u64) -> impl Iterator<Item = &Turn> {
        let least = Turn { priority: std::cmp::Reverse(i32::MAX), submitted: Timestamp(0), id: RequestId(0) };
        self.range((alike, least)..).take_while(move |(a, _)| *a == alike).map(|(_, key)| key)
    }
}
