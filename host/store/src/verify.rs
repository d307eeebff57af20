//! Whether a store agrees with itself: every index with its table, every sum with what it sums.
//!
//! It reads everything, so it is for tests and for people who doubt, not for every start.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;
use windlass_core::artifact::ArtifactRow;
use windlass_core::claim::Progress;
use windlass_core::decision::Decision;
use windlass_core::record::{BuildRow, StepRow};
use windlass_core::request::{Buildset, Request, Turn};
use windlass_core::test_result::{TestCounts, TestResult};

use crate::Store;
use crate::batch::Place;
use crate::decisions::BYTES;
use crate::encode::{self, unpack};
use crate::fault::ReadError;
use crate::going_on;
use crate::log_check;
use crate::reports;
use crate::tables::Snapshot;
use crate::tokens;

/// So many flaws are told.
const TOLD: usize = 100;

impl Store {
    /// Reads all rows and returns what does not fit together, in words; nothing: all is well. A row that
    /// cannot be read is an error.
    pub fn verify(&self) -> Result<Vec<String>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut flaws = Flaws(Vec::new());
        let requests = requests(&snapshot, &mut flaws)?;
        waiting(&snapshot, &requests, &mut flaws)?;
        buildsets(&snapshot, &requests, &mut flaws)?;
        builds(&snapshot, &requests, &mut flaws)?;
        steps(&snapshot, &mut flaws)?;
        going_on::check(&snapshot, &mut flaws)?;
        journals(&snapshot, &mut flaws)?;
        log_check::logs(&snapshot, &self.0.logs, &mut flaws)?;
        results(&snapshot, &mut flaws)?;
        decisions(&snapshot, &mut flaws)?;
        artifacts(&snapshot, &mut flaws)?;
        reports::check(&snapshot, &mut flaws)?;
        numbers(&snapshot, &requests, &mut flaws)?;
        flaws.0.truncate(TOLD);
        Ok(flaws.0)
    }
}

pub(crate) struct Flaws(Vec<String>);

impl Flaws {
    pub(crate) fn tell(&mut self, flaw: impl FnOnce() -> String) {
        // More than are told only say that there are more.
        if self.0.len() <= TOLD {
            self.0.push(flaw());
        }
    }

    /// Both must have the same elements.
    pub(crate) fn same<T: Ord + std::fmt::Debug>(
        &mut self,
        what: &str,
        is: &BTreeSet<T>,
        should: &BTreeSet<T>,
    ) {
        is.difference(should).for_each(|extra| self.tell(|| format!("{what} has {extra:?} for nothing")));
        should.difference(is).for_each(|lost| self.tell(|| format!("{what} lacks {lost:?}")));
    }
}

/// Only a running step has a journal and marks.
fn journals(snapshot: &Snapshot, flaws: &mut Flaws) -> Result<(), ReadError> {
    let steps = snapshot.steps()?;
    for (name, table) in [("journal", snapshot.journal()?), ("marks", snapshot.marks()?)] {
        for row in table.iter()? {
            let (build, step, place) = row?.0.value();
            let runs = match steps.get((build, step))? {
                Some(row) => unpack::<StepRow>("steps", (build, step), row.value())?.complete.is_none(),
                None => false,
            };
            if !runs {
                flaws.tell(|| format!("{name} has ({build}, {step}, {place}), and that step does not run"));
            }
        }
    }
    Ok(())
}

type Requests = BTreeMap<u64, (Place, Request)>;

fn requests(snapshot: &Snapshot, flaws: &mut Flaws) -> Result<Requests, ReadError> {
    let mut requests = Requests::new();
    for (place, name, table) in [
        (Place::Waiting, "waiting", snapshot.waiting()?),
        (Place::Held, "held", snapshot.held()?),
        (Place::Done, "done", snapshot.done()?),
    ] {
        for row in table.iter()? {
            let (id, row) = row?;
            let id = id.value();
            let row = encode::to_request(name, id, row.value())?;
            if Place::of(&row) != place {
                flaws.tell(|| format!("request {id} does not belong in `{name}`"));
            }
            if row.claim.is_some_and(|claim| claim.fence > row.last_fence) {
                flaws.tell(|| format!("request {id} is claimed under a fence that it has not seen"));
            }
            if requests.insert(id, (place, row)).is_some() {
                flaws.tell(|| format!("request {id} is in two tables"));
            }
        }
    }
    Ok(requests)
}

