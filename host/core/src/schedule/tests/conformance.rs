//! Buildbot's own tests of its distributor and its collapser, one row each, as they come out here. A row says
//! whether the board does the same, or what it does instead and why.

use std::sync::Arc;

use super::*;
use crate::change::{Patch, SourceStamp};
use crate::id::ChangeId;
use crate::request::Buildset;
use crate::value::Value;

mod collapser;

use collapser::*;

/// How a row comes out here.
enum Ours {
    /// As there.
    Same,
    /// Otherwise, on purpose. `docs/scheduling.md` tells users the same.
    Instead(&'static str),
}

use Ours::{Instead, Same};

/// Names of tests in `test_buildrequestdistributor.py`, or in `test_buildrequest.py` from `Collapser` on; how they come
/// out here; and the check.
type Row = (&'static [&'static str], Ours, fn());

const ROWS: &[Row] = &[
    (&["maybeStartBuildsOn_simple"], Same, a_builder_is_visited_once),
    (&["maybeStartBuildsOn_parallel"], Same, many_events_are_one_visit_each),
    (
        &["maybeStartBuildsOn_exception"],
        Instead("a failing policy stops no builder, its own neither: the default rule decides"),
        a_failure_stops_nobody,
    ),
    (&["maybeStartBuildsOn_collapsing"], Same, what_comes_during_a_visit_is_visited_again),
    (&["maybeStartBuildsOn_builders_missing"], Same, builders_that_are_gone_are_skipped),
    (
        &["sortBuilders_default_sync", "sortBuilders_default_async"],
        Same,
        priority_comes_before_age_among_builders,
    ),
    (&["sortBuilders_default_None"], Same, a_builder_without_requests_is_not_visited),
    (&["sortBuilders_default_priority_match"], Same, age_decides_among_equal_priorities),
    (&["sortBuilders_custom", "sortBuilders_custom_async"], Same, the_order_of_a_policy_is_followed),
    (
        &["sortBuilders_custom_exception"],
        Instead("without an answer builders go by their first request, not by name"),
        without_an_order_builders_go_by_their_first_request,
    ),
    (&["stopService"], Same, a_closed_board_ends_its_claims_and_begins_nothing),
    (&["no_buildrequests", "no_workerforbuilders"], Same, nothing_is_claimed_for_nothing),
    (&["limited_by_workers", "sorted_by_submit_time"], Same, the_oldest_gets_the_only_slot),
    (&["limited_by_available_workers"], Same, a_busy_worker_gets_nothing),
    (&["slow_db"], Same, a_slow_store_changes_nothing),
    (
        &["limited_by_canStartBuild", "limited_by_canStartBuild_deferreds"],
        Instead("the gate is asked once for a request, about all workers that could have it"),
        the_gate_limits_who_gets_what,
    ),
    (&["unlimited"], Same, as_many_start_as_there_are_slots),
    (
        &["bldr_maybeStartBuild_fails_always", "bldr_maybeStartBuild_fails_once"],
        Instead("what cannot be claimed since the store fails is tried again after 10 s, not at once"),
        a_failing_store_leaves_no_claim,
    ),
    (&["limited_by_requests"], Same, the_choice_among_free_workers_is_followed),
    (&["nextWorker_None"], Same, no_worker_chosen_holds_the_request),
    (
        &["nextWorker_bogus", "nextWorker_exception", "nextWorker_failure"],
        Instead("the least-loaded worker gets it; `on_error = \"hold\"` is Buildbot's rule"),
        a_failing_next_slave_falls_back,
    ),
    (
        &["nextWorker_default"],
        Instead("the least-loaded worker, not one by chance: the same input gives the same answer"),
        the_default_worker_is_the_least_loaded,
    ),
    (
        &["nextWorker_simple", "nextWorker_deferred", "nextWorker_gets_buildrequest"],
        Same,
        next_slave_sees_the_request,
    ),
    (&["nextBuild_None"], Same, no_request_chosen_lets_the_builder_rest),
    (
        &["nextBuild_bogus", "nextBuild_fails", "nextBuild_exception", "nextBuild_failure"],
        Instead("the first request is taken; `on_error = \"hold\"` is Buildbot's rule"),
        a_failing_next_build_falls_back,
    ),
    (&["nextBuild_default"], Same, requests_go_by_turn),
    (&["nextBuild_simple", "nextBuild_deferred"], Same, the_choice_of_a_request_is_followed),
    (&["claim_race"], Same, a_lost_race_loses_no_slot),
    (&["Collapser.no_other_request"], Same, one_request_is_alone),
    (&["Collapser.no_collapse"], Same, a_builder_that_never_merges_builds_each),
    (
        &["Collapser.collapse_all", "Collapser.duplicates"],
        Instead("merged when the build starts: all are served by it and get its result, none is skipped"),
        all_that_a_policy_joins_are_served,
    ),
    (
        &["Collapser.builder_missing"],
        Instead("requests of a builder that is not configured wait: nobody could build them"),
        requests_of_an_unknown_builder_wait,
    ),
    (&["Collapser.with_codebases"], Same, codebases_are_compared_one_by_one),
    (
        &["Collapser.does_not_collapse_older"],
        Instead("an older request joins the newer one's build, and the newest source is built"),
        older_and_newer_are_built_together,
    ),
    (&["Collapser.concurrent_claims"], Same, what_another_master_claims_is_left_out),
    (&["Collapser.scheduler_props"], Same, properties_of_schedulers_keep_apart),
    (&["Collapser.branches", "Collapser.repository", "Collapser.project"], Same, other_sources_keep_apart),
    (&["Collapser.with_a_patch"], Same, a_patch_keeps_apart),
    (&["Collapser.with_changes"], Same, changes_bring_together),
    (&["Collapser.non_matching_revision"], Same, other_revisions_keep_apart),
    (&["canBeCollapsed_different_codebases"], Same, other_codebases_keep_apart),
    (&["mergeSourceStampsWith"], Same, the_newest_stamp_has_all_changes),
];

