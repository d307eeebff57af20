//! Which builder's turn it is.

use std::collections::BTreeSet;

use super::desk::{Asked, Asker, Desk, Draft, Unasked};
use super::judge::{Offered, Verdict};
use super::lane::Lane;
use super::turns::Place;
use super::{Board, Effect, HOLD_MS, MERGE_BOUND, Reply};
use crate::builder::{Merge, OnError};
use crate::decision::Done;
use crate::policy::{BuilderInfo, Lookups, Question};
use crate::time::Timestamp;

impl Board {
    /// Lines up the builders that something happened to, and gives free slots to those whose turn it is: in the
    /// order that the policy says, or in the default one at once.
    pub(super) fn visit(&mut self, now: Timestamp) {
        loop {
            self.line_up();
            if self.round_rests.is_some() {
                self.clear_lines();
                self.line_up();
            }
            if self.ordering || self.round_rests.is_some() || self.closed {
                return;
            }
            let Some(policy) = self.rules.prioritize_builders.clone() else {
                return self.visit_by_first_request(now);
            };
            let ready = self.ready(now);
            if ready.is_empty() {
                if self.dirty.is_empty() {
                    return;
                }
                continue;
            }
            let builders = ready.iter().map(|name| self.builder_info(name)).collect();
            let draft = Draft {
                asker: Asker::Round,
                builder: None,
                question: Question::PrioritizeBuilders { builders },
                lookups: Lookups::default(),
                offered: Offered::default(),
                seen: Vec::new(),
            };
            match self.desk.ask(&self.rules, &policy, draft, now) {
                Ok(ask) => {
                    self.ordering = true;
                    self.effects.push(Effect::Ask(ask));
                }
                Err(why) => {
                    let mut until = now.plus_ms(HOLD_MS);
                    if let Unasked::Suspended(suspended) = why {
                        until = suspended.until;
                        self.effects.push(Effect::Skipped { component: suspended.component });
                    }
                    self.visit_without_order(policy.on_error, ready, until, now);
                }
            }
        }
    }

    /// The order of builders arrived, or the want of one.
    pub(super) fn ordered(&mut self, asked: Asked, reply: Reply, now: Timestamp) {
        self.ordering = false;
        let offered: Vec<String> = asked.question.names().map(str::to_owned).collect();
        let judged = Desk::judged(&asked, &reply);
        self.desk.went(&asked, judged.as_ref().err().map(|f| &**f), now);
        match judged {
            Ok((Verdict::Order(order), ignored)) => {
                let left: BTreeSet<String> =
                    offered.iter().filter(|name| !order.contains(*name)).cloned().collect();
                self.dirty.extend(offered);
                self.line_up();
                for name in &left {
                    self.turns.get_stuck(name);
                    // Their places in line would keep others waiting for nothing.
                    self.step_aside(name);
                }
                if !left.is_empty() {
                    let (_, names) =
                        self.left_out.get_or_insert_with(|| (now.plus_ms(HOLD_MS), BTreeSet::new()));
                    names.extend(left);
                }
                let done = Done::Ordered(order.clone());
                let decision = self.desk.record(asked, reply, done, ignored, None, now);
                self.effects.push(Effect::Record(decision));
                for name in order {
                    while self.can_begin(&name) && self.begin(&name, now) {}
                    self.dirty.insert(name);
                }
            }
            Ok((other, _)) => unreachable!("BUG: an order was judged to be {other:?}"),
            Err(fault) => {
                let on_error = asked.policy.on_error;
                let done = match on_error {
                    OnError::Default => Done::Ordered(Vec::new()),
                    OnError::Hold => Done::Held,
                };
                let decision = self.desk.record(asked, reply, done, Vec::new(), Some(&fault), now);
                self.effects.push(Effect::Record(decision));
                self.visit_without_order(on_error, offered, now.plus_ms(HOLD_MS), now);
            }
        }
    }

    /// Without an answer: by their first request, or not before `until`.
    fn visit_without_order(
        &mut self,
        on_error: OnError,
        ready: Vec<String>,
        until: Timestamp,
        now: Timestamp,
    ) {
        self.dirty.extend(ready);
        match on_error {
            OnError::Default => self.visit_by_first_request(now),
            OnError::Hold => self.round_rests = Some(until),
        }
    }

