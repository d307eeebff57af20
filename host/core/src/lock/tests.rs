//! What the table promises, case by case; [`histories`] are random ones.

use std::collections::{BTreeMap, BTreeSet};

use super::deadlock::{self, Debt, Graph, Node, On, Wait};
use super::*;
use crate::id::RequestId;
use crate::time::Timestamp;

mod histories;

const NOW: Timestamp = Timestamp(1);

fn locks(list: &[(&str, u32)]) -> BTreeMap<String, Lock> {
    let lock = |max| Lock { kind: Kind::Master, max, max_for_worker: BTreeMap::new() };
    list.iter().map(|(name, max)| ((*name).to_owned(), lock(*max))).collect()
}

fn table(list: &[(&str, u32)]) -> Table {
    let mut table = Table::default();
    assert_eq!(table.configure(&locks(list)), Woken::default());
    table
}

fn key(lock: &str) -> Key {
    Key { lock: lock.to_owned(), worker: None }
}

/// `a` is one of a, `a:2` two of it, `a!` all of it.
fn wants(text: &str) -> Vec<Want> {
    let one = |word: &str| match (word.strip_suffix('!'), word.split_once(':')) {
        (Some(name), _) => Want { key: key(name), mode: Mode::Exclusive },
        (None, Some((name, count))) => Want { key: key(name), mode: Mode::Counting(count.parse().unwrap()) },
        (None, None) => Want { key: key(word), mode: Mode::Counting(1) },
    };
    text.split_whitespace().map(one).collect()
}

fn step(build: u64) -> Who {
    Who::Step { build: BuildId(build), builder: "b".to_owned(), step: "s".to_owned() }
}

fn build(build: u64) -> Who {
    Who::Build { build: BuildId(build), builder: "b".to_owned() }
}

fn next(builder: &str) -> Who {
    Who::Builder { builder: builder.to_owned() }
}

/// Numbers of those whose place a change turned into what they waited for.
fn granted(table: &Table, woken: &Woken) -> Vec<u64> {
    woken.granted.iter().map(|ticket| table.who(*ticket).unwrap().build().unwrap().0).collect()
}

/// Claimants 1, 2, 3 ... ask for `asks` in this order of a lock `a` with `max` and locks `b` and `c` with 1;
/// `at_once` are served at once. Then those of `releases` give back in this order, each of which serves others.
fn check(max: u32, asks: &[&str], at_once: &[u64], releases: &[(u64, &[u64])]) {
    let mut table = table(&[("a", max), ("b", 1), ("c", 1)]);
    let mut tickets = BTreeMap::new();
    let mut served = Vec::new();
    for (number, ask) in (1..).zip(asks) {
        let (ticket, free) = table.ask(step(number), wants(ask), NOW);
        tickets.insert(number, ticket);
        served.extend(free.then_some(number));
    }
    assert_eq!(served, at_once, "{max}, {asks:?}: at once");
    for (number, serves) in releases {
        let woken = table.release(tickets[number]);
        assert_eq!(granted(&table, &woken), *serves, "{max}, {asks:?}: after {number} gave back");
    }
}

#[test]
fn those_who_fit_are_served_in_their_order() {
    // Counting, up to the maximum.
    check(1, &["a", "a"], &[1], &[(1, &[2])]);
    check(2, &["a", "a", "a", "a"], &[1, 2], &[(2, &[3]), (1, &[4])]);
    check(3, &["a:2", "a:2", "a"], &[1], &[(1, &[2, 3])]);
    // Exclusive is alone.
    check(3, &["a!", "a", "a!"], &[1], &[(1, &[2]), (2, &[3])]);
    check(3, &["a", "a!", "a"], &[1], &[(1, &[2]), (2, &[3])]);
    // A stream of counting ones does not keep an exclusive one waiting.
    check(2, &["a", "a!", "a", "a"], &[1], &[(1, &[2]), (2, &[3, 4])]);
    // One release serves as many as fit, and no further than the first who does not.
    check(3, &["a!", "a", "a", "a!", "a"], &[1], &[(1, &[2, 3]), (2, &[]), (3, &[4]), (4, &[5])]);
    // One who gives up its place lets those behind go on.
    check(2, &["a", "a!", "a"], &[1], &[(2, &[3])]);
    // Nothing of a lock is always there.
    check(1, &["a!", "a:0"], &[1, 2], &[]);
}