#[test]
fn buildbots_tests_of_distributor_and_collapser_come_out_as_the_table_says() {
    for (names, _, check) in ROWS {
        // Shown where a check fails.
        println!("{names:?}");
        check();
    }
}

#[test]
fn users_are_told_wherever_we_differ_from_buildbot() {
    let docs = include_str!("../../../../../docs/scheduling.md");
    for (names, ours, _) in ROWS {
        if let Instead(reason) = ours {
            assert!(names.iter().all(|name| docs.contains(name)), "{names:?}: {reason}");
        }
    }
}

const TWO: [(&str, Option<u32>); 2] = [("w1", Some(1)), ("w2", Some(1))];

fn one_worker(builders: Vec<Builder>) -> Table {
    Table::new(&[("w", Some(1))], builders)
}

fn at(id: u64, builder: &str, submitted: u64) -> Request {
    Request { submitted: Timestamp(submitted), ..request(id, builder) }
}

impl Table {
    /// Answers whatever is asked until nothing is asked any more; none: the policy fails.
    fn advise(&mut self, mut answer: impl FnMut(&Question) -> Option<Answer>) {
        while let Some(ask) = self.asks.first() {
            match answer(&ask.question) {
                Some(answer) => self.answer(answer),
                None => self.fail(),
            }
        }
    }

    /// The requests of the builds that are started now.
    fn built(&mut self) -> Vec<u64> {
        self.commit().into_iter().flat_map(|(_, ids)| ids).collect()
    }

    /// Submits requests 1, 2 ... of builder `a`, one for each stamp.
    fn submit_stamps(&mut self, stamps: Vec<SourceStamp>) {
        let sets = (1..).zip(stamps).map(|(id, stamp)| Buildset { stamps: vec![stamp], ..buildset(id) });
        self.submit_sets(sets.collect());
    }

    fn submit_sets(&mut self, sets: Vec<Buildset>) {
        self.board.submitted(sets.into_iter().map(|set| (request(set.id.0, "a"), Arc::new(set))));
        self.turn();
    }
}

fn names(question: &Question) -> Vec<String> {
    question.names().map(str::to_owned).collect()
}

fn a_builder_is_visited_once() {
    let mut table = one_worker(vec![builder("a", &["w"])]);
    table.submit([request(10, "a")]);
    // The table itself checks that nothing begins without an event.
    assert_eq!(table.built(), [10]);
    assert!(table.claims.is_empty());
}

fn many_events_are_one_visit_each() {
    let all: Vec<String> = (1..=15).map(|n| format!("b{n:02}")).collect();
    let builders = || all.iter().map(|name| builder(name, &["w"])).collect::<Vec<_>>();
    let mut table = Table::new(&[("w", None)], builders());
    table.configure(builders(), Some(policy("slow")), "one");
    for (id, name) in (1..).zip(&all) {
        table.submit([at(id, name, 5)]);
    }
    let mut orders = Vec::new();
    table.advise(|question| {
        orders.push(names(question));
        Some(Answer::Names(names(question)))
    });
    // The first question was under way when the others came; all those are in the second one.
    assert_eq!(orders, [&all[..1], &all[1..]]);
    assert_eq!(table.built(), (1..=15).collect::<Vec<_>>());
}

