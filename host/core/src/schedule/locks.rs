//! Locks on the board: which builder stands in which line, and what builds and steps hold.
//!
//! A builder that could begin but for locks stands in line with one place, whatever number of its requests wait; it
//! aims at one worker, and watches the locks that keep it from the others. Its turn comes as a visit. The claim of
//! its next build takes the locks of builder and worker together, and the build has them until it ends.
//!
//! A place counts while its builder has a slot to build in. Whoever takes the last one, or holds the builder back,
//! makes it step aside; it comes back with its old ticket.

use std::collections::{BTreeMap, BTreeSet};

use super::{Board, Effect, StartId};
use crate::builder::Builder;
use crate::id::{BuildId, RequestId};
use crate::lock::deadlock::{self, Link, Node};
use crate::lock::{Access, Key, LockStatus, Obstacle, Table, Ticket, Want, Who, Woken};
use crate::time::Timestamp;

/// The lines of builders, and the tickets of steps.
#[derive(Debug, Default)]
pub(super) struct Locks {
    pub(super) table: Table,
    /// Builders that need locks, on one of their workers at least.
    using: BTreeSet<String>,
    pub(super) lines: BTreeMap<String, Line>,
    /// Builders by the worker that they stand in line for.
    aiming: BTreeMap<String, BTreeSet<String>>,
    /// What the running step of a build holds or waits for.
    pub(super) steps: BTreeMap<BuildId, Ticket>,
    /// Those among them whose step was taken up with its locks, and has not asked for them again yet.
    pub(super) kept: BTreeSet<BuildId>,
    /// The requests that a build's step waits for, with their builders.
    pub(super) parents: BTreeMap<BuildId, BTreeMap<RequestId, String>>,
    /// Whether one of them may wait for ever since it was looked last.
    pub(super) looks_again: bool,
}

/// A builder's ticket.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) ticket: Ticket,
    /// Its place; none: it stands aside.
    place: Option<Place>,
}

#[derive(Debug, PartialEq)]
struct Place {
    worker: String,
    wants: Vec<Want>,
    watches: BTreeSet<Key>,
}

/// What became of a step's locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepLocks {
    /// It has them.
    Held,
    /// It stands in line: an [`Effect::StepLocks`] will tell its end. The text says what for.
    Waits(String),
    /// It would wait for ever; the text names the circle.
    Refused(String),
}

/// Where a builder could begin, as far as locks go.
enum Found {
    /// On this worker.
    Free(String),
    /// On none that has room. What it wants on one worker may be all that it lacks on another: it watches that, too.
    Locked(Place),
    /// None has room.
    NoRoom,
}

impl Board {
    /// Goes by other locks; to be called when the rules are in force.
    pub(super) fn configure_locks(&mut self) {
        let locked: BTreeSet<&str> =
            self.rules.workers.iter().filter(|w| !w.locks.is_empty()).map(|w| w.name.as_str()).collect();
        let uses = |b: &Builder| !b.locks.is_empty() || b.workers.iter().any(|w| locked.contains(&**w));
        let using = self.rules.builders.values().filter(|b| uses(b)).map(|b| b.name.clone());
        self.locks.using = using.collect();
        let woken = self.locks.table.configure(&self.rules.locks);
        self.wake(woken);
        let stays = |name: &String| self.lanes.contains_key(name) && self.needs_locks(name);
        let gone: Vec<String> = self.locks.lines.keys().filter(|name| !stays(name)).cloned().collect();
        for name in gone {
            self.leave_for_good(&name);
        }
        // A maximum that shrank, or a worker that is gone, may have closed a circle.
        let waiting: BTreeSet<BuildId> = self.locks.table.nested().collect();
        for build in waiting {
            match self.untangle(build) {
                Ok(woken) => self.wake(woken),
                Err(why) => {
                    self.unlock_step(build);
                    self.effects.push(Effect::StepLocks { build, result: Err(why) });
                }
            }
        }
        self.may_be_stuck();
    }