fn waiting(snapshot: &Snapshot, requests: &Requests, flaws: &mut Flaws) -> Result<(), ReadError> {
    let owned =
        |(builder, rank, submitted, id): (&str, u32, u64, u64)| (builder.to_owned(), rank, submitted, id);
    let mut index = BTreeSet::new();
    for row in snapshot.pending()?.iter()? {
        index.insert(owned(row?.0.value()));
    }
    let waits = || requests.values().filter(|(place, _)| *place == Place::Waiting).map(|(_, row)| row);
    let turns = waits().map(|row| owned(encode::turn(&row.builder, Turn::of(row)))).collect();
    flaws.same("`pending`", &index, &turns);

    let mut counts = BTreeSet::new();
    for row in snapshot.pending_counts()?.iter()? {
        let (builder, count) = row?;
        counts.insert((builder.value().to_owned(), count.value()));
    }
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    waits().for_each(|row| *counted.entry(row.builder.clone()).or_default() += 1);
    flaws.same("`pending_counts`", &counts, &counted.into_iter().collect());

    let mut of_builders = BTreeSet::new();
    for row in snapshot.requests_by_builder()?.iter()? {
        let key = row?.0;
        let (builder, id) = key.value();
        of_builders.insert((builder.to_owned(), id));
    }
    let all = requests.iter().map(|(id, (_, row))| (row.builder.clone(), *id)).collect();
    flaws.same("`requests_by_builder`", &of_builders, &all);

    let mut numbers = BTreeMap::new();
    for row in snapshot.builder_ids()?.iter()? {
        let (builder, number) = row?;
        if let Some(other) = numbers.insert(number.value(), builder.value().to_owned()) {
            flaws.tell(|| format!("builders `{other}` and `{}` have one number", builder.value()));
        }
    }
    let named: BTreeSet<String> = numbers.into_values().collect();
    let builders: BTreeSet<String> = requests.values().map(|(_, row)| row.builder.clone()).collect();
    flaws.same("`builder_ids`", &named, &builders);
    Ok(())
}

fn buildsets(snapshot: &Snapshot, requests: &Requests, flaws: &mut Flaws) -> Result<(), ReadError> {
    let states = snapshot.buildset_states()?;
    let mut members = BTreeSet::new();
    for row in snapshot.buildsets()?.iter()? {
        let (id, row) = row?;
        let id = id.value();
        let buildset: Buildset = unpack("buildsets", id, row.value())?;
        let Some(state) = states.get(id)? else {
            flaws.tell(|| format!("buildset {id} has no state"));
            continue;
        };
        let state = encode::to_buildset_state(id, state.value())?;
        let mut progress = Progress::new(buildset.requests.len());
        for request in &buildset.requests {
            members.insert((id, request.0));
            match requests.get(&request.0) {
                Some((_, row)) => row.complete.iter().for_each(|complete| progress.add(complete.outcome)),
                None => flaws.tell(|| format!("buildset {id} has {request}, which is not there")),
            }
        }
        if state.progress != progress || state.complete.map(|complete| complete.outcome) != progress.outcome()
        {
            flaws.tell(|| format!("buildset {id} says {state:?}, its requests {progress:?}"));
        }
    }
    let of_requests = requests.iter().map(|(id, (_, row))| (row.buildset.0, *id)).collect();
    flaws.same("the buildsets together", &members, &of_requests);
    Ok(())
}

