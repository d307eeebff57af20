//! The scheduling decision, as a state machine on values: which builder, which request, which worker.
//!
//! The [`Board`] holds what is pending, which slots are free and which policies are being asked. Events
//! go in through its methods; [`Board::decide`] hands out what is to be done. It never waits: a policy
//! is asked by an [`Effect::Ask`], and whenever the [`Reply`] comes, it is judged against the state of
//! that moment.
//!
//! - A *start* takes the way of one build: reserve the least-loaded free slot, pick a request
//!   (`next-build`), ask who may take it (`can-start-build`), place it (`next-slave`), join others to it
//!   (`merge-requests`), claim. Each stage asks its policy, or follows the default at once. As many starts
//!   are under way as there are free slots, several of one builder among them; one waiting for its policy
//!   keeps its own slot and no other.
//! - A free slot goes to the first builder that waits for one, in the order of `prioritize-builders`, or by
//!   their first request: priority, age, name. Only builders that something happened to are looked at again.
//! - Of many requests of a builder only the first are loaded; an [`Effect::More`] asks for the next ones. A
//!   builder whose first request is still in the store keeps its turn, and those after it wait.
//! - *Nobody is asked in vain for ever*: a request that a policy leaves is held for [`HOLD_MS`], or until
//!   a slot is free that it was not offered; a builder whose policies left [`REFUSALS_A_PASS`] requests
//!   rests for [`REST_MS`], and the others go first meanwhile. While a policy is suspended whose failure
//!   holds, its builder rests until the suspension is over or lifted.
//! - A worker that is lost before a build gets anywhere is in quarantine for a while.
//! - A worker without `max_builds` takes one build of each builder at a time, as Buildbot's do.
//!
//! - Locks of builders and workers are probed before a start begins, and taken with its claim; those of steps are
//!   taken while a build runs. [`crate::lock`] has the rule.
//!
//! Deliberately absent: any look at history beyond who built what last.

mod board;
mod claim;
mod desk;
mod draft;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod invariants;
mod judge;
mod lane;
mod locks;
mod parents;
mod quarantine;
mod reads;
mod seat;
mod slots;
mod stage;
mod status;
mod suspensions;
mod tail;
mod takeup;
mod tally;
#[cfg(test)]
mod tests;
mod turns;
mod view;
mod visit;
mod wait;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use board::Board;
pub use claim::{Claim, Given, Numbers};
pub use locks::StepLocks;
pub use quarantine::{FIRST_QUARANTINE_MS, Failed, LONGEST_QUARANTINE_MS, Quarantine};
pub use status::{BuilderStatus, PolicyStatus, Status, WorkerStatus};
pub use suspensions::Suspension;
pub use takeup::TakenUp;
pub use wait::{Wait, WaitsFor};

use crate::builder::{Builder, PolicyUse};
use crate::decision::Decision;
use crate::id::BuildId;
use crate::lock::{Access, Lock};
use crate::outcome::Outcome;
use crate::policy::{Answer, Fault, HookKind, Lookup, Lookups, Question, Usage};
use crate::properties::Properties;
use crate::record::Component;
use crate::request::Turn;
use crate::time::Timestamp;

/// Candidates that a policy is offered at once, unless the rules say otherwise.
pub const WINDOW: usize = 100;
/// Windows that `next-build` is offered in one pass before the builder rests.
pub const WINDOWS_A_PASS: u32 = 10;
/// Requests of a builder that are loaded at once: the first ones of the default order. What `next-build` and
/// `merge-requests` are offered, and what merges by the default rule, comes from those that are loaded.
pub const LOADED: usize = 256;
/// Requests of each builder that are read when the board opens.
pub const HEAD: usize = 32;
/// Within so many scans the first requests of each builder are read and compared, even where the counts agree.
pub const SCANS_A_ROUND: usize = 10;
/// The most requests that one build serves.
pub const MERGE_BOUND: usize = 100;
/// How long a request that a policy left is held.
pub const HOLD_MS: u64 = 10_000;
/// So many requests of a builder may be left by policies before it rests.
pub const REFUSALS_A_PASS: u32 = 100;
/// How long it rests then.
pub const REST_MS: u64 = 1_000;
/// Held requests that one freed slot wakes.
pub const WOKEN_BY_A_SLOT: usize = 4;
/// The longest wait of a request whose builds keep ending as *retry*: the second try comes at once, the
/// third after 1 s, then twice as long each time. [`crate::builder::Builder::max_retries`] bounds their number.
pub const LONGEST_RETRY_MS: u64 = 60_000;
/// So often a policy is asked again because its answer came too late for the state it spoke of.
const ASKED_AGAIN: u32 = 2;

