//! Where policies are asked: their health, the questions under way, what came of each use, the record of
//! each decision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::judge::{Offered, Verdict, judge};
use super::tally::Tallies;
use super::{Ask, AskId, Board, PolicyStatus, Reply, Rules, StartId};
use crate::builder::PolicyUse;
use crate::decision::{Decision, Done, Seen};
use crate::health::Health;
use crate::id::{DecisionId, RequestId};
use crate::policy::{
    BuilderInfo, Fault, FaultKind, HookKind, Lookups, Question, RequestInfo, SlaveInfo, Usage,
};
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

/// Why a policy is not asked.
pub(super) enum Unasked {
    /// No loaded plugin has the hook.
    Unknown,
    /// It is suspended.
    Suspended(Box<Suspended>),
}

/// A question that was not asked, as its policy is suspended.
pub(super) struct Suspended {
    pub(super) until: Timestamp,
    pub(super) component: Component,
    args: String,
    draft: Draft,
    last_fault: Option<String>,
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
    /// Policies whose suspension began or was lifted since this was told.
    changed: BTreeSet<(HookKind, String)>,
    tallies: Tallies,
    asks: BTreeMap<AskId, Asked>,
    /// Builders of which `next-build` is being asked: a second question would offer the same requests.
    picking: BTreeSet<String>,
    reports: VecDeque<String>,
    next_ask: u64,
    next_decision: u64,
}

impl Desk {
    /// Plugins were loaded: no suspension outlives that, those with new bytes start afresh, those that nothing
    /// uses are forgotten.
    pub(super) fn reloaded(&mut self, rules: &Rules) {
        let used: BTreeMap<_, _> =
            rules.components.iter().map(|((kind, _), c)| ((*kind, c.hook.clone()), c.digest)).collect();
        let gone = self.healths.extract_if(.., |key, _| !used.contains_key(key));
        self.changed.extend(gone.filter(|(_, health)| health.suspended_until.is_some()).map(|(key, _)| key));
        for (key, digest) in used {
            self.change(&key, |health| health.reloaded(digest));
        }
        self.tallies.reloaded(rules);
    }

    /// Ends the suspensions of the hook that is called so, with its plugin or without: what they were of.
    pub(super) fn lift(&mut self, name: &str) -> Vec<String> {
        let is_it = |hook: &str| hook == name || hook.split_once(':').is_some_and(|(_, short)| short == name);
        let suspended = self.healths.iter().filter(|(_, health)| health.suspended_until.is_some());
        let keys: Vec<_> = suspended.map(|(key, _)| key).filter(|(_, hook)| is_it(hook)).cloned().collect();
        for key in &keys {
            self.change(key, |health| {
                let same = health.digest;
                health.reloaded(same);
            });
        }
        keys.into_iter().map(|(kind, hook)| format!("{} {hook}", kind.as_str())).collect()
    }

    fn change(&mut self, key: &(HookKind, String), change: impl FnOnce(&mut Health)) {
        let Some(health) = self.healths.get_mut(key) else { return };
        let before = health.suspended_until;
        change(health);
        if health.suspended_until != before {
            self.changed.insert(key.clone());
        }
    }

    /// Takes in how a policy was doing in an earlier run. False: it is not used any more, or is other bytes by now.
    pub(super) fn take_in(
        &mut self,
        rules: &Rules,
        kind: HookKind,
        hook: String,
        health: Health,
        now: Timestamp,
    ) -> bool {
        let is_it =
            |(of, c): (&HookKind, &Component)| *of == kind && c.hook == hook && c.digest == health.digest;
        let known = rules.components.iter().any(|((of, _), component)| is_it((of, component)));
        if known {
            self.healths.insert((kind, hook), health.taken_up(now));
        }
        known
    }

    /// Those whose suspension changed since this was asked last.
    pub(super) fn changed(&mut self) -> BTreeSet<(HookKind, String)> {
        std::mem::take(&mut self.changed)
    }

    /// How a policy is doing that was suspended, and not forgiven since.
    pub(super) fn suspension(&self, kind: HookKind, hook: &str) -> Option<&Health> {
        self.healths.get(&(kind, hook.to_owned())).filter(|health| health.suspended_until.is_some())
    }

