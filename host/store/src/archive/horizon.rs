//! Builds that are not kept any longer: of each builder the newest ones stay, so many as the horizon says. Older ones lose
//! the bytes of their logs first, and then everything: rows, results, artifacts.
//!
//! What a request or a decision says of a build stays: it names a build that is not there any more.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;
use windlass_core::id::{ArtifactId, BuildId, LogId};
use windlass_core::persist::Persist;
use windlass_core::record::BuildRow;
use windlass_core::text::chain;
use windlass_core::time::Timestamp;

use super::{LOOK_AGAIN, MOVE_BYTES, MOVE_ROWS, TendError, Visit};
use crate::encode;
use crate::frames;
use crate::log_work::Work;
use crate::writer::CommitError;

/// A build that ended just now may still be written to, and looked at.
const JUST_NOW: u64 = 10 * 60 * 1000;

/// So many builds of a builder go in one visit.
const AT_ONCE: usize = 1000;

/// What is over of one builder, oldest first.
#[derive(Default)]
struct Over {
    /// They lose the bytes of their logs.
    logs: Vec<BuildId>,
    /// They go.
    builds: Vec<BuildId>,
    /// They run, or did just now, or there are too many at once: they stay, though newer ones may go.
    passed: BTreeSet<u64>,
}

/// Builds of a builder whose logs went since the store was opened: all up to one, but for those that were passed over.
#[derive(Debug, Default)]
pub(super) struct Unlogged {
    through: u64,
    passed: BTreeSet<u64>,
}

impl Unlogged {
    fn has(&self, build: u64) -> bool {
        build <= self.through && !self.passed.contains(&build)
    }

    /// Whether it has all that are older than this one.
    fn has_before(&self, build: u64) -> bool {
        build <= self.through && self.passed.first().is_none_or(|first| *first > build)
    }
}