fn a_failure_stops_nobody() {
    let failing = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", None)], vec![failing, builder("b", &["w"])]);
    table.submit([request(1, "a"), request(2, "b")]);
    assert_eq!(table.built(), [2]);
    table.advise(|_| None);
    assert_eq!(table.built(), [1]);
    assert_eq!(table.board.status(table.now).policies[0].faults, 1);
}

fn what_comes_during_a_visit_is_visited_again() {
    let builders = || ["1", "2", "3"].map(|name| builder(name, &["w"])).to_vec();
    let mut table = Table::new(&[("w", Some(9))], builders());
    table.configure(builders(), Some(policy("slow")), "one");
    let mut visits = Vec::new();
    let mut visit = |table: &mut Table| {
        let names = names(&table.asks[0].question);
        table.answer(Answer::Names(names));
        visits.extend(table.claims.drain(..).map(|claim| claim.builder.name.clone()));
    };
    table.submit([request(30, "3")]);
    table.submit([request(20, "2"), request(10, "1")]);
    table.submit([request(40, "unknown")]);
    table.submit([request(20, "2")]);
    visit(&mut table);
    table.submit([request(31, "3"), request(20, "2")]);
    visit(&mut table);
    visit(&mut table);
    assert!(table.asks.is_empty());
    assert_eq!(visits, ["3", "1", "2", "3"]);
}

fn builders_that_are_gone_are_skipped() {
    let mut table = Table::new(&[("w", Some(9))], vec![builder("a", &["w"]), builder("b", &["w"])]);
    table.configure(vec![builder("a", &["w"]), builder("b", &["w"])], Some(policy("order")), "one");
    table.submit([request(1, "a"), request(2, "b")]);
    table.advise(|question| Some(Answer::Names(names(question))));
    table.claims.clear();
    table.submit([request(3, "a"), request(4, "b")]);
    let order = table.asks.remove(0);
    table.configure(vec![builder("b", &["w"])], Some(policy("order")), "one");
    table.reply(&order, Ok(Answer::Names(vec!["a".to_owned(), "b".to_owned()])));
    table.advise(|question| Some(Answer::Names(names(question))));
    assert_eq!(table.built(), [4]);
}

/// The order in which builders are visited, each with one request: (builder, priority, age).
fn visited(requests: &[(&str, i32, u64)]) -> Vec<String> {
    let builders = requests.iter().map(|(name, _, _)| builder(name, &["w"])).collect();
    let mut table = Table::new(&[("w", None)], builders);
    let row = |(id, (name, priority, submitted)): (u64, &(&str, i32, u64))| Request {
        priority: *priority,
        ..at(id, name, *submitted)
    };
    table.submit((1..).zip(requests).map(row).collect::<Vec<_>>());
    table.claims.iter().map(|claim| claim.builder.name.clone()).collect()
}

fn priority_comes_before_age_among_builders() {
    assert_eq!(visited(&[("1", 10, 777), ("2", 15, 999), ("3", 5, 888)]), ["2", "1", "3"]);
}

fn a_builder_without_requests_is_not_visited() {
    let mut table = Table::new(&[("w", None)], ["1", "2", "3"].map(|name| builder(name, &["w"])).to_vec());
    table.submit([at(1, "3", 777), at(2, "1", 888)]);
    let order: Vec<&str> = table.claims.iter().map(|claim| claim.builder.name.as_str()).collect();
    assert_eq!(order, ["3", "1"]);
}

fn age_decides_among_equal_priorities() {
    assert_eq!(visited(&[("1", 10, 777), ("2", 10, 999), ("3", 10, 888)]), ["1", "3", "2"]);
}

fn the_order_of_a_policy_is_followed() {
    let builders = || ["1", "2", "3"].map(|name| builder(name, &["w"])).to_vec();
    let mut table = Table::new(&[("w", None)], builders());
    table.configure(builders(), Some(policy("order")), "one");
    table.submit([request(1, "1"), request(2, "2"), request(3, "3")]);
    table.advise(|question| Some(Answer::Names(names(question).into_iter().rev().collect())));
    assert_eq!(table.built(), [3, 2, 1]);
}

