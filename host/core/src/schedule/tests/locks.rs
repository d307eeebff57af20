//! Locks of builders, workers and steps on the board.

use super::*;
use crate::lock::{Access, Kind, Lock, Mode};

fn access(lock: &str, mode: Mode) -> Access {
    Access { lock: lock.to_owned(), mode }
}

fn one(lock: &str) -> Vec<Access> {
    vec![access(lock, Mode::Counting(1))]
}

fn locked(name: &str, workers: &[&str], locks: &[&str]) -> Builder {
    Builder { locks: locks.iter().flat_map(|lock| one(lock)).collect(), ..builder(name, workers) }
}

fn lock(kind: Kind, max: u32) -> Lock {
    Lock { kind, max, max_for_worker: BTreeMap::new() }
}

/// Workers with so many slots each, builders, and locks for all with their maximum.
fn table(workers: &[(&str, u32)], builders: Vec<Builder>, locks: &[(&str, u32)]) -> Table {
    let workers: Vec<_> = workers.iter().map(|(name, max)| (*name, Some(*max))).collect();
    let mut table = Table::new(&workers, Vec::new());
    table.rules.locks =
        locks.iter().map(|(name, max)| ((*name).to_owned(), lock(Kind::Master, *max))).collect();
    table.configure(builders, None, "one");
    table
}

impl Table {
    fn step(&mut self, build: u64, lock: &str) -> StepLocks {
        let asked = self.board.lock_step(BuildId(build), "s", &one(lock), self.now);
        self.turn();
        asked
    }

    fn step_ends(&mut self, build: u64) {
        self.board.unlock_step(BuildId(build));
        self.turn();
    }
}

