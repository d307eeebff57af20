//! Tests of the board: single cases told as stories. The [`model`] is what any order of events must obey.

use std::sync::Arc;

use super::fixture::{buildset, request};
use super::*;
use crate::builder::{Merge, OnError};
use crate::decision::Done;
use crate::digest::Digest;
use crate::id::{BuildId, RequestId};
use crate::policy::FaultKind;
use crate::request::{Request, Turn};

mod conformance;
mod locks;
mod model;

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
    builds: u64,
    /// What waits in the store, and what builds hold.
    stored: BTreeMap<Turn, Request>,
    held: BTreeMap<BuildId, Vec<Request>>,
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
            builds: 0,
            stored: BTreeMap::new(),
            held: BTreeMap::new(),
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
                    Effect::More { builder, after, limit } => self.more(&builder, after, limit),
                    Effect::Scan => self.scan(),
                    Effect::Skipped { .. } => {}
                    Effect::Record(decision) => self.decisions.push(decision),
                    Effect::StepLocks { build, result } => self.step_locks.push((build.0, result)),
                }
            }
        }
    }

    fn more(&mut self, builder: &str, after: Option<Turn>, limit: usize) {
        let waiting = self.stored.values().filter(|r| r.builder == builder);
        let rows = waiting.filter(|r| after.is_none_or(|after| Turn::of(r) > after)).take(limit);
        let rows = rows.map(|r| (r.clone(), Arc::new(buildset(r.buildset.0)))).collect();
        self.board.loaded(builder, rows, limit);
    }

    fn scan(&mut self) {
        let mut counts = BTreeMap::new();
        for request in self.stored.values() {
            *counts.entry(request.builder.clone()).or_default() += 1;
        }
        self.board.counted(counts);
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

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.turn();
    }

    fn why(&self, builder: &str) -> Option<String> {
        let status = self.board.status(self.now);
        status.builders.into_iter().find(|b| b.name == builder).and_then(|b| b.why)
    }
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

#[test]
fn without_policies_priority_then_age_then_id_over_all_builders() {
    let mut table = Table::new(&[("w", Some(1))], vec![builder("a", &["w"]), builder("b", &["w"])]);
    table.submit([prior(5, "a", 0), prior(3, "b", 0), prior(9, "a", 7), prior(4, "a", 0)]);
    let mut order = Vec::new();
    for build in 1..=4 {
        order.extend(table.commit().into_iter().flat_map(|(_, ids)| ids));
        table.end(build, Outcome::Success);
    }
    assert_eq!(order, [9, 3, 4, 5]);
}

#[test]
fn builds_go_to_the_least_loaded_worker_up_to_its_slots() {
    let mut table = Table::new(&[("w1", Some(2)), ("w2", Some(1))], vec![builder("a", &["w1", "w2"])]);
    table.submit((1..=5).map(|id| request(id, "a")));
    assert_eq!(table.commit(), started(&[("w1", &[1]), ("w2", &[2]), ("w1", &[3])]));
    assert_eq!(table.why("a").unwrap(), "all its workers are busy");
    table.end(2, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w2", &[4])]));
}

#[test]
fn a_worker_without_max_builds_takes_one_build_of_each_builder() {
    let mut table = Table::new(&[("w", None)], vec![builder("a", &["w"]), builder("b", &["w"])]);
    table.submit([request(1, "a"), request(2, "a"), request(3, "b")]);
    assert_eq!(table.commit(), started(&[("w", &[1]), ("w", &[3])]));
}

#[test]
fn compatible_requests_are_served_by_one_build_and_the_bound_holds() {
    let merging = Builder { merge_requests: Merge::Compatible, ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![merging]);
    table.submit((1..=1 + MERGE_BOUND as u64).map(|id| request(id, "a")));
    let all: Vec<u64> = (1..=MERGE_BOUND as u64).collect();
    // The first event started the first request alone only if it came alone: it did not.
    assert_eq!(table.commit(), started(&[("w", &all)]));
}

#[test]
fn a_policy_picks_the_worker_and_its_component_is_on_record() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![choosy]);
    table.submit([request(1, "a")]);
    table.answer(Answer::Slave(Some("w2".to_owned())));
    assert_eq!(table.claims[0].acted[0].hook, "p:choose");
    assert_eq!(table.claims[0].decisions, [table.decisions[0].id]);
    assert_eq!(table.decisions[0].done, Done::Placed("w2".to_owned()));
    assert_eq!(table.commit(), started(&[("w2", &[1])]));
}

