//! Why each request waits, and until when.

use super::*;

fn why(table: &Table, builder: &str, id: u64) -> Wait {
    table.board.waits(&[(builder.to_owned(), RequestId(id))]).remove(0)
}

fn waits(table: &Table, builder: &str, id: u64) -> (WaitsFor, Option<u64>) {
    let wait = why(table, builder, id);
    (wait.waits_for, wait.until.map(|until| until.ms_since(table.now)))
}

#[test]
fn a_request_waits_for_what_keeps_its_builder_back_or_for_what_holds_it_itself() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w1"]) };
    let mut table = Table::new(&[("w1", Some(1))], vec![gated, builder("b", &["w1"]), builder("c", &["w9"])]);
    table.submit([request(1, "a")]);
    table.answer(Answer::Names(Vec::new()));
    table.pass(4_000);
    table.submit([request(2, "b"), request(3, "b"), request(4, "c"), request(5, "gone")]);
    assert_eq!(waits(&table, "a", 1), (WaitsFor::Policy, Some(6_000)));
    assert_eq!(why(&table, "a", 1).why, "`hours` allows no worker");
    let held = |builder, after, limit| table.board.held(builder, RequestId(after), limit);
    assert_eq!((held(None, 0, 9), held(Some("a"), 0, 9)), (vec![RequestId(1)], vec![RequestId(1)]));
    assert_eq!((held(Some("b"), 0, 9), held(None, 1, 9), held(None, 0, 0)), (vec![], vec![], vec![]));
    assert_eq!(waits(&table, "b", 2), (WaitsFor::Turn, None), "its claim is under way");
    assert_eq!(table.commit(), started(&[("w1", &[2])]));
    assert_eq!(waits(&table, "b", 3), (WaitsFor::Slot, None));
    assert_eq!(waits(&table, "c", 4), (WaitsFor::Worker, None));
    assert_eq!(waits(&table, "gone", 5), (WaitsFor::Builder, None));
    // The build ends as retry a second time: the next try waits, whoever is free.
    table.end(1, Outcome::Retry);
    table.commit();
    table.end(2, Outcome::Retry);
    assert_eq!(waits(&table, "b", 2), (WaitsFor::Retry, Some(1_000)));
}

#[test]
fn requests_of_builders_whose_workers_are_in_quarantine_wait_until_the_first_is_over() {
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![builder("a", &["w1", "w2"])]);
    table.board.worker_failed("w1", table.now);
    table.pass(3_000);
    table.board.worker_failed("w2", table.now);
    table.submit([request(1, "a")]);
    assert_eq!(waits(&table, "a", 1), (WaitsFor::Quarantine, Some(FIRST_QUARANTINE_MS - 3_000)));
    let status = table.board.status(table.now);
    assert_eq!(status.builders[0].wait.as_ref(), Some(&why(&table, "a", 1)));
}

#[test]
fn who_is_forgiven_gets_builds_at_once_and_begins_anew() {
    let mut table = Table::new(&[("w1", Some(1))], vec![builder("a", &["w1"])]);
    assert_eq!(table.board.forgive("w1"), None);
    table.board.worker_failed("w1", table.now);
    table.pass(FIRST_QUARANTINE_MS);
    table.board.worker_failed("w1", table.now);
    assert_eq!(table.board.status(table.now).workers[0].failures, 2);
    table.submit([request(1, "a")]);
    assert_eq!(table.commit(), []);
    let until = Some(table.now.plus_ms(2 * FIRST_QUARANTINE_MS));
    assert_eq!(table.board.forgive("w1"), Some(Failed { until, times: 2 }));
    table.turn();
    assert_eq!(table.commit(), started(&[("w1", &[1])]));
    table.board.worker_failed("w1", table.now);
    let status = table.board.status(table.now);
    assert_eq!(status.workers[0].quarantine, Some(table.now.plus_ms(FIRST_QUARANTINE_MS)));
}
