//! Which worker has the least to do: what `least-loaded` does, and `sticky` where it has no better reason.

use std::cmp::Ordering;

use windlass_sdk::model::SlaveInfo;

/// What a worker without a limit counts as.
const UNLIMITED: u32 = 8;

/// The worker with the fewest builds in relation to what it may run; of equals the one that has not built this
/// builder for longest, and of those the first.
#[must_use]
pub fn least_loaded(slaves: &[SlaveInfo]) -> Option<&SlaveInfo> {
    // `min_by` answers the first of equals.
    slaves.iter().min_by(|a, b| share(a, b).then(a.last_built_ms.cmp(&b.last_built_ms)))
}

/// Compares running / max without dividing.
fn share(a: &SlaveInfo, b: &SlaveInfo) -> Ordering {
    let slots = |slave: &SlaveInfo| u64::from(slave.max_builds.unwrap_or(UNLIMITED).max(1));
    (u64::from(a.running) * slots(b)).cmp(&(u64::from(b.running) * slots(a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slave(name: &str, running: u32, max: Option<u32>, last_built_ms: Option<u64>) -> SlaveInfo {
        SlaveInfo {
            name: name.into(),
            running,
            max_builds: max,
            connected_since_ms: 0,
            last_built_ms,
            last_outcome: None,
            load: None,
            properties: vec![],
        }
    }

    fn check(slaves: &[SlaveInfo], expected: Option<&str>) {
        assert_eq!(least_loaded(slaves).map(|slave| slave.name.as_str()), expected);
    }

    #[test]
    fn fewest_builds_in_relation_to_the_limit_then_longest_idle_then_the_order() {
        check(&[], None);
        check(&[slave("a", 1, Some(2), None), slave("b", 1, Some(4), None)], Some("b"));
        check(&[slave("a", 1, None, None), slave("b", 1, Some(4), None)], Some("a"));
        check(&[slave("a", 0, Some(1), Some(5)), slave("b", 0, Some(4), Some(3))], Some("b"));
        check(&[slave("a", 0, Some(1), Some(5)), slave("b", 0, Some(1), None)], Some("b"));
        check(&[slave("a", 1, Some(1), None), slave("b", 2, Some(2), None)], Some("a"));
    }
}
