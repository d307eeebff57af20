//! What the board knows of the store: pages, scans, and what happens meanwhile.

use super::late::Late;
use super::*;
use crate::lock::{Access, Kind, Lock, Mode};

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
    let rows = [1, 2].map(|id| (request(id, "a"), Arc::new(buildset(id)))).to_vec();
    table.board.loaded("a", Pending { rows, count: 2 }, LOADED);
    table.turn();
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

/// Builder `a` with one slot, of whose requests in the store four are loaded at once; the first is being built.
fn in_pieces(requests: impl IntoIterator<Item = Request>) -> Table {
    let mut table = Table::new(&[("w", Some(1))], vec![builder("a", &["w"])]);
    table.rules.loaded = 4;
    table.configure(vec![builder("a", &["w"])], None, "one");
    table.stored = requests.into_iter().map(|request| (Turn::of(&request), request)).collect();
    table.board.opening();
    let head = pending(&table.stored, "a", None, 4);
    table.board.opened(BTreeMap::from([("a".to_owned(), head)]));
    table.turn();
    table.commit();
    table
}

impl Table {
    fn stores(&mut self, request: Request) -> (Request, Arc<crate::request::Buildset>) {
        self.stored.insert(Turn::of(&request), request.clone());
        let set = Arc::new(buildset(request.buildset.0));
        (request, set)
    }

    fn pending(&self) -> u64 {
        self.board.status(self.now).builders[0].pending
    }

    /// What is built next.
    fn next(&mut self) -> u64 {
        let (build, _, _) = self.running[0].clone();
        self.end(build.0, Outcome::Success);
        self.commit()[0].1[0]
    }
}

/// Symptom: a request that an event had missed stayed unknown although every scan counted it. Cause: a claim that the
/// board heard of between the count and the read made it count one too many; one missed request more, and the sums
/// agreed. Cure: a page says how many there are at its own moment.
#[test]
fn a_claim_between_count_and_read_does_not_hide_what_the_next_scan_finds() {
    let mut table = in_pieces((1..=20).map(|id| request(id, "a")));
    let mut before = counts(&table.stored);
    *before.get_mut("a").unwrap() += 1;
    table.next();
    table.board.counted(before);
    table.turn();
    assert_eq!(table.pending(), 18);
    table.stores(prior(99, "a", 9));
    table.scan();
    table.turn();
    assert_eq!(table.next(), 99);
}

#[test]
fn what_counts_do_not_tell_is_found_within_a_round_of_scans() {
    let mut table = in_pieces((1..=20).map(|id| request(id, "a")));
    table.stored.remove(&Turn::of(&request(2, "a")));
    table.stores(prior(99, "a", 9));
    for _ in 0..SCANS_A_ROUND {
        table.scan();
        table.turn();
    }
    assert_eq!([table.next(), table.next()], [99, 3]);
}

/// Symptom: a request that was over was offered to the gate for good. Cause: its submission was told after its
/// withdrawal, by another task, and scans only ever added. Cure: what is read from the first request on is all there
/// is up to where it ends.
#[test]
fn what_is_told_after_its_withdrawal_goes_with_the_next_scan() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![gated]);
    table.board.withdrawn("a", RequestId(1));
    table.submit([request(1, "a")]);
    table.stored.clear();
    table.answer(Answer::Names(Vec::new()));
    assert_eq!(table.pending(), 1);
    table.scan();
    table.turn();
    assert_eq!(table.pending(), 0);
    table.pass(HOLD_MS);
    assert!(table.asks.is_empty());
}

#[test]
fn what_an_expiry_frees_counts_wherever_it_waits() {
    let mut table = in_pieces((1..=20).map(|id| request(id, "a")));
    let again = Request { version: 2, ..prior(50, "a", -1) };
    let freed = table.stores(again);
    table.board.submitted([freed]);
    assert_eq!(table.pending(), 20, "in the store");
    let freed = table.stores(Request { version: 2, ..prior(51, "a", 9) });
    table.board.submitted([freed]);
    table.turn();
    assert_eq!(table.pending(), 21, "among the first");
    assert_eq!(table.next(), 51);
}

