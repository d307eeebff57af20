//! What the table promises: a table of cases, then properties over random histories.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::deadlock::{self, Debt, Graph, Node, On, Wait};
use super::*;
use crate::id::RequestId;
use crate::time::Timestamp;

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

#[derive(Clone, Debug)]
enum Op {
    /// Somebody new asks.
    Ask(Vec<(usize, Option<u32>)>),
    /// One of those who are there gives back what it has or waits for.
    Release(usize),
    /// A builder stands in line, or one that does leaves it.
    Builder(Vec<(usize, Option<u32>)>),
    /// One that is called takes.
    Take(usize),
    /// One that stands in line leaves it.
    Leave(usize),
    /// A maximum changes.
    Max(usize, u32),
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn some_wants() -> impl Strategy<Value = Vec<(usize, Option<u32>)>> {
    prop::collection::vec((0..NAMES.len(), prop::option::weighted(0.7, 1..4u32)), 1..4)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => some_wants().prop_map(Op::Ask),
        4 => any::<prop::sample::Index>().prop_map(|i| Op::Release(i.index(64))),
        1 => some_wants().prop_map(Op::Builder),
        1 => any::<prop::sample::Index>().prop_map(|i| Op::Take(i.index(64))),
        1 => any::<prop::sample::Index>().prop_map(|i| Op::Leave(i.index(64))),
        1 => (0..NAMES.len(), 1..5u32).prop_map(|(lock, max)| Op::Max(lock, max)),
    ]
}

fn resolve(table: &Table, list: &[(usize, Option<u32>)]) -> Vec<Want> {
    let access = |(lock, count): &(usize, Option<u32>)| Access {
        lock: NAMES[*lock].to_owned(),
        mode: count.map_or(Mode::Exclusive, Mode::Counting),
    };
    table.wants(&list.iter().map(access).collect::<Vec<_>>(), "w")
}

/// A plain record of what the table was told and answered, and what it must keep to.
#[derive(Default)]
struct Model {
    max: BTreeMap<String, u32>,
    wants: BTreeMap<Ticket, Vec<Want>>,
    held: BTreeSet<Ticket>,
    /// Everybody whom it may have to wait for: who held one of its locks when it came, or has an older ticket.
    before: BTreeMap<Ticket, BTreeSet<Ticket>>,
}

impl Model {
    fn share(&self, ticket: Ticket, lock: &str) -> u64 {
        let max = self.max[lock];
        let wants = self.wants[&ticket].iter().filter(|want| want.key.lock == lock);
        wants.map(|want| want.mode.of(max)).sum()
    }

    fn came(&mut self, ticket: Ticket, wants: Vec<Want>) {
        let shares = |other: &Vec<Want>| wants.iter().any(|w| other.iter().any(|o| o.key == w.key));
        let older = |t: &Ticket| *t < ticket || self.held.contains(t);
        let before = self.wants.iter().filter(|(t, other)| older(t) && shares(other));
        let before = before.map(|(t, _)| *t).collect();
        // Who comes back with its old ticket stands ahead of newer ones: once, for then the ticket is used up.
        for (newer, others) in self.before.range_mut(ticket..) {
            if shares(&self.wants[newer]) {
                others.insert(ticket);
            }
        }
        self.before.insert(ticket, before);
        self.wants.insert(ticket, wants);
    }

    /// A maximum changed: those who have some of a smaller one now came in time.
    fn remade(&mut self) {
        let waiting = self.wants.iter().filter(|(ticket, _)| !self.held.contains(ticket));
        for (ticket, wants) in waiting {
            let shares = |t: &&Ticket| self.wants[*t].iter().any(|h| wants.iter().any(|w| w.key == h.key));
            let holders: Vec<Ticket> = self.held.iter().filter(shares).copied().collect();
            self.before.entry(*ticket).or_default().extend(holders);
        }
    }

    fn gone(&mut self, ticket: Ticket) {
        self.wants.remove(&ticket);
        self.held.remove(&ticket);
        self.before.remove(&ticket);
        for before in self.before.values_mut() {
            before.remove(&ticket);
        }
    }

