//! The named queries: snapshots, synchronous and short, none of which scans history.

use std::collections::BTreeSet;

use redb::ReadableTable;
use windlass_core::change::Change;
use windlass_core::id::{BuildId, BuildsetId, ChangeId, LogId, MasterId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::record::{BuildRow, LogRow, StepRow};
use windlass_core::request::{Buildset, Request};
use windlass_core::time::Timestamp;

use crate::Store;
use crate::encode::{self, unpack};
use crate::fault::ReadError;
use crate::tables::Snapshot;

/// Which builds: all conditions hold. Newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildFilter {
    /// Of this builder.
    pub builder: Option<String>,
    /// On this worker.
    pub worker: Option<String>,
    /// Ended, or running.
    pub complete: Option<bool>,
    /// At most so many.
    pub limit: usize,
    /// Older than this build.
    pub before: Option<BuildId>,
}

impl Default for BuildFilter {
    /// The newest 100.
    fn default() -> BuildFilter {
        BuildFilter { builder: None, worker: None, complete: None, limit: 100, before: None }
    }
}

impl BuildFilter {
    fn takes(&self, row: &BuildRow) -> bool {
        self.builder.as_ref().is_none_or(|builder| *builder == row.builder)
            && self.worker.as_ref().is_none_or(|worker| *worker == row.worker)
            && self.complete.is_none_or(|complete| complete == row.complete.is_some())
    }
}

impl Store {
    /// Returns a change.
    pub fn change(&self, id: ChangeId) -> Result<Option<Change>, ReadError> {
        let row = self.snapshot()?.changes()?.get(id.0)?;
        row.map(|row| unpack("changes", id.0, row.value())).transpose()
    }

    /// Hands those of these changes that exist to `take`, oldest first, all as they are at one moment.
    pub fn changes_of(
        &self,
        ids: &BTreeSet<ChangeId>,
        mut take: impl FnMut(Result<Change, ReadError>),
    ) -> Result<(), ReadError> {
        let changes = self.snapshot()?.changes()?;
        for id in ids {
            if let Some(row) = changes.get(id.0)? {
                take(unpack("changes", id.0, row.value()));
            }
        }
        Ok(())
    }

    /// Returns the newest changes, newest first.
    pub fn changes(&self, limit: usize) -> Result<Vec<Change>, ReadError> {
        let mut changes = Vec::new();
        for row in self.snapshot()?.changes()?.iter()?.rev().take(limit) {
            let (id, row) = row?;
            changes.push(unpack("changes", id.value(), row.value())?);
        }
        Ok(changes)
    }

    /// Returns a buildset.
    pub fn buildset(&self, id: BuildsetId) -> Result<Option<Buildset>, ReadError> {
        let snapshot = self.snapshot()?;
        let Some(row) = snapshot.buildsets()?.get(id.0)? else { return Ok(None) };
        let mut buildset: Buildset = unpack("buildsets", id.0, row.value())?;
        if let Some(state) = snapshot.buildset_states()?.get(id.0)? {
            buildset.complete = encode::to_buildset_state(id.0, state.value())?.complete;
        }
        Ok(Some(buildset))
    }

    /// Returns a request.
    pub fn request(&self, id: RequestId) -> Result<Option<Request>, ReadError> {
        Ok(self.requests(&[id])?.pop())
    }

    /// Returns those of these requests that exist.
    pub fn requests(&self, ids: &[RequestId]) -> Result<Vec<Request>, ReadError> {
        let snapshot = self.snapshot()?;
        let tables =
            [("waiting", snapshot.waiting()?), ("held", snapshot.held()?), ("done", snapshot.done()?)];
        let mut requests = Vec::with_capacity(ids.len());
        for id in ids {
            for (name, table) in &tables {
                if let Some(row) = table.get(id.0)? {
                    requests.push(encode::to_request(name, id.0, row.value())?);
                    break;
                }
            }
        }
        Ok(requests)
    }

    /// Returns all requests that wait to be claimed, oldest first.
    pub fn pending_requests(&self) -> Result<Vec<Request>, ReadError> {
        let mut requests = Vec::new();
        for row in self.snapshot()?.waiting()?.iter()? {
            let (id, row) = row?;
            requests.push(encode::to_request("waiting", id.value(), row.value())?);
        }
        Ok(requests)
    }

    /// Returns the requests that this master holds: after a restart, the builds that were cut off. One that cannot be read
    /// is left alone.
    pub fn claimed_requests(&self, master: MasterId) -> Result<Vec<Request>, ReadError> {
        let mut requests = Vec::new();
        for row in self.snapshot()?.held()?.iter()? {
            let (id, row) = row?;
            match encode::to_request("held", id.value(), row.value()) {
                Ok(request) => requests.push(request),
                Err(error) => tracing::error!(%error, "a request that somebody holds is left as it is"),
            }
        }
        requests.retain(|request| request.claim.is_some_and(|claim| claim.master == master));
        Ok(requests)
    }

    /// Returns a build.
    pub fn build(&self, id: BuildId) -> Result<Option<BuildRow>, ReadError> {
        build(&self.snapshot()?, id.0)
    }

