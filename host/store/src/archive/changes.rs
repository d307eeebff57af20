//! Changes beyond the horizon: the newest ones stay, so many as it says, and all that something to come needs: a request
//! that is not complete, a change that waits in a scheduler, a buildset whose end one waits for.

use std::collections::BTreeSet;

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
        let mut older = Vec::new();
        for (place, row) in snapshot.changes()?.iter()?.rev().enumerate() {
            if place as u64 >= most {
                older.push(row?.0.value());
            }
        }
        if !older.is_empty() {
            let needed = needed(&snapshot)?;
            older.retain(|change| !needed.contains(change));
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
}

/// The changes that something to come needs. Whatever is submitted later has newer ones, or some of these.
fn needed(snapshot: &Snapshot) -> Result<BTreeSet<u64>, ReadError> {
    let (mut changes, mut buildsets) = (BTreeSet::new(), BTreeSet::new());
    for (name, table) in [("waiting", snapshot.waiting()?), ("held", snapshot.held()?)] {
        for row in table.iter()? {
            let (id, row) = row?;
            buildsets.insert(encode::to_request(name, id.value(), row.value())?.buildset.0);
        }
    }
    for row in snapshot.state()?.range((OWNER, "")..)? {
        let (key, _) = row?;
        let (owner, key) = key.value();
        if !owner.starts_with(OWNER) {
            break;
        }
        match Key::parse(key) {
            Some(Key::Waits(change)) => drop(changes.insert(change.0)),
            Some(Key::Upstream(buildset)) => drop(buildsets.insert(buildset.0)),
            None => {}
        }
    }
    let rows = snapshot.buildsets()?;
    for id in buildsets {
        let Some(row) = rows.get(id)? else { continue };
        let buildset: Buildset = encode::unpack("buildsets", id, row.value())?;
        changes.extend(buildset.stamps.iter().flat_map(|stamp| stamp.changes.iter().map(|change| change.0)));
    }
    Ok(changes)
}
