//! The cases of test suites that steps report, and how many of them ended how.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// One case of a test suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResult {
    /// From the outside in: suite, class, case.
    pub name: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it said.
    pub text: String,
    /// How long it took.
    pub duration_ms: Option<u32>,
    /// A log of its step that tells more.
    pub log: Option<String>,
}

impl TestResult {
    /// What it takes up, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        const REST: usize = 32;
        let name: usize = self.name.iter().map(|part| part.len() + 2).sum();
        REST + name + self.text.len() + self.log.as_ref().map_or(0, String::len)
    }
}

/// How many test results there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestCounts {
    /// All of them.
    pub total: u64,
    /// Those that went well, with warnings or without.
    pub passed: u64,
    /// Those that failed: the thing under test is at fault.
    pub failed: u64,
    /// Those that broke off: the test itself is at fault (*exception*, *retry*, *cancelled*).
    pub errors: u64,
    /// Those that did not run.
    pub skipped: u64,
    /// How long those took that say so, in milliseconds.
    pub duration_ms: u64,
}

impl TestCounts {
    /// Whether nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Counts one more.
    pub fn add(&mut self, result: &TestResult) {
        self.total += 1;
        self.duration_ms += result.duration_ms.map_or(0, u64::from);
        *match result.outcome {
            Outcome::Success | Outcome::Warnings => &mut self.passed,
            Outcome::Failure => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Exception | Outcome::Retry | Outcome::Cancelled => &mut self.errors,
        } += 1;
    }

    /// What is left without those.
    #[must_use]
    pub fn without(self, others: TestCounts) -> TestCounts {
        TestCounts {
            total: self.total.saturating_sub(others.total),
            passed: self.passed.saturating_sub(others.passed),
            failed: self.failed.saturating_sub(others.failed),
            errors: self.errors.saturating_sub(others.errors),
            skipped: self.skipped.saturating_sub(others.skipped),
            duration_ms: self.duration_ms.saturating_sub(others.duration_ms),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: TestCounts) -> TestCounts {
        TestCounts {
            total: self.total + other.total,
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            errors: self.errors + other.errors,
            skipped: self.skipped + other.skipped,
            duration_ms: self.duration_ms + other.duration_ms,
        }
    }
}

impl std::fmt::Display for TestCounts {
    /// `12 tests, 2 failed, 1 skipped`: what there is none of is left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.total, if self.total == 1 { "test" } else { "tests" })?;
        for (count, how) in [(self.failed, "failed"), (self.errors, "broke off"), (self.skipped, "skipped")] {
            if count > 0 {
                write!(f, ", {count} {how}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_counts_once_and_sums_add_up() {
        let mut counts = TestCounts::default();
        for outcome in Outcome::ALL {
            let name = vec!["suite".to_owned(), outcome.to_string()];
            counts.add(&TestResult { name, outcome, text: String::new(), duration_ms: Some(2), log: None });
        }
        let all = TestCounts { total: 7, passed: 2, failed: 1, errors: 3, skipped: 1, duration_ms: 14 };
        assert_eq!(counts, all);
        assert_eq!(counts.and(counts).total, 14);
        assert_eq!(counts.to_string(), "7 tests, 1 failed, 3 broke off, 1 skipped");
        assert_eq!(TestCounts { total: 1, passed: 1, ..TestCounts::default() }.to_string(), "1 test");
    }
}
