//! Workers that are left alone for a while.

use super::*;

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

/// Symptom: a build went to a worker in quarantine. Cause: a start that sat on one of its slots while its policy
/// thought was only asked whether the worker is connected. Cure: it has to be open.
#[test]
fn a_start_leaves_a_worker_that_failed_while_its_policy_thought() {
    let choose = |name: &str| Answer::Slave(Some(name.to_owned()));
    for answer in [Some(choose("w1")), Some(choose("w2")), None] {
        let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
        let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![choosy]);
        table.submit([request(1, "a")]);
        table.board.worker_down("w1");
        table.board.worker_failed("w1", table.now);
        table.board.worker_up("w1", table.now, Vec::new());
        table.turn();
        match answer {
            Some(answer) => table.answer(answer),
            None => table.fail(),
        }
        while let Some(ask) = table.asks.first() {
            let Question::NextSlave { slaves, .. } = &ask.question else { panic!() };
            assert_eq!(slaves.len(), 1, "w1 is in quarantine");
            table.answer(choose("w2"));
        }
        assert_eq!(table.commit(), started(&[("w2", &[1])]));
    }
}

#[test]
fn a_start_whose_only_worker_failed_while_its_policy_thought_is_given_up() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![gated]);
    table.submit([request(1, "a")]);
    table.board.worker_failed("w", table.now);
    table.answer(Answer::Names(vec!["w".to_owned()]));
    assert!(table.claims.is_empty());
    table.pass(FIRST_QUARANTINE_MS);
    table.answer(Answer::Names(vec!["w".to_owned()]));
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

/// The next run of the master, with what the last one kept.
fn restarted(before: &Table, workers: &[(&str, Option<u32>)], builders: Vec<Builder>, bytes: &str) -> Table {
    let mut table = Table::new(workers, Vec::new());
    table.configure(builders, None, bytes);
    table.now = before.now;
    table.suspended = before.suspended.clone();
    table.board.suspended_before(before.suspended.values().cloned().collect(), table.now);
    table.turn();
    table
}

#[test]
fn a_quarantine_goes_on_after_a_restart_and_the_next_one_is_longer() {
    let workers = [("w1", Some(1)), ("w2", Some(1))];
    let builders = || vec![builder("a", &["w1"])];
    let mut table = Table::new(&workers, builders());
    for worker in ["w1", "w2"] {
        table.board.worker_failed(worker, table.now);
    }
    table.turn();
    table.pass(4_000);
    let until = table.now.plus_ms(FIRST_QUARANTINE_MS - 4_000);

    // One of them is not configured any more: nothing is held against whoever has its name one day.
    let mut table = restarted(&table, &workers[..1], builders(), "one");
    assert_eq!(table.suspended.keys().collect::<Vec<_>>(), ["worker w1"]);
    assert_eq!(table.board.status(table.now).workers[0].quarantine, Some(until));
    table.submit([request(1, "a")]);
    assert_eq!(table.commit(), started(&[]));
    table.pass(5_999);
    assert_eq!(table.commit(), started(&[]));
    table.pass(1);
    assert_eq!(table.commit(), started(&[("w1", &[1])]));

    // It is over, and not forgiven.
    let mut table = restarted(&table, &workers[..1], builders(), "one");
    table.board.worker_failed("w1", table.now);
    table.turn();
    let until = table.now.plus_ms(2 * FIRST_QUARANTINE_MS);
    assert_eq!(table.board.status(table.now).workers[0].quarantine, Some(until));
    let mut table = restarted(&table, &workers[..1], builders(), "one");
    assert_eq!(table.board.forgive("w1"), Some(Failed { until: Some(until), times: 2 }));
    table.turn();
    assert_eq!(table.suspended, BTreeMap::new());
}

#[test]
fn a_suspended_policy_is_not_asked_after_a_restart_until_its_time_is_over_and_other_bytes_begin_anew() {
    let builders = || vec![Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1"]) }];
    let workers = [("w1", Some(9))];
    let mut table = Table::new(&workers, builders());
    for id in 1..=3 {
        table.submit([request(id, "a")]);
        table.fail();
        table.commit();
    }
    table.pass(4_000);
    assert_eq!(table.suspended.keys().collect::<Vec<_>>(), ["next-slave p:choose"]);

    let mut other = restarted(&table, &workers, builders(), "two");
    assert_eq!(other.suspended, BTreeMap::new());
    other.submit([request(4, "a")]);
    assert_eq!(other.asks.len(), 1);

    let mut table = restarted(&table, &workers, builders(), "one");
    table.submit([request(4, "a")]);
    assert_eq!((table.asks.len(), table.commit()), (0, started(&[("w1", &[4])])));
    table.pass(6_000);
    table.submit([request(5, "a")]);
    assert_eq!(table.asks.len(), 1);
    table.answer(Answer::Slave(Some("w1".to_owned())));
    assert_eq!(table.suspended, BTreeMap::new(), "an answer forgives");
}
