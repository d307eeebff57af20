//! The table: who holds what, who stands in which line, and who is served when something comes free.

use std::collections::{BTreeMap, BTreeSet};

use super::deadlock::{self, Debt, Graph, Link, Node, On, Wait};
use super::{Access, Key, Kind, Lock, Mode, Obstacle, Ticket, Want, Who};
use crate::id::BuildId;
use crate::time::Timestamp;

/// All locks. See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub(super) locks: BTreeMap<String, Lock>,
    /// Those that somebody holds, waits for or watches.
    pub(super) states: BTreeMap<Key, State>,
    pub(super) claimants: BTreeMap<Ticket, Claimant>,
    /// Claimants that are a build or a part of it.
    by_build: BTreeMap<BuildId, BTreeSet<Ticket>>,
    /// Those among the waiting ones whose build holds something: only they can bring about a circle.
    nested: BTreeSet<Ticket>,
    /// Those who pass others in line.
    passing: BTreeSet<Ticket>,
    last: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) held: BTreeMap<Ticket, Mode>,
    /// By ticket: the order in which they are served.
    pub(super) line: BTreeMap<Ticket, Mode>,
    /// Those who would look again if some of it came free.
    watched: BTreeSet<Ticket>,
}

impl State {
    fn is_idle(&self) -> bool {
        self.held.is_empty() && self.line.is_empty() && self.watched.is_empty()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Claimant {
    pub(super) who: Who,
    pub(super) since: Timestamp,
    standing: Standing,
    wants: Vec<Want>,
    watches: BTreeSet<Key>,
    /// Whom it does not wait behind: they wait for it.
    passes: BTreeSet<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// In no line; its ticket stays good.
    Away,
    Waits,
    Holds,
}

/// Who was served, or may be now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Woken {
    /// Steps that hold all that they waited for now.
    pub granted: Vec<Ticket>,
    /// Builders whose turn may have come; they keep their places until they take or leave.
    pub called: Vec<Ticket>,
}

impl Woken {
    /// Adds what another change brought about.
    pub fn and(mut self, other: Woken) -> Woken {
        self.granted.extend(other.granted);
        self.called.extend(other.called);
        self
    }
}

impl Table {
    /// Goes by other locks. Nothing is taken from those who hold some of one.
    pub fn configure(&mut self, locks: &BTreeMap<String, Lock>) -> Woken {
        locks.clone_into(&mut self.locks);
        let all: BTreeSet<Key> = self.states.keys().cloned().collect();
        self.settle(all)
    }

    /// What uses come to on `worker`: one want for each lock, none for a use of nothing. Two uses of a lock add up.
    #[must_use]
    pub fn wants<'a>(&self, uses: impl IntoIterator<Item = &'a Access>, worker: &str) -> Vec<Want> {
        let mut wants: BTreeMap<Key, Mode> = BTreeMap::new();
        for access in uses {
            let Some(lock) = self.locks.get(&access.lock).filter(|_| access.mode != Mode::Counting(0)) else {
                continue;
            };
            let worker = match lock.kind {
                Kind::Master => None,
                Kind::Worker => Some(worker.to_owned()),
            };
            let sum = wants.entry(Key { lock: access.lock.clone(), worker }).or_insert(Mode::Counting(0));
            *sum = match (*sum, access.mode) {
                (Mode::Counting(a), Mode::Counting(b)) => Mode::Counting(a.saturating_add(b)),
                (Mode::Exclusive, _) | (_, Mode::Exclusive) => Mode::Exclusive,
            };
        }
        wants.into_iter().map(|(key, mode)| Want { key, mode }).collect()
    }

    /// The first lock that `ticket` could not have now, with those who are in its way; none: it may take them all.
    /// Without a ticket it is a newcomer: everybody in line stands ahead of it.
    #[must_use]
    pub fn obstacle(&self, ticket: Option<Ticket>, wants: &[Want]) -> Option<Obstacle> {
        let want = wants.iter().find(|want| !self.is_free(ticket, want))?;
        let state = &self.states[&want.key];
        let who = |ticket: Ticket| self.claimants[&ticket].who.clone();
        let mut ahead = self.ahead(ticket, state).map(|(ticket, _)| ticket);
        Some(Obstacle {
            key: want.key.clone(),
            held_by: state.held.keys().next().copied().map(who),
            more_holders: state.held.len().saturating_sub(1),
            behind: ahead.next().map(who),
            more_ahead: ahead.count(),
        })
    }

