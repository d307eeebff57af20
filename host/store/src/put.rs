//! Writing a batch that was checked: its rows, and every index over them.

use std::collections::BTreeMap;

use redb::{ReadableTable, ReadableTableMetadata};
use windlass_core::decision::Budget;
use windlass_core::id::RequestId;
use windlass_core::persist::{Committed, Persist};
use windlass_core::record::{BuildRow, LogRow, StepRow};
use windlass_core::report::Kind;
use windlass_core::request::{Request, Turn};

use crate::batch::{Group, Place, Staged};
use crate::encode::{self, Live};
use crate::fault::ReadError;
use crate::ids::Marks;
use crate::tables::Tables;

impl Group<'_> {
    /// Writes what `batch` says and what checking it has `staged`.
    pub(crate) fn write(&mut self, batch: &[Persist], mut staged: Staged) -> Result<Committed, ReadError> {
        for persist in batch {
            self.write_one(persist, &mut staged.committed)?;
        }
        for id in &staged.changed {
            let row = &staged.requests[id];
            put_request(&mut self.tables, row, staged.places.get(id).copied(), &mut self.waiting)?;
        }
        for (id, state) in &staged.buildsets {
            self.tables.buildset_states.write()?.insert(id.0, encode::buildset_state(state).as_slice())?;
        }
        for master in staged.masters.values() {
            self.marks.master(master.id);
            self.tables.masters.write()?.insert(master.id.0, encode::pack(master).as_slice())?;
        }
        for cut in &staged.cut_off {
            self.put_build(&cut.build)?;
            cut.steps.iter().try_for_each(|step| self.put_step(step))?;
            cut.logs.iter().try_for_each(|log| self.put_log(log))?;
        }
        // Last of all: what is told of a build is looked up in the rows of its requests, too.
        for (kind, row) in std::mem::take(&mut self.news) {
            self.tell(kind, &row, &staged.requests)?;
        }
        Ok(staged.committed)
    }

    /// Writes what is the same for all batches of the group: the largest numbers, how many wait, and which
    /// records of decisions are beyond their budget.
    pub(crate) fn write_sums(&mut self, before: &Marks, budget: Budget) -> Result<(), ReadError> {
        self.trim_decisions(budget)?;
        self.marks.write(&mut self.tables, before)?;
        add_counts(&mut self.tables, &std::mem::take(&mut self.waiting))
    }

    fn write_one(&mut self, persist: &Persist, committed: &mut Committed) -> Result<(), ReadError> {
        let tables = &mut self.tables;
        match persist {
            Persist::AddChange(change) => {
                self.marks.change(change.id);
                tables.changes.write()?.insert(change.id.0, encode::pack(change).as_slice())?;
            }
            Persist::AddBuildset { buildset, requests } => {
                self.marks.buildset(buildset.id);
                for request in requests {
                    self.marks.request(request.id);
                    self.marks.fence(request.last_fence);
                }
                tables.buildsets.write()?.insert(buildset.id.0, encode::pack(buildset).as_slice())?;
            }
            Persist::Claim { fence, .. } | Persist::Expire { fence, .. } => self.marks.fence(*fence),
            // Rows of requests and masters are written together, after all of the batch.
            Persist::Unclaim { .. }
            | Persist::Renew { .. }
            | Persist::SetPriority { .. }
            | Persist::Complete { .. }
            | Persist::PutMaster(_)
            | Persist::Heartbeat { .. } => {}
            Persist::PutBuild(row) => {
                self.marks.build(row.id);
                self.marks.fence(row.fence);
                self.put_build(row)?;
            }
            Persist::PutPlan { digest, builder } => self.put_plan(digest, builder)?,
            Persist::TrimPlans => self.trim_plans()?,
            Persist::AddSteps { build, step, specs, .. } => self.put_added(*build, *step, specs)?,
            Persist::PutStop { stop, .. } => self.put_stop(stop)?,
            Persist::PutStep { step, .. } => self.put_step(step)?,
            Persist::AddTests { build, step, first, results, .. } => {
                self.put_tests(*build, *step, *first, results)?;
            }
            Persist::PutStatistic { build, step, name, value, .. } => {
                self.builds.insert(*build);
                tables.statistics.write()?.insert((build.0, step.0, name.as_str()), *value)?;
            }
            Persist::AppendJournal { build, step, piece, entries, .. } => {
                self.extras.journals.insert((*build, *step));
                let row = encode::pack_lean(entries.as_ref());
                tables.journal.write()?.insert((build.0, step.0, *piece), row.as_slice())?;
            }
            Persist::PutMark { build, step, command, mark, .. } => {
                self.extras.marks.insert((*build, *step));
                let row = encode::pack_lean(mark);
                tables.marks.write()?.insert((build.0, step.0, *command), row.as_slice())?;
            }
            Persist::PutLog { log, .. } => self.put_log(log)?,
            Persist::PutArtifact { artifact, .. } => committed.dropped.extend(self.put_artifact(artifact)?),
            Persist::DropArtifacts(ids) => committed.dropped.extend(self.drop_artifacts(ids)?),
            Persist::AppendLog { log, origin, data, .. } => {
                self.marks.log(*log);
                if !data.is_empty() {
                    self.appends.push(*log, *origin, data.clone());
                }
            }
            Persist::AddDecision(decision) => self.put_decision(decision)?,
            Persist::TakeEvent { reporter, place, taken } => self.take_event(reporter, *place, *taken)?,
            Persist::KeepReporters => self.keep_reporters()?,
            Persist::PutState { owner, key, value } => {
                let key = (owner.as_str(), key.as_str());
                match value {
                    Some(value) => tables.state.write()?.insert(key, value.as_slice())?,
                    None => tables.state.write()?.remove(key)?,
                };
            }
            Persist::AddToken(token) => self.put_token(token)?,
            Persist::UseToken { worker, token, at } => self.use_token(worker, *token, *at)?,
            Persist::DropTokens(tokens) => self.drop_tokens(tokens)?,
        }
        Ok(())
    }

    fn put_build(&mut self, row: &BuildRow) -> Result<(), ReadError> {
        self.builds.insert(row.id);
        let tables = &mut self.tables;
        let (id, builder, worker) = (row.id.0, row.builder.as_str(), row.worker.as_str());
        let is_new = tables.builds.write()?.insert(id, encode::pack(row).as_slice())?.is_none();
        let mut ran = !is_new;
        if row.complete.is_some() {
            ran = tables.live.write()?.remove(id)?.is_some();
        } else {
            let live = encode::live(&Live { fence: row.fence, requests: row.requests.clone() });
            // Most writes of a running build leave it as it is, and to look is cheaper than to write.
            let same = !is_new && tables.live.read()?.get(id)?.is_some_and(|before| before.value() == live);
            if !same {
                tables.live.write()?.insert(id, live.as_slice())?;
            }
        }
        if is_new {
            tables.by_builder.write()?.insert((builder, id), ())?;
            tables.by_worker.write()?.insert((worker, id), ())?;
            tables.by_pair.write()?.insert((builder, worker, id), ())?;
            let numbers = tables.build_numbers.write()?;
            let last = numbers.get(builder)?.map_or(0, |last| last.value());
            if row.number > last {
                numbers.insert(builder, row.number)?;
            }
        }
        if row.complete.is_some() {
            self.forget_extras(row.id)?;
        }
        match Kind::of(is_new, ran, row.complete.is_some()) {
            Some(kind) if self.is_news(kind, row) => self.news.push((kind, row.clone())),
            Some(_) | None => {}
        }
        Ok(())
    }

    fn put_step(&mut self, step: &StepRow) -> Result<(), ReadError> {
        self.marks.step(step.id);
        self.builds.insert(step.build);
        self.tables.steps.write()?.insert((step.build.0, step.id.0), encode::pack(step).as_slice())?;
        if step.complete.is_some() {
            self.drop_journal(step.build, step.id)?;
        }
        Ok(())
    }

    fn put_log(&mut self, log: &LogRow) -> Result<(), ReadError> {
        self.marks.log(log.id);
        self.builds.insert(log.build);
        if log.finished {
            self.finished.push(log.id);
        }
        if self.tables.logs.write()?.insert(log.id.0, encode::pack(log).as_slice())?.is_none() {
            self.tables.logs_by_build.write()?.insert((log.build.0, log.id.0), ())?;
        }
        Ok(())
    }
}

