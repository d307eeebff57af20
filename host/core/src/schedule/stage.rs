//! The way of one start: pick, allow, place, join, claim. Each stage follows its policy or the default.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::claim::{Claim, Given};
use super::desk::{Asked, Desk, Unasked};
use super::draft::{Advice, instead, unasked};
use super::judge::Verdict;
use super::lane::{Entry, HeldBy, Rest};
use super::slots::WorkerNo;
use super::{
    ASKED_AGAIN, Board, Effect, HOLD_MS, MERGE_BOUND, REFUSALS_A_PASS, REST_MS, Reply, StartId,
    WINDOWS_A_PASS, WaitsFor,
};
use crate::builder::{Builder, Merge, PolicyUse};
use crate::decision::{Decision, Done};
use crate::id::{DecisionId, RequestId};
use crate::lock::Ticket;
use crate::record::Component;
use crate::request::Turn;
use crate::time::Timestamp;

/// Where a start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// `next-build`.
    Pick,
    /// `can-start-build`.
    Allow,
    /// `next-slave`.
    Place,
    /// `merge-requests`.
    Join,
    /// All is settled.
    Ready,
    /// The store is claiming.
    Claim,
}

/// A build on its way to its claim. It holds a slot from its first moment.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) spec: Arc<Builder>,
    pub(super) worker: String,
    pub(super) stage: Stage,
    pub(super) request: Option<RequestId>,
    pub(super) joined: Vec<RequestId>,
    /// What `can-start-build` allowed; none: it was not asked.
    allowed: Option<BTreeSet<WorkerNo>>,
    acted: Vec<Component>,
    decisions: Vec<DecisionId>,
    /// Workers that it could have been given when its policies were asked.
    offered: Vec<WorkerNo>,
    /// How often the present stage was asked again.
    again: u32,
    /// `next-build` is offered what comes after this.
    pub(super) after: Option<Turn>,
    window_end: Option<Turn>,
    windows: u32,
    /// No other start of its builder begins before it is settled: that would take what belongs to this one, its
    /// requests or its locks.
    alone: bool,
    /// The locks of builder and worker, once the claim is handed out.
    pub(super) locks: Option<Ticket>,
}

impl Start {
    /// Its requests; the first is the one that it began for.
    pub(super) fn requests(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.request.into_iter().chain(self.joined.iter().copied())
    }

    /// Whether its policies let it have this worker.
    pub(super) fn may_have(&self, worker: WorkerNo) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&worker))
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.again = 0;
    }
}

impl Board {
    /// Begins a start: takes the least-loaded slot and goes as far as the first policy. False: no slot.
    pub(super) fn begin(&mut self, name: &str, now: Timestamp) -> bool {
        let Some(spec) = self.rules.builders.get(name).cloned() else { return false };
        let Some(worker) = self.open_worker(name, now) else { return false };
        if !self.slots.reserve(&worker, name) {
            return false;
        }
        self.crowded(&worker);
        self.last_start += 1;
        let id = StartId(self.last_start);
        let merges = match spec.merge_requests {
            Merge::Never => false,
            Merge::Compatible | Merge::Policy(_) => true,
        };
        let start = Start {
            spec,
            worker,
            stage: Stage::Pick,
            request: None,
            joined: Vec::new(),
            allowed: None,
            offered: Vec::new(),
            acted: Vec::new(),
            decisions: Vec::new(),
            again: 0,
            after: None,
            window_end: None,
            windows: 0,
            alone: merges || self.needs_locks(name),
            locks: None,
        };
        if start.alone {
            self.joining.insert(name.to_owned());
        }
        self.starts.insert(id, start);
        self.proceed(id, now);
        true
    }

    /// A policy's reply to a start.
    pub(super) fn advised(&mut self, id: StartId, asked: Asked, reply: Reply, now: Timestamp) {
        let judged = Desk::judged(&asked, &reply);
        self.desk.went(&asked, judged.as_ref().err().map(|f| &**f), now);
        let Some(start) = self.starts.get_mut(&id) else { return };
        if start.stage == Stage::Pick {
            start.window_end = asked.offered.end;
        }
        let (advice, ignored, fault) = match judged {
            Ok((verdict, ignored)) => {
                if !start.acted.contains(&asked.component) {
                    start.acted.push(asked.component.clone());
                }
                (Advice::Verdict(verdict), ignored, None)
            }
            Err(fault) => (instead(start.stage, &asked.policy), Vec::new(), Some(fault)),
        };
        let done = self.follow(id, advice, now);
        let decision = self.desk.record(asked, reply, done, ignored, fault.as_deref(), now);
        self.keep(id, decision);
        self.proceed(id, now);
    }