/// Symptom: after a reload, nothing of a policy was counted any more. Cause: the late reply of the old bytes made a
/// tally for them. Cure: only what is asked by the present rules has a tally.
#[test]
fn a_reply_of_bytes_that_were_replaced_counts_for_nothing_and_keeps_nothing_from_being_counted() {
    let choosy = || Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(9))], vec![choosy()]);
    table.submit([request(1, "a")]);
    table.configure(vec![choosy()], None, "two");
    table.answer(Answer::Slave(Some("w".to_owned())));
    let counts = |table: &Table| {
        let policy = table.board.status(table.now).policies.remove(0);
        (policy.answers, policy.faults, policy.last_fault.is_some())
    };
    assert_eq!(counts(&table), (0, 0, false), "the new bytes have answered nothing");
    table.submit([request(2, "a")]);
    table.fail();
    assert_eq!(counts(&table), (0, 1, true));
}

#[test]
fn a_builder_that_waits_for_its_policy_stops_no_other() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(2))], vec![choosy, builder("b", &["w"])]);
    table.submit([request(1, "a"), request(2, "b")]);
    assert_eq!(table.asks.len(), 1);
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

#[test]
fn several_starts_of_one_builder_are_under_way_at_once() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(3))], vec![choosy]);
    table.submit((1..=9).map(|id| request(id, "a")));
    assert_eq!(table.asks.len(), 3);
}

#[test]
fn two_starts_that_choose_each_others_slot_swap() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![choosy]);
    table.submit([request(1, "a"), request(2, "a")]);
    // The first was offered both, the second what was left.
    table.answer(Answer::Slave(Some("w2".to_owned())));
    let second = table.asks.remove(0);
    table.reply(&second, Ok(Answer::Slave(Some("w2".to_owned()))));
    // w2 is the first one's for good: the second is asked again, about w1 alone.
    let Question::NextSlave { slaves, .. } = &table.asks[0].question else { panic!() };
    assert_eq!(slaves.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["w1"]);
    table.answer(Answer::Slave(Some("w1".to_owned())));
    assert_eq!(table.commit(), started(&[("w2", &[1]), ("w1", &[2])]));
}

#[test]
fn faults_and_nonsense_fall_back_to_the_default_and_suspend_after_three() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![choosy.clone()]);
    table.submit((1..=6).map(|id| request(id, "a")));
    for build in 1..=3 {
        match build {
            1 => table.fail(),
            2 => table.answer(Answer::Slave(Some("ghost".to_owned()))),
            _ => table.answer(Answer::Requests(vec![1])),
        }
        assert_eq!(table.commit(), started(&[("w", &[build])]));
        table.end(build, Outcome::Success);
    }
    // Suspended: the fourth starts without a question.
    assert!(table.asks.is_empty());
    assert_eq!(table.commit(), started(&[("w", &[4])]));
    let status = table.board.status(table.now);
    assert_eq!((status.policies[0].faults, status.policies[0].skipped), (3, 1));
    assert_eq!(status.policies[0].fallbacks, 4);
    assert!(status.policies[0].last_fault.as_ref().unwrap().contains("choose"));
    // New bytes: asked again.
    table.configure(vec![choosy], None, "two");
    table.end(4, Outcome::Success);
    assert_eq!(table.asks.len(), 1);
}

