//! Test results and figures of a running step: bounded, and on their way to the store with its row.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::persist::Persist;
use windlass_core::test_result::TestResult;
use windlass_core::value::Failure;

use super::StepState;

/// The most test results of one step, and what they may take up.
const MAX_RESULTS: u64 = 100_000;
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// So much of them is one row, and waits for a commit at most.
const ROW: usize = 256 * 1024;

/// The most figures of one step.
const MAX_STATISTICS: usize = 100;

/// Those of one step.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// How many the step reported, and how many of them were durable before the master's restart.
    reported: u64,
    durable: u64,
    /// What all of them take up.
    bytes: usize,
    waiting: Vec<Persist>,
    /// What `waiting` takes up.
    waiting_bytes: usize,
    /// Figures by name; those that are `Some` wait.
    statistics: BTreeMap<String, Option<f64>>,
}

impl Results {
    /// Of a step of which so many are durable: what it reports again is not added again.
    pub(super) fn resumed(durable: u64) -> Results {
        Results { durable, ..Results::default() }
    }
}

impl StepState {
    /// Takes test results; waits while many of them are on their way.
    pub(super) async fn report(&mut self, results: Vec<TestResult>) -> Result<(), Failure> {
        check(&results)?;
        let there = self.results.reported;
        if there + results.len() as u64 > MAX_RESULTS {
            return Err(Failure::new("quota", format!("a step may report {MAX_RESULTS} test results")));
        }
        let bytes: usize = results.iter().map(TestResult::bytes).sum();
        if self.results.bytes + bytes > MAX_BYTES {
            let message = format!("the test results of a step may take up {MAX_BYTES} bytes");
            return Err(Failure::new("quota", message));
        }
        self.results.bytes += bytes;
        self.results.reported += results.len() as u64;
        let again = usize::try_from(self.results.durable.saturating_sub(there)).unwrap_or(usize::MAX);
        let (mut row, mut size) = (Vec::new(), 0);
        for result in results.into_iter().skip(again) {
            size += result.bytes();
            row.push(result);
            if size >= ROW {
                self.take_row(std::mem::take(&mut row), std::mem::take(&mut size));
                self.make_durable().await;
            }
        }
        if !row.is_empty() {
            self.take_row(row, size);
        }
        if self.results.waiting_bytes >= ROW {
            self.make_durable().await;
        }
        self.flush_soon();
        match &self.fault {
            Some(fault) => Err(Failure::new("io", fault.clone())),
            None => Ok(()),
        }
    }

    fn take_row(&mut self, results: Vec<TestResult>, bytes: usize) {
        let (build, step) = (self.context.build.id, self.context.step.id);
        let first = self.context.step.tests.total;
        results.iter().for_each(|result| self.context.step.tests.add(result));
        let (fence, results) = (self.context.build.fence, Arc::new(results));
        self.results.waiting.push(Persist::AddTests { fence, build, step, first, results });
        self.results.waiting_bytes += bytes;
        // The step's row has their counts: it goes down with them.
        (self.dirty, self.rows_due) = (true, true);
    }

    /// Takes a figure; one that was set before is replaced.
    pub(super) fn figure(&mut self, name: &str, value: f64) {
        let statistics = &mut self.results.statistics;
        if statistics.len() == MAX_STATISTICS && !statistics.contains_key(name) {
            let message =
                format!("`set-statistic` was passed over: a step may have {MAX_STATISTICS} figures");
            return self.tells("warn", &message);
        }
        statistics.insert(name.to_owned(), Some(value));
        self.flush_soon();
    }

    /// Moves what waits into a batch.
    pub(super) fn drain_results(&mut self, batch: &mut Vec<Persist>) {
        let (fence, build, step) = (self.context.build.fence, self.context.build.id, self.context.step.id);
        batch.append(&mut self.results.waiting);
        self.results.waiting_bytes = 0;
        for (name, value) in &mut self.results.statistics {
            if let Some(value) = value.take() {
                batch.push(Persist::PutStatistic { fence, build, step, name: name.clone(), value });
            }
        }
    }
}

fn check(results: &[TestResult]) -> Result<(), Failure> {
    match results.iter().any(|result| result.name.iter().all(String::is_empty)) {
        true => Err(Failure::new("bad-argument", "a test result has a name")),
        false => Ok(()),
    }
}