    /// It is served: that takes nobody above the maximum, and nothing that one ahead needs.
    fn granted(&mut self, ticket: Ticket) {
        self.held.insert(ticket);
        for want in self.wants[&ticket].clone() {
            let (lock, max) = (want.key.lock.as_str(), u64::from(self.max[&want.key.lock]));
            let held: u64 = self.held.iter().map(|t| self.share(*t, lock)).sum();
            let ahead = self.wants.keys().filter(|t| **t < ticket && !self.held.contains(t));
            let ahead: u64 = ahead.map(|t| self.share(*t, lock)).sum();
            assert!(held <= max, "{held} of {max} of {lock} are held");
            assert!(held + ahead <= max, "{ticket:?} was served before one ahead of it");
        }
    }

    /// Nobody waits who could be served, and nobody for those alone who came after it.
    fn check(&self, table: &Table, called: &BTreeSet<Ticket>) {
        for (ticket, _) in self.wants.iter().filter(|(t, _)| !self.held.contains(t)) {
            assert!(
                table.waits_for(*ticket).is_some() || called.contains(ticket),
                "{ticket:?} could be served, and nobody told it"
            );
            let before = &self.before[ticket];
            assert!(!before.is_empty() || called.contains(ticket), "{ticket:?} waits for newcomers");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn grants_keep_to_the_maximum_and_the_order_and_no_wake_up_is_lost(
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let list = [("a", 1), ("b", 2), ("c", 3), ("d", 4)];
        let mut table = table(&list);
        let max = list.map(|(name, max)| (name.to_owned(), max)).into();
        let mut model = Model { max, ..Model::default() };
        let mut called: BTreeSet<Ticket> = BTreeSet::new();
        let (mut away, mut number) = (Vec::new(), 0);
        let pick = |set: Vec<Ticket>, index: usize| set.get(index % set.len().max(1)).copied();
        for op in ops {
            let mut woken = Woken::default();
            match op {
                Op::Ask(list) => {
                    number += 1;
                    let wants = resolve(&table, &list);
                    let (ticket, free) = table.ask(step(number), wants.clone(), NOW);
                    model.came(ticket, wants);
                    if free {
                        model.granted(ticket);
                    }
                }
                Op::Release(index) => {
                    let Some(ticket) = pick(model.wants.keys().copied().collect(), index) else { continue };
                    model.gone(ticket);
                    called.remove(&ticket);
                    woken = table.release(ticket);
                }
                Op::Builder(list) => {
                    let wants = resolve(&table, &list);
                    // A ticket that left the line comes back with its old number.
                    let ticket = away.pop().unwrap_or_else(|| table.enter(next("x"), NOW));
                    if table.obstacle(Some(ticket), &wants).is_some() {
                        woken = table.wait(ticket, wants.clone(), BTreeSet::new());
                        model.came(ticket, wants);
                    } else {
                        away.push(ticket);
                    }
                }
                Op::Take(index) => {
                    let Some(ticket) = pick(called.iter().copied().collect(), index) else { continue };
                    let wants = model.wants[&ticket].clone();
                    if table.obstacle(Some(ticket), &wants).is_none() {
                        called.remove(&ticket);
                        woken = table.take(ticket, wants, NOW);
                        model.granted(ticket);
                    }
                }
                Op::Leave(index) => {
                    let waits = |t: &&Ticket| matches!(table.who(**t), Some(Who::Builder { .. }));
                    let builders = model.wants.keys().filter(waits).filter(|t| !model.held.contains(t));
                    let Some(ticket) = pick(builders.copied().collect(), index) else { continue };
                    model.gone(ticket);
                    called.remove(&ticket);
                    woken = table.leave(ticket);
                    away.push(ticket);
                }
                Op::Max(lock, max) => {
                    model.max.insert(NAMES[lock].to_owned(), max);
                    model.remade();
                    let now: Vec<(&str, u32)> = model.max.iter().map(|(n, m)| (n.as_str(), *m)).collect();
                    woken = table.configure(&locks(&now));
                }
            }
            woken.granted.iter().for_each(|ticket| model.granted(*ticket));
            called.extend(woken.called);
            // A called one whose lock went to somebody with an older ticket will be called again.
            called.retain(|ticket| table.waits_for(*ticket).is_none());
            model.check(&table, &called);
        }
        // When everybody gives back in turn, everybody is served: each release serves, or there is nobody left.
        while !model.wants.is_empty() {
            while let Some(ticket) = called.pop_first() {
                let woken = table.take(ticket, model.wants[&ticket].clone(), NOW);
                model.granted(ticket);
                woken.granted.iter().for_each(|ticket| model.granted(*ticket));
                called.extend(woken.called);
            }
            let ticket = model.held.first().copied().expect("nobody holds anything, and somebody waits");
            model.gone(ticket);
            let woken = table.release(ticket);
            woken.granted.iter().for_each(|ticket| model.granted(*ticket));
            called.extend(woken.called);
            model.check(&table, &called);
        }
        prop_assert!(table.wait_graph().iter().all(|lock| lock.held == 0 && lock.waiters.is_empty()));
    }

    /// Builds that hold locks for their whole lives, whose steps take others, one after the other, with builders in
    /// line between them. Whoever waits for ever is found at the moment when the circle closes.
    #[test]
    fn nested_locks_come_to_an_end_or_a_circle_is_found(
        plans in prop::collection::vec((some_wants(), prop::collection::vec(some_wants(), 0..3)), 1..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 400),
    ) {
        let mut table = table(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
        struct Running { whole: Ticket, steps: Vec<Vec<(usize, Option<u32>)>>, inner: Option<Ticket>, waits: bool }
        let mut lines: BTreeMap<Ticket, (Vec<Want>, u64)> = BTreeMap::new();
        let mut steps_of = BTreeMap::new();
        let mut running: BTreeMap<u64, Running> = BTreeMap::new();
        let mut called: BTreeSet<Ticket> = BTreeSet::new();
        for (number, (whole, steps)) in (1..).zip(plans) {
            let ticket = table.enter(next("x"), NOW);
            let wants = resolve(&table, &whole);
            if table.obstacle(Some(ticket), &wants).is_none() {
                called.insert(ticket);
            }
            let woken = table.wait(ticket, wants.clone(), BTreeSet::new());
            prop_assert_eq!(woken, Woken::default());
            lines.insert(ticket, (wants, number));
            steps_of.insert(number, steps);
        }
        for index in order {
            let mut woken = Woken::default();
            let able: Vec<u64> = running.iter().filter(|(_, r)| !r.waits).map(|(n, _)| *n).collect();
            let takes: Vec<Ticket> = called.iter().copied().collect();
            if able.is_empty() && takes.is_empty() {
                prop_assert!(running.is_empty() && lines.is_empty(), "all wait, and no circle was found");
                break;
            }
            let at = index.index(able.len() + takes.len());
            if at < takes.len() {
                let ticket = takes[at];
                called.remove(&ticket);
                let (wants, number) = lines.remove(&ticket).unwrap();
                woken = woken.and(table.take(ticket, wants, NOW));
                table.becomes(ticket, build(number));
                let steps = steps_of.remove(&number).unwrap();
                running.insert(number, Running { whole: ticket, steps, inner: None, waits: false });
            } else {
                let number = able[at - takes.len()];
                let run = running.get_mut(&number).unwrap();
                if let Some(inner) = run.inner.take() {
                    woken = table.release(inner);
                } else if let Some(step_wants) = run.steps.pop() {
                    let wants = resolve(&table, &step_wants);
                    let (ticket, free) = table.ask(step(number), wants, NOW);
                    (run.inner, run.waits) = (Some(ticket), !free);
                    match table.untangle(Node::Build(BuildId(number)), &Graph::new()) {
                        Ok(more) => woken = more,
                        Err(circle) => {
                            prop_assert!(!circle.is_empty());
                            // It fails, and gives back all that it has.
                            let whole = running.remove(&number).unwrap().whole;
                            woken = table.release(ticket).and(table.release(whole));
                        }
                    }
                } else {
                    let whole = running.remove(&number).unwrap().whole;
                    woken = table.release(whole);
                }
            }
            for ticket in woken.granted {
                let number = table.who(ticket).unwrap().build().unwrap().0;
                running.get_mut(&number).unwrap().waits = false;
            }
            called.extend(woken.called);
            called.retain(|ticket| table.waits_for(*ticket).is_none());
        }
    }
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
