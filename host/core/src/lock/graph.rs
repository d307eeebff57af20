//! What locks look like from outside: who has what, and who waits for whom.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Key, Kind, Mode, Table, Who};
use crate::time::Timestamp;

/// So many of those who wait for a lock are shown: each costs a look at all ahead of it.
pub const WAITERS_SHOWN: usize = 100;

/// What somebody cannot have now, and who is in its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// The lock.
    pub key: Key,
    /// Who has some of it, if anybody.
    pub held_by: Option<Who>,
    /// So many others have some of it.
    pub more_holders: usize,
    /// Who stands at the head of its line, if that is ahead.
    pub behind: Option<Who>,
    /// So many others stand ahead.
    pub more_ahead: usize,
}

/// "waits for lock `db`, held by build 12 of `nightly`".
impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waits for lock {}", self.key)?;
        let held_by = ("held by", &self.held_by, self.more_holders);
        for (how, who, more) in [held_by, ("behind", &self.behind, self.more_ahead)] {
            match (who, more) {
                (None, _) => {}
                (Some(one), 0) => write!(f, ", {how} {one}")?,
                (Some(one), more) => write!(f, ", {how} {one} and {more} more")?,
            }
        }
        Ok(())
    }
}

/// One lock; of kind worker, the one on a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// Its name.
    pub name: String,
    /// The worker; none: it is one for all.
    pub worker: Option<String>,
    /// How much of it there is; none: the configuration does not have it any more.
    pub max: Option<u32>,
    /// How much is held.
    pub held: u64,
    /// Those who hold some of it.
    pub holders: Vec<Holder>,
    /// The first in its line, in its order, at most [`WAITERS_SHOWN`].
    pub waiters: Vec<Waiter>,
    /// So many others wait behind them.
    pub more_waiters: usize,
}

/// Somebody who holds some of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    pub who: Who,
    /// How much.
    pub mode: Mode,
    /// Since when.
    pub since: Timestamp,
}

/// Somebody in the line of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Who.
    pub who: Who,
    /// How much of it.
    pub mode: Mode,
    /// Since when.
    pub since: Timestamp,
    /// The first lock that it cannot have, this one or another; none: its turn has come.
    pub obstacle: Option<Obstacle>,
}

impl Table {
    /// Every lock with those who hold it and those who wait. Of locks on workers those that are in use.
    #[must_use]
    pub fn wait_graph(&self) -> Vec<LockStatus> {
        let unused = self.locks.iter().filter(|(_, lock)| lock.kind == Kind::Master);
        let unused = unused.map(|(name, _)| Key { lock: name.clone(), worker: None });
        let used = self.states.iter().filter(|(_, s)| !s.held.is_empty() || !s.line.is_empty());
        let keys: BTreeSet<Key> = used.map(|(key, _)| key.clone()).chain(unused).collect();
        keys.into_iter().map(|key| self.status(key)).collect()
    }

    fn status(&self, key: Key) -> LockStatus {
        let max = self.max(&key);
        let state = self.states.get(&key).cloned().unwrap_or_default();
        let holder = |(ticket, mode): (&super::Ticket, &Mode)| {
            let claimant = &self.claimants[ticket];
            Holder { who: claimant.who.clone(), mode: *mode, since: claimant.since }
        };
        let waiter = |(ticket, mode): (&super::Ticket, &Mode)| {
            let claimant = &self.claimants[ticket];
            let obstacle = self.waits_for(*ticket);
            Waiter { who: claimant.who.clone(), mode: *mode, since: claimant.since, obstacle }
        };
        LockStatus {
            held: state.held.values().map(|mode| mode.of(max.unwrap_or(0))).sum(),
            holders: state.held.iter().map(holder).collect(),
            waiters: state.line.iter().take(WAITERS_SHOWN).map(waiter).collect(),
            more_waiters: state.line.len().saturating_sub(WAITERS_SHOWN),
            name: key.lock,
            worker: key.worker,
            max,
        }
    }
}