/// Buildbot counts each waiter ahead as one, whatever it wants: somebody who wants several is overtaken for ever.
#[test]
fn who_wants_several_is_not_overtaken_by_those_who_want_one() {
    check(3, &["a:2", "a:2", "a:1", "a:1"], &[1], &[(1, &[2, 3]), (3, &[4])]);
    check(5, &["a:3", "a:5", "a:1", "a:2"], &[1], &[(1, &[2]), (2, &[3, 4])]);
    // What the one ahead leaves may be had.
    check(5, &["a:3", "a:4", "a:1"], &[1], &[(1, &[2, 3])]);
    check(9, &["a:6", "a:4", "a:5", "a:3"], &[1], &[(1, &[2, 3]), (2, &[4])]);
}

#[test]
fn several_locks_are_had_all_at_once_or_not_at_all() {
    check(1, &["a", "a b", "b"], &[1], &[(1, &[2]), (2, &[3])]);
    check(1, &["a", "a b", "c", "b c"], &[1, 3], &[(3, &[]), (1, &[2]), (2, &[4])]);
    // The classic one who starves: somebody always has one of both.
    check(1, &["a", "a b", "b", "a"], &[1], &[(1, &[2]), (2, &[3, 4])]);
    check(1, &["a", "b", "a b", "a", "b"], &[1, 2], &[(1, &[]), (2, &[3]), (3, &[4, 5])]);
}

#[test]
fn a_maximum_that_grows_serves_those_who_wait_and_one_that_shrinks_takes_nothing() {
    let mut table = table(&[("a", 1)]);
    let first = table.ask(step(1), wants("a"), NOW).0;
    for number in 2..=4 {
        assert!(!table.ask(step(number), wants("a"), NOW).1);
    }
    let woken = table.configure(&locks(&[("a", 3)]));
    assert_eq!(granted(&table, &woken), [2, 3]);
    assert_eq!(table.configure(&locks(&[("a", 1)])), Woken::default());
    assert_eq!(table.release(first), Woken::default(), "two have it still");
    let status = table.wait_graph();
    assert_eq!((status[0].held, status[0].max, status[0].waiters.len()), (2, Some(1), 1));
}

/// `asks` of a lock with `max`, of which `at_once` are served; then there is `after` of it, which serves `wakes`, and
/// `releases` give back, each of which serves others. Buildbot 0.8 made a fresh lock of one whose maximum changed, so that
/// as much again was taken as was held; here nobody has any while more is held than there is.
fn check_change(
    max: u32,
    asks: &[&str],
    at_once: u64,
    after: u32,
    wakes: &[u64],
    releases: &[(u64, &[u64])],
) {
    let mut table = table(&[("a", max)]);
    let asked: Vec<(Ticket, bool)> =
        (1..).zip(asks).map(|(number, ask)| table.ask(step(number), wants(ask), NOW)).collect();
    assert_eq!(asked.iter().filter(|(_, free)| *free).count() as u64, at_once, "{max}, {asks:?}");
    let woken = table.configure(&locks(&[("a", after)]));
    assert_eq!(granted(&table, &woken), wakes, "{max} -> {after}, {asks:?}");
    for (number, serves) in releases {
        let woken = table.release(asked[usize::try_from(*number).unwrap() - 1].0);
        assert_eq!(granted(&table, &woken), *serves, "{max} -> {after}, {asks:?}: after {number} gave back");
    }
}

