//! Which request is built when and where without policies, and what becomes of a start.

use super::*;

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
fn a_restart_neither_forgets_how_often_a_request_was_tried_nor_ends_its_wait() {
    let mut table = Table::new(&[("w", Some(1))], vec![builder("a", &["w"])]);
    table.submit([request(1, "a"), request(2, "a")]);
    assert_eq!(table.commit(), started(&[("w", &[1])]));
    table.restart();
    // Request 1 is being built, request 2 waits.
    table.board.tried_before([(RequestId(1), 2), (RequestId(2), 3), (RequestId(9), 1)].into(), table.now);
    table.board.worker_up("w", table.now, Vec::new());
    table.turn();
    table.end(1, Outcome::Retry);
    table.pass(1_999);
    assert_eq!(table.commit(), started(&[]), "both wait for their third and fourth try");
    table.pass(1);
    let mut both = table.commit();
    assert_eq!(both.len(), 1);
    table.end(2, Outcome::Success);
    both.extend(table.commit());
    both.sort();
    assert_eq!(both, started(&[("w", &[1]), ("w", &[2])]));
}

/// Symptom: a request was tried more often than its builder allows, and at once. Cause: a restart counted on only for the
/// requests that were read first. Cure: the counts of all others are kept until these are read.
#[test]
fn a_restart_forgets_nothing_of_requests_that_are_read_later_either() {
    let mut table = Table::new(&[("w", Some(100))], vec![builder("a", &["w"])]);
    let last = HEAD as u64 + 8;
    table.submit((1..=last).map(|id| request(id, "a")));
    table.restart();
    table.board.tried_before([(RequestId(last), 3)].into(), table.now);
    table.board.worker_up("w", table.now, Vec::new());
    table.turn();
    let begun = table.commit();
    assert_eq!(begun.len() as u64, last - 1, "all but the last, which waits for its fourth try");
    table.pass(1_999);
    assert_eq!(table.commit(), started(&[]));
    table.pass(1);
    assert_eq!(table.commit(), started(&[("w", &[last])]));
    table.end(last, Outcome::Retry);
    table.pass(3_999);
    assert_eq!(table.commit(), started(&[]));
    table.pass(1);
    assert_eq!(table.commit(), started(&[("w", &[last])]));
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

/// Symptom: a worker that loses its builds at once used up all tries of a request in a moment. Cause: where a scan found
/// the request before word of its build's end came, the end put it back without the wait. Cure: it waits wherever it is found.
#[test]
fn the_wait_of_a_retried_request_holds_where_a_scan_found_it_first() {
    let mut table = Table::new(&[("w", Some(1))], vec![builder("a", &["w"])]);
    table.submit([request(1, "a")]);
    table.commit();
    table.end(1, Outcome::Retry);
    table.commit();
    table.board.submitted([(request(1, "a"), Arc::new(buildset(1)))]);
    table.turn();
    table.end(2, Outcome::Retry);
    assert!(table.claims.is_empty(), "its third try is due in a second");
    table.pass(1_000);
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}
