//! The board: the state, and the events that change it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::desk::{Asker, Desk};
use super::lane::{Entry, HeldBy, Lane};
use super::locks::Locks;
use super::quarantine::Quarantines;
use super::reads::{Awaited, Opening};
use super::slots::Slots;
use super::stage::{Stage, Start};
use super::tail::Told;
use super::takeup::Tried;
use super::turns::Turns;
use super::{AskId, Effect, HOLD_MS, LONGEST_RETRY_MS, Reply, Rules, StartId, WOKEN_BY_A_SLOT};
use crate::id::{BuildId, RequestId};
use crate::lock::{Ticket, Who};
use crate::outcome::Outcome;
use crate::request::{Buildset, Request};
use crate::time::Timestamp;
use crate::value::Pair;

/// Why a request waits for its next try.
pub(super) const AGAIN: &str = "its builds keep ending as retry";

/// What is pending, what runs where, who is asked what. See the [module](super).
#[derive(Debug, Default)]
pub struct Board {
    pub(super) rules: Rules,
    pub(super) lanes: BTreeMap<String, Lane>,
    pub(super) slots: Slots,
    pub(super) locks: Locks,
    pub(super) starts: BTreeMap<StartId, Start>,
    pub(super) desk: Desk,
    /// Builders that something happened to since they were visited last.
    pub(super) dirty: BTreeSet<String>,
    /// `prioritize-builders` is being asked.
    pub(super) ordering: bool,
    /// No builder is visited before this moment: `prioritize-builders` failed and holds.
    pub(super) round_rests: Option<Timestamp>,
    /// Builders that the order left out; they are tried again at that moment.
    pub(super) left_out: Option<(Timestamp, BTreeSet<String>)>,
    pub(super) effects: Vec<Effect>,
    pub(super) last_start: u64,
    /// Builders that merge requests, with a start that has not joined others to its own yet: the next one would
    /// take what may belong to it.
    pub(super) joining: BTreeSet<String>,
    pub(super) running: BTreeMap<BuildId, Running>,
    pub(super) quarantines: Quarantines,
    /// Whose turn it is.
    pub(super) turns: Turns,
    /// Builders that rest or hold requests back.
    pub(super) asleep: BTreeSet<String>,
    /// Look-ups of history under way, by builder.
    pub(super) awaited: BTreeMap<String, Awaited>,
    /// Starts whose wait for the store is over.
    pub(super) resumed: Vec<StartId>,
    /// The first read of the store is under way.
    pub(super) opening: Option<Opening>,
    /// What was tried in earlier runs, of requests that are not loaded yet.
    pub(super) tried: BTreeMap<RequestId, Tried>,
    /// When lanes have something to do by themselves.
    pub(super) timers: BTreeSet<(Timestamp, String)>,
    /// How often the store was compared with what is known here.
    pub(super) scans: usize,
    /// No start begins any more.
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) builder: String,
    pub(super) worker: String,
    pub(super) locks: Option<Ticket>,
    pub(super) entries: Vec<Entry>,
}

impl Running {
    /// The requests that it serves.
    pub(super) fn requests(&self) -> impl Iterator<Item = RequestId> {
        self.entries.iter().map(|entry| entry.request.id)
    }
}

impl Board {
    /// Goes by other rules from the next decision on. Starts under way go on with the policies they began
    /// with and build by the new rules; requests of builders that are gone stay pending.
    pub fn configure(&mut self, rules: Rules) {
        self.slots.configure(&rules);
        self.desk.reloaded(&rules);
        self.lanes
            .retain(|name, lane| rules.builders.contains_key(name) || !lane.is_empty() || lane.building > 0);
        self.rules = rules;
        for name in self.rules.builders.keys().cloned().collect::<Vec<_>>() {
            self.lane(&name);
        }
        self.turns = Turns::default();
        self.round_rests = None;
        self.left_out = None;
        for (name, lane) in &mut self.lanes {
            lane.keep = self.rules.loaded;
            lane.wake_all();
            self.dirty.insert(name.clone());
        }
        self.lift_quarantines();
        self.configure_locks();
    }

    /// Takes in requests that wait since just now, with their buildsets: new ones, or such as an expiry has freed.
    /// Known ones are left alone.
    pub fn submitted(&mut self, requests: impl IntoIterator<Item = (Request, Arc<Buildset>)>) {
        self.add(requests, Told::New);
    }

    /// Takes in requests that wait, with another priority than before, and their buildsets.
    pub fn raised(&mut self, requests: impl IntoIterator<Item = (Request, Arc<Buildset>)>) {
        self.add(requests, Told::Raised);
    }

