//! What goes for good: archives whose logs are too old, and the oldest ones as all logs come near to what they may
//! take.

use redb::{ReadableTable, ReadableTableMetadata};
use windlass_core::id::LogId;
use windlass_core::time::Timestamp;

use super::{MOVE_ROWS, TendError, Visit};
use crate::appends::ROW;
use crate::frames;
use crate::log_work::Work;

/// This part of what all logs may take is kept free.
const FREE: u64 = 16;

impl Visit<'_> {
    /// Removes archives whose last log is too old, and then the oldest ones as long as there is too little room.
    pub(super) fn expire(&mut self) -> Result<(), TendError> {
        let snapshot = self.snapshot()?;
        let mut archives = Vec::new();
        for row in snapshot.archives()?.iter()? {
            let (number, row) = row?;
            let (end, _, newest) = row.value();
            archives.push((newest, number.value(), end));
        }
        archives.sort_unstable();
        let mut held = self.store.stats().log_bytes_held + snapshot.log_pieces()?.len()? * ROW;
        let most = self.store.0.log_room.map_or(u64::MAX, |room| room - room / FREE);
        for (newest, number, end) in archives {
            if !self.too_old(Timestamp(newest)) && held <= most {
                break;
            }
            self.remove(number)?;
            held = held.saturating_sub(end);
        }
        Ok(())
    }

    /// Whether a log that ended then is kept no longer.
    pub(super) fn too_old(&self, ended: Timestamp) -> bool {
        let horizon = self.keeping.horizon_ms;
        horizon.is_some_and(|horizon| ended.0 <= self.now.0.saturating_sub(horizon))
    }

    /// Removes an archive. Its logs may have other frames elsewhere, or pieces: those go in their own time.
    fn remove(&mut self, archive: u64) -> Result<(), TendError> {
        let snapshot = self.snapshot()?;
        let mut logs = Vec::new();
        for row in snapshot.archive_logs()?.range((archive, 0)..=(archive, u64::MAX))? {
            logs.push(LogId(row?.0.value().1));
        }
        for some in logs.chunks(MOVE_ROWS) {
            self.commit(Work::Mark(some.to_vec()))?;
            self.done.expired += some.len() as u64;
        }
        let (mut frames, mut gone) = (Vec::new(), Vec::new());
        for log in logs {
            for row in snapshot.log_frames()?.range((log.0, 0)..=(log.0, u64::MAX))? {
                let (key, row) = row?;
                match frames::decode(key.value(), row.value()) {
                    Ok(frame) if frame.archive != archive => continue,
                    Ok(_) => {}
                    // Nobody can read it, wherever it lies.
                    Err(error) => tracing::error!(%error, "a damaged row of the archive was removed"),
                }
                frames.push(key.value());
                if frames.len() + gone.len() >= MOVE_ROWS {
                    let (frames, logs) = (std::mem::take(&mut frames), std::mem::take(&mut gone));
                    self.commit(Work::Expire { archive, frames, logs })?;
                }
            }
            gone.push(log);
        }
        self.commit(Work::Expire { archive, frames, logs: gone })?;
        Ok(self.commit(Work::DropArchive(archive))?)
    }

    /// Removes what is in pieces of a log that became too old before it came into the archive.
    pub(super) fn forget(&mut self, log: LogId) -> Result<(), TendError> {
        let snapshot = self.snapshot()?;
        let mut pieces = Vec::new();
        for row in snapshot.log_pieces()?.range((log.0, 0)..=(log.0, u64::MAX))? {
            pieces.push(row?.0.value().1);
        }
        if pieces.is_empty() {
            return Ok(());
        }
        self.commit(Work::Mark(vec![log]))?;
        for some in pieces.chunks(MOVE_ROWS) {
            self.commit(Work::Forget { log, pieces: some.to_vec() })?;
        }
        self.done.expired += 1;
        Ok(())
    }
}