    /// Makes a question of a draft, unless the policy can't be asked now. That is counted.
    pub(super) fn ask(
        &mut self,
        rules: &Rules,
        policy: &PolicyUse,
        draft: Draft,
        now: Timestamp,
    ) -> Result<Ask, Unasked> {
        let (kind, builder) = (draft.question.kind(), draft.builder.as_deref());
        let component = rules.components.get(&(kind, policy.hook.clone()));
        let tally = self.tallies.asked(kind, &policy.hook, builder, component.map(|c| c.digest));
        let Some(component) = component else {
            tally.missed();
            return Err(Unasked::Unknown);
        };
        let health = self
            .healths
            .entry((kind, component.hook.clone()))
            .or_insert_with(|| Health::new(component.digest));
        if !health.may_ask(now) {
            tally.skip();
            return Err(Unasked::Suspended(Box::new(Suspended {
                until: health.suspended_until.unwrap_or(now),
                component: component.clone(),
                args: policy.args.clone(),
                draft,
                last_fault: health.last_fault.clone(),
            })));
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

    /// Notes how a call went. What speaks of other bytes by now is left alone.
    pub(super) fn went(&mut self, asked: &Asked, fault: Option<&Fault>, now: Timestamp) {
        let (kind, digest) = (asked.question.kind(), asked.component.digest);
        let key = (kind, asked.component.hook.clone());
        if self.healths.get(&key).is_some_and(|health| health.digest == digest) {
            self.change(&key, |health| match fault {
                None => health.answered(now),
                Some(fault) => health.failed(fault, now),
            });
        }
        let builder = asked.builder.as_deref();
        if let Some(tally) = self.tallies.answered(kind, &asked.policy.hook, builder, digest) {
            match fault {
                None => tally.answers += 1,
                Some(fault) => tally.failed(fault),
            }
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
        let requests = seen(&asked.seen, &asked.question);
        let (workers, builders) = snapshots(asked.question);
        Decision {
            id: self.number(),
            at: now,
            asked: asked.at,
            policy: asked.component,
            args: asked.policy.args,
            builder: asked.builder,
            requests,
            workers,
            builders,
            lookups: reply.lookups,
            answer: reply.answer.ok().and_then(Decision::worth_keeping),
            done,
            ignored,
            fallback: fault.map(Fault::brief),
            usage: reply.usage,
            build: None,
        }
    }

    /// The record of a decision that was made without its policy. Workers and builders are left out: nobody saw
    /// them.
    pub(super) fn record_unasked(&mut self, suspended: Suspended, done: Done, now: Timestamp) -> Decision {
        let Suspended { until, component, args, draft, last_fault } = suspended;
        let after = last_fault.map(|fault| format!(", the last one: {fault}")).unwrap_or_default();
        Decision {
            id: self.number(),
            at: now,
            asked: now,
            policy: component,
            args,
            builder: draft.builder,
            requests: seen(&draft.seen, &draft.question),
            workers: Vec::new(),
            builders: Vec::new(),
            lookups: Vec::new(),
            answer: None,
            done,
            ignored: Vec::new(),
            fallback: Some(format!(
                "not asked: suspended after errors for another {} s{after}",
                until.ms_since(now).div_ceil(1000)
            )),
            usage: Usage::default(),
            build: None,
        }
    }

    fn number(&mut self) -> DecisionId {
        self.next_decision += 1;
        DecisionId(self.next_decision)
    }

    /// Counts decisions on from `last`.
    pub(super) fn count_from(&mut self, last: DecisionId) {
        self.next_decision = self.next_decision.max(last.0);
    }

    pub(super) fn report(&mut self, text: String) {
        if self.reports.len() == REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(text);
    }

    pub(super) fn reports(&self) -> Vec<String> {
        self.reports.iter().cloned().collect()
    }

    /// Each configured use.
    pub(super) fn policies(&self, rules: &Rules, now: Timestamp) -> Vec<PolicyStatus> {
        let status = |(kind, policy, builder): (HookKind, &PolicyUse, Option<&str>)| {
            let component = rules.components.get(&(kind, policy.hook.clone()));
            let tally = self.tallies.get(kind, &policy.hook, builder);
            let suspended = component
                .and_then(|c| self.healths.get(&(kind, c.hook.clone())))
                .filter(|health| health.is_suspended(now));
            PolicyStatus {
                kind,
                hook: policy.hook.clone(),
                builder: builder.map(str::to_owned),
                digest: component.map(|c| c.digest),
                answers: tally.answers,
                faults: tally.faults,
                skipped: tally.skipped,
                fallbacks: tally.fallbacks,
                suspended_until: suspended.and_then(|health| health.suspended_until),
                last_fault: tally.last_fault.or_else(|| suspended.and_then(|h| h.last_fault.clone())),
            }
        };
        rules.uses().map(status).collect()
    }
}

impl Board {
    /// Numbers decisions on from `last`, so that no number is used twice.
    pub fn decided_before(&mut self, last: DecisionId) {
        self.desk.count_from(last);
    }
}

/// The requests of a question, in its order.
fn seen(seen: &[(RequestId, u32)], question: &Question) -> Vec<Seen> {
    let see = |(&(id, version), info): (&(RequestId, u32), &RequestInfo)| Seen {
        id,
        version,
        priority: info.priority,
    };
    seen.iter().zip(question.requests()).map(see).collect()
}

fn snapshots(question: Question) -> (Vec<SlaveInfo>, Vec<BuilderInfo>) {
    match question {
        Question::NextSlave { builder, slaves, .. } | Question::CanStartBuild { builder, slaves, .. } => {
            (Arc::unwrap_or_clone(slaves), vec![builder])
        }
        Question::MergeRequests { builder, .. } | Question::NextBuild { builder, .. } => {
            (Vec::new(), vec![builder])
        }
        Question::PrioritizeBuilders { builders } => (Vec::new(), builders),
        Question::CodebaseGenerator { .. } => (Vec::new(), Vec::new()),
    }
}