    /// A worker on which a builder could begin now: the least-loaded with room whose locks are free. If only locks
    /// are in the way, the builder stands in line for them from now on.
    pub(super) fn open_worker(&mut self, name: &str, now: Timestamp) -> Option<String> {
        match self.look(name) {
            Found::Free(worker) => {
                self.aim_at(name, &worker, now);
                Some(worker)
            }
            Found::NoRoom => {
                self.step_aside(name);
                None
            }
            Found::Locked(place) => {
                self.stand_in_line(name, place, now);
                None
            }
        }
    }

    /// Whether nothing but locks keeps a builder from beginning.
    #[cfg(test)]
    pub(super) fn is_locked(&self, name: &str) -> bool {
        matches!(self.look(name), Found::Locked(_))
    }

    /// Whether a builder needs locks.
    pub(super) fn needs_locks(&self, name: &str) -> bool {
        self.locks.using.contains(name)
    }

    /// Whether the locks that a builder needs on a worker are free for it.
    pub(super) fn is_unlocked(&self, builder: &Builder, worker: &str) -> bool {
        if !self.needs_locks(&builder.name) {
            return true;
        }
        let ticket = self.locks.lines.get(&builder.name).map(|line| line.ticket);
        self.locks.table.obstacle(ticket, &self.wants(builder, worker)).is_none()
    }

    /// Takes the locks of a start's builder and worker. False: they are not free any more.
    pub(super) fn take_locks(&mut self, id: StartId, builder: &Builder, now: Timestamp) -> bool {
        let Some(worker) = self.starts.get(&id).map(|start| start.worker.clone()) else { return false };
        let wants = self.wants(builder, &worker);
        if wants.is_empty() {
            self.leave_for_good(&builder.name);
            return true;
        }
        if !self.is_unlocked(builder, &worker) {
            return false;
        }
        let ticket = match self.forget_line(&builder.name) {
            Some(ticket) => ticket,
            None => self.locks.table.enter(Who::Builder { builder: builder.name.clone() }, now),
        };
        let woken = self.locks.table.take(ticket, wants, now);
        self.wake(woken);
        if let Some(start) = self.starts.get_mut(&id) {
            start.locks = Some(ticket);
        }
        true
    }

