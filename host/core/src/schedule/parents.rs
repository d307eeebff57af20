//! Builds whose step waits for requests, and what those need: found out when nobody of them can ever go on.
//!
//! A parent keeps its slot and its locks while it waits. If a child needs one of them, and nothing else will do, both
//! wait for ever. That is looked for whenever somebody begins to wait, here or for a lock; whoever closed the circle is
//! told its members. A worker that is not connected, or in quarantine, may come back: a way over it counts as open, until it
//! is back.

use std::collections::{BTreeMap, BTreeSet};

use super::stage::Start;
use super::{Board, Effect};
use crate::builder::Builder;
use crate::id::{BuildId, RequestId};
use crate::lock::deadlock::{Debt, Graph, Node, On, Wait};

impl Board {
    /// The running step of `build` waits for requests, each of a builder, until [`Board::unlock_step`]. The error names
    /// the circle in which it would wait for ever.
    pub fn wait_for_requests(
        &mut self,
        build: BuildId,
        requests: impl IntoIterator<Item = (RequestId, String)>,
    ) -> Result<(), String> {
        self.locks.parents.insert(build, requests.into_iter().collect());
        let found = self.untangle(build).map(|woken| self.wake(woken));
        if found.is_err() {
            self.locks.parents.remove(&build);
        }
        found
    }

    /// The step of `build` waits for no request any more.
    pub fn wait_no_more(&mut self, build: BuildId) {
        self.locks.parents.remove(&build);
    }

    /// A way that counted as open may be none any more: it is looked again whether parents wait for ever, once for all
    /// that happens before the next decision is over.
    pub(super) fn may_be_stuck(&mut self) {
        self.locks.looks_again = !self.locks.parents.is_empty();
    }

    /// Looks again, if that is due.
    pub(super) fn untangle_parents(&mut self) {
        while std::mem::take(&mut self.locks.looks_again) {
            let parents: Vec<Node> = self.locks.parents.keys().map(|build| Node::Build(*build)).collect();
            let others = self.waits_of_parents();
            match self.locks.table.untangle_all(&parents, &others) {
                Ok(woken) => self.wake(woken),
                Err((Node::Build(build), circle)) => {
                    let circle = self.told(&circle);
                    // Its step goes on, and may hold locks. The others may be free now.
                    self.locks.parents.remove(&build);
                    self.effects.push(Effect::Stuck { build, circle });
                    self.may_be_stuck();
                }
                Err((other, _)) => unreachable!("BUG: {other:?} is no parent"),
            }
        }
    }

    /// Whether a parent was let off as long as this start went on.
    pub(super) fn lets_off(&self, start: &Start) -> bool {
        let worker = self.slots.number(&start.worker);
        self.locks.parents.values().flatten().any(|(child, builder)| {
            start.requests().any(|request| request == *child)
                || worker.is_some_and(|worker| self.slots.serves(worker, builder))
        })
    }

    /// A request is over: nobody waits for it any more.
    pub(super) fn request_over(&mut self, request: RequestId) {
        for children in self.locks.parents.values_mut() {
            children.remove(&request);
        }
    }

    /// Waits that are not for locks alone: of parents for their children, of those for slots and locks.
    pub(super) fn waits_of_parents(&self) -> Graph {
        let mut graph = Graph::new();
        if self.locks.parents.is_empty() {
            return graph;
        }
        let around = Around::of(self);
        // What waits in one lane has the same ways: the first stands for all of them.
        let mut lanes: BTreeMap<&str, Node> = BTreeMap::new();
        for (parent, children) in &self.locks.parents {
            let mut waits = Vec::with_capacity(children.len());
            for (child, builder) in children {
                let own = Node::Request(*child);
                let node = if let Some(build) = around.served.get(child) {
                    graph.insert(own, vec![vec![one_of(On::Request(*child), [Node::Build(*build)])]]);
                    own
                } else if around.starting.contains(child) {
                    // While a start is about to claim it, it goes on.
                    own
                } else {
                    *lanes.entry(builder).or_insert_with(|| {
                        graph.insert(own, self.ways_of(builder, &around));
                        own
                    })
                };
                waits.push(one_of(On::Request(*child), [node]));
            }
            graph.insert(Node::Build(*parent), vec![waits]);
        }
        graph
    }

    /// How a request that waits can come to its end: on each worker of its builder.
    fn ways_of(&self, builder: &str, around: &Around<'_>) -> Vec<Vec<Wait>> {
        match self.rules.builders.get(builder) {
            Some(spec) => spec.workers.iter().map(|worker| self.way_over(worker, spec, around)).collect(),
            // Without its builder it waits for the configuration.
            None => vec![Vec::new()],
        }
    }

    fn way_over(&self, worker: &str, spec: &Builder, around: &Around<'_>) -> Vec<Wait> {
        let builder = spec.name.as_str();
        let Some(no) = self.slots.number(worker).filter(|_| self.slots.is_open(worker)) else {
            return Vec::new();
        };
        let mut waits = match self.aim(builder).filter(|(_, aim)| *aim == worker) {
            // It stands in line there: its place is what goes on.
            Some((ticket, _)) => vec![one_of(On::Turn, [Node::Place(ticket)])],
            None => self.locks.table.held(&self.wants(spec, worker)),
        };
        // A start that sits on a slot goes on, and then it is a build.
        if !self.slots.has_room(no, builder) && !around.starts_on.contains(worker) {
            let on_it = around.builds_on.get(worker).into_iter().flatten();
            // Where each builder has one slot, only its own build can free it.
            let one_each = self.slots.rule(worker).is_some_and(|rule| rule.max_builds.is_none());
            let in_the_way = on_it.filter(|(_, of)| !one_each || *of == builder);
            waits.push(one_of(On::Slot(worker.to_owned()), in_the_way.map(|(build, _)| Node::Build(*build))));
        }
        waits
    }
}

/// What runs and what is about to, by what is asked of it.
#[derive(Default)]
struct Around<'b> {
    /// The build that serves a request.
    served: BTreeMap<RequestId, BuildId>,
    /// Requests that a start has taken.
    starting: BTreeSet<RequestId>,
    /// Workers with a start.
    starts_on: BTreeSet<&'b str>,
    /// The builds of a worker, with their builders.
    builds_on: BTreeMap<&'b str, Vec<(BuildId, &'b str)>>,
}

impl<'b> Around<'b> {
    fn of(board: &'b Board) -> Around<'b> {
        let mut around = Around::default();
        for (build, running) in &board.running {
            around.served.extend(running.requests().map(|request| (request, *build)));
            around.builds_on.entry(&running.worker).or_default().push((*build, &running.builder));
        }
        for start in board.starts.values() {
            around.starting.extend(start.requests());
            around.starts_on.insert(&start.worker);
        }
        around
    }
}

/// A wait that ends as soon as one of these goes on.
fn one_of(on: On, nodes: impl IntoIterator<Item = Node>) -> Wait {
    let debt = |who| Debt { who, amount: 1, ahead: None };
    Wait { on, needs: 1, of: nodes.into_iter().map(debt).collect() }
}
