//! What came of a simulation.

use serde::Serialize;

use crate::decision::Decision;
use crate::id::{BuildId, RequestId};
use crate::outcome::Outcome;
use crate::request::Request;
use crate::schedule::Status;
use crate::time::Timestamp;

/// What came of a [`World`](super::World).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The timeline: all builds, in the order of their start.
    pub builds: Vec<Built>,
    /// All requests that arrived, by number.
    pub requests: Vec<Served>,
    /// What each worker did, in the order of the rules.
    pub workers: Vec<WorkerTotals>,
    /// Questions to policies.
    pub asked: u64,
    /// Decisions that a policy was to make and did not.
    pub fallbacks: u64,
    /// The records of all decisions, where the world wants them.
    pub decisions: Vec<Decision>,
    /// When nothing happened any more.
    pub end: Timestamp,
    /// What the board showed then: why requests wait still, how the policies did.
    pub status: Status,
}

/// A build.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Built {
    /// Its number.
    pub id: BuildId,
    /// Its builder.
    pub builder: String,
    /// Where it ran.
    pub worker: String,
    /// What it served; the first one is the one that it began for, the others were merged with it.
    pub requests: Vec<RequestId>,
    /// When all was decided and the store was asked for the claim.
    pub decided: Timestamp,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; none: it ran still when the simulation ended.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it ended otherwise than its world meant.
    pub why: Option<String>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Served {
    /// Its number.
    pub id: RequestId,
    /// Its builder.
    pub builder: String,
    /// Larger is sooner.
    pub priority: i32,
    /// When it arrived.
    pub submitted: Timestamp,
    /// When its first build began.
    pub started: Option<Timestamp>,
    /// How and when it ended.
    pub ended: Option<(Outcome, Timestamp)>,
    /// How many builds it had.
    pub builds: u32,
    /// How many of them ended as *retry*.
    pub retries: u32,
}

impl Served {
    pub(super) fn waiting(request: &Request) -> Served {
        Served {
            id: request.id,
            builder: request.builder.clone(),
            priority: request.priority,
            submitted: request.submitted,
            started: None,
            ended: None,
            builds: 0,
            retries: 0,
        }
    }

    /// How long it waited for its first build.
    #[must_use]
    pub fn wait_ms(&self) -> Option<u64> {
        self.started.map(|started| started.ms_since(self.submitted))
    }
}

/// What a worker did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerTotals {
    /// Its name.
    pub name: String,
    /// How many builds at once; none: one of each builder.
    pub slots: Option<u32>,
    /// Its builds.
    pub builds: u64,
    /// Their time, in milliseconds.
    pub busy_ms: u64,
    /// How long it was connected.
    pub connected_ms: u64,
}

impl WorkerTotals {
    /// The part of its slots that was in use while it was connected; one slot counts where only builders bound
    /// them.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let offered = self.connected_ms.saturating_mul(self.slots.unwrap_or(1).into());
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few years are exact")]
        if offered == 0 { 0.0 } else { self.busy_ms as f64 / offered as f64 }
    }
}

/// The sums of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Builds.
    pub builds: u64,
    /// Requests that ended.
    pub ended: u64,
    /// Requests that wait still, or run.
    pub open: u64,
    /// Requests that had their first build together with another's.
    pub merged: u64,
    /// When the last build ended.
    pub end: Timestamp,
    /// From the first submission to that moment.
    pub makespan_ms: u64,
    /// Half of the requests that were started waited no longer.
    pub wait_p50_ms: u64,
    /// 99 of 100 waited no longer.
    pub wait_p99_ms: u64,
    /// None waited longer.
    pub wait_max_ms: u64,
}

impl Report {
    /// The sums.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut waits: Vec<u64> = self.requests.iter().filter_map(Served::wait_ms).collect();
        waits.sort_unstable();
        let rank = |percent: usize| waits.get((waits.len() * percent).div_ceil(100).saturating_sub(1));
        let wait = |percent| rank(percent).copied().unwrap_or(0);
        let end = self.builds.iter().filter_map(|built| built.ended).max().unwrap_or_default();
        let first = self.requests.iter().map(|served| served.submitted).min().unwrap_or_default();
        let ended = self.requests.iter().filter(|served| served.ended.is_some()).count() as u64;
        let joined = |built: &Built| built.requests.len().saturating_sub(1) as u64;
        Totals {
            builds: self.builds.len() as u64,
            ended,
            open: self.requests.len() as u64 - ended,
            merged: self.builds.iter().map(joined).sum(),
            end,
            makespan_ms: end.ms_since(first),
            wait_p50_ms: wait(50),
            wait_p99_ms: wait(99),
            wait_max_ms: wait(100),
        }
    }
}
