//! Boards that begin with builds that run already.

use super::*;
use crate::lock::{Access, Kind, Lock, Mode, Who};

/// Two builders for one worker with so many slots, which is not connected yet; each needs the lock, of which there
/// is so much.
fn table(slots: Option<u32>, max: u32) -> Table {
    let mut table = Table::new(&[("w", slots)], Vec::new());
    table.rules.locks =
        [("db".to_owned(), Lock { kind: Kind::Master, max, max_for_worker: BTreeMap::new() })].into();
    let locked = |name| {
        let locks = vec![Access { lock: "db".to_owned(), mode: Mode::Counting(1) }];
        Builder { locks, ..builder(name, &["w"]) }
    };
    table.configure(vec![locked("a"), locked("b")], None, "one");
    table.board.worker_down("w");
    table
}

impl Board {
    /// The steps that hold locks, with what they use.
    pub(super) fn steps_with_locks(&self) -> BTreeMap<BuildId, (String, Vec<Access>)> {
        let mut steps = BTreeMap::new();
        for lock in self.locks() {
            for holder in lock.holders {
                let Who::Step { build, step, .. } = holder.who else { continue };
                let (_, uses) = steps.entry(build).or_insert_with(|| (step, Vec::new()));
                uses.push(Access { lock: lock.name.clone(), mode: holder.mode });
            }
        }
        steps
    }
}

impl Table {
    fn up(&mut self) {
        self.board.worker_up("w", self.now, Vec::new());
        self.turn();
    }
}

#[test]
fn a_build_that_was_taken_up_keeps_its_slot_and_its_locks_though_its_worker_comes_later() {
    let mut table = table(Some(2), 1);
    table.submit([request(1, "a")]);
    table.up();
    assert_eq!(table.commit(), started(&[("w", &[1])]));
    table.restart();
    table.submit([request(2, "b"), request(3, "a")]);
    let worker = |table: &Table| table.board.status(table.now).workers[0].clone();
    assert_eq!((worker(&table).running, worker(&table).connected_since), (1, None));
    table.up();
    assert_eq!(worker(&table).free, Some(1));
    assert_eq!(table.why("b").unwrap(), "waits for lock `db`, held by build 1 of `a`");
    table.end(1, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

#[test]
fn requests_of_a_build_that_was_taken_up_and_ends_as_retry_are_built_again() {
    let mut table = table(None, 9);
    table.submit([request(1, "a"), request(2, "a")]);
    table.up();
    assert_eq!(table.commit(), started(&[("w", &[1])]));
    table.restart();
    table.up();
    assert!(table.claims.is_empty(), "one build of each builder at a time");
    table.end(1, Outcome::Retry);
    assert_eq!(table.commit(), started(&[("w", &[1])]));
    table.end(2, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

#[test]
fn a_build_that_ends_as_retry_before_the_store_was_read_is_not_forgotten() {
    let mut table = table(Some(1), 9);
    table.submit([request(1, "a")]);
    table.up();
    table.commit();
    table.begin_again();
    table.board.opening();
    // The store is read, and then it hears of the end.
    table.end(1, Outcome::Retry);
    table.board.opened(BTreeMap::new());
    table.up();
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

#[test]
fn builds_that_were_taken_up_keep_what_they_hold_of_a_lock_of_which_there_is_less_by_now() {
    let mut table = table(Some(9), 2);
    table.submit([request(1, "a"), request(2, "b"), request(3, "b")]);
    table.up();
    assert_eq!(table.commit().len(), 2);
    table.rules.locks.get_mut("db").unwrap().max = 1;
    table.restart();
    table.up();
    assert_eq!(table.board.locks()[0].holders.len(), 2);
    table.end(1, Outcome::Success);
    assert!(table.claims.is_empty());
    table.end(2, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w", &[3])]));
}

/// A step that waited must not get the lock of one whose command runs still, only because it asks first.
#[test]
fn a_step_that_had_its_locks_has_them_still_whoever_asks_first() {
    let mut table = table(Some(9), 9);
    let db = [Access { lock: "db".to_owned(), mode: Mode::Exclusive }];
    table.rules.locks.get_mut("db").unwrap().max = 1;
    table.configure(vec![builder("a", &["w"]), builder("b", &["w"])], None, "one");
    table.submit([request(1, "a"), request(2, "b")]);
    table.up();
    assert_eq!(table.commit().len(), 2);
    let ask = |table: &mut Table, build| table.board.lock_step(BuildId(build), "s", &db, table.now);
    assert_eq!(ask(&mut table, 2), StepLocks::Held);
    assert!(matches!(ask(&mut table, 1), StepLocks::Waits(_)));
    table.restart();
    assert_eq!(
        ask(&mut table, 1),
        StepLocks::Waits("waits for lock `db`, held by step `s` of build 2 of `b`".to_owned())
    );
    assert_eq!(ask(&mut table, 2), StepLocks::Held);
    table.board.unlock_step(BuildId(2));
    table.turn();
    assert_eq!(table.step_locks, [(1, Ok(()))]);
}