fn builds(snapshot: &Snapshot, requests: &Requests, flaws: &mut Flaws) -> Result<(), ReadError> {
    let mut rows: BTreeMap<u64, BuildRow> = BTreeMap::new();
    for row in snapshot.builds()?.iter()? {
        let (id, row) = row?;
        rows.insert(id.value(), unpack("builds", id.value(), row.value())?);
    }
    let mut live = BTreeSet::new();
    for row in snapshot.live()?.iter()? {
        let (id, row) = row?;
        let row = encode::to_live(id.value(), row.value())?;
        live.insert((id.value(), row.fence, row.requests));
    }
    let running = rows.values().filter(|row| row.complete.is_none());
    let running: BTreeSet<_> = running.map(|row| (row.id.0, row.fence, row.requests.clone())).collect();
    flaws.same("`live`", &live, &running);
    for (build, fence, served) in &running {
        let older =
            served.iter().filter(|id| requests.get(&id.0).is_none_or(|(_, row)| row.last_fence < *fence));
        older.for_each(|id| {
            flaws.tell(|| format!("build {build} runs for {id}, which has not seen its {fence}"))
        });
    }

    let (mut by_builder, mut by_worker, mut by_pair) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for row in snapshot.by_builder()?.iter()? {
        let key = row?.0;
        by_builder.insert((key.value().0.to_owned(), key.value().1));
    }
    for row in snapshot.by_worker()?.iter()? {
        let key = row?.0;
        by_worker.insert((key.value().0.to_owned(), key.value().1));
    }
    for row in snapshot.by_pair()?.iter()? {
        let key = row?.0;
        let (builder, worker, id) = key.value();
        by_pair.insert((builder.to_owned(), worker.to_owned(), id));
    }
    let all = || rows.values().map(|row| (row.builder.clone(), row.worker.clone(), row.id.0));
    flaws.same("`by_builder`", &by_builder, &all().map(|(builder, _, id)| (builder, id)).collect());
    flaws.same("`by_worker`", &by_worker, &all().map(|(_, worker, id)| (worker, id)).collect());
    flaws.same("`by_pair`", &by_pair, &all().collect());

    let numbers = snapshot.build_numbers()?;
    for row in rows.values() {
        if numbers.get(row.builder.as_str())?.is_none_or(|last| last.value() < row.number) {
            flaws.tell(|| format!("{} has a number that its builder has not reached", row.id));
        }
    }
    Ok(())
}

fn steps(snapshot: &Snapshot, flaws: &mut Flaws) -> Result<(), ReadError> {
    let builds = snapshot.builds()?;
    for row in snapshot.steps()?.iter()? {
        let (key, row) = row?;
        let step: StepRow = unpack("steps", key.value(), row.value())?;
        if builds.get(step.build.0)?.is_none() || key.value() != (step.build.0, step.id.0) {
            flaws.tell(|| format!("{} is a step of no build", step.id));
        }
    }
    Ok(())
}

/// Test results follow each other, and are as many as their step says; figures belong to a step.
fn results(snapshot: &Snapshot, flaws: &mut Flaws) -> Result<(), ReadError> {
    let mut counts = BTreeMap::<(u64, u64), TestCounts>::new();
    for row in snapshot.test_results()?.iter()? {
        let (key, row) = row?;
        let (build, step, first) = key.value();
        let results: Vec<TestResult> = unpack("test_results", key.value(), row.value())?;
        let count = counts.entry((build, step)).or_default();
        if count.total != first {
            flaws.tell(|| format!("step {step} of build {build} has a gap in its test results at {first}"));
        }
        results.iter().for_each(|result| count.add(result));
    }
    for row in snapshot.steps()?.iter()? {
        let (key, row) = row?;
        let step: StepRow = unpack("steps", key.value(), row.value())?;
        let there = counts.remove(&key.value()).unwrap_or_default();
        if there != step.tests {
            flaws.tell(|| format!("{} has {there}, and its row says {}", step.id, step.tests));
        }
    }
    for (build, step) in counts.keys() {
        flaws.tell(|| format!("test results belong to step {step} of build {build}, which does not exist"));
    }
    let steps = snapshot.steps()?;
    for row in snapshot.statistics()?.iter()? {
        let key = row?.0;
        let (build, step, name) = key.value();
        if steps.get((build, step))?.is_none() {
            flaws.tell(|| {
                format!("figure `{name}` belongs to step {step} of build {build}, which does not exist")
            });
        }
    }
    Ok(())
}

