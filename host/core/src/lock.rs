//! Locks: what builds, steps and workers may have only so much of at once.
//!
//! A *lock* has a maximum. Whoever uses it takes some of it (*counting*) or all of it (*exclusive*); a lock of
//! kind *worker* is one lock on each worker. The [`Table`] says who has what and who is in line. Time and who
//! asks come in as arguments; who is granted something comes out as values.
//!
//! # The rule
//!
//! - **All or nothing.** Whoever needs several locks gets them in one moment or none, and has nothing of them
//!   while waiting. So those who ask once for all that they need never wait for each other in a circle.
//! - **First come, first served.** Who is turned away draws a [`Ticket`] and stands in the lines of all the locks
//!   that it needs at once. A line is ordered by tickets. Whoever stands ahead counts as if it had been served,
//!   with as much as it wants, wherever else it has to wait: nobody behind takes what one ahead will need.
//! - **So nobody starves.** The oldest ticket waits for those alone who hold something now; each other one also
//!   for those ahead of it. A newcomer can delay none of them, however much or little it wants: whoever waits,
//!   for however many locks, is served once all have given back who held one of these when it came or have an
//!   older ticket; and a ticket is good for one time.
//! - **But nobody waits behind somebody who waits for him** ([`deadlock`]). A step whose build holds a lock that
//!   one ahead needs could wait for ever: it passes that one, which had to wait for it anyway.
//! - A place in line counts only while whoever has it could use it: a builder whose workers are all busy leaves
//!   the line, and comes back with its old ticket.
//!
//! A change of a maximum holds from the next grant on: nothing is taken from those who have it. Who wants more
//! than there is (any more) gets all there is. A lock that is not configured (any more) locks nothing.

pub mod deadlock;
mod graph;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use graph::{Holder, LockStatus, Obstacle, WAITERS_SHOWN, Waiter};
pub use table::{Table, Woken};

use crate::id::BuildId;

/// A lock as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Whether there is one, or one on each worker.
    pub kind: Kind,
    /// How much of it there is.
    pub max: u32,
    /// The same on single workers, where it differs.
    pub max_for_worker: BTreeMap<String, u32>,
}

impl Lock {
    /// How much of it there is on `worker`.
    #[must_use]
    pub fn max_on(&self, worker: &str) -> u32 {
        self.max_for_worker.get(worker).copied().unwrap_or(self.max)
    }
}

/// How far a lock reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One for all.
    Master,
    /// One on each worker.
    Worker,
}

/// A use of a lock, as configured on a builder, a step or a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The lock's name.
    pub lock: String,
    /// How much of it.
    pub mode: Mode,
}

/// How much of a lock is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// So much. Nothing is always there.
    Counting(u32),
    /// All of it, whatever the maximum is.
    Exclusive,
}

impl Mode {
    /// What that is of a lock that has `max`.
    fn of(self, max: u32) -> u64 {
        match self {
            Mode::Counting(count) => count.min(max).into(),
            Mode::Exclusive => max.into(),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Counting(count) => write!(f, "{count}"),
            Mode::Exclusive => f.write_str("all"),
        }
    }
}

/// One lock that can be held: of kind worker, the one on a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The lock's name.
    pub lock: String,
    /// The worker; none: it is one for all.
    pub worker: Option<String>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.worker {
            None => write!(f, "`{}`", self.lock),
            Some(worker) => write!(f, "`{}` of worker `{worker}`", self.lock),
        }
    }
}

/// How much somebody wants of one lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The lock.
    pub key: Key,
    /// How much of it.
    pub mode: Mode,
}

/// A place in the order of all who ask. It stays with a claimant until that releases what it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Who holds locks or waits for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Who {
    /// The next build of a builder.
    Builder {
        /// The builder.
        builder: String,
    },
    /// A build, from its claim to its end.
    Build {
        /// The build.
        build: BuildId,
        /// Its builder.
        builder: String,
    },
    /// A step of a build.
    Step {
        /// The build.
        build: BuildId,
        /// Its builder.
        builder: String,
        /// The step's name.
        step: String,
    },
}

impl Who {
    /// The build that it is, or is a part of.
    #[must_use]
    pub fn build(&self) -> Option<BuildId> {
        match self {
            Who::Builder { .. } => None,
            Who::Build { build, .. } | Who::Step { build, .. } => Some(*build),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Builder { builder } => write!(f, "the next build of `{builder}`"),
            Who::Build { build, builder } => write!(f, "build {} of `{builder}`", build.0),
            Who::Step { build, builder, step } => {
                write!(f, "step `{step}` of build {} of `{builder}`", build.0)
            }
        }
    }
}
