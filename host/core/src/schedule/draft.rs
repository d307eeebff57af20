//! The question that a start has in its present stage. Drafting one changes nothing: whether it is asked
//! is the desk's to say. And what a start follows, with an answer or without.

use std::sync::Arc;

use super::desk::{Asker, Draft, Unasked};
use super::judge::{Offered, Verdict};
use super::lane::Entry;
use super::slots::Member;
use super::stage::Stage;
use super::{Board, StartId};
use crate::builder::{OnError, PolicyUse};
use crate::policy::{Lookups, Question, RequestInfo};
use crate::time::Timestamp;

/// What a stage is to follow.
pub(super) enum Advice {
    /// There is no policy, or it failed and the default stands in.
    Default,
    /// The policy failed, and that holds.
    Hold(String),
    /// The policy is suspended, and that holds: the builder rests until then.
    Rest(Timestamp, String),
    /// What it was about has gone.
    GiveUp,
    Verdict(Verdict),
}

impl Board {
    /// The question of the present stage; `Err`: there is nothing to ask about. `candidates` are the start's, where
    /// the question is about workers.
    pub(super) fn draft(&self, id: StartId, candidates: Vec<Member>) -> Result<Draft, Advice> {
        let Some(start) = self.starts.get(&id) else { return Err(Advice::GiveUp) };
        let (stage, name) = (start.stage, start.spec.name.clone());
        let builder = self.builder_info(&name);
        let mut lookups = Lookups::default();
        let mut offered = Offered::default();
        let mut seen = Vec::new();
        let mut see = |entry: &Entry| {
            lookups.requests.insert(entry.request.id.0, entry.buildset.properties.pairs());
            seen.push((entry.request.id, entry.request.version));
            RequestInfo::of(&entry.request, &entry.buildset)
        };
        let question = match stage {
            Stage::Pick => {
                let Some(lane) = self.lanes.get(&name) else { return Err(Advice::GiveUp) };
                let window = lane.window(start.after, self.rules.window);
                let Some((end, _)) = window.last() else {
                    // What it was offered before was all that waits.
                    let none = start.after.map_or(Advice::GiveUp, |_| Advice::Verdict(Verdict::Pick(None)));
                    return Err(none);
                };
                offered.end = Some(*end);
                offered.requests = window.iter().map(|(_, e)| e.request.id).collect();
                let requests = window.iter().map(|(_, e)| see(e)).collect();
                Question::NextBuild { builder, requests }
            }
            Stage::Allow | Stage::Place => {
                let Some((_, first)) = self.first(id) else { return Err(Advice::GiveUp) };
                let request = see(first);
                if candidates.is_empty() {
                    return Err(Advice::GiveUp);
                }
                let mine = self.slots.number(&start.worker);
                let slaves = Arc::new(candidates.into_iter().map(|m| self.slots.info(m, mine)).collect());
                lookups.slaves = self.slots.properties();
                match stage {
                    Stage::Allow => Question::CanStartBuild { builder, slaves, request },
                    Stage::Pick | Stage::Place | Stage::Join | Stage::Ready | Stage::Claim => {
                        Question::NextSlave { builder, slaves, request }
                    }
                }
            }
            Stage::Join => {
                let Some((lane, first)) = self.first(id) else { return Err(Advice::GiveUp) };
                let others = lane.window(None, self.rules.window);
                if others.is_empty() {
                    return Err(Advice::Default);
                }
                offered.requests = others.iter().map(|(_, e)| e.request.id).collect();
                let first = see(first);
                Question::MergeRequests {
                    builder,
                    first,
                    others: others.iter().map(|(_, e)| see(e)).collect(),
                }
            }
            Stage::Ready | Stage::Claim => return Err(Advice::Default),
        };
        Ok(Draft { asker: Asker::Start(id), builder: Some(name), question, lookups, offered, seen })
    }
}

/// What stands in for a policy that gave no answer.
pub(super) fn instead(stage: Stage, policy: &PolicyUse) -> Advice {
    if holds(stage, policy) {
        Advice::Hold(format!("`{}` gives no answer", policy.hook))
    } else {
        Advice::Default
    }
}

/// What stands in for a policy that was not asked.
pub(super) fn unasked(stage: Stage, policy: &PolicyUse, why: &Unasked) -> Advice {
    match why {
        Unasked::Suspended(suspended) if holds(stage, policy) => {
            Advice::Rest(suspended.until, format!("`{}` is suspended after errors", policy.hook))
        }
        Unasked::Suspended(_) | Unasked::Unknown => instead(stage, policy),
    }
}

/// Whether nothing goes on while a policy gives no answer. A gate that fails is a closed one.
fn holds(stage: Stage, policy: &PolicyUse) -> bool {
    stage == Stage::Allow || policy.on_error == OnError::Hold
}