    /// Gives a start up: what it took waits again.
    pub(super) fn give_up(&mut self, id: StartId) {
        let Some(start) = self.starts.remove(&id) else { return };
        if start.alone && start.stage != Stage::Ready {
            self.joining.remove(&start.spec.name);
        }
        self.release_locks(start.locks);
        if let Some(lane) = self.lanes.get_mut(&start.spec.name) {
            for request in start.requests() {
                lane.put_back(request);
            }
        }
        self.free(&start.worker, &start.spec.name);
        if self.lets_off(&start) {
            self.may_be_stuck();
        }
    }

    /// Goes on until a policy or the store has to be waited for, the claim is handed out, or the start is given up.
    pub(super) fn proceed(&mut self, id: StartId, now: Timestamp) {
        while let Some(start) = self.starts.get(&id) {
            let policy = match start.stage {
                Stage::Pick => start.spec.next_build.clone(),
                Stage::Allow => start.spec.can_start_build.clone(),
                Stage::Place => start.spec.next_slave.clone(),
                Stage::Join => match &start.spec.merge_requests {
                    Merge::Policy(policy) => Some(policy.clone()),
                    Merge::Never | Merge::Compatible => None,
                },
                Stage::Ready => return self.hand_out(id, now),
                Stage::Claim => return,
            };
            let (stage, mut candidates) = (start.stage, Vec::new());
            if policy.is_some() && stage == Stage::Pick && self.waits_for_requests(id) {
                return;
            }
            if policy.is_some() && matches!(stage, Stage::Allow | Stage::Place) {
                candidates = self.candidates(id);
                candidates.truncate(self.rules.window);
                if self.waits_for_history(id, &candidates) {
                    return;
                }
                if let Some(start) = self.starts.get_mut(&id) {
                    start.offered.extend(candidates.iter().map(|member| member.worker));
                }
            }
            let advice = match policy {
                None => Advice::Default,
                Some(policy) => match self.draft(id, candidates) {
                    Err(advice) => advice,
                    Ok(draft) => match self.desk.ask(&self.rules, &policy, draft, now) {
                        Ok(ask) => {
                            self.effects.push(Effect::Ask(ask));
                            return;
                        }
                        Err(why) => {
                            self.go_without(id, &policy, why, now);
                            continue;
                        }
                    },
                },
            };
            self.follow(id, advice, now);
        }
    }

    /// Follows an advice in the present stage; afterwards the start is in another one, or the same again,
    /// or gone.
    fn follow(&mut self, id: StartId, advice: Advice, now: Timestamp) -> Done {
        let Some(start) = self.starts.get_mut(&id) else { return Done::Stale };
        let stage = start.stage;
        match (stage, advice) {
            (_, Advice::GiveUp) => {
                self.give_up(id);
                Done::Stale
            }
            (_, Advice::Hold(why)) => self.hold(id, &why, now),
            (_, Advice::Rest(until, why)) => self.rest(id, until, why),
            (Stage::Pick, Advice::Verdict(Verdict::Pick(None))) => self.pick_none(id, now),
            (Stage::Pick, Advice::Verdict(Verdict::Pick(Some(request)))) => {
                if self.pick(id, Some(request)) {
                    Done::Picked(request)
                } else {
                    self.ask_again(id, now)
                }
            }
            (Stage::Pick, Advice::Default) => {
                if !self.pick(id, None) {
                    self.give_up(id);
                    return Done::Stale;
                }
                self.starts.get(&id).and_then(|s| s.request).map_or(Done::Stale, Done::Picked)
            }
            (Stage::Allow, Advice::Verdict(Verdict::Allow(names))) if names.is_empty() => {
                let why = format!("`{}` allows no worker", hook(start.spec.can_start_build.as_ref()));
                self.hold(id, &why, now)
            }
            (Stage::Allow, Advice::Verdict(Verdict::Allow(names))) => {
                start.allowed = Some(names.iter().filter_map(|name| self.slots.number(name)).collect());
                start.enter(Stage::Place);
                Done::Allowed(names)
            }
            (Stage::Allow, Advice::Default) => {
                start.enter(Stage::Place);
                Done::Allowed(Vec::new())
            }
            (Stage::Place, Advice::Verdict(Verdict::Place(None))) => {
                let why = format!("`{}` chooses no worker", hook(start.spec.next_slave.as_ref()));
                self.hold(id, &why, now)
            }
            (Stage::Place, Advice::Verdict(Verdict::Place(Some(worker)))) => {
                if !self.move_to(id, &worker) {
                    return self.ask_again(id, now);
                }
                self.enter(id, Stage::Join);
                Done::Placed(worker)
            }
            (Stage::Place, Advice::Default) => {
                let own = start.worker.clone();
                let own_will_do = self.slots.number(&own).is_some_and(|own| start.may_have(own));
                let best = if own_will_do && self.slots.is_open(&own) {
                    Some(own)
                } else {
                    self.candidates(id).first().map(|member| self.slots.name(member.worker).to_owned())
                };
                match best {
                    Some(worker) if self.move_to(id, &worker) => {
                        self.enter(id, Stage::Join);
                        Done::Placed(worker)
                    }
                    Some(_) | None => {
                        self.give_up(id);
                        Done::Stale
                    }
                }
            }
            (Stage::Join, Advice::Verdict(Verdict::Join(others))) => self.join(id, others),
            (Stage::Join, Advice::Default) => {
                let others = match &start.spec.merge_requests {
                    Merge::Compatible => self.partners(id),
                    Merge::Never | Merge::Policy(_) => Vec::new(),
                };
                self.join(id, others)
            }
            (Stage::Ready | Stage::Claim, Advice::Default) => Done::Stale,
            (stage, Advice::Verdict(verdict)) => unreachable!("BUG: {verdict:?} in {stage:?}"),
        }
    }

