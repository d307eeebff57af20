//! Hands test results over to the build, a few at a time, and counts them.

use windlass_sdk::step::{self, StepResult, TestResult};
use windlass_sdk::{Failure, Outcome};

/// So many results, or so many bytes of them, go over at once.
const AT_ONCE: usize = 500;
const BYTES: usize = 256 * 1024;

/// Results on their way, and what came so far.
#[derive(Default)]
pub struct Tally {
    waiting: Vec<TestResult>,
    bytes: usize,
    passed: u64,
    failed: u64,
    errors: u64,
    skipped: u64,
}

impl Tally {
    /// Takes a result.
    pub fn add(&mut self, result: TestResult) -> Result<(), Failure> {
        *match result.outcome {
            Outcome::Success | Outcome::Warnings => &mut self.passed,
            Outcome::Failure => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Exception | Outcome::Retry | Outcome::Cancelled => &mut self.errors,
        } += 1;
        self.bytes += result.text.len() + result.name.iter().map(String::len).sum::<usize>();
        self.waiting.push(result);
        if self.waiting.len() == AT_ONCE || self.bytes >= BYTES { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        match std::mem::take(&mut self.waiting).as_slice() {
            [] => Ok(()),
            waiting => step::report_tests(waiting),
        }
    }

    /// Hands over the rest, and leaves the counts behind as figures.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.hand_over()?;
        for (name, count) in [
            ("tests-total", self.total()),
            ("tests-passed", self.passed),
            ("tests-failed", self.failed),
            ("tests-errors", self.errors),
            ("tests-skipped", self.skipped),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
            step::set_statistic(name, count as f64);
        }
        Ok(())
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.passed + self.failed + self.errors + self.skipped
    }

    /// All that there is to say of them: `12 tests, 2 failed`.
    pub fn line(&self) -> String {
        let mut line = format!("{} {}", self.total(), if self.total() == 1 { "test" } else { "tests" });
        for (count, how) in [(self.failed, "failed"), (self.errors, "broke off"), (self.skipped, "skipped")] {
            if count > 0 {
                line.push_str(&format!(", {count} {how}"));
            }
        }
        line
    }

    /// What they make of their step.
    pub fn judge(&self, allow_empty: bool) -> StepResult {
        match self.total() {
            0 if !allow_empty => StepResult::new(Outcome::Failure, "no tests"),
            _ if self.failed + self.errors > 0 => StepResult::new(Outcome::Failure, self.line()),
            _ => StepResult::new(Outcome::Success, self.line()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, errors: u64, skipped: u64) -> Tally {
        Tally { passed, failed, errors, skipped, ..Tally::default() }
    }

    #[test]
    fn what_failed_or_broke_off_fails_the_step_and_nothing_at_all_does_too() {
        let judged = |tally: Tally, allow_empty| {
            let result = tally.judge(allow_empty);
            (result.outcome, result.summary.expect("it has one"))
        };
        assert_eq!(judged(tally(3, 0, 0, 1), false), (Outcome::Success, "4 tests, 1 skipped".into()));
        assert_eq!(judged(tally(1, 1, 0, 0), false), (Outcome::Failure, "2 tests, 1 failed".into()));
        assert_eq!(judged(tally(0, 0, 1, 0), false), (Outcome::Failure, "1 test, 1 broke off".into()));
        assert_eq!(judged(tally(0, 0, 0, 0), false), (Outcome::Failure, "no tests".into()));
        assert_eq!(judged(tally(0, 0, 0, 0), true), (Outcome::Success, "0 tests".into()));
    }
}
