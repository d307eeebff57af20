//! Waits that can never end: who waits for whom, and the circle where it closes.
//!
//! The graph is exact: a node that waits may have several ways to go on (the workers that it could build on), each
//! with several waits (all of its locks, a slot), each of which needs so much of what others owe. A node is *stuck*
//! if no way is open even when everybody who is not stuck has gone on and given back what it has. Whoever is not
//! in the graph goes on by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Key, Ticket};
use crate::id::{BuildId, RequestId};

/// Somebody who may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A running build: its step waits for locks, or for other builds.
    Build(BuildId),
    /// A request that a build waits for.
    Request(RequestId),
    /// A builder's place in line.
    Place(Ticket),
}

/// Each way to go on, with all that has to happen for it.
pub type Graph = BTreeMap<Node, Vec<Vec<Wait>>>;

/// One thing that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What it is.
    pub on: On,
    /// So much has to come free.
    pub needs: u64,
    /// Those who have it.
    pub of: Vec<Debt>,
}

/// What somebody gives back when it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debt {
    /// Who.
    pub who: Node,
    /// How much.
    pub amount: u64,
    /// It has nothing yet, but stands ahead in line, with this ticket.
    pub ahead: Option<Ticket>,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// A lock.
    Lock(Key),
    /// A slot of a worker.
    Slot(String),
    /// The end of a request.
    Request(RequestId),
    /// Its builder's turn in line.
    Turn,
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            On::Lock(key) => write!(f, "lock {key}"),
            On::Slot(worker) => write!(f, "a slot of worker `{worker}`"),
            On::Request(request) => write!(f, "request {}", request.0),
            On::Turn => f.write_str("its turn"),
        }
    }
}

/// One wait of a circle: `who` waits for `on`, which `has` has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who waits.
    pub who: Node,
    /// What for.
    pub on: On,
    /// Who would have to go on first.
    pub has: Node,
}

/// A circle in words; `name` names its nodes. It ends where it began.
#[must_use]
pub fn describe(circle: &[Link], name: impl Fn(Node) -> String) -> String {
    let mut text = String::new();
    for link in circle {
        text.push_str(&if text.is_empty() { name(link.who) } else { ", which".to_owned() });
        match &link.on {
            on @ On::Request(_) => text.push_str(&format!(" waits for {on}")),
            On::Turn => text.push_str(&format!(" stands in line as {}", name(link.has))),
            on @ (On::Lock(_) | On::Slot(_)) => {
                text.push_str(&format!(" waits for {on}, held by {}", name(link.has)));
            }
        }
    }
    text
}

/// Those who can never go on. Those in `despite` count as if they could; unless `heed_lines`, a place in line is
/// nothing that anybody has to wait behind. Costs what the graph has of debts.
pub(super) fn stuck(graph: &Graph, despite: &BTreeSet<Node>, heed_lines: bool) -> BTreeSet<Node> {
    let mut stuck: BTreeSet<Node> = graph.keys().filter(|node| !despite.contains(node)).copied().collect();
    // Ways with the number of their waits that are not met, and waits with their way and what they still need.
    let mut ways: Vec<(Node, usize)> = Vec::new();
    let mut waits: Vec<(usize, u64)> = Vec::new();
    let mut owed: BTreeMap<Node, Vec<(usize, u64)>> = BTreeMap::new();
    let mut free = Vec::new();
    for node in &stuck {
        for way in &graph[node] {
            let mut unmet = 0;
            for wait in way {
                let mut needs = wait.needs;
                for debt in &wait.of {
                    if stuck.contains(&debt.who) && (heed_lines || debt.ahead.is_none()) {
                        owed.entry(debt.who).or_default().push((waits.len(), debt.amount));
                    } else {
                        needs = needs.saturating_sub(debt.amount);
                    }
                }
                unmet += usize::from(needs > 0);
                waits.push((ways.len(), needs));
            }
            ways.push((*node, unmet));
            if unmet == 0 {
                free.push(*node);
            }
        }
    }
    while let Some(node) = free.pop() {
        if !stuck.remove(&node) {
            continue;
        }
        for (wait, amount) in owed.remove(&node).unwrap_or_default() {
            let (way, needs) = &mut waits[wait];
            let was_met = *needs == 0;
            *needs = needs.saturating_sub(amount);
            if !was_met && *needs == 0 {
                let (node, unmet) = &mut ways[*way];
                *unmet -= 1;
                if *unmet == 0 {
                    free.push(*node);
                }
            }
        }
    }
    stuck
}

/// The circle that a stuck node runs into.
pub(super) fn circle(graph: &Graph, stuck: &BTreeSet<Node>, from: Node) -> Vec<Link> {
    let mut path: Vec<Link> = Vec::new();
    let mut who = from;
    loop {
        if let Some(start) = path.iter().position(|link| link.who == who) {
            return path.split_off(start);
        }
        let holds = |debt: &&Debt| debt.ahead.is_none() && stuck.contains(&debt.who);
        let unmet = |wait: &&Wait| !met(wait, |debt| !stuck.contains(&debt.who) || debt.ahead.is_some());
        let wait = graph[&who].iter().flatten().find(unmet).expect("BUG: who is stuck waits for something");
        // What nobody has will never come: the chain ends there.
        let Some(debt) = wait.of.iter().find(holds) else { return path };
        path.push(Link { who, on: wait.on.clone(), has: debt.who });
        who = debt.who;
    }
}

/// Who has to pass whom in line, so that nobody waits for ever but those who are `stuck` anyway.
///
/// Without the lines nobody else is stuck. So among those whom lines alone hold up there is always one who needs
/// nothing that another of them holds: it passes those ahead of it, and goes on. And then there is a next one.
pub(super) fn overtaking(graph: &mut Graph, stuck_anyway: &BTreeSet<Node>) -> Vec<(Node, BTreeSet<Ticket>)> {
    let mut passes = Vec::new();
    loop {
        let held_up = stuck(graph, stuck_anyway, true);
        let in_the_way = |debt: &Debt| debt.ahead.is_some() && held_up.contains(&debt.who);
        let gone = |debt: &Debt| !held_up.contains(&debt.who) || in_the_way(debt);
        let first = held_up.iter().copied().find_map(|node| {
            let way = graph[&node].iter().position(|way| way.iter().all(|wait| met(wait, gone)))?;
            Some((node, way))
        });
        let Some((node, way)) = first else { return passes };
        let ahead = graph[&node][way].iter().flat_map(|wait| &wait.of).filter(|debt| in_the_way(debt));
        let passed: BTreeSet<Ticket> = ahead.filter_map(|debt| debt.ahead).collect();
        for wait in graph.get_mut(&node).into_iter().flatten().flatten() {
            let is_passed = |debt: &Debt| debt.ahead.is_some_and(|ahead| passed.contains(&ahead));
            let less: u64 = wait.of.iter().filter(|debt| is_passed(debt)).map(|debt| debt.amount).sum();
            wait.needs = wait.needs.saturating_sub(less);
            wait.of.retain(|debt| !is_passed(debt));
        }
        passes.push((node, passed));
    }
}

fn met(wait: &Wait, gone: impl Fn(&Debt) -> bool) -> bool {
    wait.of.iter().filter(|debt| gone(debt)).map(|debt| debt.amount).sum::<u64>() >= wait.needs
}
