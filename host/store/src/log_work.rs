//! What the archive has the writer do: rows of logs that move or go, in commits among all others.

use std::collections::BTreeMap;

use redb::ReadableTable;
use windlass_core::id::{BuildId, LogId};
use windlass_core::record::{BuildRow, LogRow, StepRow};
use windlass_core::test_result::{TestCounts, TestResult};

use crate::batch::Group;
use crate::encode;
use crate::fault::ReadError;
use crate::frames::{self, Frame};

/// One piece of work.
#[derive(Debug)]
pub(crate) enum Work {
    /// Nothing more comes into the shared segment.
    Seal,
    /// Frames are durable and take the place of pieces.
    Archive(Archived),
    /// No piece speaks of the segment any more.
    DropSegment(u64),
    /// Logs are too old, which their rows say before the first of their bytes goes.
    Mark(Vec<LogId>),
    /// Frames of such logs go; of `logs` no other one is in the archive.
    Expire { archive: u64, frames: Vec<(u64, u64)>, logs: Vec<LogId> },
    /// Pieces of such a log go, which never came into the archive.
    Forget { log: LogId, pieces: Vec<u64> },
    /// No frame speaks of the archive any more.
    DropArchive(u64),
    /// Rows of test results go, the last ones of their steps, and figures; their builds have ended.
    DropResults { tests: Vec<(u64, u64, u64)>, figures: Vec<(u64, u64, String)> },
    /// A build goes that has ended, with all its rows; its logs have no bytes, and it has no artifacts.
    DropBuild(BuildId),
    /// Changes go that nothing to come needs.
    DropChanges(Vec<u64>),
}

/// What was written behind the end of an archive.
#[derive(Debug)]
pub(crate) struct Archived {
    pub(crate) number: u64,
    /// The log that has it for itself, or 0.
    pub(crate) owner: u64,
    pub(crate) before: u64,
    pub(crate) end: u64,
    pub(crate) newest: u64,
    pub(crate) moves: Vec<Move>,
}

/// A part of a log: the offsets of its pieces, and its frames with theirs.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) log: LogId,
    pub(crate) pieces: Vec<u64>,
    pub(crate) frames: Vec<(u64, Frame)>,
}

/// What is to be done once the group is committed.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    pub(crate) seal: bool,
    /// Bytes that came to archives.
    pub(crate) grown: u64,
    /// Segments and archives that nobody speaks of, with their ends.
    pub(crate) segments: Vec<(u64, u64)>,
    pub(crate) archives: Vec<(u64, u64)>,
}