/// Symptom: a builder with waiting requests and free slots never started another build. Cause: it was
/// marked as being asked `next-build` before its policy was found to be suspended, and nothing took the mark
/// back. Cure: there is no mark; a question is under way when the desk has it.
#[test]
fn a_suspended_next_build_leaves_every_choice_to_the_default() {
    let picky = Builder { next_build: Some(policy("pick")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![picky]);
    table.submit((1..=5).map(|id| request(id, "a")));
    for build in 1..=5 {
        if build <= 3 {
            table.fail();
        }
        assert_eq!(table.commit(), started(&[("w", &[build])]));
        table.end(build, Outcome::Success);
    }
}

#[test]
fn on_error_hold_leaves_the_request_for_ten_seconds() {
    let hold = PolicyUse { on_error: OnError::Hold, ..policy("choose") };
    let choosy = Builder { next_slave: Some(hold), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![choosy]);
    table.submit([request(1, "a")]);
    table.fail();
    assert!(table.claims.is_empty());
    assert_eq!(table.why("a").unwrap(), "`choose` gives no answer");
    table.pass(HOLD_MS - 1);
    assert!(table.asks.is_empty());
    table.pass(1);
    table.answer(Answer::Slave(Some("w".to_owned())));
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

/// The uses of policies that can hold a builder back, with an answer that each follows.
fn holding() -> Vec<(Builder, Option<PolicyUse>, Answer)> {
    let hold = || PolicyUse { on_error: OnError::Hold, ..policy("p") };
    let plain = || builder("a", &["w"]);
    vec![
        (Builder { next_slave: Some(hold()), ..plain() }, None, Answer::Slave(Some("w".to_owned()))),
        (Builder { next_build: Some(hold()), ..plain() }, None, Answer::Request(Some(1))),
        // A gate that fails is a closed one, whatever `on_error` says.
        (
            Builder { can_start_build: Some(policy("p")), ..plain() },
            None,
            Answer::Names(vec!["w".to_owned()]),
        ),
        (Builder { merge_requests: Merge::Policy(hold()), ..plain() }, None, Answer::Requests(Vec::new())),
        (plain(), Some(hold()), Answer::Names(vec!["a".to_owned()])),
    ]
}

/// A table whose one policy has failed until it was suspended, and what has gone by since.
fn suspended(builder: &Builder, order: Option<&PolicyUse>) -> Table {
    let mut table = Table::new(&[("w", Some(1))], vec![builder.clone()]);
    table.configure(vec![builder.clone()], order.cloned(), "one");
    table.submit([request(1, "a"), request(2, "a")]);
    for _ in 0..100 {
        if table.asks.is_empty() {
            table.pass(HOLD_MS);
        }
        if table.asks.is_empty() {
            break;
        }
        table.fail();
        if table.board.status(table.now).policies[0].suspended_until.is_some() {
            break;
        }
    }
    table.pass(0);
    table
}

#[test]
fn what_a_suspended_policy_holds_is_shown_and_goes_on_at_the_end_of_the_suspension() {
    for (builder, order, answer) in holding() {
        let mut table = suspended(&builder, order.as_ref());
        let status = table.board.status(table.now);
        let until = status.policies[0].suspended_until.expect("it is suspended");
        let kind = status.policies[0].kind;
        assert!(table.asks.is_empty() && table.claims.is_empty(), "{kind}");
        let why = table.why("a").unwrap_or_default();
        assert!(why.contains("`p` ") || why.contains("the order of builders"), "{kind}: {why}");
        table.pass(until.ms_since(table.now) - 1);
        assert!(table.asks.is_empty(), "{kind}");
        table.pass(1);
        assert_eq!(table.asks.len(), 1, "{kind}");
        table.answer(answer);
        while table.claims.is_empty() {
            table.answer(Answer::Requests(Vec::new()));
        }
    }
}

#[test]
fn a_reload_lifts_every_suspension_and_what_was_held_goes_on_at_once() {
    for (builder, order, _) in holding() {
        for bytes in ["one", "two"] {
            let mut table = suspended(&builder, order.as_ref());
            table.configure(vec![builder.clone()], order.clone(), bytes);
            let policy = &table.board.status(table.now).policies[0];
            assert_eq!((policy.suspended_until, table.asks.len()), (None, 1), "{}", policy.kind);
            // Counts speak of bytes.
            assert_eq!(policy.faults > 0, bytes == "one", "{}", policy.kind);
        }
    }
}

#[test]
fn each_use_of_a_policy_counts_for_itself_and_its_suspension_is_everybodys() {
    let choosy = |name: &str| Builder { next_slave: Some(policy("choose")), ..builder(name, &["w"]) };
    let mut table = Table::new(&[("w", Some(9))], vec![choosy("a"), choosy("b")]);
    table.submit([request(1, "b")]);
    table.answer(Answer::Slave(Some("w".to_owned())));
    table.submit((2..=4).map(|id| request(id, "a")));
    for _ in 0..3 {
        table.fail();
    }
    table.submit([request(5, "b")]);
    let status = table.board.status(table.now);
    let of = |name: &str| status.policies.iter().find(|p| p.builder.as_deref() == Some(name)).unwrap();
    let counts = |p: &PolicyStatus| (p.answers, p.faults, p.skipped, p.fallbacks);
    assert_eq!((counts(of("a")), counts(of("b"))), ((0, 3, 0, 3), (1, 0, 1, 1)));
    assert!(of("a").suspended_until.is_some() && of("a").suspended_until == of("b").suspended_until);
    assert_eq!(of("a").last_fault, of("b").last_fault);
    // A use that is gone is forgotten, and the counts of the others stay.
    table.configure(vec![choosy("b")], None, "one");
    table.configure(vec![choosy("a"), choosy("b")], None, "one");
    let status = table.board.status(table.now);
    let counted: Vec<_> = status.policies.iter().map(counts).collect();
    assert_eq!(counted, [(0, 0, 0, 0), (1, 0, 1, 1)]);
}

#[test]
fn can_start_build_is_asked_once_for_a_request_and_what_it_refuses_is_asked_again_later() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![gated]);
    table.submit([request(1, "a")]);
    table.answer(Answer::Names(Vec::new()));
    assert!(table.asks.is_empty());
    assert_eq!(table.why("a").unwrap(), "`hours` allows no worker");
    table.pass(HOLD_MS);
    table.answer(Answer::Names(vec!["w2".to_owned(), "ghost".to_owned()]));
    assert_eq!(table.commit(), started(&[("w2", &[1])]));
    assert_eq!(table.board.status(table.now).reports.len(), 1);
    // A failing gate is a closed one.
    table.submit([request(2, "a")]);
    table.fail();
    assert!(table.claims.is_empty());
}