    /// A policy was not asked: follows what stands in for it, with a record where it is suspended.
    fn go_without(&mut self, id: StartId, policy: &PolicyUse, why: Unasked, now: Timestamp) {
        let Some(start) = self.starts.get(&id) else { return };
        let advice = unasked(start.stage, policy, &why);
        let done = self.follow(id, advice, now);
        let Unasked::Suspended(suspended) = why else { return };
        let decision = self.desk.record_unasked(*suspended, done, now);
        self.keep(id, decision);
    }

    /// Keeps the record of a decision of a start.
    fn keep(&mut self, id: StartId, decision: Decision) {
        if let Some(start) = self.starts.get_mut(&id) {
            start.decisions.push(decision.id);
        }
        self.effects.push(Effect::Record(decision));
    }

    fn enter(&mut self, id: StartId, stage: Stage) {
        if let Some(start) = self.starts.get_mut(&id) {
            start.enter(stage);
        }
    }

    /// The state moved on while the policy thought: it is asked again, a few times, then the default.
    fn ask_again(&mut self, id: StartId, now: Timestamp) -> Done {
        let Some(start) = self.starts.get_mut(&id) else { return Done::Stale };
        start.again += 1;
        if start.again > ASKED_AGAIN {
            return self.follow(id, Advice::Default, now);
        }
        Done::Stale
    }

    /// Takes a request, or the first one. False: it is not waiting any more.
    fn pick(&mut self, id: StartId, request: Option<RequestId>) -> bool {
        let Some(start) = self.starts.get_mut(&id) else { return false };
        let Some(lane) = self.lanes.get_mut(&start.spec.name) else { return false };
        let first = || lane.window(None, 1).first().map(|(_, e)| e.request.id);
        let Some(request) = request.or_else(first) else { return false };
        if !lane.take(request, id) {
            return false;
        }
        start.request = Some(request);
        start.enter(Stage::Allow);
        true
    }

    /// `next-build` takes none of a window: it is offered the next one, or the builder rests.
    fn pick_none(&mut self, id: StartId, now: Timestamp) -> Done {
        let Some(start) = self.starts.get_mut(&id) else { return Done::Stale };
        start.windows += 1;
        start.after = start.window_end;
        let more = self
            .lanes
            .get(&start.spec.name)
            .filter(|_| start.after.is_some())
            .is_some_and(|lane| lane.tail.is_some() || !lane.window(start.after, 1).is_empty());
        if more && start.windows < WINDOWS_A_PASS {
            return Done::Held;
        }
        let why = format!("`{}` takes up none of them", hook(start.spec.next_build.as_ref()));
        let name = start.spec.name.clone();
        let done = self.hold(id, &why, now);
        if let Some(rest) = self.lanes.get_mut(&name).and_then(|lane| lane.rest.as_mut()) {
            rest.until_news = true;
        }
        done
    }

