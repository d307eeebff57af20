//! The slot that a start sits on until its claim: which others it could have, and how it moves.

use super::slots::Member;
use super::stage::{Stage, Start};
use super::{Board, StartId};

impl Board {
    /// Workers that could take the start now, its own included, in the default order.
    pub(super) fn candidates(&self, id: StartId) -> Vec<Member> {
        let Some(start) = self.starts.get(&id) else { return Vec::new() };
        let mut found = self.slots.with_room(&start.spec.name, &start.worker);
        let unlocked = |worker| self.is_unlocked(&start.spec, self.slots.name(worker));
        found.retain(|member| start.may_have(member.worker) && unlocked(member.worker));
        found
    }

    /// Moves a start to another worker's slot. If that is reserved by a start that is not settled either,
    /// and that one could do with ours, the two swap. False: no room.
    pub(super) fn move_to(&mut self, id: StartId, to: &str) -> bool {
        let Some(start) = self.starts.get(&id) else { return false };
        let (name, from) = (start.spec.name.clone(), start.worker.clone());
        if from == to {
            return self.slots.is_open(to);
        }
        if self.slots.reserve(to, &name) {
            if let Some(start) = self.starts.get_mut(&id) {
                to.clone_into(&mut start.worker);
            }
            self.crowded(to);
            self.free(&from, &name);
            return true;
        }
        let unsettled = |s: &Start| matches!(s.stage, Stage::Pick | Stage::Allow | Stage::Place);
        let could = |s: &Start| {
            self.slots
                .number(&from)
                .is_some_and(|from| self.slots.serves(from, &s.spec.name) && s.may_have(from))
        };
        let other = self.starts.iter().find(|(_, s)| s.worker == to && unsettled(s) && could(s));
        let Some((other, their_name)) = other.map(|(id, s)| (*id, s.spec.name.clone())) else { return false };
        self.slots.release(to, &their_name);
        if !self.slots.reserve(to, &name) {
            self.slots.retake(to, &their_name);
            return false;
        }
        self.slots.release(&from, &name);
        if !self.slots.reserve(&from, &their_name) {
            self.slots.retake(&from, &name);
            self.slots.release(to, &name);
            self.slots.retake(to, &their_name);
            return false;
        }
        for (id, worker) in [(id, to), (other, &from)] {
            if let Some(start) = self.starts.get_mut(&id) {
                worker.clone_into(&mut start.worker);
            }
        }
        true
    }
}