#[test]
fn a_gate_that_refuses_everything_is_asked_a_bounded_number_of_times_and_starves_nobody() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![gated, builder("b", &["w"])]);
    table.submit((1..=500).map(|id| request(id, "a")));
    table.submit([request(1_000, "b")]);
    let mut asked = 0;
    while !table.asks.is_empty() {
        table.answer(Answer::Names(Vec::new()));
        asked += 1;
        if asked == 1 {
            // The slot was given back: the other builder has it now.
            assert_eq!(table.commit(), started(&[("w", &[1_000])]));
            table.end(1, Outcome::Success);
        }
    }
    assert_eq!(asked, REFUSALS_A_PASS);
    table.pass(REST_MS);
    assert_eq!(table.asks.len(), 1);
}

#[test]
fn a_slot_that_was_offered_and_refused_wakes_nobody_and_one_that_was_not_does() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![gated, builder("b", &["w2"])]);
    table.submit([request(1, "b")]);
    assert_eq!(table.commit(), started(&[("w2", &[1])]));
    table.submit((2..=4).map(|id| request(id, "a")));
    // Each is offered w1, gives it back and is held: none of them wakes another.
    for _ in 0..3 {
        table.answer(Answer::Names(Vec::new()));
    }
    assert!(table.asks.is_empty());
    table.end(1, Outcome::Success);
    // w2 is news to all three. Nobody is asked more often than there are workers.
    let mut asked = 0;
    while !table.asks.is_empty() {
        table.answer(Answer::Names(Vec::new()));
        asked += 1;
    }
    assert!((3..=6).contains(&asked), "{asked}");
    table.pass(HOLD_MS);
    assert_eq!(table.asks.len(), 2);
}