#[test]
fn a_maximum_that_changes_under_use_holds_for_the_next_who_takes() {
    // Lower, below what is held: nobody until less is held than there is.
    check_change(3, &["a", "a", "a", "a", "a"], 3, 1, &[], &[(1, &[]), (2, &[]), (3, &[4]), (4, &[5])]);
    check_change(3, &["a", "a", "a", "a", "a"], 3, 2, &[], &[(3, &[]), (1, &[4]), (2, &[5])]);
    // Lower, and not below: no difference yet.
    check_change(4, &["a", "a", "a:3"], 2, 3, &[], &[(1, &[]), (2, &[3])]);
    // Who holds much of it holds all that there is now, and no more.
    check_change(5, &["a:4", "a", "a"], 2, 2, &[], &[(1, &[3])]);
    check_change(5, &["a:5", "a", "a", "a"], 1, 2, &[], &[(1, &[2, 3]), (3, &[4])]);
    // Who waits for more than there is now waits for all of it.
    check_change(5, &["a", "a:5", "a"], 1, 2, &[], &[(1, &[2]), (2, &[3])]);
    // Higher: those who wait go on at once, as many as there is room for, in their order.
    check_change(1, &["a", "a", "a:2", "a"], 1, 4, &[2, 3], &[(1, &[4])]);
    // Who holds all of it does so of however much there is.
    check_change(1, &["a!", "a", "a!", "a"], 1, 3, &[], &[(1, &[2]), (2, &[3]), (3, &[4])]);
    check_change(2, &["a", "a!", "a"], 1, 9, &[], &[(1, &[2]), (2, &[3])]);
}

#[test]
fn who_wants_more_than_there_is_gets_all_there_is() {
    check(2, &["a", "a:7", "a"], &[1], &[(1, &[2]), (2, &[3])]);
}

#[test]
fn a_lock_that_is_not_configured_any_more_locks_nothing() {
    let mut table = table(&[("a", 1)]);
    let first = table.ask(step(1), wants("a"), NOW).0;
    table.ask(step(2), wants("a!"), NOW);
    table.ask(step(3), wants("a!"), NOW);
    let woken = table.configure(&BTreeMap::new());
    assert_eq!(granted(&table, &woken), [2, 3]);
    assert_eq!(table.release(first), Woken::default());
    assert!(table.ask(step(3), wants("a"), NOW).1);
}

#[test]
fn a_lock_of_kind_worker_is_one_on_each() {
    let mut table = Table::default();
    let max_for_worker = BTreeMap::from([("big".to_owned(), 2)]);
    let disk = Lock { kind: Kind::Worker, max: 1, max_for_worker };
    let none = table.configure(&BTreeMap::from([("disk".to_owned(), disk)]));
    assert_eq!(none, Woken::default());
    let disk = [Access { lock: "disk".to_owned(), mode: Mode::Counting(1) }];
    for (worker, free) in [("big", true), ("small", true), ("big", true), ("small", false), ("big", false)] {
        let wants = table.wants(&disk, worker);
        assert_eq!(table.ask(step(1), wants, NOW).1, free, "{worker}");
    }
}

#[test]
fn uses_of_one_lock_add_up_and_a_use_of_nothing_is_none() {
    let table = table(&[("a", 9), ("b", 9)]);
    let uses = |list: &[(&str, Mode)]| {
        let access = |(lock, mode): &(&str, Mode)| Access { lock: (*lock).to_owned(), mode: *mode };
        table.wants(&list.iter().map(access).collect::<Vec<_>>(), "w")
    };
    let (one, two, zero) = (Mode::Counting(1), Mode::Counting(2), Mode::Counting(0));
    assert_eq!(uses(&[("b", one), ("a", one), ("a", two)]), wants("a:3 b"));
    assert_eq!(uses(&[("a", one), ("a", Mode::Exclusive)]), wants("a!"));
    assert_eq!(uses(&[("a", zero), ("gone", one)]), []);
}

#[test]
fn a_builder_is_called_and_keeps_its_place_until_it_takes_or_leaves() {
    let mut table = table(&[("a", 1)]);
    let holder = table.ask(step(1), wants("a"), NOW).0;
    let builder = table.enter(next("nightly"), NOW);
    assert_eq!(table.wait(builder, wants("a"), BTreeSet::new()), Woken::default());
    let (behind, _) = table.ask(step(2), wants("a"), NOW);
    assert_eq!(table.release(holder), Woken { granted: vec![], called: vec![builder] });
    let obstacle = table.obstacle(None, &wants("a")).unwrap();
    assert_eq!((obstacle.held_by, obstacle.behind, obstacle.more_ahead), (None, Some(next("nightly")), 1));
    // It cannot use it now: the next one is served, and its ticket stays good.
    assert_eq!(table.leave(builder), Woken { granted: vec![behind], called: vec![] });
    let later = table.ask(step(3), wants("a"), NOW).0;
    assert_eq!(table.wait(builder, wants("a"), BTreeSet::new()), Woken::default());
    assert_eq!(table.release(behind).called, [builder]);
    assert_eq!(table.take(builder, wants("a"), NOW), Woken::default());
    table.becomes(builder, build(9));
    assert_eq!(table.waits_for(later).unwrap().to_string(), "waits for lock `a`, held by build 9 of `b`");
}

