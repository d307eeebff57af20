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
