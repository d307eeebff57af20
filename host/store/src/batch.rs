//! One batch within a group's transaction: checked against the transaction's own state before any of
//! its writes, so that a refused batch leaves nothing and the others of the group go through.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use redb::{ReadableTable, ReadableTableMetadata};
use windlass_core::claim::{self, Progress, Rows};
use windlass_core::id::{BuildId, BuildsetId, Fence, LogId, MasterId, RequestId, StepId};
use windlass_core::master::Master;
use windlass_core::persist::{Committed, Persist, Refusal};
use windlass_core::record::{BuildRow, CutOff};
use windlass_core::report::{Kind, Reader};
use windlass_core::request::{Buildset, Completed, Request, Turn};

use crate::appends::{Appends, Known, ROW};
use crate::decisions::Added;
use crate::encode::{self, BuildsetState, Live};
use crate::fault::ReadError;
use crate::going_on::Extras;
use crate::ids::Marks;
use crate::log_work::Aftermath;
use crate::tables::Tables;
use crate::writer::Full;

/// Why a batch does not go in.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This batch alone is refused.
    Refused(Refusal),
    /// This batch alone finds no room for its logs.
    Full(Full),
    /// A row or bytes that the batch needs are damaged: this batch alone stops. Or the database failed: nobody's
    /// batch goes in.
    Fault(ReadError),
    /// The same, met after the first write of the batch: what the transaction has is worth nothing.
    Spoilt(ReadError),
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
    pub(crate) known: &'t Known,
    pub(crate) marks: Marks,
    pub(crate) room: Room,
    /// Builds that were written, and logs that were finished, for those who watch.
    pub(crate) builds: BTreeSet<BuildId>,
    pub(crate) finished: Vec<LogId>,
    /// Builds with rows beyond their own, as `going_on` has them.
    pub(crate) extras: Extras,
    /// How many more of a builder's requests wait than before.
    pub(crate) waiting: BTreeMap<String, i64>,
    /// What it adds to the records of decisions.
    pub(crate) decided: Added,
    /// What the archive's work leaves to be done.
    pub(crate) aftermath: Aftermath,
    /// Whom builds are told to.
    pub(crate) readers: Arc<Vec<Reader>>,
    /// What the batch that is written does to builds, for them.
    pub(crate) news: Vec<(Kind, BuildRow)>,
    /// Whether events joined their lines.
    pub(crate) told: bool,
}

/// What is left of a group whose tables are closed: what to tell after the commit.
pub(crate) struct Closed {
    pub(crate) appends: Appends,
    pub(crate) marks: Marks,
    pub(crate) builds: BTreeSet<BuildId>,
    pub(crate) finished: Vec<LogId>,
    pub(crate) extras: Extras,
    pub(crate) aftermath: Aftermath,
    pub(crate) told: bool,
}

/// Which of the three tables a request lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Waiting,
    Held,
    Done,
}

impl Place {
    pub(crate) fn of(request: &Request) -> Place {
        if request.complete.is_some() {
            Place::Done
        } else if claim::is_pending(request) {
            Place::Waiting
        } else {
            Place::Held
        }
    }
}

/// What a batch would change, while it is checked.
#[derive(Default)]
pub(crate) struct Staged {
    pub(crate) requests: Rows,
    /// Where each looked-up request lies now, and its turn there; none: it is new.
    pub(crate) places: BTreeMap<RequestId, (Place, Turn)>,
    pub(crate) changed: BTreeSet<RequestId>,
    pub(crate) buildsets: BTreeMap<BuildsetId, BuildsetState>,
    live: BTreeMap<BuildId, Live>,
    pub(crate) masters: BTreeMap<MasterId, Master>,
    pub(crate) cut_off: Vec<CutOff>,
    /// Lengths of logs that this batch appends to.
    logs: BTreeMap<LogId, u64>,
    log_bytes: u64,
    appends: u64,
    /// Steps that this batch gives test results to: how many they have then.
    pub(crate) tests: BTreeMap<StepId, u64>,
    pub(crate) committed: Committed,
}

