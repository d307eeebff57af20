//! A simulator of scheduling: the decisions of the master, driven by data instead of by a machine.
//!
//! A [`World`] says what comes from outside: the rules, when workers are there, which requests arrive when and
//! how long their builds take. [`run`] plays it through the same [`Board`] that the master has, with a clock that
//! jumps from one event to the next, and answers a [`Report`]: who built what when on which worker, merged with
//! what, and how long each request waited. The same world gives the same report, always.
//!
//! Policies are a function from a question to a reply and the milliseconds that it takes: a test puts nonsense
//! there, and whoever wants to try a component before it decides for real puts that there.
//!
//! The simulator keeps books of its own and checks the board by them while it runs: no request is served by two
//! builds, no worker or lock is used beyond what there is of it, and no build serves what does not belong together.
//! What it finds is an error, [`Broken`].
//!
//! ```
//! use windlass_core::builder::Builder;
//! use windlass_core::schedule::{Rules, WorkerRule};
//! use windlass_core::simulate::{Job, Run, Shift, World, nobody, run};
//! use windlass_core::time::Timestamp;
//!
//! let worker = WorkerRule { name: "w".into(), max_builds: Some(1), ..WorkerRule::default() };
//! let builder = Builder::bare("ci", &["w"]);
//! let world = World {
//!     rules: Rules {
//!         builders: [("ci".into(), builder.into())].into(),
//!         workers: vec![worker],
//!         ..Rules::default()
//!     },
//!     shifts: vec![Shift::always("w")],
//!     jobs: vec![
//!         Job::of(1, "ci", Timestamp(0)).built_in(60_000),
//!         Job::of(2, "ci", Timestamp(5_000)).built_in(60_000),
//!     ],
//!     ..World::default()
//! };
//! let report = run(&world, nobody)?;
//! assert_eq!(report.requests[1].wait_ms(), Some(55_000));
//! assert_eq!(report.totals().end, Timestamp(120_000));
//! # Ok::<(), windlass_core::simulate::Broken>(())
//! ```
//!
//! Deliberately absent: reconfigurations, and what happens inside a build beyond its steps' time and locks.
//!
//! [`Board`]: crate::schedule::Board

mod books;
mod engine;
mod report;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use report::{Built, Report, Served, Totals, WorkerTotals};

use crate::id::{BuildsetId, RequestId};
use crate::lock::Access;
use crate::outcome::Outcome;
use crate::policy::{Fault, FaultKind, Usage};
use crate::properties::Properties;
use crate::request::{Buildset, Request};
use crate::schedule::{Ask, Reply, Rules};
use crate::time::Timestamp;

/// What comes from outside.
#[derive(Clone, Debug)]
pub struct World {
    /// Builders, workers, locks, and the components of policies.
    pub rules: Rules,
    /// When workers are connected; those of one worker do not overlap.
    pub shifts: Vec<Shift>,
    /// What is to be built.
    pub jobs: Vec<Job>,
    /// How long the store takes for a claim, in milliseconds.
    pub claim_ms: u64,
    /// How long it takes to read what waits. What is found is how it was in the middle of that time.
    pub read_ms: u64,
    /// How often what waits is compared with the store, in milliseconds; 0: never.
    pub scan_ms: u64,
    /// Whether the report has the record of each decision.
    pub records: bool,
    /// Nothing happens after this moment, whatever waits still.
    pub until: Timestamp,
}

impl Default for World {
    fn default() -> World {
        World {
            rules: Rules::default(),
            shifts: Vec::new(),
            jobs: Vec::new(),
            claim_ms: 0,
            read_ms: 0,
            scan_ms: 0,
            records: false,
            until: Timestamp(u64::MAX),
        }
    }
}

/// A time in which a worker is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// The worker.
    pub worker: String,
    /// From when.
    pub from: Timestamp,
    /// Until when; none: for good.
    pub until: Option<Timestamp>,
    /// Whether its builds end with it, as *retry*. Otherwise they go on without the link.
    pub loses_builds: bool,
}

impl Shift {
    /// A worker that is always there.
    #[must_use]
    pub fn always(worker: &str) -> Shift {
        Shift { worker: worker.to_owned(), from: Timestamp(0), until: None, loses_builds: false }
    }
}

/// A request with what becomes of it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The request. It arrives at its moment of submission.
    pub request: Request,
    /// Its buildset.
    pub buildset: Arc<Buildset>,
    /// What its first build does, its second, and so on; the last one stands for all further ones.
    pub runs: Vec<Run>,
    /// When somebody withdraws it, if it waits still.
    pub withdrawn: Option<Timestamp>,
}

impl Job {
    /// Request `id`, in a buildset of its own with the same number, whose build takes no time and succeeds.
    #[must_use]
    pub fn of(id: u64, builder: &str, submitted: Timestamp) -> Job {
        let buildset = Buildset {
            id: BuildsetId(id),
            reason: String::new(),
            submitter: "simulation".to_owned(),
            stamps: Vec::new(),
            properties: Properties::default(),
            submitted,
            requests: vec![RequestId(id)],
            complete: None,
            parent: None,
        };
        let request = Request::new(RequestId(id), buildset.id, builder.to_owned(), submitted);
        Job { request, buildset: Arc::new(buildset), runs: Vec::new(), withdrawn: None }
    }

    /// The same with a build that takes `ms` and succeeds.
    #[must_use]
    pub fn built_in(self, ms: u64) -> Job {
        Job { runs: vec![Run::of(ms, Outcome::Success)], ..self }
    }

    /// What its build does that follows after `tries` others.
    fn run(&self, tries: u32) -> Run {
        let last = self.runs.len().saturating_sub(1);
        let index = usize::try_from(tries).unwrap_or(usize::MAX).min(last);
        self.runs.get(index).cloned().unwrap_or_else(|| Run::of(0, Outcome::Success))
    }
}

/// What a build does. Where it serves several requests, that of the first one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// One after the other.
    pub steps: Vec<RunStep>,
    /// How it ends.
    pub outcome: Outcome,
}

impl Run {
    /// A build of one step without locks.
    #[must_use]
    pub fn of(ms: u64, outcome: Outcome) -> Run {
        Run { steps: vec![RunStep { ms, locks: Vec::new() }], outcome }
    }
}

/// A step of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStep {
    /// How long it takes once it has its locks.
    pub ms: u64,
    /// What it holds meanwhile.
    pub locks: Vec<Access>,
}

/// The board did what it must never do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {} ms: {what}", at.0)]
pub struct Broken {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
}

/// Plays a world. `policies` answers questions, each with the milliseconds until the answer is there.
pub fn run(world: &World, policies: impl FnMut(&Ask) -> (Reply, u64)) -> Result<Report, Broken> {
    engine::Engine::new(world, policies).play()
}

/// Stands where no policy is configured: it answers every question with a fault.
#[must_use]
pub fn nobody(ask: &Ask) -> (Reply, u64) {
    let fault = Fault {
        plugin: ask.component.hook.clone(),
        digest: ask.component.digest,
        call: ask.question.kind().function().to_owned(),
        kind: FaultKind::Trap("nobody answers in this simulation".to_owned()),
    };
    (Reply { answer: Err(fault), lookups: Vec::new(), usage: Usage::default() }, 0)
}
