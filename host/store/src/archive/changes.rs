//! Changes beyond the horizon: the newest ones stay, so many as it says, and all that something to come needs: a request
//! that is not complete, a change that waits in a scheduler, a buildset whose end one waits for.
//!
//! A row among these that cannot be read may need any change that came before somebody looked at it: those stay, and what
//! came later goes its way.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;
use windlass_core::request::Buildset;
use windlass_core::scheduler_state::{Key, OWNER};

use super::{MOVE_ROWS, TendError, Visit};
use crate::encode;
use crate::fault::ReadError;
use crate::log_work::Work;
use crate::tables::Snapshot;

/// What is needed is as long as the backlog: it is gone through this often.
const LOOK_AGAIN: u64 = 60 * 60 * 1000;

impl Visit<'_> {
    /// Removes changes beyond the horizon.
    pub(super) fn trim_changes(&mut self) -> Result<(), TendError> {
        let Some(most) = self.keeping.horizons.changes else { return Ok(()) };
        let last = self.archive.changes_trimmed;
        let is_due =
            last.is_none_or(|(then, of)| of != most || self.now.0.saturating_sub(then.0) >= LOOK_AGAIN);
        if !is_due {
            return Ok(());
        }
        // Whatever comes of it: what is damaged now is so a minute later.
        self.archive.changes_trimmed = Some((self.now, most));
        let snapshot = self.snapshot()?;
        let (mut newest, mut older) = (0, Vec::new());
        for (place, row) in snapshot.changes()?.iter()?.rev().enumerate() {
            let change = row?.0.value();
            newest = newest.max(change);
            if place as u64 >= most {
                older.push(change);
            }
        }
        if !older.is_empty() {
            let Needed { changes, damaged } = needed(&snapshot)?;
            let doubtful = self.doubt(damaged, newest);
            older.retain(|change| *change > doubtful && !changes.contains(change));
            // The oldest first: whatever ends this early leaves no gap.
            older.reverse();
        }
        drop(snapshot);
        for changes in older.chunks(MOVE_ROWS) {
            self.commit(Work::DropChanges(changes.to_vec()))?;
            self.done.changes += changes.len() as u64;
        }
        Ok(())
    }

    /// Any change up to the answer may be needed by these rows, each of which is told of once.
    fn doubt(&mut self, damaged: BTreeMap<RowOf, ReadError>, newest: u64) -> u64 {
        let doubts = &mut self.archive.doubts;
        doubts.retain(|row, _| damaged.contains_key(row));
        for (row, error) in damaged {
            if let Entry::Vacant(new) = doubts.entry(row) {
                new.insert(newest);
                tracing::error!(%error, newest, "no change up to this one is removed: the row may need any of them");
                self.failed.get_or_insert(error.into());
            }
        }
        doubts.values().copied().max().unwrap_or(0)
    }
}

/// A table, and a key of it.
pub(super) type RowOf = (&'static str, u64);

/// What something to come needs.
#[derive(Default)]
struct Needed {
    changes: BTreeSet<u64>,
    /// Rows that may need others.
    damaged: BTreeMap<RowOf, ReadError>,
}

impl Needed {
    /// What was read; none: it is damaged.
    fn read<T>(&mut self, row: RowOf, read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
        match read {
            Err(error) if error.is_damage() => {
                self.damaged.insert(row, error);
                Ok(None)
            }
            read => read.map(Some),
        }
    }
}

/// The changes that something to come needs. Whatever is submitted later has newer ones, or some of these.
fn needed(snapshot: &Snapshot) -> Result<Needed, ReadError> {
    let (mut needed, mut buildsets) = (Needed::default(), BTreeSet::new());
    for (name, table) in [("waiting", snapshot.waiting()?), ("held", snapshot.held()?)] {
        for row in table.iter()? {
            let (id, row) = row?;
            let id = id.value();
            let request = needed.read((name, id), encode::to_request(name, id, row.value()))?;
            buildsets.extend(request.map(|request| request.buildset.0));
        }
    }
    for row in snapshot.state()?.range((OWNER, "")..)? {
        let (key, _) = row?;
        let (owner, key) = key.value();
        if !owner.starts_with(OWNER) {
            break;
        }
        match Key::parse(key) {
            Some(Key::Waits(change)) => drop(needed.changes.insert(change.0)),
            Some(Key::Upstream(buildset)) => drop(buildsets.insert(buildset.0)),
            None => {}
        }
    }
    let rows = snapshot.buildsets()?;
    for id in buildsets {
        let Some(row) = rows.get(id)? else { continue };
        let buildset = encode::unpack::<Buildset>("buildsets", id, row.value());
        let Some(buildset) = needed.read(("buildsets", id), buildset)? else { continue };
        let changes = buildset.stamps.iter().flat_map(|stamp| &stamp.changes);
        needed.changes.extend(changes.map(|change| change.0));
    }
    Ok(needed)
}
