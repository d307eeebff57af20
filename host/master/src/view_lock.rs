//! The part of [`crate::view`] about locks: who holds them, and who waits for whom.

use serde::{Deserialize, Serialize};
use windlass_core::lock::{self, Mode, Who};
use windlass_core::time::Timestamp;

/// A lock: `windlass locks`. Of a lock on each worker there is one for each worker where it is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// The worker; none: it is one for all.
    pub worker: Option<String>,
    /// How much of it there is; none: the configuration does not have it any more.
    pub max: Option<u32>,
    /// How much of it is held.
    pub held: u64,
    /// Those who hold some of it.
    pub holders: Vec<LockUse>,
    /// Those in its line, in the order in which they are served; at most the first hundred.
    pub waiters: Vec<LockUse>,
    /// So many others wait behind them.
    pub more_waiters: u64,
}

/// Somebody who holds some of a lock, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockUse {
    /// The builder. Without a build it is its next one that waits.
    pub builder: String,
    /// The build.
    pub build: Option<u64>,
    /// The step, if it is not the whole build.
    pub step: Option<String>,
    /// All of that in words.
    pub who: String,
    /// How much of it; none: all.
    pub count: Option<u32>,
    /// Since when.
    pub since: Timestamp,
    /// What it waits for, and who is in its way. That may be another lock: who needs several waits for the first
    /// of them that it cannot have. None: it holds what it needs, or its turn has come.
    pub waits: Option<String>,
}

impl From<lock::LockStatus> for Lock {
    fn from(lock: lock::LockStatus) -> Lock {
        let holders = lock.holders.into_iter().map(|h| LockUse::of(h.who, h.mode, h.since, None));
        let waiters = lock.waiters.into_iter().map(|w| LockUse::of(w.who, w.mode, w.since, w.obstacle));
        Lock {
            holders: holders.collect(),
            waiters: waiters.collect(),
            more_waiters: lock.more_waiters as u64,
            name: lock.name,
            worker: lock.worker,
            max: lock.max,
            held: lock.held,
        }
    }
}

impl LockUse {
    fn of(who: Who, mode: Mode, since: Timestamp, obstacle: Option<lock::Obstacle>) -> LockUse {
        let (words, build) = (who.to_string(), who.build().map(|build| build.0));
        let (builder, step) = match who {
            Who::Builder { builder } | Who::Build { builder, .. } => (builder, None),
            Who::Step { builder, step, .. } => (builder, Some(step)),
        };
        let count = match mode {
            Mode::Counting(count) => Some(count),
            Mode::Exclusive => None,
        };
        LockUse { builder, build, step, who: words, count, since, waits: obstacle.map(|o| o.to_string()) }
    }
}
