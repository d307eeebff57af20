//! The journals of running steps, and how far their commands are durable. Both are gone with the steps' results.

use windlass_core::id::{BuildId, StepId};
use windlass_core::journal::{Entry, Kept, Mark};

use crate::Store;
use crate::batch::Group;
use crate::encode::unpack;
use crate::fault::ReadError;

const TABLE: &str = "journal";
const MARKS: &str = "marks";

/// All keys of one step.
fn of(build: BuildId, step: StepId) -> std::ops::RangeInclusive<(u64, u64, u32)> {
    (build.0, step.0, 0)..=(build.0, step.0, u32::MAX)
}

impl Group<'_> {
    pub(crate) fn drop_journal(&mut self, build: BuildId, step: StepId) -> Result<(), ReadError> {
        if self.extras.journals.remove(&(build, step)) {
            self.tables.journal.write()?.retain_in(of(build, step), |_, _| false)?;
        }
        if self.extras.marks.remove(&(build, step)) {
            self.tables.marks.write()?.retain_in(of(build, step), |_, _| false)?;
        }
        Ok(())
    }
}

impl Store {
    /// What there is of a running step.
    pub fn journal(&self, build: BuildId, step: StepId) -> Result<Kept, ReadError> {
        let snapshot = self.snapshot()?;
        let mut kept = Kept::default();
        for row in snapshot.journal()?.range(of(build, step))? {
            let (key, row) = row?;
            let entries: Vec<Entry> = unpack(TABLE, key.value(), row.value())?;
            kept.entries.extend(entries);
            kept.pieces = key.value().2 + 1;
        }
        for row in snapshot.marks()?.range(of(build, step))? {
            let (key, row) = row?;
            let mark: Mark = unpack(MARKS, key.value(), row.value())?;
            kept.marks.insert(key.value().2, mark);
        }
        Ok(kept)
    }
}