    /// What [`Board::submitted`] or [`Board::raised`] said.
    pub(super) fn add(&mut self, requests: impl IntoIterator<Item = (Request, Arc<Buildset>)>, told: Told) {
        if let Some(opening) = &mut self.opening {
            opening.told.extend(requests.into_iter().map(|request| (request, told)));
            return;
        }
        for (request, buildset) in requests {
            if request.claim.is_some() || request.complete.is_some() {
                continue;
            }
            let (name, is_tried) = (request.builder.clone(), self.tried.contains_key(&request.id));
            let lane = self.lane(&name);
            if lane.add(request, buildset, told) {
                lane.has_news();
                self.dirty.insert(name.clone());
            }
            if is_tried {
                self.recall(&name);
            }
        }
    }

    /// Nobody wants this request any more, and the store knows. Where a start has taken it, its claim will be
    /// refused.
    pub fn withdrawn(&mut self, builder: &str, request: RequestId) {
        self.request_over(request);
        self.tried.remove(&request);
        // A build that serves others, too, goes on without it.
        for running in self.running.values_mut().filter(|running| running.builder == builder) {
            running.entries.retain(|entry| entry.request.id != request);
        }
        if let Some(opening) = &mut self.opening {
            opening.withdrawn.push((builder.to_owned(), request));
            return;
        }
        let Some(lane) = self.lanes.get_mut(builder) else { return };
        if lane.withdraw(request) {
            self.dirty.insert(builder.to_owned());
        } else {
            lane.forget(request);
        }
    }

    /// A worker connected. What it says about itself can be looked up by policies.
    pub fn worker_up(&mut self, name: &str, since: Timestamp, facts: Vec<Pair>) {
        self.slots.up(name, since, facts);
        self.has_room_again(name);
    }

    /// A worker may have builds that could have none.
    pub(super) fn has_room_again(&mut self, name: &str) {
        let Some(no) = self.slots.number(name) else { return };
        self.slots.crews_of(no).for_each(|crew| self.turns.room(crew));
        for builder in self.asleep.iter().filter(|builder| self.slots.serves(no, builder)) {
            if let Some(lane) = self.lanes.get_mut(builder) {
                lane.wake_judged();
                self.dirty.insert(builder.clone());
            }
        }
        // As long as it was away, it might have come back with a slot for everybody.
        self.may_be_stuck();
    }

    /// A worker's connection ended. Its builds go on until [`Board::build_ended`].
    pub fn worker_down(&mut self, name: &str) {
        self.slots.down(name);
        self.crowded(name);
    }

    /// A worker reported its load.
    pub fn worker_load(&mut self, name: &str, load: f64) {
        self.slots.load(name, load);
    }

    /// The claim of a start is durable: its build is `build` now.
    pub fn claimed(&mut self, id: StartId, build: BuildId) {
        let Some(start) = self.starts.remove(&id) else { return };
        let lane = self.lane(&start.spec.name);
        lane.refusals = 0;
        let entries: Vec<Entry> = start.requests().filter_map(|r| lane.remove(r)).collect();
        let builder = start.spec.name.clone();
        if let Some(ticket) = start.locks {
            self.locks.table.becomes(ticket, Who::Build { build, builder: builder.clone() });
        }
        let running = Running { builder, worker: start.worker, locks: start.locks, entries };
        self.running.insert(build, running);
    }

    /// The claim of a start was refused because somebody else has `taken`, or it is complete: that one
    /// is dropped, the others wait again. None: the store failed; they are held for a while.
    pub fn refused(&mut self, id: StartId, taken: Option<RequestId>, why: &str, now: Timestamp) {
        let Some(start) = self.starts.remove(&id) else { return };
        self.desk.report(format!("a claim for `{}` was refused: {why}", start.spec.name));
        let ours = taken.filter(|t| start.requests().any(|r| r == *t));
        let lane = self.lane(&start.spec.name);
        lane.building = lane.building.saturating_sub(1);
        for request in start.requests() {
            if ours == Some(request) {
                lane.remove(request);
            } else if ours.is_some() {
                lane.put_back(request);
            } else {
                lane.hold(request, now.plus_ms(HOLD_MS), Vec::new(), HeldBy::Wait, why);
            }
        }
        self.release_locks(start.locks);
        self.free(&start.worker, &start.spec.name);
        self.arm(&start.spec.name);
    }

