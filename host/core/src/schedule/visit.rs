//! Which builder's turn it is.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::desk::{Asked, Asker, Desk, Draft, Unasked};
use super::judge::{Offered, Verdict};
use super::lane::{Key, Lane};
use super::{Board, Effect, HOLD_MS, Reply};
use crate::builder::OnError;
use crate::decision::Done;
use crate::policy::{BuilderInfo, Lookups, Question};
use crate::time::Timestamp;

impl Board {
    /// Visits the dirty builders: asks for their order, or takes the default one at once.
    pub(super) fn visit(&mut self, now: Timestamp) {
        // What a visit gives back makes builders dirty again: go on until nothing can begin.
        while !self.ordering && self.round_rests.is_none() && !self.closed && !self.dirty.is_empty() {
            let dirty = std::mem::take(&mut self.dirty);
            let ready = self.ready(dirty, now);
            if ready.is_empty() {
                continue;
            }
            match self.rules.prioritize_builders.clone() {
                None => self.visit_by_first_request(ready, now),
                Some(policy) => {
                    let draft = Draft {
                        asker: Asker::Round,
                        builder: None,
                        question: Question::PrioritizeBuilders {
                            builders: ready.iter().map(|name| self.builder_info(name)).collect(),
                        },
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
                            if let Unasked::Suspended { until: lifted, component } = why {
                                until = lifted;
                                self.effects.push(Effect::Skipped { component, builder: None });
                            }
                            self.visit_without_order(policy.on_error, ready, until, now);
                        }
                    }
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
                    offered.into_iter().filter(|name| !order.contains(name)).collect();
                // Their places in line would keep others waiting for nothing.
                left.iter().for_each(|name| self.step_aside(name));
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
        match on_error {
            OnError::Default => self.visit_by_first_request(ready, now),
            OnError::Hold => {
                self.dirty.extend(ready);
                self.round_rests = Some(until);
            }
        }
    }

    /// The default order: always the builder whose first request comes first. One whose policies just
    /// left a request goes behind the others, so that it does not starve them of slots.
    fn visit_by_first_request(&mut self, ready: Vec<String>, now: Timestamp) {
        let mut turns: BinaryHeap<Reverse<(u32, Key, String)>> = BinaryHeap::new();
        let turn = |board: &Board, name: String| {
            let lane = board.lanes.get(&name)?;
            Some(Reverse((lane.refusals, lane.head()?, name)))
        };
        turns.extend(ready.into_iter().filter_map(|name| turn(self, name)));
        while let Some(Reverse((refusals, key, name))) = turns.pop() {
            if !self.can_begin(&name) {
                continue;
            }
            // The lane may have moved since its turn was queued: queue it again where it belongs.
            let Some(Reverse(current)) = turn(self, name.clone()) else { continue };
            if (current.0, current.1) == (refusals, key) && !self.begin(&name, now) {
                continue;
            }
            turns.extend(turn(self, name));
        }
    }

    /// Those of the builders whose turn may come. Who is held up by nothing but locks stands in line for them from
    /// now on, in the default order; who could not use them stands aside.
    fn ready(&mut self, dirty: BTreeSet<String>, now: Timestamp) -> Vec<String> {
        let mut ready = Vec::new();
        let mut by_turn = Vec::new();
        for name in dirty {
            if !self.can_begin(&name) {
                self.step_aside(&name);
            } else if self.needs_locks(&name) {
                by_turn.push((self.lanes.get(&name).and_then(Lane::head), name));
            } else {
                ready.push(name);
            }
        }
        by_turn.sort();
        ready
            .extend(by_turn.into_iter().map(|(_, name)| name).filter(|n| self.open_worker(n, now).is_some()));
        ready.sort();
        ready
    }

    /// Whether a build of this builder could begin now, if locks let it.
    pub(super) fn can_begin(&self, name: &str) -> bool {
        let Some(lane) = self.lanes.get(name).filter(|_| self.rules.builders.contains_key(name)) else {
            return false;
        };
        lane.has_waiting()
            && !self.desk.is_picking(name)
            && lane.rest.is_none()
            && !self.awaited.contains_key(name)
            && !self.joining.contains(name)
            && self.slots.any_room(name)
    }

    pub(super) fn builder_info(&self, name: &str) -> BuilderInfo {
        let lane = self.lanes.get(name);
        BuilderInfo {
            name: name.to_owned(),
            tags: self.rules.builders.get(name).map(|b| b.tags.clone()).unwrap_or_default(),
            pending: lane.map_or(0, |l| u32::try_from(l.pending()).unwrap_or(u32::MAX)),
            building: lane.map_or(0, |l| l.building),
            highest_priority: lane.and_then(Lane::head).map(Key::priority),
            oldest_request: lane.and_then(Lane::oldest),
        }
    }
}