impl Visit<'_> {
    /// Removes what lies beyond the horizons.
    pub(super) fn trim(&mut self) -> Result<(), TendError> {
        let horizons = self.keeping.horizons;
        let looked = self.archive.trimmed.is_some_and(|then| self.now.0.saturating_sub(then.0) < LOOK_AGAIN);
        if looked || (horizons.builds.is_none() && horizons.logs.is_none()) {
            return Ok(());
        }
        self.archive.trimmed = Some(self.now);
        let mut builders = Vec::new();
        for row in self.snapshot()?.build_numbers()?.iter()? {
            builders.push(row?.0.value().to_owned());
        }
        for builder in builders {
            let over = self.over(&builder)?;
            let unlogged = self.archive.unlogged.entry(builder.clone()).or_default();
            unlogged.passed = over.passed;
            unlogged.passed.extend(over.logs.iter().map(|build| build.0));
            for build in over.logs {
                if self.one_build(build, Self::unlog)? {
                    let unlogged = self.archive.unlogged.entry(builder.clone()).or_default();
                    unlogged.through = build.0.max(unlogged.through);
                    unlogged.passed.remove(&build.0);
                }
            }
            for build in over.builds {
                self.one_build(build, Self::remove_build)?;
            }
        }
        Ok(())
    }

    /// Does something about one build. One with a damaged row stays; it keeps no other one from going.
    fn one_build(
        &mut self,
        build: BuildId,
        work: impl FnOnce(&mut Self, BuildId) -> Result<bool, TendError>,
    ) -> Result<bool, TendError> {
        match work(self, build) {
            Err(error) if error.is_of_one() => {
                self.stays(build, error);
                Ok(false)
            }
            result => result,
        }
    }

    /// This build cannot be removed, nor its logs, before it is tried again.
    fn stays(&mut self, build: BuildId, error: TendError) {
        if self.archive.stuck.insert(build) {
            tracing::error!(%build, error = chain(&error), "a build cannot be removed");
            self.failed.get_or_insert(error);
        }
    }

    /// What of a builder lies beyond the horizons, and ended long enough ago.
    fn over(&mut self, builder: &str) -> Result<Over, TendError> {
        let horizons = self.keeping.horizons;
        let never = Unlogged::default();
        let unlogged = self.archive.unlogged.get(builder).unwrap_or(&never);
        let snapshot = self.snapshot()?;
        let (builds, live) = (snapshot.builds()?, snapshot.live()?);
        let (mut over, mut kept, mut damaged) = (Over::default(), 0, Vec::new());
        for row in snapshot.by_builder()?.range((builder, 0)..=(builder, u64::MAX))?.rev() {
            let id = row?.0.value().1;
            if live.get(id)?.is_some() {
                over.passed.insert(id);
                continue;
            }
            kept += 1;
            let is_over = |most: Option<u64>| most.is_some_and(|most| kept > most);
            let list = if is_over(horizons.builds) {
                &mut over.builds
            } else if is_over(horizons.logs) && !unlogged.has(id) {
                &mut over.logs
            } else if is_over(horizons.logs) && horizons.builds.is_none() && unlogged.has_before(id) {
                // All older ones have lost theirs before.
                break;
            } else {
                continue;
            };
            if self.archive.stuck.contains(&BuildId(id)) {
                over.passed.insert(id);
                continue;
            }
            let Some(row) = builds.get(id)? else { continue };
            match encode::unpack::<BuildRow>("builds", id, row.value()) {
                Ok(row) if row.complete.is_some_and(|complete| self.is_long_ago(complete.at)) => {
                    list.push(BuildId(id));
                }
                Ok(_) => drop(over.passed.insert(id)),
                Err(error) => {
                    over.passed.insert(id);
                    damaged.push((BuildId(id), error.into()));
                }
            }
        }
        damaged.into_iter().for_each(|(build, error)| self.stays(build, error));
        for list in [&mut over.logs, &mut over.builds] {
            list.reverse();
            over.passed.extend(list.drain(AT_ONCE.min(list.len())..).map(|build| build.0));
        }
        Ok(over)
    }

    fn is_long_ago(&self, ended: Timestamp) -> bool {
        self.now.0.saturating_sub(ended.0) >= JUST_NOW
    }

    /// Removes the bytes of the logs of a build; false: one of them is not finished.
    fn unlog(&mut self, build: BuildId) -> Result<bool, TendError> {
        let logs = self.logs_of(build)?;
        for log in &logs {
            if self.store.log(*log)?.is_some_and(|row| !row.finished) {
                return Ok(false);
            }
        }
        logs.into_iter().try_for_each(|log| self.drop_bytes(log))?;
        Ok(true)
    }

    fn logs_of(&self, build: BuildId) -> Result<Vec<LogId>, TendError> {
        let mut logs = Vec::new();
        for row in self.snapshot()?.logs_by_build()?.range((build.0, 0)..=(build.0, u64::MAX))? {
            logs.push(LogId(row?.0.value().1));
        }
        Ok(logs)
    }

    /// Removes the bytes of a log from wherever they lie, and archives in which no other log is.
    fn drop_bytes(&mut self, log: LogId) -> Result<(), TendError> {
        let snapshot = self.snapshot()?;
        let mut archives: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for row in snapshot.log_frames()?.range((log.0, 0)..=(log.0, u64::MAX))? {
            let (key, row) = row?;
            let frame = frames::decode(key.value(), row.value())?;
            archives.entry(frame.archive).or_default().push(key.value());
        }
        if !archives.is_empty() {
            self.commit(Work::Mark(vec![log]))?;
            self.done.expired += 1;
        }
        for (archive, frames) in archives {
            let mut some = frames.chunks(MOVE_ROWS).peekable();
            while let Some(frames) = some.next() {
                let logs = if some.peek().is_none() { vec![log] } else { Vec::new() };
                self.commit(Work::Expire { archive, frames: frames.to_vec(), logs })?;
            }
            let range = (archive, 0)..=(archive, u64::MAX);
            if self.snapshot()?.archive_logs()?.range(range)?.next().is_none() {
                self.commit(Work::DropArchive(archive))?;
            }
        }
        self.archive.aside.remove(&log);
        self.forget(log)
    }

    /// Removes a build with all that is its own; false: one of its logs is not finished.
    fn remove_build(&mut self, build: BuildId) -> Result<bool, TendError> {
        let is_unlogged = self.unlog(build)?;
        if is_unlogged {
            self.drop_build(build)?;
        }
        Ok(is_unlogged)
    }

    /// Removes a build whose logs have no bytes.
    fn drop_build(&mut self, build: BuildId) -> Result<(), TendError> {
        let artifacts: Vec<ArtifactId> = self.store.artifacts(build)?.into_iter().map(|row| row.id).collect();
        if !artifacts.is_empty() {
            let batch = vec![Persist::DropArtifacts(artifacts)];
            let answer = self.store.0.queue.push(batch, &[]).blocking_recv();
            let committed = answer.unwrap_or(Err(CommitError::Closed))?;
            for (build, id) in committed.dropped {
                // What stays is removed by the sweep after the next start.
                if let Err(error) = self.store.artifact_files().remove(build, id) {
                    tracing::warn!(%error, %id, "the bytes of an artifact stay");
                }
            }
        }
        while let Some(work) = self.results_of(build)? {
            self.commit(work)?;
        }
        self.commit(Work::DropBuild(build))?;
        self.done.builds += 1;
        Ok(())
    }

    /// The last results of a build that has so many that they do not go in one commit.
    fn results_of(&self, build: BuildId) -> Result<Option<Work>, TendError> {
        let snapshot = self.snapshot()?;
        let (mut tests, mut figures, mut bytes) = (Vec::new(), Vec::new(), 0);
        let is_full = |rows: usize, bytes: usize| rows >= MOVE_ROWS || bytes >= MOVE_BYTES;
        let of_build = (build.0, 0, 0)..=(build.0, u64::MAX, u64::MAX);
        for row in snapshot.test_results()?.range(of_build)?.rev() {
            let (key, row) = row?;
            bytes += row.value().len();
            tests.push(key.value());
            if is_full(tests.len(), bytes) {
                return Ok(Some(Work::DropResults { tests, figures }));
            }
        }
        for row in snapshot.statistics()?.range((build.0, 0, "")..(build.0 + 1, 0, ""))? {
            let (key, _) = row?;
            let (build, step, name) = key.value();
            bytes += name.len();
            figures.push((build, step, name.to_owned()));
            if is_full(tests.len() + figures.len(), bytes) {
                return Ok(Some(Work::DropResults { tests, figures }));
            }
        }
        Ok(None)
    }
}