    /// Holds the request back, or, where none is picked yet, lets the builder rest; ends the start.
    fn hold(&mut self, id: StartId, why: &str, now: Timestamp) -> Done {
        let Some(start) = self.starts.get_mut(&id) else { return Done::Stale };
        let (spec, request, offered) =
            (start.spec.clone(), start.request, std::mem::take(&mut start.offered));
        let name = spec.name.clone();
        let all = self.slots.connected(&name).collect();
        self.give_up(id);
        let Some(lane) = self.lanes.get_mut(&name) else { return Done::Stale };
        let wants = request.map(|request| lane.refused(request, offered, all)).unwrap_or_default();
        let open = |no| self.slots.has_room(no, &name) && self.is_unlocked(&spec, self.slots.name(no));
        let news = wants.iter().any(|no| open(*no));
        let Some(lane) = self.lanes.get_mut(&name) else { return Done::Stale };
        let rest = |ms| {
            Some(Rest {
                until: now.plus_ms(ms),
                waits_for: WaitsFor::Policy,
                why: why.to_owned(),
                until_news: false,
            })
        };
        let mut done = Done::Held;
        match request {
            None => lane.rest = rest(HOLD_MS),
            Some(request) => {
                if news {
                    // A slot came free while the policy thought: the next question offers it.
                    done = Done::Stale;
                } else {
                    lane.hold(request, now.plus_ms(HOLD_MS), wants, HeldBy::Policy, why);
                }
                lane.refusals += 1;
                if lane.refusals >= REFUSALS_A_PASS {
                    lane.rest = rest(REST_MS);
                }
            }
        }
        self.arm(&name);
        done
    }

    /// Lets the builder rest until a moment; ends the start.
    fn rest(&mut self, id: StartId, until: Timestamp, why: String) -> Done {
        let Some(name) = self.starts.get(&id).map(|start| start.spec.name.clone()) else {
            return Done::Stale;
        };
        self.give_up(id);
        let Some(lane) = self.lanes.get_mut(&name) else { return Done::Stale };
        lane.rest = Some(Rest { until, waits_for: WaitsFor::Policy, why, until_news: false });
        self.arm(&name);
        Done::Held
    }

    fn join(&mut self, id: StartId, others: Vec<RequestId>) -> Done {
        let Some(start) = self.starts.get_mut(&id) else { return Done::Stale };
        let Some(lane) = self.lanes.get_mut(&start.spec.name) else { return Done::Stale };
        let room = MERGE_BOUND - 1;
        start.joined = others.into_iter().filter(|r| lane.take(*r, id)).take(room).collect();
        start.enter(Stage::Ready);
        if start.alone {
            self.joining.remove(&start.spec.name);
        }
        Done::Joined(start.joined.clone())
    }

    fn partners(&self, id: StartId) -> Vec<RequestId> {
        self.first(id).map_or_else(Vec::new, |(lane, first)| lane.partners(first, MERGE_BOUND - 1))
    }

    pub(super) fn first(&self, id: StartId) -> Option<(&super::lane::Lane, &Entry)> {
        let start = self.starts.get(&id)?;
        let lane = self.lanes.get(&start.spec.name)?;
        Some((lane, lane.get(start.request?)?))
    }

    /// Hands out the claim, if the configuration and the worker are still there, and the locks are free.
    fn hand_out(&mut self, id: StartId, now: Timestamp) {
        let Some(start) = self.starts.get(&id) else { return };
        let name = &start.spec.name;
        // The builder as it is now: its steps are looked up in the plugins of now.
        let worker = self.slots.number(&start.worker);
        let may = worker.is_some_and(|worker| self.slots.serves(worker, name));
        let builder = self.rules.builders.get(name).filter(|_| may).cloned();
        let Some(builder) = builder.filter(|_| self.slots.is_open(&start.worker)) else {
            return self.give_up(id);
        };
        if !self.take_locks(id, &builder, now) {
            return self.give_up(id);
        }
        let Some(start) = self.starts.get(&id) else { return };
        let name = &start.spec.name;
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let served = start.requests().filter_map(|r| lane.get(r));
        let requests: Vec<_> = served.map(|e| (e.request.clone(), e.buildset.clone())).collect();
        lane.building += 1;
        let rule = self.slots.rule(&start.worker);
        let claim = Claim {
            start: id,
            builder,
            worker: start.worker.clone(),
            requests,
            acted: start.acted.clone(),
            decisions: start.decisions.clone(),
            given: Given {
                global: self.rules.properties.clone(),
                worker: rule.map(|r| r.properties.clone()).unwrap_or_default(),
            },
        };
        self.effects.push(Effect::Claim(claim));
        self.enter(id, Stage::Claim);
    }
}

fn hook(policy: Option<&PolicyUse>) -> &str {
    policy.map_or("default", |p| &p.hook)
}