/// Numbers the starts of one board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StartId(u64);

/// Numbers the questions of one board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(u64);

/// What scheduling goes by: the part of the configuration that it needs, and the policies as resolved.
#[derive(Clone, Debug)]
pub struct Rules {
    /// By name.
    pub builders: BTreeMap<String, Arc<Builder>>,
    /// In the order of the configuration.
    pub workers: Vec<WorkerRule>,
    /// The order of builders; none: by their first request.
    pub prioritize_builders: Option<PolicyUse>,
    /// The configured hooks, each with what it resolves to. One that is missing falls back.
    pub components: BTreeMap<(HookKind, String), Component>,
    /// Properties that every build gets.
    pub properties: Properties,
    /// Locks, by name.
    pub locks: BTreeMap<String, Lock>,
    /// Candidates that a policy is offered at once.
    pub window: usize,
    /// Requests of a builder that are loaded at once.
    pub loaded: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            builders: BTreeMap::new(),
            workers: Vec::new(),
            prioritize_builders: None,
            components: BTreeMap::new(),
            properties: Properties::default(),
            locks: BTreeMap::new(),
            window: WINDOW,
            loaded: LOADED,
        }
    }
}

impl Rules {
    /// Each configured use of a policy: the kind, the policy, and the builder unless it is the master's.
    pub fn uses(&self) -> impl Iterator<Item = (HookKind, &PolicyUse, Option<&str>)> {
        let master = self.prioritize_builders.as_ref().map(|p| (HookKind::PrioritizeBuilders, p, None));
        let builders = self.builders.values().flat_map(|builder| {
            builder.policies().map(|(kind, policy)| (kind, policy, Some(builder.name.as_str())))
        });
        master.into_iter().chain(builders)
    }
}

/// A worker as configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerRule {
    /// Its name.
    pub name: String,
    /// How many builds at once; none: one of each builder.
    pub max_builds: Option<u32>,
    /// Properties that its builds get.
    pub properties: Properties,
    /// What each of its builds holds, beside the locks of its builder.
    pub locks: Vec<Access>,
}

/// What the board wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask a policy; [`Board::answered`] takes the reply.
    Ask(Ask),
    /// Claim requests and record the build, then tell [`Board::claimed`] or [`Board::refused`].
    Claim(Claim),
    /// Look up when these workers last built for these builders (builder, worker);
    /// [`Board::history`] takes what was found. Starts wait for it.
    History(Vec<(String, String)>),
    /// Read what waits for a builder in the store: the first so many after a turn, or of all.
    /// [`Board::loaded`] takes them, [`Board::not_loaded`] is told if that fails.
    More {
        /// The builder.
        builder: String,
        /// Where to begin.
        after: Option<Turn>,
        /// How many.
        limit: usize,
    },
    /// Count what waits for each builder in the store; [`Board::counted`] takes that.
    Scan,
    /// Keep the record of a decision. The place to persist it, one day.
    Record(Decision),
    /// The order of builders was made without its policy, which is suspended: count it for the component with
    /// these bytes. There is no record: no request is touched by it alone, and a round comes with each event.
    Skipped {
        /// The policy that would have been asked.
        component: Component,
    },
    /// Keep what is held against a worker or a policy for the next start, which gives it to
    /// [`Board::suspended_before`].
    Suspended {
        /// The key of its row.
        key: String,
        /// None: it is forgiven.
        what: Option<Suspension>,
    },
    /// A step that waited for locks ([`StepLocks::Waits`]) waits no more.
    StepLocks {
        /// Its build.
        build: BuildId,
        /// It has them; or the circle in which it would have waited for ever.
        result: Result<(), String>,
    },
    /// A step that waits for requests ([`Board::wait_for_requests`]) would wait for ever, as it turns out now.
    Stuck {
        /// Its build.
        build: BuildId,
        /// Who waits for whom.
        circle: String,
    },
}

/// A question to a policy.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Its number.
    pub id: AskId,
    /// The policy as configured.
    pub policy: PolicyUse,
    /// The policy as resolved.
    pub component: Component,
    /// The question.
    pub question: Question,
    /// What it may look up.
    pub lookups: Lookups,
}

/// What came of a question.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The answer, unjudged.
    pub answer: Result<Answer, Fault>,
    /// What was looked up.
    pub lookups: Vec<Lookup>,
    /// What it cost.
    pub usage: Usage,
}

/// When a worker last finished a build of a builder, and how.
pub type LastBuilt = Option<(Timestamp, Outcome)>;