fn without_an_order_builders_go_by_their_first_request() {
    let builders = || ["1", "2", "3"].map(|name| builder(name, &["w"])).to_vec();
    let mut table = Table::new(&[("w", None)], builders());
    table.configure(builders(), Some(policy("order")), "one");
    table.submit([request(1, "3"), request(2, "1"), request(3, "2")]);
    table.advise(|_| None);
    assert_eq!(table.built(), [1, 2, 3]);
    assert_eq!(table.decisions.len(), 1);
}

fn a_closed_board_ends_its_claims_and_begins_nothing() {
    let slow = Builder { next_slave: Some(policy("slow")), ..builder("b", &["w"]) };
    let mut table = Table::new(&[("w", None)], vec![builder("a", &["w"]), slow]);
    table.submit([request(1, "a"), request(2, "b")]);
    assert_eq!((table.board.claiming(), table.asks.len()), (1, 1));
    table.board.close();
    assert_eq!(table.built(), [1]);
    table.advise(|question| Some(Answer::Slave(names(question).first().cloned())));
    table.submit([request(3, "a")]);
    assert_eq!((table.board.claiming(), table.claims.len()), (0, 0));
}

fn nothing_is_claimed_for_nothing() {
    let mut table = one_worker(vec![builder("a", &["w"]), builder("b", &["absent"])]);
    table.submit([request(1, "b")]);
    assert!(table.claims.is_empty());
    assert_eq!(table.why("b").unwrap(), "none of its workers is connected");
}

fn the_oldest_gets_the_only_slot() {
    for turned in [false, true] {
        let mut rows = vec![at(10, "a", 130_000), at(11, "a", 135_000)];
        if turned {
            rows.reverse();
        }
        let mut table = one_worker(vec![builder("a", &["w"])]);
        table.submit(rows);
        assert_eq!(table.commit(), started(&[("w", &[10])]));
    }
}

fn a_busy_worker_gets_nothing() {
    let mut table = Table::new(&TWO, vec![builder("a", &["w1", "w2"]), builder("b", &["w1"])]);
    table.submit([request(1, "b")]);
    table.commit();
    table.submit([at(10, "a", 130_000), at(11, "a", 135_000)]);
    assert_eq!(table.commit(), started(&[("w2", &[10])]));
}

fn a_slow_store_changes_nothing() {
    let mut table = Table::new(&TWO, vec![builder("a", &["w1", "w2"])]);
    table.submit([request(10, "a")]);
    table.pass(5_000);
    table.submit([request(11, "a"), request(12, "a")]);
    table.pass(5_000);
    assert_eq!(table.commit(), started(&[("w1", &[10]), ("w2", &[11])]));
}

/// `next-slave` that takes the n-th from the end of those who are free, by name.
fn from_the_end(question: &Question, nth: usize) -> Option<Answer> {
    let mut free = names(question);
    free.sort();
    Some(Answer::Slave(free.into_iter().rev().nth(nth)))
}

fn the_gate_limits_who_gets_what() {
    let all = ["w1", "w2", "w3"];
    let gated = Builder {
        next_slave: Some(policy("choose")),
        can_start_build: Some(policy("gate")),
        ..builder("a", &all)
    };
    let mut table = Table::new(&all.map(|name| (name, Some(1))), vec![gated]);
    table.submit((10..=12).map(|id| request(id, "a")));
    let mut asked = Vec::new();
    table.advise(|question| match question {
        Question::CanStartBuild { request, .. } => {
            asked.push((request.id, names(question)));
            let may = |worker: &String| matches!((worker.as_str(), request.id), ("w1", 10) | ("w3", 11));
            Some(Answer::Names(names(question).into_iter().filter(may).collect()))
        }
        _ => from_the_end(question, 0),
    });
    let mut claims = table.commit();
    claims.sort();
    assert_eq!(claims, started(&[("w1", &[10]), ("w3", &[11])]));
    let (first, mut workers) = asked.swap_remove(0);
    workers.sort();
    assert_eq!((first, workers), (10, all.map(str::to_owned).to_vec()));
}

fn as_many_start_as_there_are_slots() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&TWO, vec![choosy]);
    table.submit([request(10, "a"), request(11, "a")]);
    table.advise(|question| from_the_end(question, 0));
    assert_eq!(table.commit(), started(&[("w2", &[10]), ("w1", &[11])]));
}

fn a_failing_store_leaves_no_claim() {
    let mut table = Table::new(&TWO, vec![builder("a", &["w1", "w2"])]);
    table.submit([request(10, "a"), request(11, "a")]);
    let first = table.claims.remove(0);
    table.board.refused(first.start, None, "the disk is full", table.now);
    table.turn();
    assert_eq!(table.built(), [11]);
    table.pass(HOLD_MS);
    assert_eq!(table.commit(), started(&[("w1", &[10])]));
}