#[test]
fn a_builder_is_called_when_a_lock_that_it_watches_comes_free() {
    let mut table = table(&[("a", 1), ("b", 1)]);
    let [a, b] = ["a", "b"].map(|lock| table.ask(step(1), wants(lock), NOW).0);
    let builder = table.enter(next("x"), NOW);
    assert_eq!(table.wait(builder, wants("a"), BTreeSet::from([key("b")])), Woken::default());
    assert_eq!(table.release(b).called, [builder]);
    assert!(table.ask(step(2), wants("b"), NOW).1, "to watch is to keep no place");
    assert_eq!(table.release(a).called, [builder]);
}

#[test]
fn the_wait_graph_says_who_waits_for_whom() {
    let mut table = table(&[("a", 2), ("b", 1)]);
    table.ask(build(12), wants("a"), NOW);
    table.ask(step(13), wants("a!"), NOW);
    table.ask(step(14), wants("a b"), NOW);
    let shown: Vec<String> = table
        .wait_graph()
        .iter()
        .flat_map(|lock| lock.waiters.iter().map(|w| format!("{}: {}", w.who, w.obstacle.as_ref().unwrap())))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    step `s` of build 13 of `b`: waits for lock `a`, held by build 12 of `b`
    step `s` of build 14 of `b`: waits for lock `a`, held by build 12 of `b`, behind step `s` of build 13 of `b`
    step `s` of build 14 of `b`: waits for lock `a`, held by build 12 of `b`, behind step `s` of build 13 of `b`
    ");
}

fn name(node: Node) -> String {
    match node {
        Node::Build(build) => format!("build {}", build.0),
        Node::Request(request) => format!("request {}", request.0),
        Node::Place(_) => "a place".to_owned(),
    }
}

/// The step of a build that holds locks asks for more.
fn step_asks(table: &mut Table, number: u64, asks: &str) -> Result<(Ticket, bool), String> {
    let (ticket, free) = table.ask(step(number), wants(asks), NOW);
    let found = table.untangle(Node::Build(BuildId(number)), &Graph::new());
    let woken = found.map_err(|circle| deadlock::describe(&circle, name))?;
    Ok((ticket, free || woken.granted.contains(&ticket)))
}

#[test]
fn builds_whose_steps_wait_for_each_other_are_found_and_the_circle_is_named() {
    let mut table = table(&[("a", 1), ("b", 2), ("c", 1)]);
    assert!(table.ask(build(1), wants("a"), NOW).1 && table.ask(build(2), wants("b!"), NOW).1);
    assert!(table.ask(build(3), wants("c"), NOW).1);
    assert!(!step_asks(&mut table, 1, "b").unwrap().1);
    assert!(!step_asks(&mut table, 2, "c").unwrap().1, "build 3 goes on, and gives it back");
    assert_eq!(
        step_asks(&mut table, 3, "a").unwrap_err(),
        "build 3 waits for lock `a`, held by build 1, which waits for lock `b`, held by build 2, \
         which waits for lock `c`, held by build 3"
    );
}

#[test]
fn a_step_that_wants_what_its_own_build_has_is_a_circle_of_one() {
    let mut table = table(&[("a", 1)]);
    assert!(table.ask(build(1), wants("a"), NOW).1);
    let circle = step_asks(&mut table, 1, "a").unwrap_err();
    assert_eq!(circle, "build 1 waits for lock `a`, held by build 1");
}

#[test]
fn a_wait_that_one_who_goes_on_can_end_is_no_deadlock() {
    let mut table = table(&[("a", 2), ("b", 1)]);
    assert!(table.ask(build(1), wants("a"), NOW).1 && table.ask(build(2), wants("b"), NOW).1);
    let other = table.ask(build(3), wants("a"), NOW).0;
    assert!(!step_asks(&mut table, 1, "b").unwrap().1);
    let (ticket, free) = step_asks(&mut table, 2, "a").unwrap();
    assert!(!free, "build 3 will give it back");
    assert_eq!(table.release(other).granted, [ticket]);
}