/// Puts a request where it belongs, and its turn into the index if it waits. `counts` learns how many more
/// of its builder wait.
pub(crate) fn put_request(
    tables: &mut Tables<'_>,
    row: &Request,
    before: Option<(Place, Turn)>,
    counts: &mut BTreeMap<String, i64>,
) -> Result<(), ReadError> {
    let (id, to) = (row.id.0, Place::of(row));
    match before {
        None => {
            tables.requests_by_builder.write()?.insert((row.builder.as_str(), id), ())?;
            number_builder(tables, &row.builder)?;
        }
        Some((from, _)) if from != to => remove(tables, from, row.id)?,
        Some(_) => {}
    }
    let bytes = encode::request(row);
    match to {
        Place::Waiting => tables.waiting.write()?.insert(id, bytes.as_slice())?,
        Place::Held => tables.held.write()?.insert(id, bytes.as_slice())?,
        Place::Done => tables.done.write()?.insert(id, bytes.as_slice())?,
    };
    let waited = before.and_then(|(from, turn)| (from == Place::Waiting).then_some(turn));
    let waits = (to == Place::Waiting).then(|| Turn::of(row));
    if waited != waits {
        let pending = tables.pending.write()?;
        if let Some(turn) = waited {
            pending.remove(encode::turn(&row.builder, turn))?;
        }
        if let Some(turn) = waits {
            pending.insert(encode::turn(&row.builder, turn), ())?;
        }
        let change = i64::from(waits.is_some()) - i64::from(waited.is_some());
        match counts.get_mut(&row.builder) {
            Some(count) => *count += change,
            None => drop(counts.insert(row.builder.clone(), change)),
        }
    }
    Ok(())
}

/// Adds to the numbers of those that wait.
pub(crate) fn add_counts(tables: &mut Tables<'_>, changes: &BTreeMap<String, i64>) -> Result<(), ReadError> {
    for (builder, change) in changes.iter().filter(|(_, change)| **change != 0) {
        let counts = tables.pending_counts.write()?;
        let before = counts.get(builder.as_str())?.map_or(0, |count| count.value());
        let now = before.checked_add_signed(*change).expect("BUG: fewer requests waited than were taken");
        if now == 0 {
            counts.remove(builder.as_str())?;
        } else {
            counts.insert(builder.as_str(), now)?;
        }
    }
    Ok(())
}

/// Gives a builder its number, if it has none.
pub(crate) fn number_builder(tables: &mut Tables<'_>, builder: &str) -> Result<(), ReadError> {
    let numbers = tables.builder_ids.write()?;
    if numbers.get(builder)?.is_none() {
        let next = numbers.len()? + 1;
        numbers.insert(builder, next)?;
    }
    Ok(())
}

fn remove(tables: &mut Tables<'_>, from: Place, id: RequestId) -> Result<(), ReadError> {
    match from {
        Place::Waiting => tables.waiting.write()?.remove(id.0)?,
        Place::Held => tables.held.write()?.remove(id.0)?,
        Place::Done => tables.done.write()?.remove(id.0)?,
    };
    Ok(())
}