impl Group<'_> {
    /// Does a piece of work.
    pub(crate) fn work(&mut self, work: &Work) -> Result<(), ReadError> {
        match work {
            Work::Seal => self.aftermath.seal = true,
            Work::Archive(archived) => self.archive(archived)?,
            Work::DropSegment(number) => {
                if let Some(row) = self.tables.segments.write()?.remove(number)? {
                    self.aftermath.segments.push((*number, row.value().0));
                }
            }
            Work::Mark(logs) => logs.iter().try_for_each(|log| self.mark_expired(*log))?,
            Work::Expire { archive, frames, logs } => {
                for frame in frames {
                    self.tables.log_frames.write()?.remove(frame)?;
                }
                for log in logs {
                    self.tables.archive_logs.write()?.remove((*archive, log.0))?;
                }
            }
            Work::Forget { log, pieces } => {
                for piece in pieces {
                    self.tables.log_pieces.write()?.remove((log.0, *piece))?;
                }
            }
            Work::DropArchive(number) => {
                if let Some(row) = self.tables.archives.write()?.remove(number)? {
                    self.aftermath.archives.push((*number, row.value().0));
                }
            }
            Work::DropResults { tests, figures } => self.drop_results(tests, figures)?,
            Work::DropBuild(build) => self.drop_build(*build)?,
            Work::DropChanges(changes) => {
                for change in changes {
                    self.tables.changes.write()?.remove(change)?;
                }
            }
        }
        Ok(())
    }

    fn archive(&mut self, archived: &Archived) -> Result<(), ReadError> {
        let Archived { number, owner, before, end, newest, moves } = archived;
        for Move { log, pieces, frames } in moves {
            for piece in pieces {
                self.tables.log_pieces.write()?.remove((log.0, *piece))?;
            }
            for (offset, frame) in frames {
                let row = frames::encode(frame);
                self.tables.log_frames.write()?.insert((log.0, *offset), row.as_slice())?;
            }
            self.tables.archive_logs.write()?.insert((*number, log.0), ())?;
        }
        self.tables.archives.write()?.insert(number, (*end, *owner, *newest))?;
        self.aftermath.grown += end - before;
        Ok(())
    }

    fn drop_results(
        &mut self,
        tests: &[(u64, u64, u64)],
        figures: &[(u64, u64, String)],
    ) -> Result<(), ReadError> {
        let mut gone = BTreeMap::<(u64, u64), TestCounts>::new();
        for (build, step, first) in tests.iter().copied() {
            let row = self.tables.test_results.write()?.remove((build, step, first))?;
            let Some(row) = row.map(|row| row.value().to_owned()) else { continue };
            match encode::unpack::<Vec<TestResult>>("test_results", (build, step, first), &row) {
                Ok(results) => {
                    let count = gone.entry((build, step)).or_default();
                    results.iter().for_each(|result| count.add(result));
                }
                // Nobody can read them; they go all the same.
                Err(error) => tracing::error!(%error, "damaged results of a step were removed, uncounted"),
            }
        }
        // A step says how many it has.
        let steps = self.tables.steps.write()?;
        for (key, gone) in gone {
            self.builds.insert(BuildId(key.0));
            let Some(row) = steps.get(key)?.map(|row| row.value().to_owned()) else { continue };
            // One that cannot be read goes with its build.
            let Ok(row) = encode::unpack::<StepRow>("steps", key, &row) else { continue };
            let row = StepRow { tests: row.tests.without(gone), ..row };
            steps.insert(key, encode::pack(&row).as_slice())?;
        }
        for (build, step, name) in figures {
            self.tables.statistics.write()?.remove((*build, *step, name.as_str()))?;
        }
        Ok(())
    }

    fn drop_build(&mut self, build: BuildId) -> Result<(), ReadError> {
        let tables = &mut self.tables;
        if tables.live.read()?.get(build.0)?.is_some() {
            return Ok(());
        }
        let Some(row) = tables.builds.write()?.remove(build.0)?.map(|row| row.value().to_owned()) else {
            return Ok(());
        };
        let row: BuildRow = encode::unpack("builds", build.0, &row)?;
        let (builder, worker) = (row.builder.as_str(), row.worker.as_str());
        tables.by_builder.write()?.remove((builder, build.0))?;
        tables.by_worker.write()?.remove((worker, build.0))?;
        tables.by_pair.write()?.remove((builder, worker, build.0))?;
        let of_build = (build.0, 0)..=(build.0, u64::MAX);
        tables.steps.write()?.retain_in(of_build.clone(), |_, _| false)?;
        tables
            .test_results
            .write()?
            .retain_in((build.0, 0, 0)..=(build.0, u64::MAX, u64::MAX), |_, _| false)?;
        tables.statistics.write()?.retain_in((build.0, 0, "")..(build.0 + 1, 0, ""), |_, _| false)?;
        let mut logs = Vec::new();
        for log in tables.logs_by_build.read()?.range(of_build.clone())? {
            logs.push(log?.0.value().1);
        }
        for log in logs {
            tables.logs.write()?.remove(log)?;
        }
        tables.logs_by_build.write()?.retain_in(of_build, |_, _| false)?;
        self.builds.insert(build);
        Ok(())
    }

    fn mark_expired(&mut self, log: LogId) -> Result<(), ReadError> {
        let logs = self.tables.logs.write()?;
        let row = match logs.get(log.0)? {
            Some(row) => encode::unpack::<LogRow>("logs", log.0, row.value()),
            None => return Ok(()),
        };
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                // Its bytes go all the same.
                tracing::error!(%error, "a log that is too old cannot be marked so");
                return Ok(());
            }
        };
        logs.insert(log.0, encode::pack(&LogRow { expired: true, ..row }).as_slice())?;
        Ok(())
    }
}