    /// A build ended: its slot is free. If it is to be retried, its requests are pending again.
    pub fn build_ended(&mut self, build: BuildId, outcome: Outcome, at: Timestamp) {
        let Some(running) = self.running.remove(&build) else {
            // One from before this board was made: the store knows what became of its requests.
            if outcome == Outcome::Retry {
                self.effects.push(Effect::Scan);
            }
            return;
        };
        self.slots.built(&running.builder, &running.worker, Some((at, outcome)));
        let opening = self.opening.is_some();
        let lane = self.lane(&running.builder);
        lane.building = lane.building.saturating_sub(1);
        let mut over = Vec::new();
        if outcome != Outcome::Retry {
            over.extend(running.entries.iter().map(|entry| entry.request.id));
        } else if opening {
            // What the store is being read for may be older.
            self.submitted(running.entries.into_iter().map(|e| (Request::clone(&e.request), e.buildset)));
        } else {
            for entry in running.entries {
                let (id, wait) = (entry.request.id, retry_after(entry.retries + 1));
                if lane.restore(entry) && wait > 0 {
                    lane.hold(id, at.plus_ms(wait), Vec::new(), HeldBy::Wait, AGAIN);
                }
            }
        }
        self.unlock_step(build);
        self.release_locks(running.locks);
        over.into_iter().for_each(|request| self.request_over(request));
        self.free(&running.worker, &running.builder);
        self.arm(&running.builder);
    }

    /// A policy's reply. One that nobody waits for any more changes nothing.
    pub fn answered(&mut self, id: AskId, reply: Reply, now: Timestamp) {
        let Some(asked) = self.desk.take(id) else { return };
        // That it was asked may be all that its builder waited for.
        self.dirty.extend(asked.builder.clone());
        match asked.asker {
            Asker::Round => self.ordered(asked, reply, now),
            Asker::Start(start) => self.advised(start, asked, reply, now),
        }
    }

    /// Lets those act whose moment has come.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
        {
            let Some((_, name)) = self.timers.pop_first() else { break };
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.wake(now);
                self.dirty.insert(name.clone());
            }
            self.arm(&name);
        }
        self.end_quarantines(now);
        if self.round_rests.is_some_and(|until| until <= now) {
            self.round_rests = None;
        }
        if self.left_out.as_ref().is_some_and(|(until, _)| *until <= now)
            && let Some((_, names)) = self.left_out.take()
        {
            self.dirty.extend(names);
        }
    }

    /// When [`Board::tick`] has something to do next.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        let lanes = self.timers.first().map(|(at, _)| *at);
        let left_out = self.left_out.as_ref().map(|(at, _)| *at);
        lanes.into_iter().chain(self.round_rests).chain(left_out).chain(self.quarantines.next()).min()
    }

    /// Visits the builders that something happened to, and hands out what is to be done.
    #[must_use]
    pub fn decide(&mut self, now: Timestamp) -> Vec<Effect> {
        self.tick(now);
        for start in std::mem::take(&mut self.resumed) {
            self.proceed(start, now);
        }
        loop {
            self.untangle_parents();
            self.visit(now);
            // A start that was given up in this visit may have been all that somebody was let off for.
            if !self.locks.looks_again {
                break;
            }
        }
        self.tell_suspensions();
        std::mem::take(&mut self.effects)
    }

    /// Begins no further start. Those that wait for a policy are given up; claims under way end.
    pub fn close(&mut self) {
        self.closed = true;
        let asking: Vec<StartId> =
            self.starts.iter().filter(|(_, s)| s.stage != Stage::Claim).map(|(id, _)| *id).collect();
        for id in asking {
            self.give_up(id);
        }
        self.close_lines();
    }

    /// Claims under way.
    #[must_use]
    pub fn claiming(&self) -> usize {
        self.starts.values().filter(|s| s.stage == Stage::Claim).count()
    }

    /// Gives a slot back and wakes those who may want it.
    pub(super) fn free(&mut self, worker: &str, builder: &str) {
        let for_anybody = self.slots.release(worker, builder);
        self.dirty.insert(builder.to_owned());
        let Some(no) = self.slots.number(worker) else { return };
        if for_anybody {
            self.slots.crews_of(no).for_each(|crew| self.turns.room(crew));
        }
        for name in self.asleep.iter().filter(|name| self.slots.serves(no, name)) {
            let Some(lane) = self.lanes.get_mut(name) else { continue };
            if lane.wants_slot_of(no) {
                lane.wake_for_slot(no, WOKEN_BY_A_SLOT);
                self.dirty.insert(name.clone());
            }
        }
    }

    /// Sets a lane's timer.
    pub(super) fn arm(&mut self, builder: &str) {
        if let Some(at) = self.lanes.get(builder).and_then(Lane::next_wake) {
            self.timers.insert((at, builder.to_owned()));
            self.asleep.insert(builder.to_owned());
        }
    }
}

/// How long a request waits before its next try, after so many builds that ended as *retry*.
pub(super) fn retry_after(retries: u32) -> u64 {
    match retries {
        0 | 1 => 0,
        n => 1_000_u64.saturating_mul(1 << (n - 2).min(16)).min(LONGEST_RETRY_MS),
    }
}
