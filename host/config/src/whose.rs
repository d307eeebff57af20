//! Whose file it is, a master's or a worker's: by the settings at its top, whatever it is called.

use crate::attributes::{CONFIGURATION, Table, WORKER_FILE};
use crate::diagnostic::Report;
use crate::node::{Entry, Node};
use crate::section::canonical;

/// Reports a file of a worker that is read as a master's; true: it is one.
pub(crate) fn refuse_of_worker(root: &Node, report: &mut Report) -> bool {
    let help = "`windlass worker FILE` starts from it, and `windlass check` takes it, too";
    refuse(
        root,
        &CONFIGURATION,
        &WORKER_FILE,
        "this is the file of a worker: a master has no such setting",
        help,
        report,
    )
}

/// Reports a file of a master that is read as a worker's; true: it is one.
pub(crate) fn refuse_of_master(root: &Node, report: &mut Report) -> bool {
    let help = "`windlass master FILE` starts from it, and `windlass check` takes it under another name";
    refuse(
        root,
        &WORKER_FILE,
        &CONFIGURATION,
        "this is the file of a master: a worker has no such setting",
        help,
        report,
    )
}

fn refuse(root: &Node, own: &Table, other: &Table, message: &str, help: &str, report: &mut Report) -> bool {
    let Some(entry) = foreign(root, own, other) else { return false };
    report.error("other-file", &entry.key_span, message).help(help);
    true
}

/// Whether it is a file of a worker.
pub(crate) fn is_of_worker(root: &Node) -> bool {
    foreign(root, &CONFIGURATION, &WORKER_FILE).is_some()
}

/// The first setting that only a file of the other kind has, unless there is one that only a file of this kind has.
fn foreign<'a>(root: &'a Node, own: &Table, other: &Table) -> Option<&'a Entry> {
    let knows = |table: &Table, entry: &Entry| {
        table.find(&canonical(&entry.key)).is_some_and(|attribute| attribute.is_read())
    };
    let only = |one: &Table, other: &Table| {
        root.entries().iter().find(|entry| knows(one, entry) && !knows(other, entry))
    };
    only(other, own).filter(|_| only(own, other).is_none())
}
