//! Tests of the board: single cases told as stories, over one [`Table`]. The [`model`] is what any order of events must obey.

use std::sync::Arc;

use super::fixture::{buildset, request};
use super::*;
use crate::builder::{Merge, OnError};
use crate::decision::Done;
use crate::digest::Digest;
use crate::id::{BuildId, RequestId};
use crate::policy::FaultKind;
use crate::request::{Pending, Request, Turn};

mod conformance;
mod late;
mod locks;
mod model;
mod policies;
mod quarantine;
mod reads;
mod starts;
mod takeup;
mod waits;

use late::Late;

/// A board with a clock and what it wants done.
struct Table {
    board: Board,
    rules: Rules,
    now: Timestamp,
    asks: Vec<Ask>,
    claims: Vec<Claim>,
    /// Each claim that was handed out: worker and requests.
    begun: Vec<(String, Vec<RequestId>)>,
    decisions: Vec<Decision>,
    /// What is held against workers and policies, as it is kept for the next start.
    suspended: BTreeMap<String, Suspension>,
    builds: u64,
    /// What waits in the store, and what builds hold.
    stored: Stored,
    held: BTreeMap<BuildId, Vec<Request>>,
    /// Whether the board is told of things, and gets what it reads, when the test says so.
    late: Option<Late>,
    /// What became of steps that waited for locks.
    step_locks: Vec<(u64, Result<(), String>)>,
    /// Running builds by worker and builder.
    running: Vec<(BuildId, String, String)>,
}

fn policy(hook: &str) -> PolicyUse {
    PolicyUse { hook: hook.to_owned(), args: "{}".to_owned(), on_error: OnError::Default }
}

impl Table {
    fn new(workers: &[(&str, Option<u32>)], builders: Vec<Builder>) -> Table {
        let rules = Rules {
            workers: workers
                .iter()
                .map(|(name, max_builds)| WorkerRule {
                    name: (*name).to_owned(),
                    max_builds: *max_builds,
                    properties: Properties::default(),
                    locks: Vec::new(),
                })
                .collect(),
            ..Rules::default()
        };
        let mut table = Table {
            board: Board::default(),
            rules,
            now: Timestamp(1_000_000),
            asks: Vec::new(),
            claims: Vec::new(),
            begun: Vec::new(),
            decisions: Vec::new(),
            suspended: BTreeMap::new(),
            builds: 0,
            stored: BTreeMap::new(),
            held: BTreeMap::new(),
            late: None,
            step_locks: Vec::new(),
            running: Vec::new(),
        };
        table.configure(builders, None, "one");
        for (name, _) in workers {
            table.board.worker_up(name, Timestamp(1), Vec::new());
        }
        table.turn();
        table
    }

    fn configure(&mut self, builders: Vec<Builder>, prioritize: Option<PolicyUse>, bytes: &str) {
        self.rules.builders = builders.into_iter().map(|b| (b.name.clone(), Arc::new(b))).collect();
        self.rules.prioritize_builders = prioritize;
        self.rules.components.clear();
        for (kind, hook) in Board::uses(&self.rules) {
            let component = Component {
                kind: kind.as_str().to_owned(),
                hook: format!("p:{hook}"),
                digest: Digest::of(bytes.as_bytes()),
            };
            self.rules.components.insert((kind, hook), component);
        }
        self.board.configure(self.rules.clone());
        self.turn();
    }

