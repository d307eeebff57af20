//! How quickly the dispatcher answers: the newest events, each with the time from when it happened (it was
//! put into the inbox, or its task ended) until it was handled and what it led to was handed over.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

/// So many events are looked at.
const KEPT: usize = 10_000;

/// The newest [`KEPT`] events. The actor alone writes, whoever shows the figures reads; neither waits, and a
/// reader may see an event that comes just now or not.
#[derive(Debug)]
pub(super) struct Pace {
    /// Microseconds, the newest in place of the oldest.
    newest: Box<[AtomicU32]>,
    count: AtomicU64,
}

/// How quickly the dispatcher handled its newest events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Events since the start; the other figures are over the newest 10,000 of them.
    pub events: u64,
    /// Half of them took at most so many microseconds.
    pub p50_us: u64,
    /// 99 of 100 took at most so many.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { newest: (0..KEPT).map(|_| AtomicU32::new(0)).collect(), count: AtomicU64::new(0) }
    }
}

impl Pace {
    /// Events that happened at these moments are handled `now`.
    pub(super) fn handled(&self, happened: impl Iterator<Item = Instant>, now: Instant) {
        let mut count = self.count.load(Ordering::Relaxed);
        for moment in happened {
            let took = now.saturating_duration_since(moment).as_micros();
            let place = usize::try_from(count % KEPT as u64).expect("it is below KEPT");
            self.newest[place].store(u32::try_from(took).unwrap_or(u32::MAX), Ordering::Relaxed);
            count += 1;
        }
        self.count.store(count, Ordering::Release);
    }

    /// The figures of this moment.
    pub(super) fn figures(&self) -> Figures {
        let events = self.count.load(Ordering::Acquire);
        let filled = usize::try_from(events).unwrap_or(KEPT).min(KEPT);
        let mut sorted: Vec<u32> =
            self.newest[..filled].iter().map(|took| took.load(Ordering::Relaxed)).collect();
        sorted.sort_unstable();
        // The least that at least `percent` of them do not exceed.
        let at = |percent: usize| {
            let rank = (filled * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().map_or(0, u64::from)
        };
        Figures { events, p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn figures(took_us: impl Iterator<Item = u64>) -> Figures {
        let (pace, began) = (Pace::default(), Instant::now());
        took_us.for_each(|us| pace.handled([began].into_iter(), began + Duration::from_micros(us)));
        pace.figures()
    }

    #[test]
    fn figures_are_those_of_the_newest_events() {
        assert_eq!(figures([].into_iter()), Figures::default());
        assert_eq!(figures([7].into_iter()), Figures { events: 1, p50_us: 7, p99_us: 7, max_us: 7 });
        let hundred = Figures { events: 100, p50_us: 50, p99_us: 99, max_us: 100 };
        assert_eq!(figures(1..=100), hundred);
        let slow_ones_are_long_ago = [1_000_000; 5].into_iter().chain([3; KEPT]);
        let quick = Figures { events: 10_005, p50_us: 3, p99_us: 3, max_us: 3 };
        assert_eq!(figures(slow_ones_are_long_ago), quick);
    }
}
