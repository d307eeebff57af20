//! Why requests wait: those of a builder, and each of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Board;
use super::lane::{HeldBy, Lane, Stands};
use crate::id::RequestId;
use crate::time::Timestamp;

/// Why something waits; by default it is its turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// In one word.
    pub waits_for: WaitsFor,
    /// In words.
    pub why: String,
    /// When it is over, or looked at again; none: when something happens.
    pub until: Option<Timestamp>,
}

/// What something waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// A builder of that name in the configuration.
    Builder,
    /// A worker that connects.
    Worker,
    /// The end of a worker's quarantine.
    Quarantine,
    /// A free slot.
    Slot,
    /// A lock.
    Lock,
    /// Another answer of a policy.
    Policy,
    /// The order of builders.
    Order,
    /// Its next try.
    Retry,
    /// The store.
    Store,
    /// Its turn: nothing else is in its way.
    #[default]
    Turn,
}

impl WaitsFor {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            WaitsFor::Builder => "builder",
            WaitsFor::Worker => "worker",
            WaitsFor::Quarantine => "quarantine",
            WaitsFor::Slot => "slot",
            WaitsFor::Lock => "lock",
            WaitsFor::Policy => "policy",
            WaitsFor::Order => "order",
            WaitsFor::Retry => "retry",
            WaitsFor::Store => "store",
            WaitsFor::Turn => "turn",
        }
    }
}

impl Wait {
    fn of(waits_for: WaitsFor, why: impl Into<String>, until: Option<Timestamp>) -> Wait {
        Wait { waits_for, why: why.into(), until }
    }

    fn held(by: HeldBy, why: &str, until: Timestamp) -> Wait {
        let waits_for = match by {
            HeldBy::Policy => WaitsFor::Policy,
            HeldBy::Wait => WaitsFor::Retry,
        };
        Wait::of(waits_for, why, Some(until))
    }
}

impl Board {
    /// Why each of these requests waits, each named with its builder. They are requests that nobody has claimed: the
    /// board does not know all of them.
    #[must_use]
    pub fn waits(&self, requests: &[(String, RequestId)]) -> Vec<Wait> {
        let mut of_builders: BTreeMap<&str, Option<Wait>> = BTreeMap::new();
        let mut waits = Vec::with_capacity(requests.len());
        for (builder, request) in requests {
            let lane = self.lanes.get(builder);
            waits.push(match lane.and_then(|lane| lane.stands(*request)) {
                Some(Stands::Held(by, why, until)) => Wait::held(by, why, until),
                Some(Stands::Taken) => Wait::of(WaitsFor::Turn, "it is being started", None),
                Some(Stands::Waiting) | None => {
                    let of_all = || lane.map_or(Some(no_builder()), |lane| self.builder_waits(builder, lane));
                    let of_all = of_builders.entry(builder).or_insert_with(of_all).clone();
                    of_all
                        .unwrap_or_else(|| Wait::of(WaitsFor::Turn, "its builder's turn is right now", None))
                }
            });
        }
        waits
    }

    /// The first `limit` requests after `after`, by number, that a policy or a retry holds back: of a builder, or of
    /// all.
    #[must_use]
    pub fn held(&self, builder: Option<&str>, after: RequestId, limit: usize) -> Vec<RequestId> {
        let wanted = |(name, _): &(&String, &Lane)| builder.is_none_or(|builder| builder == name.as_str());
        let mut first = BTreeSet::new();
        for (_, lane) in self.lanes.iter().filter(wanted) {
            for request in lane.held_ones().filter(|request| *request > after) {
                first.insert(request);
                if first.len() > limit {
                    first.pop_last();
                }
            }
        }
        first.into_iter().collect()
    }

    /// Why the requests of a builder wait; none: it is their turn right now.
    pub(super) fn builder_waits(&self, name: &str, lane: &Lane) -> Option<Wait> {
        if !self.rules.builders.contains_key(name) {
            return Some(no_builder());
        }
        if !self.slots.any_connected(name) {
            return Some(Wait::of(WaitsFor::Worker, "none of its workers is connected", None));
        }
        if let Some(rest) = &lane.rest {
            return Some(Wait::of(rest.waits_for, &rest.why, Some(rest.until)));
        }
        if !lane.has_waiting() {
            return match lane.first_held() {
                Some((by, why, until)) if !lane.is_dry() => Some(Wait::held(by, why, until)),
                Some(_) | None => Some(Wait::of(WaitsFor::Store, "they are being loaded", None)),
            };
        }
        if self.round_rests.is_some() {
            let why = "the order of builders is held: its policy gives no answer";
            return Some(Wait::of(WaitsFor::Order, why, self.round_rests));
        }
        if let Some((until, names)) = &self.left_out
            && names.contains(name)
        {
            return Some(Wait::of(WaitsFor::Order, "the order of builders leaves it out", Some(*until)));
        }
        if !self.slots.any_room(name) {
            return Some(self.no_room(name));
        }
        self.awaited_lock(name).map(|obstacle| Wait::of(WaitsFor::Lock, obstacle.to_string(), None))
    }

    fn no_room(&self, builder: &str) -> Wait {
        let barred: Vec<&str> = self.slots.barred(builder).collect();
        if barred.is_empty() {
            return Wait::of(WaitsFor::Slot, "all its workers are busy", None);
        }
        let names: Vec<String> = barred.iter().map(|worker| format!("`{worker}`")).collect();
        let are = if names.len() == 1 { "is" } else { "are" };
        let why = format!(
            "no worker is free, and {} {are} in quarantine: lost before a build got anywhere",
            names.join(", ")
        );
        let until = barred.iter().filter_map(|worker| self.quarantines.until(worker)).min();
        Wait::of(WaitsFor::Quarantine, why, until)
    }
}

fn no_builder() -> Wait {
    Wait::of(WaitsFor::Builder, "no such builder in the configuration", None)
}