#[test]
fn a_slot_that_comes_free_while_the_policy_thinks_is_offered_too() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![choosy, builder("b", &["w2"])]);
    table.submit([request(1, "b")]);
    table.commit();
    table.submit([request(2, "a")]);
    table.end(1, Outcome::Success);
    // It wants w2, and was offered w1 alone.
    table.answer(Answer::Slave(None));
    assert_eq!(table.decisions[0].done, Done::Stale);
    table.answer(Answer::Slave(Some("w2".to_owned())));
    assert_eq!(table.commit(), started(&[("w2", &[2])]));
}

#[test]
fn next_build_is_offered_windows_and_a_builder_of_which_none_is_taken_rests() {
    let picky = Builder { next_build: Some(policy("pick")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(2))], vec![picky]);
    table.submit((1..=250).map(|id| request(id, "a")));
    for expected in [1, 101, 201] {
        let Question::NextBuild { requests, .. } = &table.asks[0].question else { panic!() };
        assert_eq!(requests[0].id, expected);
        table.answer(Answer::Request(None));
    }
    assert!(table.asks.is_empty());
    table.pass(HOLD_MS);
    table.answer(Answer::Request(Some(77)));
    table.answer(Answer::Request(Some(76)));
    assert_eq!(table.commit(), started(&[("w", &[77]), ("w", &[76])]));
}

