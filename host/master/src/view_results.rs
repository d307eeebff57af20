//! The part of [`crate::view`] that is about test results and figures.

use serde::{Deserialize, Serialize};
use windlass_core::outcome::Outcome;
use windlass_core::test_result::TestCounts;

/// Which test results of a build to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestQuery {
    /// Only of this step, by its name or its position.
    pub step: Option<String>,
    /// Only those that failed or broke off.
    pub failed: bool,
    /// Only those behind this place: `next` of an earlier answer.
    pub after: Option<String>,
    /// At most so many; none: 1,000.
    pub limit: Option<usize>,
}

/// Test results of a build: `windlass tests N`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tests {
    /// How many the build (or the step that was asked for) has, whatever the filter.
    pub counts: TestCounts,
    /// The results, in the order in which they were reported.
    pub results: Vec<Test>,
    /// Where the list goes on; none: that was all.
    pub next: Option<String>,
}

/// One case of a test suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// The step that reported it.
    pub step: String,
    /// From the outside in: suite, class, case.
    pub name: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it said.
    pub text: String,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u32>,
    /// A log of the step that tells more.
    pub log: Option<String>,
}

/// Which figures of a builder to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FigureQuery {
    /// Only of steps of this name.
    pub step: Option<String>,
    /// Only those of this name.
    pub name: Option<String>,
    /// In so many of the newest builds; none: 50.
    pub limit: Option<usize>,
}

/// A figure of a step of a build that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The build.
    pub build: u64,
    /// Its number within the builder.
    pub number: u64,
    /// The step.
    pub step: String,
    /// What it is a figure of.
    pub name: String,
    /// The figure.
    pub value: f64,
}
