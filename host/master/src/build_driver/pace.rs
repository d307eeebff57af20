//! How fast a build may begin its steps. A step that does nothing but add others costs the store and everybody who
//! writes to it; a build that does so a thousand times gets its turn, and no more than that.

use std::time::{Duration, Instant};

/// Steps that a build may begin as fast as it can, and how long each later one takes at least. What a build has not
/// used so far it may use later: one whose steps take this long never waits.
const BURST: u32 = 50;
const EACH: Duration = Duration::from_millis(20);

/// Of one build.
#[derive(Debug)]
pub(super) struct Pace {
    /// When all steps so far would have had their time.
    due: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { due: now }
    }

    /// Another step is to begin: after how long?
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        self.due = self.due.max(now) + EACH;
        self.due.duration_since(now).saturating_sub(BURST * EACH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_of_many_steps_that_do_nothing_is_slowed_down() {
        let began = Instant::now();
        let (mut pace, mut now) = (Pace::new(began), began);
        for _ in 0..BURST {
            assert_eq!(pace.next(now), Duration::ZERO);
        }
        for _ in 0..100 {
            now += pace.next(now);
        }
        assert_eq!(now - began, 100 * EACH);
    }

    #[test]
    fn a_build_whose_steps_do_something_never_waits() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..1_000 {
            assert_eq!(pace.next(now), Duration::ZERO);
            now += EACH;
        }
    }
}
