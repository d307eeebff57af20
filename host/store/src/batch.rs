//! One batch within a group's transaction: checked against the transaction's own state before any of
//! its writes, so that a refused batch leaves nothing and the others of the group go through.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use redb::ReadableTable;
use windlass_core::claim::{self, Progress, Rows};
use windlass_core::id::{BuildId, BuildsetId, Fence, LogId, RequestId};
use windlass_core::persist::{Committed, Persist, Refusal};
use windlass_core::record::BuildRow;
use windlass_core::request::{Completed, Request};

use crate::appends::Appends;
use crate::encode::{self, BuildsetState, Live};
use crate::fault::ReadError;
use crate::ids::Marks;
use crate::tables::Tables;
use crate::writer::Full;

/// Why a batch does not go in.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This batch alone is refused.
    Refused(Refusal),
    /// This batch alone finds no room for its logs.
    Full(Full),
    /// A row that the batch needs is damaged: this batch alone stops. Or the database failed: nobody's
    /// batch goes in.
    Fault(ReadError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Stop {
        Stop::Fault(error)
    }
}

impl From<redb::StorageError> for Stop {
    fn from(error: redb::StorageError) -> Stop {
        Stop::Fault(error.into())
    }
}

/// What bounds the logs, for one group.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) folder: PathBuf,
    /// What all logs held before the group.
    pub(crate) used: u64,
    pub(crate) total: Option<u64>,
    pub(crate) one_log: Option<u64>,
    /// Set when the system refused the bytes of this group: then every batch with bytes is refused.
    pub(crate) refused: Option<String>,
}

/// A group in the making: one transaction.
pub(crate) struct Group<'t> {
    pub(crate) tables: Tables<'t>,
    pub(crate) appends: Appends,
    pub(crate) marks: Marks,
    pub(crate) room: Room,
    /// Builds that were written, and logs that were finished, for those who watch.
    pub(crate) builds: BTreeSet<BuildId>,
    pub(crate) finished: Vec<LogId>,
}

/// What is left of a group whose tables are closed: what to tell after the commit.
pub(crate) struct Closed {
    pub(crate) appends: Appends,
    pub(crate) marks: Marks,
    pub(crate) builds: BTreeSet<BuildId>,
    pub(crate) finished: Vec<LogId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    Held,
    Done,
}

fn place(request: &Request) -> Place {
    if request.complete.is_some() {
        Place::Done
    } else if claim::is_pending(request) {
        Place::Waiting
    } else {
        Place::Held
    }
}

/// What a batch would change, while it is checked.
#[derive(Default)]
struct Staged {
    requests: Rows,
    /// Where each looked-up request lies now; none: it is new.
    places: BTreeMap<RequestId, Place>,
    changed: BTreeSet<RequestId>,
    buildsets: BTreeMap<BuildsetId, BuildsetState>,
    live: BTreeMap<BuildId, Live>,
    /// Lengths of logs that this batch appends to.
    logs: BTreeMap<LogId, u64>,
    log_bytes: u64,
    committed: Committed,
}