#[test]
fn the_order_of_builders_is_asked_and_those_left_out_wait() {
    let builders = || vec![builder("a", &["w"]), builder("b", &["w"]), builder("c", &["w"])];
    let mut table = Table::new(&[("w", Some(1))], builders());
    table.configure(builders(), Some(policy("order")), "one");
    table.submit([request(1, "a"), request(2, "b"), request(3, "c")]);
    table.answer(Answer::Names(vec!["c".to_owned(), "b".to_owned()]));
    assert_eq!(table.commit(), started(&[("w", &[3])]));
    table.end(1, Outcome::Success);
    table.answer(Answer::Names(vec!["b".to_owned()]));
    assert_eq!(table.commit(), started(&[("w", &[2])]));
    table.end(2, Outcome::Success);
    table.fail();
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

#[test]
fn merge_requests_joins_what_it_names_and_an_error_joins_nothing() {
    let merging = Builder { merge_requests: Merge::Policy(policy("join")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![merging]);
    table.submit((1..=4).map(|id| request(id, "a")));
    table.answer(Answer::Requests(vec![3, 99]));
    assert_eq!(table.commit(), started(&[("w", &[1, 3])]));
    table.end(1, Outcome::Success);
    table.fail();
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

/// Symptom: two requests that belong together were built apart, if two slots were free and a policy took its time
/// over the first. Cause: a second start took the other request meanwhile. Cure: it waits until the first has joined.
#[test]
fn requests_that_merge_are_not_torn_apart_by_a_second_slot() {
    let join = Merge::Policy(policy("join"));
    for (merge_requests, answer) in [(Merge::Compatible, None), (join, Some(Answer::Requests(vec![2])))] {
        let choosy =
            Builder { next_slave: Some(policy("choose")), merge_requests, ..builder("a", &["w1", "w2"]) };
        let mut table = Table::new(&[("w1", Some(2)), ("w2", Some(2))], vec![choosy]);
        table.submit((1..=2).map(|id| request(id, "a")));
        assert_eq!(table.asks.len(), 1);
        table.answer(Answer::Slave(Some("w2".to_owned())));
        answer.into_iter().for_each(|answer| table.answer(answer));
        assert_eq!(table.commit(), started(&[("w2", &[1, 2])]));
        // The next one need not wait for a claim.
        table.submit([request(3, "a")]);
        assert_eq!(table.asks.len(), 1);
    }
}

#[test]
fn a_refused_claim_drops_what_is_taken_and_the_others_go_on() {
    let merging = Builder { merge_requests: Merge::Compatible, ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![merging]);
    table.submit((1..=3).map(|id| request(id, "a")));
    let start = table.claims.remove(0).start;
    table.board.refused(start, Some(RequestId(2)), "taken", table.now);
    table.turn();
    assert_eq!(table.commit(), started(&[("w", &[1, 3])]));
}

#[test]
fn a_retried_build_puts_its_requests_back_at_once_then_later_and_later() {
    let mut table = Table::new(&[("w", Some(1))], vec![builder("a", &["w"])]);
    table.submit([request(1, "a")]);
    for (build, wait) in [(1, 0), (2, 1_000), (3, 2_000), (4, 4_000)] {
        assert_eq!(table.commit(), started(&[("w", &[1])]), "build {build}");
        table.end(build, Outcome::Retry);
        if wait > 0 {
            table.pass(wait - 1);
            assert!(table.claims.is_empty());
            table.pass(1);
        }
    }
}

#[test]
fn the_wait_of_a_retried_request_does_not_end_because_a_worker_comes() {
    let mut table = Table::new(&[("w", Some(1))], vec![builder("a", &["w"])]);
    table.submit([request(1, "a")]);
    for build in [1, 2] {
        table.commit();
        table.board.worker_down("w");
        table.end(build, Outcome::Retry);
        table.board.worker_up("w", table.now, Vec::new());
        table.turn();
    }
    assert!(table.claims.is_empty(), "its third try is due in a second");
    table.pass(1_000);
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

#[test]
fn a_builder_whose_request_was_refused_has_its_turn_again_when_the_hold_is_over() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![gated, builder("b", &["w"])]);
    table.submit([Request { priority: 9, ..request(1, "a") }]);
    table.submit((2..=50).map(|id| request(id, "b")));
    table.answer(Answer::Names(Vec::new()));
    assert_eq!(table.commit(), started(&[("w", &[2])]));
    table.pass(HOLD_MS);
    table.end(1, Outcome::Success);
    assert_eq!(table.asks.len(), 1, "it is more urgent than all that `b` has");
    table.answer(Answer::Names(vec!["w".to_owned()]));
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

#[test]
fn what_is_withdrawn_while_a_policy_thinks_of_it_does_not_come_back() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![gated]);
    table.submit([request(1, "a")]);
    table.stored.clear();
    table.board.withdrawn("a", RequestId(1));
    table.answer(Answer::Names(Vec::new()));
    table.pass(HOLD_MS);
    assert!(table.asks.is_empty());
    assert_eq!(table.board.status(table.now).builders[0].pending, 0);
}

#[test]
fn a_worker_that_leaves_while_its_policy_thinks_is_not_used() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![choosy]);
    table.submit([request(1, "a")]);
    table.board.worker_down("w1");
    table.answer(Answer::Slave(Some("w1".to_owned())));
    table.answer(Answer::Slave(Some("w2".to_owned())));
    assert_eq!(table.commit(), started(&[("w2", &[1])]));
}

