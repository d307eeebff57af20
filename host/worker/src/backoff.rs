//! How long to wait before the next attempt to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// The pause before attempt `attempt` (from 0), with `random` spreading it over its upper half: after a
/// restart of the master, a thousand workers do not come at the same moment.
pub fn pause(attempt: u32, random: u32) -> Duration {
    let longest = FIRST.saturating_mul(1 << attempt.min(16)).min(LONGEST);
    longest / 2 + (longest / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ_between_workers() {
        assert_eq!(pause(0, 0), Duration::from_millis(100));
        assert_eq!(pause(0, u32::MAX), Duration::from_millis(200));
        assert_eq!(pause(3, u32::MAX), Duration::from_millis(1_600));
        assert_eq!(pause(1_000, u32::MAX), LONGEST);
        assert_eq!(pause(1_000, 0), LONGEST / 2);
    }
}
