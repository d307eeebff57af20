//! Attempts to guess a password: each wrong one makes the next one wait, for twice as long as the one before.

use crate::time::Timestamp;

/// The wait after the first wrong one, in milliseconds.
const FIRST_MS: u64 = 1_000;

/// The longest wait, in milliseconds.
const LONGEST_MS: u64 = 60_000;

/// What came of attempts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    wrong: u32,
    until: Timestamp,
}

impl Attempts {
    /// Whether another attempt may be made; the error is how long to wait yet, in milliseconds. It is no attempt.
    pub fn may_try(&self, now: Timestamp) -> Result<(), u64> {
        match self.until.ms_since(now) {
            0 => Ok(()),
            wait => Err(wait),
        }
    }

    /// One was wrong; answers how many were in a row.
    pub fn wrong(&mut self, now: Timestamp) -> u32 {
        let wait = FIRST_MS.saturating_mul(1 << self.wrong.min(10)).min(LONGEST_MS);
        self.wrong = self.wrong.saturating_add(1);
        self.until = Timestamp(now.0.saturating_add(wait));
        self.wrong
    }

    /// One was right: all is forgotten.
    pub fn right(&mut self) {
        *self = Attempts::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_one_doubles_the_wait_up_to_a_minute_and_a_right_one_ends_it() {
        let (mut attempts, mut now) = (Attempts::default(), Timestamp(100));
        let mut waits = Vec::new();
        for _ in 0..40 {
            assert_eq!(attempts.may_try(now), Ok(()));
            attempts.wrong(now);
            let wait = attempts.may_try(now).unwrap_err();
            waits.push(wait / 1_000);
            assert_eq!(attempts.may_try(Timestamp(now.0 + wait - 1)), Err(1));
            now = Timestamp(now.0 + wait);
        }
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(waits[8..].iter().all(|wait| *wait == 60));
        attempts.right();
        assert_eq!((attempts.may_try(Timestamp(0)), attempts.wrong(now)), (Ok(()), 1));
    }
}
