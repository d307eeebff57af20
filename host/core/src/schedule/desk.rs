//! Where policies are asked: their health, the questions under way, the count of fallbacks, the record
//! of each decision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::judge::{Offered, Verdict, judge};
use super::{Ask, AskId, FallbackStatus, PolicyStatus, Reply, Rules, StartId};
use crate::builder::PolicyUse;
use crate::decision::{Decision, Done, Fallback};
use crate::health::Health;
use crate::id::{DecisionId, RequestId};
use crate::policy::{BuilderInfo, Fault, FaultKind, HookKind, Lookups, Question, SlaveInfo};
use crate::record::Component;
use crate::time::Timestamp;

/// Reports kept for the status.
const REPORTS: usize = 20;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// The round of visits.
    Round,
    /// The start of a build.
    Start(StartId),
}

/// A question with what the record of its decision needs.
pub(super) struct Draft {
    pub(super) asker: Asker,
    pub(super) builder: Option<String>,
    pub(super) question: Question,
    pub(super) lookups: Lookups,
    pub(super) offered: Offered,
    pub(super) seen: Vec<(RequestId, u32)>,
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) asker: Asker,
    pub(super) builder: Option<String>,
    pub(super) policy: PolicyUse,
    pub(super) component: Component,
    pub(super) question: Question,
    pub(super) offered: Offered,
    seen: Vec<(RequestId, u32)>,
    at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    healths: BTreeMap<(HookKind, String), Health>,
    fallbacks: BTreeMap<(HookKind, String, Option<String>), (u64, String)>,
    asks: BTreeMap<AskId, Asked>,
    /// Builders of which `next-build` is being asked: a second question would offer the same requests.
    picking: BTreeSet<String>,
    reports: VecDeque<String>,
    next_ask: u64,
    next_decision: u64,
}

impl Desk {
    /// Plugins were loaded: those with new bytes start afresh, those that nothing uses are forgotten.
    pub(super) fn reloaded(&mut self, rules: &Rules) {
        let used: BTreeMap<_, _> =
            rules.components.iter().map(|((kind, _), c)| ((*kind, c.hook.clone()), c.digest)).collect();
        self.healths.retain(|key, _| used.contains_key(key));
        for (key, digest) in used {
            if let Some(health) = self.healths.get_mut(&key) {
                health.reloaded(digest);
            }
        }
    }

    /// Makes a question of a draft; `Err`: the policy can't be asked now, and the fallback is counted.
    pub(super) fn ask(
        &mut self,
        rules: &Rules,
        policy: &PolicyUse,
        draft: Draft,
        now: Timestamp,
    ) -> Result<Ask, Fallback> {
        let kind = draft.question.kind();
        let Some(component) = rules.components.get(&(kind, policy.hook.clone())) else {
            self.fell_back(kind, &policy.hook, draft.builder, "no loaded plugin has this hook".to_owned());
            return Err(Fallback::Unknown);
        };
        let health = self
            .healths
            .entry((kind, component.hook.clone()))
            .or_insert_with(|| Health::new(component.digest));
        if !health.may_ask(now) {
            let last = health.last_fault.clone().unwrap_or_default();
            self.fell_back(kind, &component.hook, draft.builder, format!("suspended after errors: {last}"));
            return Err(Fallback::Suspended);
        }
        self.next_ask += 1;
        let id = AskId(self.next_ask);
        let asked = Asked {
            asker: draft.asker,
            builder: draft.builder,
            policy: policy.clone(),
            component: component.clone(),
            question: draft.question.clone(),
            offered: draft.offered,
            seen: draft.seen,
            at: now,
        };
        if kind == HookKind::NextBuild {
            self.picking.extend(asked.builder.clone());
        }
        self.asks.insert(id, asked);
        Ok(Ask {
            id,
            policy: policy.clone(),
            component: component.clone(),
            question: draft.question,
            lookups: Lookups { now, ..draft.lookups },
        })
    }

    /// Takes the question that a reply belongs to.
    pub(super) fn take(&mut self, id: AskId) -> Option<Asked> {
        let asked = self.asks.remove(&id)?;
        if let (Question::NextBuild { .. }, Some(builder)) = (&asked.question, &asked.builder) {
            self.picking.remove(builder);
        }
        Some(asked)
    }

    /// Whether `next-build` is being asked for this builder. Its next start waits for the answer.
    pub(super) fn is_picking(&self, builder: &str) -> bool {
        self.picking.contains(builder)
    }

