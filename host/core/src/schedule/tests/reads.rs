//! What the board knows of the store: pages, scans, and what happens meanwhile.

use super::*;

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