impl Group<'_> {
    /// Puts a batch in, whole, or returns why nothing of it goes in.
    pub(crate) fn add(&mut self, batch: &[Persist]) -> Result<Committed, Stop> {
        let mut staged = Staged::default();
        for persist in batch {
            self.check(persist, &mut staged)?;
        }
        if staged.log_bytes > 0 {
            self.check_room(&staged)?;
        }
        self.write(batch, staged).map_err(Stop::Fault)
    }

    /// Closes the tables, so that the transaction can be committed.
    pub(crate) fn close(self) -> Closed {
        let Group { tables: _, appends, marks, room: _, builds, finished } = self;
        Closed { appends, marks, builds, finished }
    }

    fn check(&mut self, persist: &Persist, staged: &mut Staged) -> Result<(), Stop> {
        match persist {
            Persist::AddChange(_) | Persist::PutState { .. } => {}
            Persist::AddBuildset { buildset, requests } => {
                let mut progress = Progress::new(requests.len());
                for request in requests {
                    if let Some(complete) = &request.complete {
                        progress.add(complete.outcome);
                    }
                    staged.requests.insert(request.id, request.clone());
                    staged.changed.insert(request.id);
                }
                let complete =
                    progress.outcome().map(|outcome| Completed { outcome, at: buildset.submitted });
                if let Some(complete) = complete {
                    staged.committed.buildsets.push((buildset.id, complete.outcome));
                }
                staged.buildsets.insert(buildset.id, BuildsetState { progress, complete });
            }
            Persist::Claim { requests, master, fence, at } => {
                self.look_up(requests, staged)?;
                claim::claim(&mut staged.requests, requests, *master, *fence, *at)?;
                staged.changed.extend(requests);
            }
            Persist::Unclaim { requests, fence } => {
                self.look_up(requests, staged)?;
                staged.changed.extend(claim::unclaim(&mut staged.requests, requests, *fence));
            }
            Persist::Complete { requests, fence, outcome, at } => {
                self.look_up(requests, staged)?;
                claim::complete(&mut staged.requests, requests, *fence, *outcome, *at)?;
                staged.changed.extend(requests);
                for id in requests {
                    let buildset = staged.requests[id].buildset;
                    let state = self.buildset_state(buildset, staged)?;
                    state.progress.add(*outcome);
                    if let Some(outcome) = state.progress.outcome() {
                        state.complete = Some(Completed { outcome, at: *at });
                        staged.committed.buildsets.push((buildset, outcome));
                    }
                }
            }
            Persist::PutBuild(row) => {
                self.look_up(&row.requests, staged)?;
                claim::may_write(&staged.requests, row.id, &row.requests, row.fence)?;
                let live = Live { fence: row.fence, requests: row.requests.clone() };
                staged.live.insert(row.id, live);
            }
            Persist::PutStep { fence, step } => self.check_fence(step.build, *fence, staged)?,
            Persist::PutLog { fence, log } => self.check_fence(log.build, *fence, staged)?,
            Persist::AppendLog { fence, build, log, offset, data, .. } => {
                self.check_fence(*build, *fence, staged)?;
                let length = match staged.logs.get(log) {
                    Some(length) => *length,
                    None => self.appends.length(&self.tables, *log)?,
                };
                if *offset != length {
                    return Err(Refusal::LogGap { log: *log, length, offset: *offset }.into());
                }
                staged.logs.insert(*log, length + data.len() as u64);
                staged.log_bytes += data.len() as u64;
            }
        }
        Ok(())
    }

    fn check_room(&self, staged: &Staged) -> Result<(), Stop> {
        if let Some(message) = &self.room.refused {
            return Err(Stop::Full(Full::Disk { message: message.clone() }));
        }
        if let Some(limit) = self.room.total
            && self.room.used + self.appends.bytes + staged.log_bytes > limit
        {
            return Err(Stop::Full(Full::Quota { limit }));
        }
        if let Some(limit) = self.room.one_log
            && let Some((log, _)) = staged.logs.iter().find(|(_, length)| **length > limit)
        {
            return Err(Stop::Full(Full::Log { log: *log, limit }));
        }
        Ok(())
    }

    /// Takes the requests that exist into `staged`.
    fn look_up(&self, requests: &[RequestId], staged: &mut Staged) -> Result<(), ReadError> {
        let tables = &self.tables;
        for id in requests {
            if staged.requests.contains_key(id) {
                continue;
            }
            // A build's own requests are held; those to be claimed wait.
            let found = if let Some(row) = tables.held.get(id.0)? {
                Some((Place::Held, encode::to_request("held", id.0, row.value())?))
            } else if let Some(row) = tables.waiting.get(id.0)? {
                Some((Place::Waiting, encode::to_request("waiting", id.0, row.value())?))
            } else if let Some(row) = tables.done.get(id.0)? {
                Some((Place::Done, encode::to_request("done", id.0, row.value())?))
            } else {
                None
            };
            if let Some((place, request)) = found {
                staged.places.insert(*id, place);
                staged.requests.insert(*id, request);
            }
        }
        Ok(())
    }

    fn buildset_state<'s>(
        &self,
        id: BuildsetId,
        staged: &'s mut Staged,
    ) -> Result<&'s mut BuildsetState, ReadError> {
        if let Entry::Vacant(vacant) = staged.buildsets.entry(id) {
            let row = self.tables.buildset_states.get(id.0)?.ok_or_else(|| ReadError::Row {
                table: "buildset_states",
                key: id.0.to_string(),
                why: "it is missing, though a request of the buildset exists".to_owned(),
            })?;
            vacant.insert(encode::to_buildset_state(id.0, row.value())?);
        }
        Ok(staged.buildsets.get_mut(&id).expect("inserted above"))
    }

    /// Checks a write of a build's step or log.
    fn check_fence(&self, build: BuildId, fence: Fence, staged: &mut Staged) -> Result<(), Stop> {
        if let Entry::Vacant(vacant) = staged.live.entry(build) {
            let live = if let Some(row) = self.tables.live.get(build.0)? {
                encode::to_live(build.0, row.value())?
            } else if let Some(row) = self.tables.builds.get(build.0)? {
                let row: BuildRow = encode::unpack("builds", build.0, row.value())?;
                Live { fence: row.fence, requests: row.requests }
            } else {
                return Err(Refusal::UnknownBuild(build).into());
            };
            vacant.insert(live);
        }
        let live = staged.live[&build].clone();
        if fence != live.fence {
            return Err(Refusal::StaleFence { build, offered: fence, current: live.fence }.into());
        }
        self.look_up(&live.requests, staged)?;
        Ok(claim::may_write(&staged.requests, build, &live.requests, fence)?)
    }

    fn write(&mut self, batch: &[Persist], staged: Staged) -> Result<Committed, ReadError> {
        for persist in batch {
            self.write_one(persist)?;
        }
        let tables = &mut self.tables;
        for id in &staged.changed {
            let row = &staged.requests[id];
            let (from, to) = (staged.places.get(id), place(row));
            if let Some(from) = from
                && *from != to
            {
                match from {
                    Place::Waiting => tables.waiting.remove(id.0)?,
                    Place::Held => tables.held.remove(id.0)?,
                    Place::Done => tables.done.remove(id.0)?,
                };
            }
            let bytes = encode::request(row);
            match to {
                Place::Waiting => tables.waiting.insert(id.0, bytes.as_slice())?,
                Place::Held => tables.held.insert(id.0, bytes.as_slice())?,
                Place::Done => tables.done.insert(id.0, bytes.as_slice())?,
            };
        }
        for (id, state) in &staged.buildsets {
            tables.buildset_states.insert(id.0, encode::buildset_state(state).as_slice())?;
        }
        Ok(staged.committed)
    }

    fn write_one(&mut self, persist: &Persist) -> Result<(), ReadError> {
        let tables = &mut self.tables;
        match persist {
            Persist::AddChange(change) => {
                self.marks.change(change.id);
                tables.changes.insert(change.id.0, encode::pack(change).as_slice())?;
            }
            Persist::AddBuildset { buildset, requests } => {
                self.marks.buildset(buildset.id);
                requests.iter().for_each(|request| self.marks.request(request.id));
                tables.buildsets.insert(buildset.id.0, encode::pack(buildset).as_slice())?;
            }
            Persist::Claim { fence, .. } => self.marks.fence(*fence),
            // The requests' rows are written together, after all of the batch.
            Persist::Unclaim { .. } | Persist::Complete { .. } => {}
            Persist::PutBuild(row) => {
                self.marks.build(row.id);
                self.marks.fence(row.fence);
                self.builds.insert(row.id);
                put_build(tables, row)?;
            }
            Persist::PutStep { step, .. } => {
                self.marks.step(step.id);
                self.builds.insert(step.build);
                tables.steps.insert((step.build.0, step.id.0), encode::pack(step).as_slice())?;
            }
            Persist::PutLog { log, .. } => {
                self.marks.log(log.id);
                self.builds.insert(log.build);
                if log.finished {
                    self.finished.push(log.id);
                }
                if tables.logs.insert(log.id.0, encode::pack(log).as_slice())?.is_none() {
                    tables.logs_by_build.insert((log.build.0, log.id.0), ())?;
                }
            }
            Persist::AppendLog { log, origin, data, .. } => {
                self.marks.log(*log);
                if !data.is_empty() {
                    self.appends.push(*log, *origin, data.clone());
                }
            }
            Persist::PutState { owner, key, value } => {
                let key = (owner.as_str(), key.as_str());
                match value {
                    Some(value) => tables.state.insert(key, value.as_slice())?,
                    None => tables.state.remove(key)?,
                };
            }
        }
        Ok(())
    }
}

fn put_build(tables: &mut Tables<'_>, row: &BuildRow) -> Result<(), ReadError> {
    let (id, builder, worker) = (row.id.0, row.builder.as_str(), row.worker.as_str());
    let is_new = tables.builds.insert(id, encode::pack(row).as_slice())?.is_none();
    if row.complete.is_some() {
        tables.live.remove(id)?;
    } else {
        let live = Live { fence: row.fence, requests: row.requests.clone() };
        tables.live.insert(id, encode::live(&live).as_slice())?;
    }
    if is_new {
        tables.by_builder.insert((builder, id), ())?;
        tables.by_worker.insert((worker, id), ())?;
        tables.by_pair.insert((builder, worker, id), ())?;
        let last = tables.build_numbers.get(builder)?.map_or(0, |last| last.value());
        if row.number > last {
            tables.build_numbers.insert(builder, row.number)?;
        }
    }
    Ok(())
}
