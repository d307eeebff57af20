//! A moment in time, as a value; and a time that goes on evenly, whoever sets the machine's clock.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; 0 if `earlier` lies after it.
    #[must_use]
    pub fn ms_since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A clock that is further off than this was never right: it is followed at once.
const FOLLOWED_AT_ONCE_MS: u64 = 30 * 24 * 3_600_000;
/// Where the clock was set, the steady time comes nearer to it by one part in so many of the time that passes.
const SLEW: u64 = 4;
const NS: u64 = 1_000_000;

/// The time that deadlines, waits and suspensions go by. It follows the clock of the machine as long as that goes evenly;
/// once somebody has set that, forward or back, it goes a quarter faster or slower until both agree, and never jumps. So
/// an hour that the clock lost or won ends no wait at once and makes none last for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steady {
    now_ns: u64,
    counter_ns: u64,
}

/// What a [`Steady`] time goes on from in another process: the time, and the counter at that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The time.
    pub at: Timestamp,
    /// What a counter said that nobody sets, in milliseconds.
    pub counter_ms: u64,
    /// Which start of the machine it counts from.
    pub boot: String,
}

impl Steady {
    /// Begins at what the clock says.
    #[must_use]
    pub fn new(clock: Timestamp, counter_ns: u64) -> Steady {
        Steady { now_ns: clock.0.saturating_mul(NS), counter_ns }
    }

    /// Goes on from a reading of an earlier process, as long as the machine was not started anew: then its clock is
    /// all that there is.
    #[must_use]
    pub fn after(last: &Reading, clock: Timestamp, counter_ns: u64, boot: &str) -> Steady {
        let last_ns = last.counter_ms.saturating_mul(NS);
        if last.boot != boot || counter_ns < last_ns {
            return Steady::new(clock, counter_ns);
        }
        let mut steady = Steady { now_ns: last.at.0.saturating_mul(NS), counter_ns: last_ns };
        steady.at(clock, counter_ns);
        steady
    }

    /// The time, at a moment at which clock and counter say this.
    pub fn at(&mut self, clock: Timestamp, counter_ns: u64) -> Timestamp {
        let passed = counter_ns.saturating_sub(self.counter_ns);
        let (even, clock_ns) = (self.now_ns.saturating_add(passed), clock.0.saturating_mul(NS));
        let off = clock_ns.abs_diff(even);
        let step = if off > FOLLOWED_AT_ONCE_MS * NS { off } else { off.min(passed / SLEW) };
        self.now_ns = if clock_ns < even { even - step } else { even + step };
        self.counter_ns = self.counter_ns.max(counter_ns);
        Timestamp(self.now_ns / NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    /// The time after so many milliseconds in which the clock, which was set by `set`, was read each second.
    fn after(set: i64, ms: u64) -> (Steady, u64) {
        let clock = |now: u64| Timestamp((100 * DAY + now).saturating_add_signed(set));
        let mut steady = Steady::new(Timestamp(100 * DAY), 0);
        let mut last = 0;
        for now in (0..=ms).step_by(1_000) {
            let at = steady.at(clock(now), now * NS).0 - 100 * DAY;
            assert!(last <= at, "it never goes back: {last}, {at}");
            last = at;
        }
        (steady, last)
    }

    #[test]
    fn a_clock_that_jumps_moves_no_deadline_by_more_than_a_quarter() {
        let day = DAY as i64;
        for (set, ms, expected) in [
            (0, 60_000, 60_000),
            // What is set by little is followed soon.
            (200, 10_000, 10_200),
            (-200, 10_000, 9_800),
            (day, 60_000, 75_000),
            (-day, 60_000, 45_000),
            // Both agree in the end.
            (day, 5 * DAY, 6 * DAY),
            (-day, 5 * DAY, 4 * DAY),
        ] {
            assert_eq!(after(set, ms).1, expected, "set by {set} ms, after {ms} ms");
        }
    }

    #[test]
    fn a_clock_that_was_never_right_is_followed_at_once() {
        let mut steady = Steady::new(Timestamp(5_000), 0);
        let right = Timestamp(20_000 * DAY);
        assert_eq!(steady.at(right, NS), right);
    }

    #[test]
    fn the_time_goes_on_after_a_restart_and_begins_anew_with_the_machine() {
        let last = Reading { at: Timestamp(100 * DAY), counter_ms: 5_000, boot: "a".to_owned() };
        // A minute later; the clock was set back by a day meanwhile.
        let clock = Timestamp(99 * DAY + 60_000);
        for (boot, counter_ms, expected) in
            [("a", 65_000, Timestamp(100 * DAY + 45_000)), ("b", 65_000, clock), ("a", 4_000, clock)]
        {
            let mut steady = Steady::after(&last, clock, counter_ms * NS, boot);
            assert_eq!(steady.at(clock, counter_ms * NS), expected, "{boot} {counter_ms}");
        }
    }
}