    /// The default order: always the builder whose first request comes first.
    fn visit_by_first_request(&mut self, now: Timestamp) {
        // What a start gives back makes builders dirty again: go on until nobody can begin.
        loop {
            self.line_up();
            let Some(name) = self.turns.first(&self.slots).map(str::to_owned) else { return };
            if self.waits_for_its_first(&name) {
                // It is this one's turn, and nobody's before its request has come.
                return;
            }
            if self.can_begin(&name) && self.begin(&name, now) {
                self.dirty.insert(name);
            } else {
                self.turns.get_stuck(&name);
            }
        }
    }

    /// Lines up those that something happened to.
    fn line_up(&mut self) {
        while !self.closed
            && let Some(name) = self.dirty.pop_first()
        {
            self.refill(&name);
            if !self.wants_slot(&name) || self.has_lost_its_aim(&name) {
                self.step_aside(&name);
            }
            let Some(lane) = self.lanes.get(&name) else {
                self.turns.leave(&name);
                continue;
            };
            if lane.next_wake().is_none() {
                self.asleep.remove(&name);
            }
            let place =
                lane.next().map(|turn| Place { refusals: lane.refusals, turn, builder: name.clone() });
            match (place, self.slots.crew_of(&name)) {
                (Some(place), Some(crew)) if self.is_willing(&name) => self.turns.wait(crew, place),
                _ => self.turns.leave(&name),
            }
        }
    }

    /// Takes the builders out of the line that could begin now: a window of them, in the default order, up to one
    /// whose first request is still in the store: what comes after it waits until that is there.
    fn ready(&mut self, now: Timestamp) -> Vec<String> {
        let mut ready = Vec::new();
        while ready.len() < self.rules.window
            && let Some(name) = self.turns.first(&self.slots).map(str::to_owned)
        {
            if self.can_begin(&name) && (!self.needs_locks(&name) || self.open_worker(&name, now).is_some()) {
                self.turns.leave(&name);
                ready.push(name);
            } else if self.waits_for_its_first(&name) {
                break;
            } else {
                self.turns.get_stuck(&name);
            }
        }
        ready
    }

    /// Asks the store for more if a lane runs low.
    fn refill(&mut self, name: &str) {
        let Some(builder) = self.rules.builders.get(name) else { return };
        let looks_far = builder.next_build.is_some() || builder.merge_requests != Merge::Never;
        let low = if looks_far { self.rules.window.max(MERGE_BOUND) } else { self.rules.loaded / 16 };
        let lane = self.lanes.get_mut(name).filter(|lane| lane.rest.is_none());
        if let Some(after) = lane.and_then(|lane| lane.refill(low)) {
            self.more(name, after);
        }
    }

    /// Whether a builder would begin if there was room.
    fn is_willing(&self, name: &str) -> bool {
        let Some(lane) = self.lanes.get(name).filter(|_| self.rules.builders.contains_key(name)) else {
            return false;
        };
        (lane.has_waiting() || lane.is_dry())
            && !self.desk.is_picking(name)
            && lane.parked.is_none()
            && !self.awaited.contains_key(name)
            && lane.rest.is_none()
            && !self.joining.contains(name)
    }

    /// Whether a builder has something to build and a slot to build in; its first request may still be in the store.
    pub(super) fn wants_slot(&self, name: &str) -> bool {
        self.is_willing(name) && self.slots.any_room(name)
    }

    /// Whether a build of this builder could begin now, if locks let it.
    pub(super) fn can_begin(&self, name: &str) -> bool {
        self.wants_slot(name) && self.lanes.get(name).is_some_and(Lane::has_waiting)
    }

    /// Whether nothing but the store, which is being read, keeps a build of this builder from beginning, as far as
    /// slots go.
    fn waits_for_its_first(&self, name: &str) -> bool {
        self.wants_slot(name) && self.lanes.get(name).is_some_and(Lane::is_dry)
    }

    pub(super) fn builder_info(&self, name: &str) -> BuilderInfo {
        let lane = self.lanes.get(name);
        BuilderInfo {
            name: name.to_owned(),
            tags: self.rules.builders.get(name).map(|b| b.tags.clone()).unwrap_or_default(),
            pending: lane.map_or(0, |l| u32::try_from(l.pending()).unwrap_or(u32::MAX)),
            building: lane.map_or(0, |l| l.building),
            highest_priority: lane.and_then(Lane::head).map(|turn| turn.priority.0),
            oldest_request: lane.and_then(Lane::oldest),
        }
    }
}
