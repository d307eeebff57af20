//! Dependent schedulers: whose buildsets end well, their source is built further.
//!
//! A buildset of a scheduler that another one depends on is noted in the latter's state, by the commit that brings
//! the buildset. The note goes in the commit that brings what follows from its end. So each end is followed once,
//! whatever happened in between.

use windlass_config::config::{Scheduler, SchedulerKind};
use windlass_core::id::BuildsetId;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::request::Buildset;
use windlass_core::scheduler_state::Key;
use windlass_core::value::Value;
use windlass_store::{ReadError, Store};

use crate::scheduler;
use crate::submission::Order;

/// The scheduler that this one depends on.
pub(crate) fn upstream(scheduler: &Scheduler) -> Option<&str> {
    match &scheduler.kind {
        SchedulerKind::Dependent { upstream } => Some(upstream),
        SchedulerKind::SingleBranch { .. } | SchedulerKind::Force | SchedulerKind::Triggerable => None,
    }
}

/// The notes of a new buildset: one for each of these schedulers that depends on its own.
pub(crate) fn notes<'a>(
    schedulers: impl IntoIterator<Item = &'a Scheduler>,
    buildset: &Buildset,
) -> Vec<Persist> {
    let depends = |scheduler: &&Scheduler| upstream(scheduler) == Some(&buildset.submitter);
    schedulers.into_iter().filter(depends).map(|scheduler| note(scheduler, buildset.id, true)).collect()
}

/// Puts a note of `scheduler`, or takes it away.
pub(crate) fn note(scheduler: &Scheduler, buildset: BuildsetId, there: bool) -> Persist {
    Persist::PutState { owner: owner(scheduler), key: key(buildset), value: there.then(Vec::new) }
}

/// The buildsets that `scheduler` has noted.
pub(crate) fn noted(store: &Store, scheduler: &Scheduler) -> Result<Vec<BuildsetId>, ReadError> {
    let states = store.states(&owner(scheduler))?;
    let id = |key: &str| match Key::parse(key)? {
        Key::Upstream(buildset) => Some(buildset),
        Key::Waits(_) => None,
    };
    Ok(states.into_iter().filter_map(|(key, _)| id(&key)).collect())
}

/// In whose name its notes are kept.
pub(crate) fn owner(scheduler: &Scheduler) -> String {
    scheduler::owner(&scheduler.name)
}

/// The key of a note.
pub(crate) fn key(buildset: BuildsetId) -> String {
    Key::Upstream(buildset).to_string()
}

/// What follows from the end of a buildset upstream: its source, for the builders of this scheduler.
pub(crate) fn order(scheduler: &Scheduler, upstream: &Buildset, outcome: Outcome) -> Option<Order> {
    match outcome {
        Outcome::Success | Outcome::Warnings => {}
        Outcome::Failure | Outcome::Skipped | Outcome::Exception | Outcome::Retry | Outcome::Cancelled => {
            return None;
        }
    }
    let mut properties = scheduler.properties.clone();
    properties.set("scheduler", Value::Text(scheduler.name.clone()), "Scheduler");
    Some(Order {
        builders: scheduler.builders.clone(),
        submitter: scheduler.name.clone(),
        reason: format!("scheduler {}: {} ended as {outcome}", scheduler.name, upstream.submitter),
        priority: scheduler.priority,
        stamps: upstream.stamps.clone(),
        properties,
        parent: None,
        waited_for: false,
    })
}