impl Group<'_> {
    /// Puts a batch in, whole, or returns why nothing of it goes in.
    pub(crate) fn add(&mut self, batch: &[Persist]) -> Result<Committed, Stop> {
        let mut staged = Staged::default();
        for (i, persist) in batch.iter().enumerate() {
            // What it takes away is what is stored, not what the batch is about to change.
            if i > 0 && matches!(persist, Persist::Expire { .. }) {
                return Err(Refusal::ExpiryNotFirst.into());
            }
            self.check(persist, &mut staged)?;
        }
        if staged.log_bytes > 0 {
            self.check_room(&staged)?;
        }
        self.write(batch, staged).map_err(Stop::Spoilt)
    }

    /// Closes the tables, so that the transaction can be committed.
    pub(crate) fn close(self) -> Closed {
        let Group { appends, marks, builds, finished, extras, aftermath, told, .. } = self;
        Closed { appends, marks, builds, finished, extras, aftermath, told }
    }

    fn check(&mut self, persist: &Persist, staged: &mut Staged) -> Result<(), Stop> {
        match persist {
            Persist::AddChange(_)
            | Persist::AddDecision(_)
            | Persist::PutState { .. }
            | Persist::PutPlan { .. }
            | Persist::TrimPlans
            | Persist::TakeEvent { .. }
            | Persist::KeepReporters
            | Persist::AddToken(_)
            | Persist::UseToken { .. }
            | Persist::DropTokens(_)
            | Persist::DropArtifacts(_) => {}
            Persist::AddBuildset { buildset, requests } => self.check_new(buildset, requests, staged)?,
            Persist::Claim { requests, master, fence, at } => {
                self.look_up(requests, Place::Waiting, staged)?;
                claim::claim(&mut staged.requests, requests, *master, *fence, *at)?;
                staged.changed.extend(requests);
            }
            Persist::Unclaim { requests, fence } => {
                self.look_up(requests, Place::Held, staged)?;
                staged.changed.extend(claim::unclaim(&mut staged.requests, requests, *fence));
            }
            Persist::Renew { requests, fence, at } => {
                self.look_up(requests, Place::Held, staged)?;
                claim::renew(&mut staged.requests, requests, *fence, *at)?;
                staged.changed.extend(requests);
            }
            Persist::SetPriority { requests, priority } => {
                self.look_up(requests, Place::Waiting, staged)?;
                claim::prioritize(&mut staged.requests, requests, *priority)?;
                staged.changed.extend(requests);
            }
            Persist::PutMaster(master) => self.check_name(master, staged)?,
            Persist::Heartbeat { master, at } => self.master(*master, staged)?.heard(*at),
            Persist::Expire { overdue, fence, at } => self.check_expiry(overdue, *fence, *at, staged)?,
            Persist::Complete { requests, fence, outcome, at } => {
                self.look_up(requests, Place::Held, staged)?;
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
                self.look_up(&row.requests, Place::Held, staged)?;
                claim::may_write(&staged.requests, row.id, &row.requests, row.fence)?;
                let live = Live { fence: row.fence, requests: row.requests.clone() };
                staged.live.insert(row.id, live);
            }
            Persist::AddSteps { fence, build, .. } => self.check_fence(*build, *fence, staged)?,
            Persist::PutStop { fence, stop } => self.check_fence(stop.build, *fence, staged)?,
            Persist::PutStep { fence, step } => self.check_fence(step.build, *fence, staged)?,
            Persist::AddTests { fence, build, step, first, results } => {
                self.check_fence(*build, *fence, staged)?;
                let there = match staged.tests.get(step) {
                    Some(there) => *there,
                    None => self.tests_of(*build, *step)?,
                };
                if *first != there {
                    return Err(Refusal::TestGap { step: *step, there, offered: *first }.into());
                }
                staged.tests.insert(*step, there + results.len() as u64);
            }
            Persist::PutStatistic { fence, build, .. }
            | Persist::AppendJournal { fence, build, .. }
            | Persist::PutMark { fence, build, .. } => self.check_fence(*build, *fence, staged)?,
            Persist::PutLog { fence, log } => self.check_fence(log.build, *fence, staged)?,
            Persist::PutArtifact { fence, artifact } => self.check_fence(artifact.build, *fence, staged)?,
            Persist::AppendLog { fence, build, log, offset, data, .. } => {
                self.check_fence(*build, *fence, staged)?;
                let length = match staged.logs.get(log) {
                    Some(length) => *length,
                    None => self.appends.length(&self.tables, self.known, &self.room.folder, *log)?,
                };
                if *offset != length {
                    return Err(Refusal::LogGap { log: *log, length, offset: *offset }.into());
                }
                staged.logs.insert(*log, length + data.len() as u64);
                staged.log_bytes += data.len() as u64;
                staged.appends += 1;
            }
        }
        Ok(())
    }

    fn check_room(&self, staged: &Staged) -> Result<(), Stop> {
        if let Some(message) = &self.room.refused {
            return Err(Stop::Full(Full::Disk { message: message.clone() }));
        }
        if let Some(limit) = self.room.total
            && self.taken()? + staged.log_bytes + staged.appends * ROW > limit
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

    /// What all logs take up with those of this group, and their index. A piece of one byte is a row of it, too.
    fn taken(&self) -> Result<u64, ReadError> {
        let rows = self.tables.log_pieces.read()?.len()? + self.appends.count;
        Ok(self.room.used + self.appends.bytes + rows * ROW)
    }

    /// Checks that a new buildset and its requests are new.
    fn check_new(&self, buildset: &Buildset, requests: &[Request], staged: &mut Staged) -> Result<(), Stop> {
        let known = staged.buildsets.contains_key(&buildset.id)
            || self.marks.may_have_buildset(buildset.id)
                && self.tables.buildset_states.read()?.get(buildset.id.0)?.is_some();
        if known {
            return Err(Refusal::BuildsetExists(buildset.id).into());
        }
        let mut progress = Progress::new(requests.len());
        for request in requests {
            if self.marks.may_have_request(request.id) {
                self.look_up(&[request.id], Place::Waiting, staged)?;
            }
            if staged.requests.contains_key(&request.id) {
                return Err(Refusal::Exists(request.id).into());
            }
            if let Some(complete) = &request.complete {
                progress.add(complete.outcome);
            }
            staged.requests.insert(request.id, request.clone());
            staged.changed.insert(request.id);
        }
        let complete = progress.outcome().map(|outcome| Completed { outcome, at: buildset.submitted });
        if let Some(complete) = complete {
            staged.committed.buildsets.push((buildset.id, complete.outcome));
        }
        staged.buildsets.insert(buildset.id, BuildsetState { progress, complete });
        Ok(())
    }

    /// Takes the requests that exist into `staged`; most of them are expected in `first`.
    pub(crate) fn look_up(
        &self,
        requests: &[RequestId],
        first: Place,
        staged: &mut Staged,
    ) -> Result<(), ReadError> {
        let order = match first {
            Place::Waiting => [Place::Waiting, Place::Held, Place::Done],
            Place::Held => [Place::Held, Place::Waiting, Place::Done],
            Place::Done => [Place::Done, Place::Held, Place::Waiting],
        };
        for id in requests {
            if staged.requests.contains_key(id) {
                continue;
            }
            for place in order {
                let (name, table) = match place {
                    Place::Waiting => ("waiting", &self.tables.waiting),
                    Place::Held => ("held", &self.tables.held),
                    Place::Done => ("done", &self.tables.done),
                };
                if let Some(row) = table.read()?.get(id.0)? {
                    let request = encode::to_request(name, id.0, row.value())?;
                    staged.places.insert(*id, (place, Turn::of(&request)));
                    staged.requests.insert(*id, request);
                    break;
                }
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
            let row = self.tables.buildset_states.read()?.get(id.0)?.ok_or_else(|| ReadError::Row {
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
            let live = if let Some(row) = self.tables.live.read()?.get(build.0)? {
                encode::to_live(build.0, row.value())?
            } else if let Some(row) = self.tables.builds.read()?.get(build.0)? {
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
        self.look_up(&live.requests, Place::Held, staged)?;
        Ok(claim::may_write(&staged.requests, build, &live.requests, fence)?)
    }
}