fn decisions(snapshot: &Snapshot, flaws: &mut Flaws) -> Result<(), ReadError> {
    let (mut indexed, mut rows, mut bytes) = (BTreeSet::new(), BTreeSet::new(), 0);
    for row in snapshot.decisions_by_request()?.iter()? {
        indexed.insert(row?.0.value());
    }
    for row in snapshot.decisions()?.iter()? {
        let (id, row) = row?;
        let decision: Decision = unpack("decisions", id.value(), row.value())?;
        rows.extend(decision.about().iter().map(|request| (request.0, id.value())));
        bytes += row.value().len() as u64;
    }
    flaws.same("`decisions_by_request`", &indexed, &rows);
    let sum = snapshot.sums()?.get(BYTES)?.map_or(0, |sum| sum.value());
    if sum != bytes {
        flaws.tell(|| format!("records of decisions have {bytes} bytes, and their sum says {sum}"));
    }
    Ok(())
}

fn artifacts(snapshot: &Snapshot, flaws: &mut Flaws) -> Result<(), ReadError> {
    let (mut indexed, mut rows, mut bytes) = (BTreeSet::new(), BTreeSet::new(), 0);
    for row in snapshot.artifacts_by_id()?.iter()? {
        let (id, key) = row?;
        indexed.insert((id.value(), key.value().0, key.value().1.to_owned()));
    }
    for row in snapshot.artifacts()?.iter()? {
        let (key, row) = row?;
        let (build, name) = key.value();
        let artifact: ArtifactRow = unpack("artifacts", key.value(), row.value())?;
        rows.insert((artifact.id.0, build, name.to_owned()));
        bytes += artifact.size;
        if artifact.build.0 != build || artifact.name != name || snapshot.builds()?.get(build)?.is_none() {
            flaws.tell(|| format!("{} is an artifact of no build", artifact.id));
        }
    }
    flaws.same("`artifacts_by_id`", &indexed, &rows);
    let sum = snapshot.sums()?.get(crate::artifacts::BYTES)?.map_or(0, |sum| sum.value());
    if sum != bytes {
        flaws.tell(|| format!("artifacts have {bytes} bytes, and their sum says {sum}"));
    }
    Ok(())
}

/// No row has a number that might be given out again.
fn numbers(snapshot: &Snapshot, requests: &Requests, flaws: &mut Flaws) -> Result<(), ReadError> {
    let counters = snapshot.counters()?;
    let tokens = snapshot.worker_tokens()?;
    let mut last_token = 0;
    for row in tokens.iter()? {
        let (key, row) = row?;
        let (worker, number) = key.value();
        if tokens::to_token((worker, number), row.value()).is_err() {
            flaws.tell(|| format!("token {number} of worker `{worker}` cannot be read"));
        }
        last_token = last_token.max(number);
    }
    let mut check = |kind: &str, largest: u64| -> Result<(), ReadError> {
        if counters.get(kind)?.map_or(0, |mark| mark.value()) < largest {
            flaws.tell(|| format!("{kind} {largest} is beyond its counter"));
        }
        Ok(())
    };
    check("request", requests.keys().next_back().copied().unwrap_or(0))?;
    check("buildset", snapshot.buildsets()?.last()?.map_or(0, |(id, _)| id.value()))?;
    check("change", snapshot.changes()?.last()?.map_or(0, |(id, _)| id.value()))?;
    check("build", snapshot.builds()?.last()?.map_or(0, |(id, _)| id.value()))?;
    check("decision", snapshot.decisions()?.last()?.map_or(0, |(id, _)| id.value()))?;
    check("log", snapshot.logs()?.last()?.map_or(0, |(id, _)| id.value()))?;
    check("artifact", snapshot.artifacts_by_id()?.last()?.map_or(0, |(id, _)| id.value()))?;
    check("master", snapshot.masters()?.last()?.map_or(0, |(id, _)| id.value()))?;
    check("token", last_token)?;
    check("fence", requests.values().map(|(_, row)| row.last_fence.0).max().unwrap_or(0))
}
