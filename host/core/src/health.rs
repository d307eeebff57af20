//! How a policy is doing, and whether it may be asked: three errors in a row suspend it for 10 s,
//! each further one for twice as long, up to an hour. A reload that takes effect lifts any suspension; new
//! bytes start afresh. A restart of the master lifts none.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::policy::Fault;
use crate::time::Timestamp;

/// So many errors in a row suspend a policy.
pub const ERRORS_IN_A_ROW: u32 = 3;
/// The first suspension.
pub const FIRST_SUSPENSION_MS: u64 = 10_000;
/// The longest suspension.
pub const LONGEST_SUSPENSION_MS: u64 = 3_600_000;

/// The health of one policy: one hook of one plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The bytes that it speaks of.
    pub digest: Digest,
    /// Answers that made sense.
    pub answers: u64,
    /// Calls that gave no answer, or one that made no sense.
    pub faults: u64,
    /// Decisions that were made without it while it was suspended.
    pub skipped: u64,
    /// The newest fault.
    pub last_fault: Option<String>,
    /// It is not asked before this moment.
    pub suspended_until: Option<Timestamp>,
    errors_in_a_row: u32,
    suspension_ms: u64,
}

impl Health {
    /// Of a policy that was never asked.
    #[must_use]
    pub fn new(digest: Digest) -> Health {
        Health {
            digest,
            answers: 0,
            faults: 0,
            skipped: 0,
            last_fault: None,
            suspended_until: None,
            errors_in_a_row: 0,
            suspension_ms: FIRST_SUSPENSION_MS,
        }
    }

    /// Whether it may be asked at `now`. A refusal counts as a skipped decision.
    #[must_use]
    pub fn may_ask(&mut self, now: Timestamp) -> bool {
        if self.is_suspended(now) {
            self.skipped += 1;
            return false;
        }
        true
    }

    /// Whether it is suspended at `now`.
    #[must_use]
    pub fn is_suspended(&self, now: Timestamp) -> bool {
        self.suspended_until.is_some_and(|until| now < until)
    }

    /// Notes an answer that made sense: what was wrong before is forgiven. An answer that was asked for
    /// before a suspension began does not lift it.
    pub fn answered(&mut self, now: Timestamp) {
        self.answers += 1;
        if !self.is_suspended(now) {
            self.forgive();
        }
    }

    /// Notes a fault. Calls that were under way when a suspension began do not lengthen it.
    pub fn failed(&mut self, fault: &Fault, now: Timestamp) {
        self.faults += 1;
        self.last_fault = Some(fault.brief());
        if self.is_suspended(now) {
            return;
        }
        self.errors_in_a_row += 1;
        if self.errors_in_a_row >= ERRORS_IN_A_ROW {
            self.suspended_until = Some(now.plus_ms(self.suspension_ms));
            self.suspension_ms = (self.suspension_ms * 2).min(LONGEST_SUSPENSION_MS);
        }
    }

    /// Notes a reload that took effect. Whoever reloads has mended something, perhaps what the policy tripped
    /// over: it may be asked at once, and is suspended anew only by as many errors as ever. Other bytes start
    /// afresh, the same ones keep their counts.
    pub fn reloaded(&mut self, digest: Digest) {
        if digest != self.digest {
            *self = Health::new(digest);
        }
        self.forgive();
    }

    /// As the next run of the master takes it up: a suspension lasts no longer than it would have, whatever became of
    /// the clock meanwhile.
    #[must_use]
    pub fn taken_up(self, now: Timestamp) -> Health {
        let longest = now.plus_ms(self.suspension_ms);
        Health { suspended_until: self.suspended_until.map(|until| until.min(longest)), ..self }
    }

    fn forgive(&mut self) {
        self.suspended_until = None;
        self.errors_in_a_row = 0;
        self.suspension_ms = FIRST_SUSPENSION_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::FaultKind;

    fn fault() -> Fault {
        Fault {
            plugin: "p".to_owned(),
            digest: Digest::of(b"p"),
            call: "next-slave.choose".to_owned(),
            kind: FaultKind::Cpu(20),
        }
    }

    fn suspended_after(faults: u32) -> (Health, Timestamp) {
        let (mut health, mut now) = (Health::new(Digest::of(b"p")), Timestamp(0));
        for _ in 0..faults {
            now = health.suspended_until.unwrap_or(now);
            assert!(health.may_ask(now));
            health.failed(&fault(), now);
        }
        (health, now)
    }

    #[test]
    fn two_errors_do_not_suspend_and_the_third_does_for_ten_seconds() {
        assert_eq!(suspended_after(2).0.suspended_until, None);
        let (mut health, now) = suspended_after(3);
        assert!(!health.may_ask(now.plus_ms(9_999)));
        assert!(health.may_ask(now.plus_ms(10_000)));
        assert_eq!(health.skipped, 1);
    }

    #[test]
    fn each_further_error_doubles_the_suspension_up_to_an_hour() {
        let lengths: Vec<u64> = (3..15)
            .map(suspended_after)
            .map(|(health, now)| health.suspended_until.unwrap().ms_since(now) / 1000)
            .collect();
        assert_eq!(lengths, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
    }

    #[test]
    fn an_answer_forgives() {
        let (mut health, _) = suspended_after(4);
        let later = health.suspended_until.unwrap();
        health.answered(later);
        health.failed(&fault(), later);
        assert!(health.may_ask(later));
    }

    #[test]
    fn a_reload_lifts_a_suspension_and_only_other_bytes_lose_their_counts() {
        for (bytes, faults) in [(b"p", 5), (b"q", 0)] {
            let (mut health, now) = suspended_after(5);
            health.reloaded(Digest::of(bytes));
            assert!(health.may_ask(now));
            assert_eq!((health.faults, health.last_fault.is_some()), (faults, faults > 0));
            // It is as patient, and then as brief, as it was at the very first.
            for _ in 0..2 {
                health.failed(&fault(), now);
                assert!(health.may_ask(now));
            }
            health.failed(&fault(), now);
            assert_eq!(health.suspended_until, Some(now.plus_ms(FIRST_SUSPENSION_MS)));
        }
    }

    #[test]
    fn a_restart_lifts_no_suspension_and_a_clock_that_was_set_back_makes_none_longer_than_the_next() {
        let (health, now) = suspended_after(4);
        let kept = serde_json::to_vec(&health).unwrap();
        let (day, until) = (86_400_000, health.suspended_until.unwrap());
        let next = 4 * FIRST_SUSPENSION_MS;
        for (ahead, then, expected) in [
            (0, now, until),
            (0, now.plus_ms(15_000), until),
            (0, now.plus_ms(day), until),
            // The clock was ahead when it was suspended.
            (day, now, now.plus_ms(next)),
        ] {
            let mut again: Health = serde_json::from_slice(&kept).unwrap();
            again.suspended_until = Some(until.plus_ms(ahead));
            let mut again = again.taken_up(then);
            assert_eq!(again.suspended_until, Some(expected));
            // The first error after it suspends it at once, for twice as long.
            let then = expected.max(then);
            again.failed(&fault(), then);
            assert_eq!(again.suspended_until, Some(then.plus_ms(next)));
        }
    }

    #[test]
    fn calls_under_way_neither_lengthen_nor_lift_a_suspension() {
        let (mut health, now) = suspended_after(3);
        let until = health.suspended_until;
        health.failed(&fault(), now);
        health.answered(now);
        assert_eq!(health.suspended_until, until);
    }
}