    /// Returns builds, newest first.
    pub fn builds(&self, filter: &BuildFilter) -> Result<Vec<BuildRow>, ReadError> {
        let snapshot = self.snapshot()?;
        let end = filter.before.map_or(u64::MAX, |before| before.0);
        let mut builds = Vec::new();
        // What the index does not answer (whether it is complete) leaves out no more rows than run.
        let mut take = |id: u64| -> Result<bool, ReadError> {
            if builds.len() < filter.limit {
                builds.extend(build(&snapshot, id)?.filter(|row| filter.takes(row)));
            }
            Ok(builds.len() < filter.limit)
        };
        if filter.complete == Some(false) {
            for row in snapshot.live()?.range(..end)?.rev() {
                if !take(row?.0.value())? {
                    break;
                }
            }
            return Ok(builds);
        }
        match (filter.builder.as_deref(), filter.worker.as_deref()) {
            (Some(builder), Some(worker)) => {
                for row in snapshot.by_pair()?.range((builder, worker, 0)..(builder, worker, end))?.rev() {
                    if !take(row?.0.value().2)? {
                        break;
                    }
                }
            }
            (Some(builder), None) => {
                for row in snapshot.by_builder()?.range((builder, 0)..(builder, end))?.rev() {
                    if !take(row?.0.value().1)? {
                        break;
                    }
                }
            }
            (None, Some(worker)) => {
                for row in snapshot.by_worker()?.range((worker, 0)..(worker, end))?.rev() {
                    if !take(row?.0.value().1)? {
                        break;
                    }
                }
            }
            (None, None) => {
                for row in snapshot.builds()?.range(..end)?.rev() {
                    if !take(row?.0.value())? {
                        break;
                    }
                }
            }
        }
        Ok(builds)
    }

    /// Returns the builds that have not ended, oldest first.
    pub fn running_builds(&self) -> Result<Vec<BuildRow>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut builds = Vec::new();
        for row in snapshot.live()?.iter()? {
            builds.extend(build(&snapshot, row?.0.value())?);
        }
        Ok(builds)
    }

    /// Returns when and how the last ended build of this builder on this worker ended.
    pub fn last_build(&self, builder: &str, worker: &str) -> Result<Option<(Timestamp, Outcome)>, ReadError> {
        let (builder, worker) = (Some(builder.to_owned()), Some(worker.to_owned()));
        let filter = BuildFilter { builder, worker, complete: Some(true), limit: 1, before: None };
        let last = self.builds(&filter)?.pop().and_then(|row| row.complete);
        Ok(last.map(|complete| (complete.at, complete.outcome)))
    }

    /// Returns the steps of a build, by position.
    pub fn steps(&self, build: BuildId) -> Result<Vec<StepRow>, ReadError> {
        let mut steps = Vec::new();
        for row in self.snapshot()?.steps()?.range((build.0, 0)..=(build.0, u64::MAX))? {
            let (key, row) = row?;
            steps.push(unpack::<StepRow>("steps", key.value(), row.value())?);
        }
        steps.sort_by_key(|step| step.position);
        Ok(steps)
    }

    /// Returns the logs of a build, in the order in which they were made.
    pub fn logs(&self, build: BuildId) -> Result<Vec<LogRow>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut logs = Vec::new();
        for row in snapshot.logs_by_build()?.range((build.0, 0)..=(build.0, u64::MAX))? {
            logs.extend(log(&snapshot, row?.0.value().1)?);
        }
        Ok(logs)
    }

    /// Returns a log's row.
    pub fn log(&self, id: LogId) -> Result<Option<LogRow>, ReadError> {
        log(&self.snapshot()?, id.0)
    }

    /// Returns a value of somebody's small state.
    pub fn state(&self, owner: &str, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let value = self.snapshot()?.state()?.get((owner, key))?;
        Ok(value.map(|value| value.value().to_owned()))
    }

    /// Returns who has state, of those whose name begins like this.
    pub fn state_owners(&self, begin: &str) -> Result<Vec<String>, ReadError> {
        let (snapshot, mut owners) = (self.snapshot()?, Vec::<String>::new());
        for row in snapshot.state()?.range((begin, "")..)? {
            let (key, _) = row?;
            let (owner, _) = key.value();
            if !owner.starts_with(begin) {
                break;
            }
            if owners.last().is_none_or(|last| last != owner) {
                owners.push(owner.to_owned());
            }
        }
        Ok(owners)
    }

    /// Returns all of an owner's state, sorted by key.
    pub fn states(&self, owner: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        let mut values = Vec::new();
        for row in self.snapshot()?.state()?.range((owner, "")..)? {
            let (key, value) = row?;
            let (of, key) = key.value();
            if of != owner {
                break;
            }
            values.push((key.to_owned(), value.value().to_owned()));
        }
        Ok(values)
    }
}

fn build(snapshot: &Snapshot, id: u64) -> Result<Option<BuildRow>, ReadError> {
    let row = snapshot.builds()?.get(id)?;
    row.map(|row| unpack("builds", id, row.value())).transpose()
}

fn log(snapshot: &Snapshot, id: u64) -> Result<Option<LogRow>, ReadError> {
    let row = snapshot.logs()?.get(id)?;
    row.map(|row| unpack("logs", id, row.value())).transpose()
}
