//! Random histories: grants keep to the maximum and to the order, nobody starves, no wake-up is lost, and whoever waits
//! for ever is found.

use proptest::prelude::*;

use super::*;

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