#[test]
fn a_request_whose_lock_is_taken_stays_pending_keeps_no_slot_and_says_what_it_waits_for() {
    let builders = vec![locked("a", &["w"], &["db"]), locked("b", &["w"], &["db"]), builder("c", &["w"])];
    let mut table = table(&[("w", 2)], builders, &[("db", 1)]);
    table.submit([request(1, "a"), request(2, "b"), request(3, "c")]);
    assert_eq!(table.commit(), started(&[("w", &[1]), ("w", &[3])]));
    table.end(2, Outcome::Success);
    assert_eq!(table.why("b").unwrap(), "waits for lock `db`, held by build 1 of `a`");
    assert!(table.claims.is_empty());
    table.end(1, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

#[test]
fn an_answer_that_a_step_did_not_live_to_hear_is_not_its_successors() {
    let mut table = table(&[("w", 3)], vec![builder("a", &["w"])], &[("db", 1)]);
    table.submit([request(1, "a"), request(2, "a"), request(3, "a")]);
    table.commit();
    assert_eq!(table.step(1, "db"), StepLocks::Held);
    assert!(matches!(table.step(2, "db"), StepLocks::Waits(_)));
    assert!(matches!(table.step(3, "db"), StepLocks::Waits(_)));
    // In one burst: the first gives back, the second's step ends, its next one asks.
    table.board.unlock_step(BuildId(1));
    table.board.unlock_step(BuildId(2));
    let asked = table.board.lock_step(BuildId(2), "s", &one("db"), table.now);
    assert!(matches!(asked, StepLocks::Waits(_)), "the third is ahead of it: {asked:?}");
    table.turn();
    assert_eq!(table.step_locks, [(3, Ok(()))]);
}

#[test]
fn while_the_order_of_builders_rests_their_lines_keep_no_step_waiting() {
    let builders = vec![locked("a", &["w"], &["db"]), locked("b", &["w"], &["db"]), builder("c", &["w"])];
    let mut table = table(&[("w", 9)], builders.clone(), &[("db", 1)]);
    table.submit([request(1, "a"), request(2, "c"), request(3, "b")]);
    assert_eq!(table.commit(), started(&[("w", &[1]), ("w", &[2])]));
    assert!(table.why("b").unwrap().starts_with("waits for lock `db`"));
    let order = PolicyUse { on_error: OnError::Hold, ..policy("order") };
    table.configure(builders, Some(order), "one");
    table.submit([request(4, "c")]);
    table.fail();
    assert!(matches!(table.step(2, "db"), StepLocks::Waits(_)));
    table.end(1, Outcome::Success);
    assert_eq!(table.step_locks, [(2, Ok(()))], "`b` begins nothing before the rest is over");
    table.step_ends(2);
    table.pass(HOLD_MS);
    table.answer(Answer::Names(vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(table.begun.len(), 4, "then everybody begins");
}

#[test]
fn a_lock_goes_to_who_asked_first_not_to_who_is_more_urgent() {
    let builders =
        vec![locked("a", &["w"], &["db"]), locked("b", &["w"], &["db"]), locked("c", &["w"], &["db"])];
    let mut table = table(&[("w", 9)], builders, &[("db", 1)]);
    table.submit([request(1, "a")]);
    table.commit();
    table.submit([request(2, "b")]);
    table.submit([prior(3, "c", 9), prior(4, "b", 7), request(5, "a")]);
    let mut order = Vec::new();
    for build in 1..=4 {
        table.end(build, Outcome::Success);
        order.extend(table.commit().into_iter().flat_map(|(_, ids)| ids));
    }
    // The place is the builder's: within it the most urgent request goes first, and then it queues again.
    assert_eq!(order, [4, 3, 5, 2]);
}

#[test]
fn a_builder_that_needs_several_locks_is_not_starved_by_those_who_need_one() {
    let builders =
        vec![locked("both", &["w"], &["x", "y"]), locked("x", &["w"], &["x"]), locked("y", &["w"], &["y"])];
    let mut table = table(&[("w", 9)], builders, &[("x", 1), ("y", 1)]);
    table.submit([request(1, "x"), request(2, "y")]);
    table.commit();
    table.submit([request(3, "both")]);
    table.submit((4..=9).flat_map(|id| [request(id, "x"), request(id + 10, "y")]));
    assert_eq!(
        table.why("x").unwrap(),
        "waits for lock `x`, held by build 1 of `x`, behind the next build of `both`"
    );
    table.end(1, Outcome::Success);
    assert!(table.claims.is_empty(), "x is kept for the one that needs both");
    table.end(2, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w", &[3])]));
}

#[test]
fn a_builder_in_line_without_a_slot_keeps_nobody_waiting_and_its_ticket_stays_good() {
    let builders = vec![locked("a", &["w1"], &["db"]), builder("b", &["w1"]), locked("c", &["w2"], &["db"])];
    let mut table = table(&[("w1", 1), ("w2", 9)], builders, &[("db", 1)]);
    table.submit([request(1, "c")]);
    table.commit();
    table.submit([request(2, "a")]);
    assert_eq!(table.why("a").unwrap(), "waits for lock `db`, held by build 1 of `c`");
    table.submit([request(3, "c"), request(4, "c")]);
    // Somebody else takes the slot of the one in line.
    table.submit([request(5, "b")]);
    assert_eq!(table.commit(), started(&[("w1", &[5])]));
    table.end(1, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w2", &[3])]));
    // With its slot back it is ahead again, though the other one asked meanwhile.
    table.end(2, Outcome::Success);
    table.end(3, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w1", &[2])]));
}

#[test]
fn a_lock_on_each_worker_leaves_the_other_workers_free() {
    let mut table = table(&[("w1", 9), ("w2", 9)], Vec::new(), &[]);
    table.rules.locks.insert("disk".to_owned(), lock(Kind::Worker, 1));
    table.configure(vec![locked("a", &["w1", "w2"], &["disk"])], None, "one");
    table.submit((1..=3).map(|id| request(id, "a")));
    assert_eq!(table.commit(), started(&[("w1", &[1]), ("w2", &[2])]));
    assert_eq!(table.why("a").unwrap(), "waits for lock `disk` of worker `w1`, held by build 1 of `a`");
    // It stands in line on one, and goes where something comes free.
    table.end(2, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w2", &[3])]));
}

#[test]
fn each_build_on_a_worker_takes_the_locks_of_the_worker() {
    let mut table = table(&[("w1", 9), ("w2", 9)], Vec::new(), &[("host", 2)]);
    for worker in &mut table.rules.workers {
        worker.locks = one("host");
    }
    table.configure(vec![builder("a", &["w1"]), builder("b", &["w2"])], None, "one");
    table.submit([request(1, "a"), request(2, "b"), request(3, "a"), request(4, "b")]);
    assert_eq!(table.commit(), started(&[("w1", &[1]), ("w2", &[2])]));
    table.end(2, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w1", &[3])]));
}

#[test]
fn a_maximum_that_grows_wakes_who_waits() {
    let builders = || vec![locked("a", &["w"], &["db"])];
    let mut table = table(&[("w", 9)], builders(), &[("db", 1)]);
    table.submit((1..=3).map(|id| request(id, "a")));
    assert_eq!(table.commit().len(), 1);
    table.rules.locks.insert("db".to_owned(), lock(Kind::Master, 2));
    table.configure(builders(), None, "one");
    assert_eq!(table.commit(), started(&[("w", &[2])]));
    table.rules.locks.clear();
    table.configure(vec![builder("a", &["w"])], None, "one");
    assert_eq!(table.commit(), started(&[("w", &[3])]));
}

#[test]
fn a_refused_claim_and_a_build_to_be_tried_again_give_their_locks_back() {
    let builders = vec![locked("a", &["w"], &["db"]), locked("b", &["w"], &["db"])];
    let mut table = table(&[("w", 9)], builders, &[("db", 1)]);
    table.submit([request(1, "a"), request(2, "b")]);
    let start = table.claims.remove(0).start;
    table.board.refused(start, Some(RequestId(1)), "taken", table.now);
    table.turn();
    assert_eq!(table.commit(), started(&[("w", &[2])]));
    table.submit([request(3, "a")]);
    table.end(1, Outcome::Retry);
    assert_eq!(table.commit(), started(&[("w", &[3])]));
}

#[test]
fn a_policy_is_not_offered_a_worker_whose_locks_are_taken() {
    let mut table = table(&[("w1", 9), ("w2", 9)], Vec::new(), &[]);
    table.rules.locks.insert("disk".to_owned(), lock(Kind::Worker, 1));
    let choosy = Builder { next_slave: Some(policy("choose")), ..locked("a", &["w1", "w2"], &["disk"]) };
    table.configure(vec![choosy, locked("b", &["w1"], &["disk"])], None, "one");
    table.submit([request(1, "b")]);
    table.commit();
    table.submit([request(2, "a"), request(3, "a")]);
    let Question::NextSlave { slaves, .. } = &table.asks[0].question else { panic!() };
    assert_eq!(slaves.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["w2"]);
    assert_eq!(table.asks.len(), 1, "the second one waits until the first has its locks");
    table.answer(Answer::Slave(Some("w2".to_owned())));
    assert_eq!(table.commit(), started(&[("w2", &[2])]));
    assert!(table.asks.is_empty());
}

#[test]
fn who_is_left_out_of_the_order_keeps_nobody_waiting() {
    let builders =
        || vec![locked("a", &["w"], &["db"]), locked("b", &["w"], &["db"]), locked("c", &["w"], &["db"])];
    let mut table = table(&[("w", 9)], builders(), &[("db", 1)]);
    table.submit([request(1, "a")]);
    table.commit();
    table.submit([request(2, "b")]);
    table.submit([request(3, "c")]);
    table.configure(builders(), Some(policy("order")), "one");
    assert!(table.asks.is_empty(), "nobody could begin: the order need not be asked");
    table.end(1, Outcome::Success);
    table.answer(Answer::Names(Vec::new()));
    // `b` had its turn and was left out; `c` is next in line.
    table.answer(Answer::Names(vec!["c".to_owned()]));
    assert_eq!(table.commit(), started(&[("w", &[3])]));
}

#[test]
fn steps_take_locks_in_the_order_in_which_they_ask_among_builders() {
    let builders = vec![builder("a", &["w"]), locked("b", &["w"], &["db"])];
    let mut table = table(&[("w", 9)], builders, &[("db", 2)]);
    table.submit((1..=3).map(|id| request(id, "a")));
    table.commit();
    assert_eq!((table.step(1, "db"), table.step(2, "db")), (StepLocks::Held, StepLocks::Held));
    table.submit([request(4, "b")]);
    let StepLocks::Waits(why) = table.step(3, "db") else { panic!() };
    assert_eq!(
        why,
        "waits for lock `db`, held by step `s` of build 1 of `a` and 1 more, behind the next build of `b`"
    );
    table.step_ends(2);
    assert_eq!(table.commit(), started(&[("w", &[4])]));
    assert!(table.step_locks.is_empty());
    // A build that ends gives back what its step had.
    table.end(1, Outcome::Cancelled);
    assert_eq!(table.step_locks, [(3, Ok(()))]);
    assert_eq!(table.step(99, "db"), StepLocks::Held, "a build that the board does not know");
}

#[test]
fn a_step_that_gives_up_its_wait_is_served_no_more() {
    let mut table = table(&[("w", 9)], vec![builder("a", &["w"])], &[("db", 1)]);
    table.submit((1..=3).map(|id| request(id, "a")));
    table.commit();
    for (build, free) in [(1, true), (2, false), (3, false)] {
        assert_eq!(table.step(build, "db") == StepLocks::Held, free);
    }
    table.step_ends(2);
    table.step_ends(1);
    assert_eq!(table.step_locks, [(3, Ok(()))]);
}

#[test]
fn steps_that_wait_in_a_circle_are_refused_with_its_names() {
    let builders = vec![locked("a", &["w"], &["x"]), locked("b", &["w"], &["y"])];
    let mut table = table(&[("w", 9)], builders, &[("x", 1), ("y", 1)]);
    table.submit([request(1, "a"), request(2, "b")]);
    table.commit();
    assert!(matches!(table.step(1, "y"), StepLocks::Waits(_)));
    let StepLocks::Refused(why) = table.step(2, "x") else { panic!() };
    assert_eq!(
        why,
        "build 2 of `b` waits for lock `x`, held by build 1 of `a`, which waits for lock `y`, held by build 2 of `b`"
    );
    // It gave up its place: the other one goes on as soon as its build has ended.
    table.end(2, Outcome::Exception);
    assert_eq!(table.step_locks, [(1, Ok(()))]);
}

#[test]
fn a_maximum_that_shrinks_into_a_circle_ends_a_wait() {
    let builders = || {
        let two = Builder { locks: vec![access("x", Mode::Counting(2))], ..builder("a", &["w"]) };
        vec![two, locked("b", &["w"], &["y"])]
    };
    let mut table = table(&[("w", 9)], builders(), &[("x", 3), ("y", 1)]);
    table.submit([request(1, "a"), request(2, "b")]);
    table.commit();
    assert!(matches!(table.step(1, "y"), StepLocks::Waits(_)));
    assert_eq!(table.step(2, "x"), StepLocks::Held);
    table.step_ends(2);
    table.rules.locks.insert("x".to_owned(), lock(Kind::Master, 2));
    table.configure(builders(), None, "one");
    let StepLocks::Refused(_) = table.step(2, "x") else { panic!() };
}

#[test]
fn a_step_passes_a_builder_that_waits_for_its_build() {
    let builders = vec![locked("a", &["w"], &["x"]), locked("both", &["w"], &["x", "y"])];
    let mut table = table(&[("w", 9)], builders, &[("x", 1), ("y", 1)]);
    table.submit([request(1, "a")]);
    table.commit();
    table.submit([request(2, "both")]);
    assert_eq!(table.step(1, "y"), StepLocks::Held);
    table.end(1, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

impl Table {
    fn waits(&mut self, build: u64, requests: &[(u64, &str)]) -> Result<(), String> {
        let requests = requests.iter().map(|(id, builder)| (RequestId(*id), (*builder).to_owned()));
        let found = self.board.wait_for_requests(BuildId(build), requests.collect::<Vec<_>>());
        self.turn();
        found
    }
}

#[test]
fn a_parent_whose_child_needs_its_slot_would_wait_for_ever() {
    let builders = || vec![builder("top", &["w1"]), builder("leaf", &["w1", "w2"])];
    let mut table = table(&[("w1", 1), ("w2", 1)], builders(), &[]);
    table.submit([request(1, "top"), request(2, "leaf"), request(3, "leaf")]);
    assert_eq!(table.commit(), started(&[("w1", &[1]), ("w2", &[2])]));
    assert_eq!(table.waits(1, &[(2, "leaf"), (3, "leaf")]), Ok(()), "w2 comes free");
    table.end(2, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w2", &[3])]));
    table.end(3, Outcome::Success);
    // What is over is waited for no more, whoever looks.
    table.configure(builders(), None, "one");
    assert_eq!(table.step_locks, []);
    table.board.worker_down("w2");
    table.submit([request(4, "leaf")]);
    assert_eq!(table.waits(1, &[(4, "leaf")]), Ok(()), "w2 may come back");
    table.configure(vec![builder("top", &["w1"]), builder("leaf", &["w1"])], None, "one");
    let circle = "build 1 of `top` waits for request 4, which waits for a slot of worker `w1`, held by build 1 of `top`";
    assert_eq!(table.step_locks, [(1, Err(circle.to_owned()))]);
}

#[test]
fn a_parent_whose_child_needs_its_lock_would_wait_for_ever() {
    let builders = vec![locked("top", &["w"], &["db"]), locked("leaf", &["w"], &["db"])];
    let mut table = table(&[("w", 9)], builders, &[("db", 1)]);
    table.submit([request(1, "top")]);
    table.commit();
    table.submit([request(2, "leaf")]);
    assert_eq!(
        table.waits(1, &[(2, "leaf")]).unwrap_err(),
        "build 1 of `top` waits for request 2, which stands in line as the next build of `leaf`, \
         which waits for lock `db`, held by build 1 of `top`"
    );
}

#[test]
fn parents_that_keep_each_others_children_out_are_found_when_the_second_waits() {
    let builders = vec![
        builder("a", &["w1"]),
        builder("b", &["w2"]),
        builder("a-leaf", &["w2"]),
        builder("b-leaf", &["w1"]),
    ];
    let mut table = table(&[("w1", 1), ("w2", 1)], builders, &[]);
    table.submit([request(1, "a"), request(2, "b")]);
    table.commit();
    table.submit([request(3, "a-leaf"), request(4, "b-leaf")]);
    assert_eq!(table.waits(1, &[(3, "a-leaf")]), Ok(()));
    assert_eq!(
        table.waits(2, &[(4, "b-leaf")]).unwrap_err(),
        "build 2 of `b` waits for request 4, which waits for a slot of worker `w1`, held by build 1 of `a`, \
         which waits for request 3, which waits for a slot of worker `w2`, held by build 2 of `b`"
    );
}

#[test]
fn a_child_passes_a_builder_that_waits_for_its_parent() {
    let builders = vec![
        locked("top", &["w"], &["x"]),
        locked("both", &["w"], &["x", "y"]),
        locked("leaf", &["w"], &["y"]),
    ];
    let mut table = table(&[("w", 9)], builders, &[("x", 1), ("y", 1)]);
    table.submit([request(1, "top")]);
    table.commit();
    table.submit([request(2, "both")]);
    table.submit([request(3, "leaf")]);
    assert!(table.claims.is_empty(), "`both` stands ahead in the line of y");
    assert_eq!(table.waits(1, &[(3, "leaf")]), Ok(()));
    assert_eq!(table.commit(), started(&[("w", &[3])]));
    table.end(1, Outcome::Success);
    table.end(2, Outcome::Success);
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

/// Symptom: two builds waited for ever. Cause: a worker that was away counted as a way out, and nobody looked again when
/// it was back without a free slot. Cure: who waits for requests is looked at then.
#[test]
fn parents_that_counted_on_a_worker_are_found_when_it_is_back_and_full() {
    let builders = vec![builder("top", &["w1", "w2"]), builder("leaf", &["w1", "w2"])];
    let mut table = table(&[("w1", 1), ("w2", 1)], builders, &[]);
    table.submit([request(1, "top"), request(2, "top")]);
    assert_eq!(table.commit(), started(&[("w1", &[1]), ("w2", &[2])]));
    table.board.worker_down("w2");
    table.submit([request(3, "leaf"), request(4, "leaf")]);
    assert_eq!(table.waits(1, &[(3, "leaf")]), Ok(()), "w2 may come back");
    assert_eq!(table.waits(2, &[(4, "leaf")]), Ok(()), "w2 may come back");
    table.board.worker_up("w2", table.now, Vec::new());
    table.turn();
    let [(1, Err(circle))] = &table.step_locks[..] else { panic!("{:?}", table.step_locks) };
    assert!(circle.contains("which waits for a slot of worker"), "{circle}");
}

/// The same for a start that was about to serve a request, and was given up.
#[test]
fn parents_that_counted_on_a_start_are_found_when_it_is_given_up() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("leaf", &["w"]) };
    let mut table = table(&[("w", 2)], vec![builder("top", &["w"]), gated], &[]);
    table.submit([request(1, "top")]);
    table.commit();
    table.submit([request(2, "leaf")]);
    assert_eq!(table.asks.len(), 1);
    assert_eq!(table.waits(1, &[(2, "leaf")]), Ok(()), "its start is under way");
    // One slot less: there is none for the child any more.
    table.rules.workers[0].max_builds = Some(1);
    table.board.configure(table.rules.clone());
    table.answer(Answer::Names(Vec::new()));
    let [(1, Err(circle))] = &table.step_locks[..] else { panic!("{:?}", table.step_locks) };
    assert!(circle.contains("waits for request 2, which waits for a slot of worker `w`"), "{circle}");
}

/// Symptom: the dispatcher stood still while a hundred parents waited and a policy refused starts. Cause: each start that
/// was given up had the waits of all parents gathered once for each parent. Cure: they are gathered once before the next
/// decision, if the start was one that somebody was let off for, and what waits in one lane is one node.
#[test]
fn a_start_that_is_given_up_has_parents_looked_at_once_if_at_all() {
    let allowed = |name: &str, worker: &str| Builder {
        can_start_build: Some(policy("allow")),
        ..builder(name, &[worker])
    };
    let builders = vec![builder("top", &["w1"]), allowed("leaf", "w2"), allowed("other", "w3")];
    let mut table = table(&[("w1", 99), ("w2", 1), ("w3", 1)], builders, &[]);
    table.submit((1..=40).map(|id| request(id, "top")));
    table.commit();
    for parent in 1..=40 {
        assert_eq!(table.waits(parent, &[(1_000 + parent, "leaf"), (2_000 + parent, "leaf")]), Ok(()));
    }
    let graph = table.board.waits_of_parents();
    assert_eq!(graph.len(), 41, "the parents, and the lane of their children");
    for (name, looks) in [("other", false), ("leaf", true)] {
        table.submit([request(3_000, name)]);
        let start = *table.board.starts.keys().next().unwrap();
        table.board.give_up(start);
        assert_eq!(table.board.locks.looks_again, looks, "{name}");
        table.asks.clear();
        table.board.worker_down(if looks { "w2" } else { "w3" });
        table.turn();
        assert!(!table.board.locks.looks_again);
    }
}