#[test]
fn a_request_that_is_raised_out_of_the_store_is_next_and_counts_once() {
    let mut table = in_pieces((1..=20).map(|id| request(id, "a")));
    let raised = Request { version: 2, ..prior(17, "a", 9) };
    table.stored.remove(&Turn::of(&request(17, "a")));
    let raised = table.stores(raised);
    table.board.raised([raised]);
    table.turn();
    assert_eq!(table.pending(), 19);
    assert_eq!(table.next(), 17);
    // And the other way: what is loaded falls behind.
    let lowered = Request { version: 2, ..prior(2, "a", -9) };
    table.stored.remove(&Turn::of(&request(2, "a")));
    let lowered = table.stores(lowered);
    table.board.raised([lowered]);
    table.turn();
    assert_eq!(table.pending(), 18);
    let order: Vec<u64> = (0..18).map(|_| table.next()).collect();
    assert_eq!(order, [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 2]);
}

/// Builder `a`, with more urgent requests than it has loaded, and `b`, on the one slot of a worker; the last request of
/// `a` that was loaded has just been built, and the store has not answered yet.
fn dry(order: Option<PolicyUse>, locks: &[&str]) -> Table {
    let access = |lock: &&str| Access { lock: (*lock).to_owned(), mode: Mode::Exclusive };
    let locks: Vec<Access> = locks.iter().map(access).collect();
    let locked = |name: &str| Builder { locks: locks.clone(), ..builder(name, &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], Vec::new());
    for access in &locks {
        let lock = Lock { kind: Kind::Master, max: 1, max_for_worker: BTreeMap::new() };
        table.rules.locks.insert(access.lock.clone(), lock);
    }
    table.rules.loaded = 1;
    table.configure(vec![locked("a"), locked("b")], order, "one");
    table.submit([prior(1, "a", 9)]);
    if !table.asks.is_empty() {
        table.answer(Answer::Names(vec!["a".to_owned()]));
    }
    assert_eq!(table.commit(), started(&[("w", &[1])]));
    table.submit((2..=9).map(|id| prior(id, "a", 9)));
    table.submit([request(99, "b")]);
    table.late = Some(Late::default());
    table
}

/// Symptom: a less urgent builder got the slot while the next request of the first one was on its way. Cause: who
/// could be offered to the order of builders was looked for, and who could not begin yet lost its turn, although the
/// order was not asked then, since its policy is unknown. Cure: it stays where it is.
#[test]
fn a_builder_whose_next_request_is_still_read_keeps_its_turn_whatever_becomes_of_the_order() {
    for order in [None, Some(policy("order"))] {
        let mut table = dry(order, &[]);
        // The hook is in no plugin any more.
        table.rules.components.clear();
        table.board.configure(table.rules.clone());
        table.turn();
        for build in 1..=3 {
            table.end(build, Outcome::Success);
            while table.claims.is_empty() {
                let Some(late) = &table.late else { panic!() };
                assert_eq!(late.reads.len(), 1, "a request of `a` is being read");
                table.read_comes(0, Some(usize::MAX));
            }
            assert_eq!(table.commit(), started(&[("w", &[build + 1])]));
        }
    }
}

#[test]
fn a_builder_whose_next_request_is_still_read_keeps_its_place_in_line() {
    let mut table = dry(None, &["db"]);
    table.rules.workers[0].max_builds = Some(2);
    table.board.configure(table.rules.clone());
    table.turn();
    let in_line = |table: &Table| -> Vec<String> {
        table.board.locks()[0].waiters.iter().map(|waiter| waiter.who.to_string()).collect()
    };
    table.read_comes(0, Some(usize::MAX));
    assert_eq!(in_line(&table), ["the next build of `a`", "the next build of `b`"]);
    // Somebody withdraws what `a` stands there for; the rest of it is in the store.
    let loaded: Vec<RequestId> = table.board.lanes["a"].known().map(|request| request.id).collect();
    for id in loaded {
        table.stored.retain(|_, request| request.id != id);
        table.board.withdrawn("a", id);
    }
    table.turn();
    assert_eq!(in_line(&table), ["the next build of `a`", "the next build of `b`"]);
    table.end(1, Outcome::Success);
    assert!(table.claims.is_empty(), "the lock is free, and the turn is that of `a`");
    table.read_comes(0, Some(usize::MAX));
    assert!(table.commit()[0].1[0] < 99);
}
