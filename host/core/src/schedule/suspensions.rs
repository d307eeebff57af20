//! What is held against workers and policies that failed, in the form in which it outlives a master: a restart shortens no
//! quarantine and no suspension, and does not forget how long the next one is to be.
//!
//! Whatever begins or ends is handed out as an [`Effect::Suspended`]. What is over by itself is not: its row says so, and
//! the next failure of the same makes it a longer one.

use serde::{Deserialize, Serialize};

use super::quarantine::Quarantine;
use super::{Board, Effect};
use crate::health::Health;
use crate::policy::HookKind;
use crate::time::Timestamp;

/// What is held against somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspension {
    /// A worker, by its name.
    Worker(String, Quarantine),
    /// A policy: its kind, its hook, and how it is doing.
    Policy(HookKind, String, Health),
}

impl Suspension {
    /// The key of its row.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Suspension::Worker(name, _) => of_worker(name),
            Suspension::Policy(kind, hook, _) => of_policy(*kind, hook),
        }
    }
}

fn of_worker(name: &str) -> String {
    format!("worker {name}")
}

fn of_policy(kind: HookKind, hook: &str) -> String {
    format!("{} {hook}", kind.as_str())
}

impl Board {
    /// Takes in what the last run held against workers and policies; to be called when the rules are in force. What
    /// speaks of a worker that is not configured any more, or of a policy that is other bytes by now, is dropped.
    pub fn suspended_before(&mut self, before: Vec<Suspension>, now: Timestamp) {
        for suspension in before {
            let key = suspension.key();
            let known = match suspension {
                Suspension::Worker(name, quarantine) => {
                    let known = self.slots.number(&name).is_some();
                    if known && self.quarantines.take_in(&name, quarantine, now) {
                        self.slots.bar(&name, true);
                    }
                    known
                }
                Suspension::Policy(kind, hook, health) => {
                    self.desk.take_in(&self.rules, kind, hook, health, now)
                }
            };
            if !known {
                self.effects.push(Effect::Suspended { key, what: None });
            }
        }
    }

    /// Ends the suspensions of a policy, as a reconfiguration that takes effect does of all: what they were of. What was
    /// decided without it is looked at again.
    pub fn lift(&mut self, hook: &str) -> Vec<String> {
        let lifted = self.desk.lift(hook);
        if !lifted.is_empty() {
            (self.round_rests, self.left_out) = (None, None);
            for (name, lane) in &mut self.lanes {
                lane.wake_all();
                self.dirty.insert(name.clone());
            }
        }
        lifted
    }

    /// Hands out what has changed.
    pub(super) fn tell_suspensions(&mut self) {
        for name in self.quarantines.changed() {
            let what = self.quarantines.get(&name).cloned();
            let key = of_worker(&name);
            self.effects.push(Effect::Suspended { key, what: what.map(|q| Suspension::Worker(name, q)) });
        }
        for (kind, hook) in self.desk.changed() {
            let what = self.desk.suspension(kind, &hook).cloned();
            let key = of_policy(kind, &hook);
            let what = what.map(|health| Suspension::Policy(kind, hook, health));
            self.effects.push(Effect::Suspended { key, what });
        }
    }
}