fn the_choice_among_free_workers_is_followed() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&TWO, vec![choosy]);
    table.submit([request(11, "a")]);
    table.advise(|question| from_the_end(question, 0));
    assert_eq!(table.commit(), started(&[("w2", &[11])]));
}

fn no_worker_chosen_holds_the_request() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = one_worker(vec![choosy]);
    table.submit([request(10, "a")]);
    table.advise(|_| Some(Answer::Slave(None)));
    assert!(table.claims.is_empty());
    assert_eq!(table.why("a").unwrap(), "`choose` chooses no worker");
}

/// What is claimed when a policy answers nonsense, or nothing, or holds upon an error.
fn failing(with: impl Fn(PolicyUse) -> Builder, nonsense: &Answer) {
    for (on_error, answer, expected) in [
        (OnError::Default, Some(nonsense.clone()), &[10_u64] as &[u64]),
        (OnError::Default, None, &[10]),
        (OnError::Hold, Some(nonsense.clone()), &[]),
        (OnError::Hold, None, &[]),
    ] {
        let mut table = one_worker(vec![with(PolicyUse { on_error, ..policy("p") })]);
        table.submit([request(10, "a"), request(11, "a")]);
        match answer.clone() {
            Some(answer) => table.answer(answer),
            None => table.fail(),
        }
        assert_eq!(table.built(), expected, "{on_error:?} {answer:?}");
        assert_eq!(table.board.status(table.now).policies[0].faults, 1);
    }
}

fn a_failing_next_slave_falls_back() {
    let with = |p| Builder { next_slave: Some(p), ..builder("a", &["w"]) };
    failing(with, &Answer::Slave(Some("bogus".to_owned())));
}

fn the_default_worker_is_the_least_loaded() {
    let mut table = Table::new(&[("w1", Some(9)), ("w2", Some(9))], vec![builder("a", &["w1", "w2"])]);
    table.submit([request(10, "a"), request(11, "a"), request(12, "a")]);
    assert_eq!(table.commit(), started(&[("w1", &[10]), ("w2", &[11]), ("w1", &[12])]));
}

fn next_slave_sees_the_request() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&TWO, vec![choosy]);
    table.submit([request(10, "a")]);
    let Question::NextSlave { request, .. } = &table.asks[0].question else { panic!() };
    assert_eq!(request.id, 10);
    table.advise(|question| from_the_end(question, 1));
    assert_eq!(table.commit(), started(&[("w1", &[10])]));
}

fn no_request_chosen_lets_the_builder_rest() {
    let picky = Builder { next_build: Some(policy("pick")), ..builder("a", &["w"]) };
    let mut table = one_worker(vec![picky]);
    table.submit([request(10, "a"), request(11, "a")]);
    table.advise(|_| Some(Answer::Request(None)));
    assert!(table.claims.is_empty());
    assert_eq!(table.why("a").unwrap(), "`pick` takes up none of them");
}

fn a_failing_next_build_falls_back() {
    let with = |p| Builder { next_build: Some(p), ..builder("a", &["w"]) };
    failing(with, &Answer::Request(Some(59)));
}

fn requests_go_by_turn() {
    let mut table = Table::new(&[("w", Some(4))], vec![builder("a", &["w"])]);
    table.submit((10..=13).rev().map(|id| at(id, "a", 5)));
    assert_eq!(table.built(), [10, 11, 12, 13]);
}

fn the_choice_of_a_request_is_followed() {
    let picky = Builder { next_build: Some(policy("pick")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(4))], vec![picky]);
    table.submit((10..=13).map(|id| request(id, "a")));
    table.advise(|question| {
        let Question::NextBuild { requests, .. } = question else { panic!() };
        Some(Answer::Request(requests.last().map(|request| request.id)))
    });
    assert_eq!(table.built(), [13, 12, 11, 10]);
}

fn a_lost_race_loses_no_slot() {
    let mut table = Table::new(&[("w1", Some(1))], vec![builder("a", &["w1"])]);
    table.submit([request(10, "a"), request(11, "a")]);
    let start = table.claims.remove(0).start;
    table.board.refused(start, Some(RequestId(10)), "master 9999 has it", table.now);
    table.turn();
    assert_eq!(table.commit(), started(&[("w1", &[11])]));
}