/// Symptom: a build that holds `a` waits for `b`, which nobody holds, for ever. Cause: a builder ahead in the line
/// of `b` waits for `a`. Cure: nobody waits behind somebody who waits for him.
#[test]
fn a_step_passes_one_who_waits_for_its_build() {
    let mut table = table(&[("a", 1), ("b", 1)]);
    let whole = table.ask(build(1), wants("a"), NOW).0;
    let builder = table.enter(next("x"), NOW);
    assert_eq!(table.wait(builder, wants("a b"), BTreeSet::new()), Woken::default());
    assert!(!table.ask(step(2), wants("b"), NOW).1, "its build holds nothing: it stays behind");
    let (inner, free) = step_asks(&mut table, 1, "b").unwrap();
    assert!(free);
    assert_eq!(table.release(inner), Woken::default());
    assert_eq!(table.release(whole).called, [builder]);
}

#[test]
fn who_waits_for_it_over_several_corners_is_passed_too() {
    let mut table = table(&[("a", 1), ("b", 1), ("c", 1)]);
    assert!(table.ask(build(1), wants("a"), NOW).1);
    assert!(table.ask(build(2), wants("c"), NOW).1);
    let builder = table.enter(next("x"), NOW);
    assert_eq!(table.wait(builder, wants("b c"), BTreeSet::new()), Woken::default());
    let (first, free) = step_asks(&mut table, 1, "b").unwrap();
    assert!(!free, "build 2 goes on, and then the builder ahead");
    // Now build 2 waits for build 1.
    let ticket = table.ask(step(2), wants("a"), NOW).0;
    let woken = table.untangle(Node::Build(BuildId(2)), &Graph::new()).unwrap();
    assert_eq!(woken.granted, [first]);
    assert!(table.is_waiting(ticket));
}

/// A parent on the only slot of a worker waits for children.
#[test]
fn a_parent_that_waits_for_children_which_need_its_slot_or_lock_is_found() {
    let (parent, child) = (Node::Build(BuildId(12)), Node::Request(RequestId(31)));
    let debt = |who| Debt { who, amount: 1, ahead: None };
    let wait = |on, who: &[Node]| Wait { on, needs: 1, of: who.iter().copied().map(debt).collect() };
    let for_child = wait(On::Request(RequestId(31)), &[child]);
    let slot = |worker: &str, who: &[Node]| wait(On::Slot(worker.to_owned()), who);
    let found = |ways: Vec<Vec<Wait>>| {
        let graph = Graph::from([(parent, vec![vec![for_child.clone()]]), (child, ways)]);
        let found = Table::default().untangle(parent, &graph);
        found.map(drop).map_err(|circle| deadlock::describe(&circle, name))
    };
    assert_eq!(
        found(vec![vec![slot("w1", &[parent])]]).unwrap_err(),
        "build 12 waits for request 31, which waits for a slot of worker `w1`, held by build 12"
    );
    let lock = wait(On::Lock(key("db")), &[parent]);
    assert_eq!(
        found(vec![vec![lock.clone()]]).unwrap_err(),
        "build 12 waits for request 31, which waits for lock `db`, held by build 12"
    );
    // Another worker, or another build on this one, opens a way. One way with a lock in it does not.
    let other = Node::Build(BuildId(13));
    assert_eq!(found(vec![vec![slot("w1", &[parent])], vec![slot("w2", &[other])]]), Ok(()));
    assert_eq!(found(vec![vec![slot("w1", &[parent, other])]]), Ok(()));
    assert!(found(vec![vec![slot("w1", &[parent])], vec![slot("w2", &[other]), lock]]).is_err());
}

/// What a line costs does not grow with its length.
#[test]
fn one_of_ten_thousand_is_served_by_each_release() {
    let mut table = table(&[("a", 1)]);
    let tickets: Vec<Ticket> = (0..10_000).map(|n| table.ask(step(n), wants("a"), NOW).0).collect();
    for pair in tickets.windows(2) {
        let woken = table.release(pair[0]);
        assert_eq!(woken.granted, [pair[1]]);
    }
    let last = table.wait_graph();
    assert_eq!((last[0].holders.len(), last[0].waiters.len()), (1, 0));
}
