//! What steps report beside logs: test results, and figures.
//!
//! Results are kept as they came, several in a row: a suite of ten thousand cases is some dozen rows. A step's row
//! has their counts, written in the same commit.

use std::sync::Arc;

use redb::ReadableTable;
use windlass_core::id::{BuildId, StepId};
use windlass_core::outcome::Outcome;
use windlass_core::test_result::TestResult;

use crate::Store;
use crate::batch::Group;
use crate::encode::{pack_lean, unpack};
use crate::fault::ReadError;

const TABLE: &str = "test_results";

/// Which test results of a build to read.
#[derive(Clone, Copy, Debug)]
pub struct TestFilter {
    /// Only of this step.
    pub step: Option<StepId>,
    /// Only those that failed or broke off.
    pub failed: bool,
    /// Only those that come after it.
    pub after: Option<TestPlace>,
    /// At most so many.
    pub limit: usize,
    /// At most so many bytes, roughly, and one at least.
    pub max_bytes: usize,
}

/// Where a test result stands in its build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestPlace {
    /// The step that reported it.
    pub step: StepId,
    /// How many of that step's came before.
    pub index: u64,
}

impl Group<'_> {
    /// How many test results a step has.
    pub(crate) fn tests_of(&self, build: BuildId, step: StepId) -> Result<u64, ReadError> {
        let table = self.tables.test_results.read()?;
        let last = table.range((build.0, step.0, 0)..=(build.0, step.0, u64::MAX))?.next_back();
        let Some(row) = last else { return Ok(0) };
        let (key, row) = row?;
        let results: Vec<TestResult> = unpack(TABLE, key.value(), row.value())?;
        Ok(key.value().2 + results.len() as u64)
    }

    pub(crate) fn put_tests(
        &mut self,
        build: BuildId,
        step: StepId,
        first: u64,
        results: &Arc<Vec<TestResult>>,
    ) -> Result<(), ReadError> {
        if !results.is_empty() {
            self.builds.insert(build);
            let row = pack_lean(results.as_ref());
            self.tables.test_results.write()?.insert((build.0, step.0, first), row.as_slice())?;
        }
        Ok(())
    }
}

impl Store {
    /// Returns test results of a build in the order of their steps, and whether there may be more.
    pub fn test_results(
        &self,
        build: BuildId,
        filter: &TestFilter,
    ) -> Result<(Vec<(TestPlace, TestResult)>, bool), ReadError> {
        let table = self.snapshot()?.test_results()?;
        let steps = filter.step.map_or((0, u64::MAX), |step| (step.0, step.0));
        let mut from = (build.0, steps.0, 0);
        let to = (build.0, steps.1, u64::MAX);
        if let Some(after) = filter.after {
            // The row that has it is the last that begins at or before it.
            let until = (build.0, after.step.0, after.index);
            let row = table.range((build.0, after.step.0, 0)..=until)?.next_back();
            from = from.max(row.transpose()?.map_or(until, |(key, _)| key.value()));
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        if from > to {
            return Ok((found, false));
        }
        for row in table.range(from..=to)? {
            let (key, row) = row?;
            let (_, step, first) = key.value();
            let results: Vec<TestResult> = unpack(TABLE, key.value(), row.value())?;
            for (index, result) in (first..).zip(results) {
                let place = TestPlace { step: StepId(step), index };
                let well = !matches!(
                    result.outcome,
                    Outcome::Failure | Outcome::Exception | Outcome::Retry | Outcome::Cancelled
                );
                if filter.after.is_some_and(|after| place <= after) || filter.failed && well {
                    continue;
                }
                bytes += result.bytes();
                if found.len() == filter.limit || bytes > filter.max_bytes && !found.is_empty() {
                    return Ok((found, true));
                }
                found.push((place, result));
            }
        }
        Ok((found, false))
    }

    /// Returns the figures of a build's steps.
    pub fn statistics(&self, build: BuildId) -> Result<Vec<(StepId, String, f64)>, ReadError> {
        let table = self.snapshot()?.statistics()?;
        let mut found = Vec::new();
        // No name is empty, so that the next build's begin after this.
        for row in table.range((build.0, 0, "")..(build.0 + 1, 0, ""))? {
            let (key, value) = row?;
            let (_, step, name) = key.value();
            found.push((StepId(step), name.to_owned(), value.value()));
        }
        Ok(found)
    }
}