    /// A ticket for somebody who has none. It stands in no line yet.
    pub fn enter(&mut self, who: Who, now: Timestamp) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        if let Some(build) = who.build() {
            self.by_build.entry(build).or_default().insert(ticket);
        }
        let (standing, passes) = (Standing::Away, BTreeSet::new());
        let (wants, watches) = (Vec::new(), BTreeSet::new());
        self.claimants.insert(ticket, Claimant { who, since: now, standing, wants, watches, passes });
        ticket
    }

    /// Asks for all of `wants`: takes them, or stands in line for them. True: they are taken.
    pub fn ask(&mut self, who: Who, wants: Vec<Want>, now: Timestamp) -> (Ticket, bool) {
        let ticket = self.enter(who, now);
        let free = self.obstacle(Some(ticket), &wants).is_none();
        // A newcomer left no place that somebody could want.
        let Woken { granted, called } =
            if free { self.take(ticket, wants, now) } else { self.wait(ticket, wants, BTreeSet::new()) };
        debug_assert!(granted.is_empty() && called.is_empty(), "BUG: a newcomer woke somebody");
        (ticket, free)
    }

    /// Takes all of `wants`, which must be there; a place in line is given up for it.
    pub fn take(&mut self, ticket: Ticket, wants: Vec<Want>, now: Timestamp) -> Woken {
        assert!(self.obstacle(Some(ticket), &wants).is_none(), "BUG: a lock was taken that is not free");
        let left = self.stand_aside(ticket);
        self.give(ticket, wants, now);
        self.settle(left)
    }

    fn give(&mut self, ticket: Ticket, wants: Vec<Want>, now: Timestamp) {
        for want in &wants {
            let state = self.states.entry(want.key.clone()).or_default();
            state.held.insert(ticket, want.mode);
        }
        let claimant = self.claimant(ticket);
        (claimant.standing, claimant.wants, claimant.since) = (Standing::Holds, wants, now);
    }

    /// Has all of `wants`, whatever else is held: somebody took it before this table began.
    pub fn hold(&mut self, who: Who, wants: Vec<Want>, now: Timestamp) -> Ticket {
        let ticket = self.enter(who, now);
        self.give(ticket, wants, now);
        ticket
    }

    /// Stands in line for `wants`, all at once, instead of where it stood before. It is called, too, when some of
    /// one of `watches` comes free.
    pub fn wait(&mut self, ticket: Ticket, wants: Vec<Want>, watches: BTreeSet<Key>) -> Woken {
        let left = self.stand_aside(ticket);
        for want in &wants {
            self.states.entry(want.key.clone()).or_default().line.insert(ticket, want.mode);
        }
        for key in &watches {
            self.states.entry(key.clone()).or_default().watched.insert(ticket);
        }
        let claimant = self.claimant(ticket);
        (claimant.standing, claimant.wants, claimant.watches) = (Standing::Waits, wants, watches);
        let holds = |other: &Ticket| self.claimants[other].standing == Standing::Holds;
        let build = self.claimants[&ticket].who.build().and_then(|build| self.by_build.get(&build));
        if build.is_some_and(|others| others.iter().any(holds)) {
            self.nested.insert(ticket);
        }
        self.settle(left)
    }

    /// Leaves the line. The ticket stays good.
    pub fn leave(&mut self, ticket: Ticket) -> Woken {
        let left = self.stand_aside(ticket);
        self.settle(left)
    }

    /// Gives back what a ticket got or waits for; it is good for nothing any more.
    pub fn release(&mut self, ticket: Ticket) -> Woken {
        let mut left = self.stand_aside(ticket);
        let Some(claimant) = self.claimants.remove(&ticket) else { return Woken::default() };
        if let Some(build) = claimant.who.build()
            && let Some(others) = self.by_build.get_mut(&build)
        {
            others.remove(&ticket);
            if others.is_empty() {
                self.by_build.remove(&build);
            }
        }
        for want in claimant.wants {
            if let Some(state) = self.states.get_mut(&want.key) {
                state.held.remove(&ticket);
            }
            left.insert(want.key);
        }
        self.settle(left)
    }

    /// Says who has a ticket from now on: the builder's next build has become one.
    pub fn becomes(&mut self, ticket: Ticket, who: Who) {
        if let Some(build) = who.build() {
            self.by_build.entry(build).or_default().insert(ticket);
        }
        self.claimant(ticket).who = who;
    }

    /// Lets those pass who would wait for ever behind somebody who waits for them, and finds out whether `from`
    /// waits for ever nevertheless: then the error is the circle. `others` are waits that are not for locks.
    pub fn untangle(&mut self, from: Node, others: &Graph) -> Result<Woken, Vec<Link>> {
        self.untangle_all(&[from], others).map_err(|(_, circle)| circle)
    }

    /// The same for several: the error is the first that waits for ever, with its circle.
    pub fn untangle_all(&mut self, from: &[Node], others: &Graph) -> Result<Woken, (Node, Vec<Link>)> {
        if self.nested.is_empty() && others.is_empty() {
            return Ok(Woken::default());
        }
        let (mut graph, tickets) = self.graph();
        graph.extend(others.iter().map(|(node, ways)| (*node, ways.clone())));
        let stuck = deadlock::stuck(&graph, &BTreeSet::new(), false);
        if let Some(first) = from.iter().find(|node| stuck.contains(node)) {
            return Err((*first, deadlock::circle(&graph, &stuck, *first)));
        }
        let mut moved = BTreeSet::new();
        for (node, passed) in deadlock::overtaking(&mut graph, &stuck) {
            let Some(ticket) = tickets.get(&node) else { continue };
            let claimant = self.claimant(*ticket);
            claimant.passes.extend(passed);
            moved.extend(claimant.wants.iter().map(|want| want.key.clone()));
            self.passing.insert(*ticket);
        }
        Ok(self.settle(moved))
    }

    /// The builds that hold something and have a step that waits.
    pub fn nested(&self) -> impl Iterator<Item = BuildId> + '_ {
        self.nested.iter().filter_map(|ticket| self.claimants.get(ticket)?.who.build())
    }

    /// All tickets that are good.
    #[cfg(test)]
    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.claimants.keys().copied()
    }

    /// Whether a ticket stands in line.
    #[must_use]
    pub fn is_waiting(&self, ticket: Ticket) -> bool {
        self.claimants.get(&ticket).is_some_and(|claimant| claimant.standing == Standing::Waits)
    }

    /// Who has a ticket.
    #[must_use]
    pub fn who(&self, ticket: Ticket) -> Option<&Who> {
        self.claimants.get(&ticket).map(|claimant| &claimant.who)
    }

    /// What a waiting ticket waits for; none: it does not, or could be served.
    #[must_use]
    pub fn waits_for(&self, ticket: Ticket) -> Option<Obstacle> {
        self.obstacle(Some(ticket), &self.claimants.get(&ticket)?.wants)
    }

    /// Whether `ticket` may have that now. Looks no further down a line than it has to.
    fn is_free(&self, ticket: Option<Ticket>, want: &Want) -> bool {
        let (Some(max), Some(state)) = (self.max(&want.key), self.states.get(&want.key)) else { return true };
        let mut left = u64::from(max) - want.mode.of(max);
        let mut taken = state.held.values().copied().chain(self.ahead(ticket, state).map(|(_, mode)| mode));
        taken.all(|mode| match left.checked_sub(mode.of(max)) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
    }

    /// What is missing of a lock for a want, and how much there is in all. None: it locks nothing.
    fn missing(&self, ticket: Option<Ticket>, want: &Want) -> Option<(u64, u32)> {
        let max = self.max(&want.key)?;
        let state = self.states.get(&want.key)?;
        let held: u64 = state.held.values().map(|mode| mode.of(max)).sum();
        let ahead: u64 = self.ahead(ticket, state).map(|(_, mode)| mode.of(max)).sum();
        Some(((held + ahead + want.mode.of(max)).saturating_sub(max.into()), max))
    }

    /// Those in a line whom `ticket` has to wait behind.
    fn ahead<'a>(
        &'a self,
        ticket: Option<Ticket>,
        state: &'a State,
    ) -> impl Iterator<Item = (Ticket, Mode)> + 'a {
        let passes = ticket.and_then(|t| self.claimants.get(&t)).map(|claimant| &claimant.passes);
        let counts = move |other: &Ticket| passes.is_none_or(|passes| !passes.contains(other));
        let end = ticket.unwrap_or(Ticket(u64::MAX));
        state.line.range(..end).filter(move |(other, _)| counts(other)).map(|(other, mode)| (*other, *mode))
    }

    pub(super) fn max(&self, key: &Key) -> Option<u32> {
        let lock = self.locks.get(&key.lock)?;
        match (lock.kind, &key.worker) {
            (Kind::Master, None) => Some(lock.max),
            (Kind::Worker, Some(worker)) => Some(lock.max_on(worker)),
            (Kind::Master, Some(_)) | (Kind::Worker, None) => None,
        }
    }

    fn claimant(&mut self, ticket: Ticket) -> &mut Claimant {
        self.claimants.get_mut(&ticket).expect("BUG: a ticket that was given back is used")
    }

    /// Takes a ticket out of all lines, and returns the locks that it stood in line for.
    fn stand_aside(&mut self, ticket: Ticket) -> BTreeSet<Key> {
        let Some(claimant) = self.claimants.get_mut(&ticket) else { return BTreeSet::new() };
        if claimant.standing != Standing::Waits {
            return BTreeSet::new();
        }
        claimant.standing = Standing::Away;
        claimant.passes.clear();
        self.nested.remove(&ticket);
        self.passing.remove(&ticket);
        let left: BTreeSet<Key> = std::mem::take(&mut claimant.wants).into_iter().map(|w| w.key).collect();
        let watches = std::mem::take(&mut claimant.watches);
        for key in left.iter().chain(&watches) {
            if let Some(state) = self.states.get_mut(key) {
                state.line.remove(&ticket);
                state.watched.remove(&ticket);
                if state.is_idle() {
                    self.states.remove(key);
                }
            }
        }
        left
    }

    /// Serves those who wait for one of these locks, in the order of their tickets.
    fn settle(&mut self, changed: BTreeSet<Key>) -> Woken {
        let mut waiting = BTreeSet::new();
        for key in &changed {
            let Some(state) = self.states.get(key) else { continue };
            waiting.extend(self.next_in_line(key, state));
            waiting.extend(&state.watched);
            if state.is_idle() {
                self.states.remove(key);
            }
        }
        let mut woken = Woken::default();
        for ticket in waiting {
            let watches = !self.claimants[&ticket].watches.is_disjoint(&changed);
            if self.waits_for(ticket).is_some() && !watches {
                continue;
            }
            match self.claimants[&ticket].who {
                Who::Builder { .. } => woken.called.push(ticket),
                Who::Build { .. } | Who::Step { .. } => {
                    self.grant(ticket);
                    woken.granted.push(ticket);
                }
            }
        }
        woken
    }

    /// Those in a line who may be served now: up to the one with whom all would be taken, and whoever passes others.
    fn next_in_line(&self, key: &Key, state: &State) -> Vec<Ticket> {
        let Some(max) = self.max(key) else { return state.line.keys().copied().collect() };
        let passing = self.passing.iter().filter(|ticket| state.line.contains_key(ticket));
        let mut next: Vec<Ticket> = passing.copied().collect();
        let mut taken: u64 = state.held.values().map(|mode| mode.of(max)).sum();
        for (ticket, mode) in &state.line {
            if taken >= max.into() {
                break;
            }
            next.push(*ticket);
            taken += mode.of(max);
        }
        next
    }

    /// Turns a place in line into what it was for. Nobody else is served by that: whoever stands behind counted
    /// it as served already.
    fn grant(&mut self, ticket: Ticket) {
        let wants = self.claimants[&ticket].wants.clone();
        self.stand_aside(ticket);
        for want in &wants {
            self.states.entry(want.key.clone()).or_default().held.insert(ticket, want.mode);
        }
        let claimant = self.claimant(ticket);
        (claimant.standing, claimant.wants) = (Standing::Holds, wants);
    }

    /// What keeps `ticket` from `wants`, with all who would have to give something back; nothing if it may have them.
    #[must_use]
    pub fn waits(&self, ticket: Option<Ticket>, wants: &[Want]) -> Vec<Wait> {
        let wait = |want: &Want| {
            let (needs, max) = self.missing(ticket, want).filter(|(needs, _)| *needs > 0)?;
            let state = &self.states[&want.key];
            let held = state.held.iter().map(|(holder, mode)| Debt {
                who: self.node(*holder),
                amount: mode.of(max),
                ahead: None,
            });
            let ahead = self.ahead(ticket, state).map(|(other, mode)| Debt {
                who: self.node(other),
                amount: mode.of(max),
                ahead: Some(other),
            });
            Some(Wait { on: On::Lock(want.key.clone()), needs, of: held.chain(ahead).collect() })
        };
        wants.iter().filter_map(wait).collect()
    }

    /// The same for somebody who would stand in no line: only those count who hold something.
    #[must_use]
    pub fn held(&self, wants: &[Want]) -> Vec<Wait> {
        let without_lines = |mut wait: Wait| {
            let ahead: u64 = wait.of.iter().filter(|d| d.ahead.is_some()).map(|d| d.amount).sum();
            wait.of.retain(|debt| debt.ahead.is_none());
            wait.needs = wait.needs.saturating_sub(ahead);
            wait
        };
        self.waits(None, wants).into_iter().map(without_lines).filter(|wait| wait.needs > 0).collect()
    }

    /// Who waits for whom because of locks, and the ticket of each.
    fn graph(&self) -> (Graph, BTreeMap<Node, Ticket>) {
        let (mut graph, mut tickets) = (Graph::new(), BTreeMap::new());
        for (ticket, claimant) in self.claimants.iter().filter(|(_, c)| c.standing == Standing::Waits) {
            let node = self.node(*ticket);
            graph.insert(node, vec![self.waits(Some(*ticket), &claimant.wants)]);
            tickets.insert(node, *ticket);
        }
        (graph, tickets)
    }

    fn node(&self, ticket: Ticket) -> Node {
        self.claimants[&ticket].who.build().map_or(Node::Place(ticket), Node::Build)
    }
}