    /// Gives back what a start or a build holds.
    pub(super) fn release_locks(&mut self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            let woken = self.locks.table.release(ticket);
            self.wake(woken);
        }
    }

    /// A running step asks for locks. Its build has one step at a time.
    pub fn lock_step(&mut self, build: BuildId, step: &str, uses: &[Access], now: Timestamp) -> StepLocks {
        // Builds are told of in order: their claim, their steps, their end.
        let Some(running) = self.running.get(&build) else { return StepLocks::Held };
        if self.locks.kept.remove(&build) {
            return StepLocks::Held;
        }
        let wants = self.locks.table.wants(uses, &running.worker);
        if wants.is_empty() {
            return StepLocks::Held;
        }
        let who = Who::Step { build, builder: running.builder.clone(), step: step.to_owned() };
        self.unlock_step(build);
        let (ticket, free) = self.locks.table.ask(who, wants, now);
        self.locks.steps.insert(build, ticket);
        if free {
            return StepLocks::Held;
        }
        match self.untangle(build) {
            Err(why) => {
                self.unlock_step(build);
                StepLocks::Refused(why)
            }
            Ok(mut woken) => {
                // If it passed those ahead, the answer says so, and nothing else has to.
                woken.granted.retain(|granted| *granted != ticket);
                self.wake(woken);
                match self.locks.table.waits_for(ticket).filter(|_| self.locks.table.is_waiting(ticket)) {
                    Some(obstacle) => StepLocks::Waits(obstacle.to_string()),
                    None => StepLocks::Held,
                }
            }
        }
    }

    /// A step gives back its locks, or waits no more: for them, or for requests.
    pub fn unlock_step(&mut self, build: BuildId) {
        self.locks.parents.remove(&build);
        self.locks.kept.remove(&build);
        // An answer that is not handed out yet is for this step; the build's next one must not take it for its own.
        let is_its = |effect: &Effect| matches!(effect, Effect::StepLocks { build: of, .. } if *of == build);
        self.effects.retain(|effect| !is_its(effect));
        let ticket = self.locks.steps.remove(&build);
        self.release_locks(ticket);
    }

    /// All locks, with those who hold them and those who wait.
    #[must_use]
    pub fn locks(&self) -> Vec<LockStatus> {
        self.locks.table.wait_graph()
    }

    /// What a builder stands in line for.
    pub(super) fn awaited_lock(&self, name: &str) -> Option<Obstacle> {
        let line = self.locks.lines.get(name).filter(|line| line.place.is_some())?;
        self.locks.table.waits_for(line.ticket)
    }

    /// A builder cannot use its place now: those behind it need not wait for it. Its ticket stays good.
    pub(super) fn step_aside(&mut self, name: &str) {
        // One with a start under way is about to take what it stands for.
        if self.joining.contains(name) {
            return;
        }
        let Some(line) = self.locks.lines.get_mut(name) else { return };
        let Some(place) = line.place.take() else { return };
        let woken = self.locks.table.leave(line.ticket);
        self.forget_aim(name, &place.worker);
        self.wake(woken);
    }

    /// No builder begins for a while: none keeps others waiting for what it will not take meanwhile.
    pub(super) fn clear_lines(&mut self) {
        let in_line = self.locks.lines.iter().filter(|(_, line)| line.place.is_some());
        let in_line: Vec<String> = in_line.map(|(name, _)| name.clone()).collect();
        in_line.iter().for_each(|name| self.step_aside(name));
        // Nobody is locked out by them now; whose turn it is then is seen when the rest is over.
        self.dirty.extend(in_line);
    }

    /// Whether a builder stands in line for a worker that has no room for it any more.
    pub(super) fn has_lost_its_aim(&self, name: &str) -> bool {
        let place = self.locks.lines.get(name).and_then(|line| line.place.as_ref());
        let has_room =
            |place: &Place| self.slots.number(&place.worker).is_some_and(|no| self.slots.has_room(no, name));
        place.is_some_and(|place| !has_room(place))
    }

    /// A worker has less room than before, or none: those who stand in line for it are looked at again.
    pub(super) fn crowded(&mut self, worker: &str) {
        if let Some(builders) = self.locks.aiming.get(worker) {
            self.dirty.extend(builders.iter().cloned());
        }
    }

    /// Nobody begins any more: all places are free. Builds that run still lock and unlock.
    pub(super) fn close_lines(&mut self) {
        let names: Vec<String> = self.locks.lines.keys().cloned().collect();
        for name in names {
            self.leave_for_good(&name);
        }
    }

    fn look(&self, name: &str) -> Found {
        if !self.needs_locks(name) {
            return self.slots.best(name).map_or(Found::NoRoom, |worker| Found::Free(worker.to_owned()));
        }
        let Some(builder) = self.rules.builders.get(name) else { return Found::NoRoom };
        let line = self.locks.lines.get(name);
        let (mut places, mut watches) = (Vec::new(), BTreeSet::new());
        for member in self.slots.with_room(name, "") {
            let worker = self.slots.name(member.worker);
            let wants = self.wants(builder, worker);
            match self.locks.table.obstacle(line.map(|line| line.ticket), &wants) {
                None => return Found::Free(worker.to_owned()),
                Some(obstacle) => {
                    watches.insert(obstacle.key);
                    places.push((worker.to_owned(), wants));
                }
            }
        }
        // It keeps its aim as long as that has room.
        let aim = line.and_then(|line| line.place.as_ref()).map(|place| &place.worker);
        let kept = places.iter().position(|(worker, _)| Some(worker) == aim).unwrap_or(0);
        if places.is_empty() {
            return Found::NoRoom;
        }
        let (worker, wants) = places.swap_remove(kept);
        Found::Locked(Place { worker, wants, watches })
    }

    /// A builder in line may begin on another worker than it stood in line for: it keeps its place there.
    fn aim_at(&mut self, name: &str, worker: &str, now: Timestamp) {
        let place = self.locks.lines.get(name).and_then(|line| line.place.as_ref());
        if place.is_some_and(|place| place.worker != worker)
            && let Some(builder) = self.rules.builders.get(name)
        {
            let wants = self.wants(builder, worker);
            self.stand_in_line(
                name,
                Place { worker: worker.to_owned(), wants, watches: BTreeSet::new() },
                now,
            );
        }
    }

    fn stand_in_line(&mut self, name: &str, place: Place, now: Timestamp) {
        let line = match self.locks.lines.remove(name) {
            Some(line) if line.place.as_ref() == Some(&place) => {
                self.locks.lines.insert(name.to_owned(), line);
                return;
            }
            Some(line) => line,
            None => {
                let who = Who::Builder { builder: name.to_owned() };
                Line { ticket: self.locks.table.enter(who, now), place: None }
            }
        };
        if let Some(old) = &line.place {
            self.forget_aim(name, &old.worker);
        }
        self.locks.aiming.entry(place.worker.clone()).or_default().insert(name.to_owned());
        let woken = self.locks.table.wait(line.ticket, place.wants.clone(), place.watches.clone());
        let node = Node::Place(line.ticket);
        self.locks.lines.insert(name.to_owned(), Line { place: Some(place), ..line });
        self.wake(woken);
        // A place is no part of a circle that cannot be passed: it holds nothing.
        let others = self.waits_of_parents();
        if let Ok(woken) = self.locks.table.untangle(node, &others) {
            self.wake(woken);
        }
    }

    /// The place of a builder in line: its ticket, and the worker.
    pub(super) fn aim(&self, name: &str) -> Option<(Ticket, &str)> {
        let line = self.locks.lines.get(name)?;
        Some((line.ticket, line.place.as_ref()?.worker.as_str()))
    }

    pub(super) fn wants(&self, builder: &Builder, worker: &str) -> Vec<Want> {
        let on_worker = self.slots.rule(worker).into_iter().flat_map(|rule| &rule.locks);
        self.locks.table.wants(builder.locks.iter().chain(on_worker), worker)
    }

    /// Lets those pass who have to pass others; the error names the circle that the step of `build` waits in.
    pub(super) fn untangle(&mut self, build: BuildId) -> Result<Woken, String> {
        let others = self.waits_of_parents();
        let found = self.locks.table.untangle(Node::Build(build), &others);
        found.map_err(|circle| self.told(&circle))
    }

    /// A circle in words.
    pub(super) fn told(&self, circle: &[Link]) -> String {
        deadlock::describe(circle, |node| self.node(node))
    }

    fn node(&self, node: Node) -> String {
        match node {
            Node::Build(build) => match self.running.get(&build) {
                Some(running) => format!("build {} of `{}`", build.0, running.builder),
                None => format!("build {}", build.0),
            },
            Node::Request(request) => format!("request {}", request.0),
            Node::Place(ticket) => {
                self.locks.table.who(ticket).map_or_else(|| "nobody".to_owned(), Who::to_string)
            }
        }
    }

    pub(super) fn wake(&mut self, woken: Woken) {
        for ticket in woken.granted {
            if let Some(build) = self.locks.table.who(ticket).and_then(Who::build) {
                self.effects.push(Effect::StepLocks { build, result: Ok(()) });
            }
        }
        for ticket in woken.called {
            if let Some(Who::Builder { builder }) = self.locks.table.who(ticket) {
                self.dirty.insert(builder.clone());
            }
        }
    }

    fn leave_for_good(&mut self, name: &str) {
        let ticket = self.forget_line(name);
        self.release_locks(ticket);
    }

    fn forget_line(&mut self, name: &str) -> Option<Ticket> {
        let line = self.locks.lines.remove(name)?;
        if let Some(place) = &line.place {
            self.forget_aim(name, &place.worker);
        }
        Some(line.ticket)
    }

    fn forget_aim(&mut self, name: &str, worker: &str) {
        if let Some(builders) = self.locks.aiming.get_mut(worker) {
            builders.remove(name);
            if builders.is_empty() {
                self.locks.aiming.remove(worker);
            }
        }
    }
}