#[test]
fn requests_of_a_removed_builder_stay_and_start_when_it_is_back() {
    let mut table = Table::new(&[("w", Some(1))], vec![builder("a", &["w"])]);
    table.configure(Vec::new(), None, "one");
    table.submit([request(1, "a")]);
    assert_eq!(table.why("a").unwrap(), "no such builder in the configuration");
    table.configure(vec![builder("a", &["w"])], None, "one");
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

#[test]
fn start_that_a_reconfiguration_overtakes_builds_by_the_new_rules() {
    // Symptom: a build ended as an exception, since its steps were the old configuration's and its
    // plugins the new one's.
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![choosy.clone()]);
    table.submit([request(1, "a")]);
    table.configure(vec![Builder { builddir: "new".to_owned(), ..choosy }], None, "two");
    table.answer(Answer::Slave(Some("w".to_owned())));
    assert_eq!(table.claims[0].builder.builddir, "new");
}

#[test]
fn request_that_a_scan_found_before_word_of_its_build_came_is_there_once() {
    // Symptom: the dispatcher span for ever, since the request was waiting and held at once.
    let hold = PolicyUse { on_error: OnError::Hold, ..policy("choose") };
    let choosy = Builder { next_slave: Some(hold), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(2))], vec![choosy]);
    table.submit([request(1, "a")]);
    table.answer(Answer::Slave(Some("w".to_owned())));
    table.commit();
    table.stored.insert(Turn::of(&request(1, "a")), request(1, "a"));
    table.scan();
    table.turn();
    table.fail();
    table.end(1, Outcome::Retry);
    assert!(table.asks.is_empty());
    table.pass(HOLD_MS);
    table.answer(Answer::Slave(Some("w".to_owned())));
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

#[test]
fn what_left_the_board_during_a_scan_does_not_come_back_by_it() {
    let mut table = Table::new(&[("w", Some(1))], vec![builder("a", &["w"])]);
    table.submit([request(1, "a")]);
    // The store counts one more than the board knows, and is read.
    table.board.counted(BTreeMap::from([("a".to_owned(), 2)]));
    let effects = table.board.decide(table.now);
    assert!(matches!(&effects[..], [Effect::More { after: None, .. }]), "{effects:?}");
    table.commit();
    table.end(1, Outcome::Success);
    let rows = [1, 2].map(|id| (request(id, "a"), Arc::new(buildset(id))));
    table.board.loaded("a", rows.to_vec(), LOADED);
    table.turn();
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

#[test]
fn a_worker_that_is_lost_before_a_build_gets_anywhere_is_left_alone_longer_each_time() {
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![builder("a", &["w1", "w2"])]);
    let until = |table: &Table| table.board.status(table.now).workers[0].quarantine;
    for seconds in [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600] {
        table.board.worker_failed("w1", table.now);
        table.turn();
        assert_eq!(until(&table), Some(table.now.plus_ms(seconds * 1_000)));
        // Another build that was lost with it changes nothing.
        table.board.worker_failed("w1", table.now);
        table.turn();
        table.pass(seconds * 1_000 - 1);
        assert!(until(&table).is_some());
        table.pass(1);
        assert_eq!(until(&table), None);
    }
    table.board.worker_failed("w1", table.now);
    table.board.worker_proved("w1");
    table.board.worker_failed("w1", table.now);
    assert_eq!(until(&table), Some(table.now.plus_ms(FIRST_QUARANTINE_MS)));
}

#[test]
fn a_worker_in_quarantine_gets_nothing_until_it_is_over_or_a_reconfiguration_lifts_it() {
    for lifted in [false, true] {
        let mut table = Table::new(&[("w1", Some(1)), ("w2", None)], vec![builder("a", &["w1", "w2"])]);
        table.board.worker_failed("w1", table.now);
        table.submit((1..=2).map(|id| request(id, "a")));
        assert_eq!(table.commit(), started(&[("w2", &[1])]));
        let why = "no worker is free, and `w1` is in quarantine: lost before a build got anywhere";
        assert_eq!(table.why("a").unwrap(), why);
        if lifted {
            table.configure(vec![builder("a", &["w1", "w2"])], None, "one");
        } else {
            table.pass(FIRST_QUARANTINE_MS);
        }
        assert_eq!(table.commit(), started(&[("w1", &[2])]));
    }
}