    /// Questions under way.
    #[cfg(test)]
    pub(super) fn asks(&self) -> impl Iterator<Item = &Asked> {
        self.asks.values()
    }

    /// Judges a reply by what was offered; an answer that makes no sense is a fault of the plugin.
    pub(super) fn judged(asked: &Asked, reply: &Reply) -> Result<(Verdict, Vec<String>), Box<Fault>> {
        let answer = reply.answer.clone().map_err(Box::new)?;
        judge(&asked.question, &asked.offered, answer).map_err(|what| {
            let plugin = asked.component.hook.split(':').next().unwrap_or_default().to_owned();
            let call = asked.question.kind().function().to_owned();
            let kind = FaultKind::BadAnswer(what);
            Box::new(Fault { plugin, digest: asked.component.digest, call, kind })
        })
    }

    /// Notes how a call went. A health that speaks of other bytes by now is left alone.
    pub(super) fn went(&mut self, asked: &Asked, fault: Option<&Fault>, now: Timestamp) {
        let key = (asked.question.kind(), asked.component.hook.clone());
        if let Some(health) = self.healths.get_mut(&key).filter(|h| h.digest == asked.component.digest) {
            match fault {
                None => health.answered(now),
                Some(fault) => health.failed(fault, now),
            }
        }
        if let Some(fault) = fault {
            self.fell_back(
                asked.question.kind(),
                &asked.component.hook,
                asked.builder.clone(),
                fault.to_string(),
            );
        }
    }

    /// The record of a decision.
    pub(super) fn record(
        &mut self,
        asked: Asked,
        reply: Reply,
        done: Done,
        ignored: Vec<String>,
        fault: Option<&Fault>,
        now: Timestamp,
    ) -> Decision {
        for what in &ignored {
            self.report(format!("{} of `{}`: {what}; ignored", asked.component.kind, asked.component.hook));
        }
        self.next_decision += 1;
        let (workers, builders) = snapshots(asked.question);
        Decision {
            id: DecisionId(self.next_decision),
            at: now,
            asked: asked.at,
            policy: asked.component,
            args: asked.policy.args,
            builder: asked.builder,
            requests: asked.seen,
            workers,
            builders,
            lookups: reply.lookups,
            answer: reply.answer.ok(),
            done,
            ignored,
            fallback: fault.map(|f| Fallback::Fault(f.to_string())),
            usage: reply.usage,
            build: None,
        }
    }

    pub(super) fn report(&mut self, text: String) {
        if self.reports.len() == REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(text);
    }

    fn fell_back(&mut self, kind: HookKind, hook: &str, builder: Option<String>, why: String) {
        let entry = self.fallbacks.entry((kind, hook.to_owned(), builder)).or_default();
        entry.0 += 1;
        entry.1 = why;
    }

    pub(super) fn reports(&self) -> Vec<String> {
        self.reports.iter().cloned().collect()
    }

    pub(super) fn policies(&self, now: Timestamp) -> Vec<PolicyStatus> {
        let status = |((kind, hook), health): (&(HookKind, String), &Health)| PolicyStatus {
            kind: *kind,
            hook: hook.clone(),
            digest: health.digest,
            answers: health.answers,
            faults: health.faults,
            skipped: health.skipped,
            suspended_until: health.suspended_until.filter(|until| now < *until),
            last_fault: health.last_fault.clone(),
        };
        self.healths.iter().map(status).collect()
    }

    pub(super) fn fallbacks(&self) -> Vec<FallbackStatus> {
        self.fallbacks
            .iter()
            .map(|((kind, hook, builder), (count, last))| FallbackStatus {
                kind: *kind,
                hook: hook.clone(),
                builder: builder.clone(),
                count: *count,
                last: last.clone(),
            })
            .collect()
    }
}

fn snapshots(question: Question) -> (Vec<SlaveInfo>, Vec<BuilderInfo>) {
    match question {
        Question::NextSlave { builder, slaves, .. } | Question::CanStartBuild { builder, slaves, .. } => {
            (slaves, vec![builder])
        }
        Question::MergeRequests { builder, .. } | Question::NextBuild { builder, .. } => {
            (Vec::new(), vec![builder])
        }
        Question::PrioritizeBuilders { builders } => (Vec::new(), builders),
        Question::CodebaseGenerator { .. } => (Vec::new(), Vec::new()),
    }
}
