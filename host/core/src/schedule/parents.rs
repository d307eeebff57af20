//! Builds whose step waits for requests, and what those need: found out when nobody of them can ever go on.
//!
//! A parent keeps its slot and its locks while it waits. If a child needs one of them, and nothing else will do, both
//! wait for ever. That is looked for whenever somebody begins to wait, here or for a lock; whoever closed the circle is
//! told its members. A worker that is not connected, or in quarantine, may come back: a way over it counts as open, until it
//! is back.

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

    /// Looks again whether parents wait for ever: a way that counted as open is none any more.
    pub(super) fn untangle_parents(&mut self) {
        for build in self.locks.parents.keys().copied().collect::<Vec<_>>() {
            match self.untangle(build) {
                Ok(woken) => self.wake(woken),
                Err(circle) => {
                    // Its step goes on, and may hold locks.
                    self.locks.parents.remove(&build);
                    self.effects.push(Effect::Stuck { build, circle });
                }
            }
        }
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
        for (parent, children) in &self.locks.parents {
            let wait = |child: &RequestId| one_of(On::Request(*child), [Node::Request(*child)]);
            graph.insert(Node::Build(*parent), vec![children.keys().map(wait).collect()]);
            for (child, builder) in children {
                graph.insert(Node::Request(*child), self.ways_of(*child, builder));
            }
        }
        graph
    }

    /// How a request can come to its end: by the build that serves it, or else on each worker of its builder.
    fn ways_of(&self, request: RequestId, builder: &str) -> Vec<Vec<Wait>> {
        let serves = self.running.iter().find(|(_, running)| running.serves(request));
        if let Some((build, _)) = serves {
            return vec![vec![one_of(On::Request(request), [Node::Build(*build)])]];
        }
        // Without its builder it waits for the configuration; while a start is about to claim it, it goes on.
        let starts = self.starts.values().any(|start| start.requests().any(|r| r == request));
        let Some(spec) = self.rules.builders.get(builder).filter(|_| !starts) else {
            return vec![Vec::new()];
        };
        spec.workers.iter().map(|worker| self.way_over(worker, spec)).collect()
    }

    fn way_over(&self, worker: &str, spec: &Builder) -> Vec<Wait> {
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
        let starts = self.starts.values().any(|start| start.worker == worker);
        if !self.slots.has_room(no, builder) && !starts {
            let on_it = self.running.iter().filter(|(_, running)| running.worker == worker);
            // Where each builder has one slot, only its own build can free it.
            let one_each = self.slots.rule(worker).is_some_and(|rule| rule.max_builds.is_none());
            let in_the_way = on_it.filter(|(_, running)| !one_each || running.builder == builder);
            waits.push(one_of(On::Slot(worker.to_owned()), in_the_way.map(|(build, _)| Node::Build(*build))));
        }
        waits
    }
}

/// A wait that ends as soon as one of these goes on.
fn one_of(on: On, nodes: impl IntoIterator<Item = Node>) -> Wait {
    let debt = |who| Debt { who, amount: 1, ahead: None };
    Wait { on, needs: 1, of: nodes.into_iter().map(debt).collect() }
}
