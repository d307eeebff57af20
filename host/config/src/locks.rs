//! `[locks]`: what there is only so much of, and who uses how much of it.

use std::collections::BTreeMap;

use windlass_core::lock::{Access, Kind, Lock, Mode};

use crate::attributes::{LOCK, LOCK_USE};
use crate::diagnostic::Report;
use crate::names::Names;
use crate::node::{Span, Tree};
use crate::section::{Field, Section};

/// The locks of a file, and who mentions which worker in them.
pub(crate) struct Locks {
    names: Names,
    pub(crate) locks: BTreeMap<String, Lock>,
    /// Workers with a maximum of their own: their names are checked once all workers are known.
    workers: Vec<(String, Span)>,
}

/// A use of a lock and its place.
pub(crate) type Use = (Access, Span);

impl Locks {
    /// Reads `[locks]`.
    pub(crate) fn read(field: Option<Field<'_>>, report: &mut Report) -> Locks {
        let mut locks = Locks::known(&BTreeMap::new());
        for entry in field.map(|f| f.table(report)).unwrap_or_default() {
            locks.names.give(entry.name, entry.key, report);
            let Some(section) = entry.section(&LOCK, report) else { continue };
            if let Some(lock) = locks.read_one(section, report) {
                locks.locks.insert(entry.name.to_owned(), lock);
            }
        }
        locks
    }

    /// Locks that were read before, for a text without places.
    pub(crate) fn known(locks: &BTreeMap<String, Lock>) -> Locks {
        let mut names = Names::new("lock");
        locks.keys().for_each(|name| names.give(name, &(0..0), &mut Report::default()));
        Locks { names, locks: locks.clone(), workers: Vec::new() }
    }

    fn read_one(&mut self, mut section: Section<'_>, report: &mut Report) -> Option<Lock> {
        let kind = section.take("kind", report);
        let max = section.take("max", report);
        let own = section.take("max_for_worker", report);
        section.finish(report);
        let mut amount = |field: Field<'_>| {
            let max = field.integer(1, u32::MAX.into(), report)?;
            Some(u32::try_from(max).expect("its range was checked"))
        };
        let max = max.map_or(Some(1), &mut amount);
        let mut max_for_worker = BTreeMap::new();
        if let Some(field) = own {
            for entry in field.table(report) {
                self.workers.push((entry.name.to_owned(), entry.key.clone()));
                let max = entry.integer(1, u32::MAX.into(), report);
                max_for_worker.extend(max.map(|max| (entry.name.to_owned(), max as u32)));
            }
        }
        let kind = match kind {
            None => Kind::Master,
            Some(field) => match field.text(report)? {
                "master" => Kind::Master,
                "worker" | "slave" => Kind::Worker,
                _ => {
                    const HELP: &str = "\"master\": one for all; \"worker\": one on each worker";
                    return field.refuse("must be \"master\" or \"worker\"", HELP, report);
                }
            },
        };
        if let (Kind::Master, Some(field)) = (kind, own) {
            let help = "write `kind = \"worker\"` for one lock on each worker";
            return field.refuse("is for locks of kind \"worker\"", help, report);
        }
        Some(Lock { kind, max: max?, max_for_worker })
    }

    /// Checks the names of workers with a maximum of their own.
    pub(crate) fn check_workers(&self, workers: &Names, report: &mut Report) {
        for (worker, span) in &self.workers {
            workers.check(worker, span, report);
        }
    }

    /// Reads `locks` of a builder, step or worker: names, or tables that say how much.
    pub(crate) fn read_uses(&mut self, field: Field<'_>, report: &mut Report) -> Vec<Use> {
        let items: Vec<Field<'_>> = match &field.node.value {
            Tree::List(items) => items.iter().map(|node| Field { node, ..field }).collect(),
            _ => vec![field],
        };
        let mut uses: Vec<Use> = Vec::new();
        for item in items {
            let Some((lock, span, mode)) = read_use(item, report) else { continue };
            self.names.mean(lock, span, report);
            if let Some((_, first)) = uses.iter().find(|(access, _)| access.lock == lock) {
                let message = format!("the lock `{lock}` is listed twice");
                report.error("duplicate-name", span, message).also(first, "first here");
            }
            uses.push((Access { lock: lock.to_owned(), mode }, span.clone()));
        }
        uses
    }

    /// Checks that nobody wants more than there is on one of these workers.
    pub(crate) fn check_counts<'a>(
        &self,
        uses: &[Use],
        workers: impl IntoIterator<Item = &'a str> + Clone,
        report: &mut Report,
    ) {
        for (access, span) in uses {
            let (Some(lock), Mode::Counting(count)) = (self.locks.get(&access.lock), access.mode) else {
                continue;
            };
            let (name, max) = (&access.lock, lock.max);
            let message = match lock.kind {
                Kind::Master => (count > max).then(|| format!("the lock `{name}` has {max}, not {count}")),
                Kind::Worker => {
                    let small = workers.clone().into_iter().find(|worker| count > lock.max_on(worker));
                    small.map(|worker| {
                        let max = lock.max_on(worker);
                        format!("the lock `{name}` has {max} on worker `{worker}`, not {count}")
                    })
                }
            };
            if let Some(message) = message {
                let help = "raise `max` of the lock, or write `mode = \"exclusive\"` for all of it";
                report.error("bad-value", span, message).help(help);
            }
        }
    }

    /// The locks that nobody uses, with their places.
    pub(crate) fn unused(&self) -> impl Iterator<Item = (&str, &Span)> {
        self.names.unused()
    }
}

/// A step waits for ever for a lock that its own build has.
pub(crate) fn check_held(steps: &[Use], held: &[Use], holder: &str, report: &mut Report) {
    for (access, span) in steps {
        if let Some((_, place)) = held.iter().find(|(other, _)| other.lock == access.lock) {
            let message = format!("the step would wait for the lock `{}` for ever", access.lock);
            report.error("deadlock", span, message).also(place, format!("{holder} has it already"));
        }
    }
}

/// The uses without their places.
pub(crate) fn accesses(uses: Vec<Use>) -> Vec<Access> {
    uses.into_iter().map(|(access, _)| access).collect()
}

/// `"db"`, or `{ lock = "db", mode = "counting", count = 2 }`.
fn read_use<'a>(item: Field<'a>, report: &mut Report) -> Option<(&'a str, &'a Span, Mode)> {
    match &item.node.value {
        Tree::Text(_) => Some((item.name(report)?, &item.node.span, Mode::Counting(1))),
        Tree::Table(_) => {
            let mut section = Section::new(&LOCK_USE, &item.node.span, item.node);
            let lock = section.take("lock", report);
            let mode = section.take("mode", report);
            let count = section.take("count", report);
            section.finish(report);
            let exclusive = match mode {
                None => false,
                Some(field) => match field.text(report)? {
                    "counting" => false,
                    "exclusive" => true,
                    _ => return field.refuse("must be \"counting\" or \"exclusive\"", "", report),
                },
            };
            let amount = count.map_or(Some(1), |f| f.integer(0, u32::MAX.into(), report))?;
            let mode = if exclusive {
                if let Some(field) = count.filter(|_| amount != 1) {
                    let help = "exclusive is all of the lock: leave `count` out";
                    return field.refuse("must be 1 where the mode is \"exclusive\"", help, report);
                }
                Mode::Exclusive
            } else {
                Mode::Counting(u32::try_from(amount).expect("its range was checked"))
            };
            let lock = lock?;
            Some((lock.name(report)?, &lock.node.span, mode))
        }
        _ => item.wrong("the name of a lock or a table with `lock`", report),
    }
}