    fn turn(&mut self) {
        loop {
            let effects = self.board.decide(self.now);
            if effects.is_empty() {
                self.board.check(self.now);
                // Nothing happened since: nothing is tried.
                let starts = self.board.last_start;
                assert!(self.board.decide(self.now).is_empty());
                assert_eq!(self.board.last_start, starts, "a start began for no reason");
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Ask(ask) => self.asks.push(ask),
                    Effect::Claim(claim) => {
                        let requests = claim.requests.iter().map(|(r, _)| r.id).collect();
                        self.begun.push((claim.worker.clone(), requests));
                        self.claims.push(claim);
                    }
                    Effect::History(pairs) => {
                        self.board.history(pairs.into_iter().map(|p| (p, None)).collect());
                    }
                    Effect::More { builder, after, limit } => self.read(Read::Page { builder, after, limit }),
                    Effect::Scan => self.scan(),
                    Effect::Skipped { .. } => {}
                    Effect::Suspended { key, what: Some(what) } => drop(self.suspended.insert(key, what)),
                    Effect::Suspended { key, what: None } => {
                        self.suspended.remove(&key);
                    }
                    Effect::Record(decision) => self.decisions.push(decision),
                    Effect::StepLocks { build, result } => self.step_locks.push((build.0, result)),
                    Effect::Stuck { build, circle } => self.step_locks.push((build.0, Err(circle))),
                }
            }
        }
    }

    /// Reads the store, at once or later.
    fn read(&mut self, read: Read) {
        match &mut self.late {
            Some(late) => late.reads.push((late.history.len(), read)),
            None => read.answer(&mut self.board, &self.stored),
        }
    }

    fn scan(&mut self) {
        self.read(Read::Count);
    }

    fn submit(&mut self, requests: impl IntoIterator<Item = Request>) {
        let requests: Vec<Request> = requests.into_iter().collect();
        self.stored.extend(requests.iter().map(|r| (Turn::of(r), r.clone())));
        let set = |r: Request| (r.clone(), Arc::new(buildset(r.buildset.0)));
        self.board.submitted(requests.into_iter().map(set).collect::<Vec<_>>());
        self.turn();
    }

    fn answer(&mut self, answer: Answer) {
        let ask = self.asks.remove(0);
        self.reply(&ask, Ok(answer));
    }

    fn fail(&mut self) {
        let ask = self.asks.remove(0);
        let fault = Fault {
            plugin: "p".to_owned(),
            digest: ask.component.digest,
            call: ask.component.kind.clone(),
            kind: FaultKind::Trap("unreachable".to_owned()),
        };
        self.reply(&ask, Err(fault));
    }

    fn reply(&mut self, ask: &Ask, answer: Result<Answer, Fault>) {
        let reply = Reply { answer, lookups: Vec::new(), usage: Usage::default() };
        self.board.answered(ask.id, reply, self.now);
        self.turn();
    }

    /// The store accepts all claims: (worker, requests) of each.
    fn commit(&mut self) -> Vec<(String, Vec<u64>)> {
        let claims = std::mem::take(&mut self.claims);
        let started = claims
            .into_iter()
            .map(|claim| {
                self.builds += 1;
                self.board.claimed(claim.start, BuildId(self.builds));
                let ids = claim.requests.iter().map(|(r, _)| r.id.0).collect();
                let rows = claim.requests.iter().filter_map(|(r, _)| self.stored.remove(&Turn::of(r)));
                self.held.insert(BuildId(self.builds), rows.collect());
                let builder = claim.builder.name.clone();
                self.running.push((BuildId(self.builds), claim.worker.clone(), builder));
                (claim.worker, ids)
            })
            .collect();
        self.turn();
        started
    }

    fn end(&mut self, build: u64, outcome: Outcome) {
        let held = self.held.remove(&BuildId(build)).unwrap_or_default();
        if outcome == Outcome::Retry {
            self.stored.extend(held.into_iter().map(|r| (Turn::of(&r), r)));
        }
        self.board.build_ended(BuildId(build), outcome, self.now);
        self.running.retain(|(id, _, _)| id.0 != build);
        self.turn();
    }

    /// The master is killed, and the next one has taken up the builds: its board has not read the store yet.
    fn begin_again(&mut self) {
        self.hear_of_builds();
        let steps = self.board.steps_with_locks();
        self.board = Board::default();
        (self.asks, self.claims) = (Vec::new(), Vec::new());
        self.board.configure(self.rules.clone());
        let builder = |name: &str| {
            let known = self.rules.builders.get(name).cloned();
            known.unwrap_or_else(|| Arc::new(Builder::bare(name, &[])))
        };
        let set = |r: &Request| (r.clone(), Arc::new(buildset(r.buildset.0)));
        let taken_up = self.running.iter().map(|(build, worker, name)| TakenUp {
            build: *build,
            builder: builder(name),
            worker: worker.clone(),
            requests: self.held[build].iter().map(set).collect(),
            step: steps.get(build).cloned(),
        });
        self.board.take_up(taken_up.collect(), self.now);
    }

    /// The same, up to where it has read the store. No worker is there yet.
    fn restart(&mut self) {
        self.begin_again();
        self.board.opening();
        let heads = counts(&self.stored).into_keys();
        let heads = heads.map(|name| (name.clone(), pending(&self.stored, &name, None, HEAD))).collect();
        self.board.opened(heads);
        self.turn();
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.turn();
    }

    fn why(&self, builder: &str) -> Option<String> {
        let status = self.board.status(self.now);
        status.builders.into_iter().find(|b| b.name == builder).and_then(|b| b.wait).map(|wait| wait.why)
    }
}

/// What waits, in the default order.
type Stored = BTreeMap<Turn, Request>;

/// A look into the store.
#[derive(Clone, Debug)]
enum Read {
    Page { builder: String, after: Option<Turn>, limit: usize },
    Count,
}

impl Read {
    /// Tells the board what it finds there.
    fn answer(self, board: &mut Board, stored: &Stored) {
        match self {
            Read::Page { builder, after, limit } => {
                board.loaded(&builder, pending(stored, &builder, after, limit), limit);
            }
            Read::Count => board.counted(counts(stored)),
        }
    }
}

/// What a store that has these answers to the question for a page.
fn pending(stored: &Stored, builder: &str, after: Option<Turn>, limit: usize) -> Pending {
    let of_builder = || stored.values().filter(|request| request.builder == builder);
    let rows = of_builder().filter(|r| after.is_none_or(|after| Turn::of(r) > after)).take(limit);
    let rows = rows.map(|r| (r.clone(), Arc::new(buildset(r.buildset.0)))).collect();
    Pending { rows, count: of_builder().count() as u64 }
}

/// What it counts for each builder.
fn counts(stored: &Stored) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for request in stored.values() {
        *counts.entry(request.builder.clone()).or_default() += 1;
    }
    counts
}

fn started(pairs: &[(&str, &[u64])]) -> Vec<(String, Vec<u64>)> {
    pairs.iter().map(|(worker, ids)| ((*worker).to_owned(), ids.to_vec())).collect()
}

fn builder(name: &str, workers: &[&str]) -> Builder {
    Builder::bare(name, workers)
}

fn prior(id: u64, builder: &str, priority: i32) -> Request {
    Request { priority, ..request(id, builder) }
}
