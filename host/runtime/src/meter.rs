//! What each component cost, by the digest of its bytes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use windlass_core::digest::Digest;
use windlass_core::policy::{FaultKind, Usage};

/// What a component cost since this process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Calls of its exports.
    pub calls: u64,
    /// Microseconds of CPU in the guest and its host calls.
    pub cpu_us: u64,
    /// Microseconds from start to end of the calls.
    pub wall_us: u64,
    /// The most memory that one call had, in bytes.
    pub peak_memory: u64,
    /// Calls of host functions.
    pub host_calls: u64,
    /// Calls that trapped or passed a limit.
    pub traps: u64,
    /// Requests that were denied for want of a grant.
    pub denials: u64,
    /// Decisions that the default rule had to take in its stead.
    pub fallbacks: u64,
}

/// Meters by digest.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<BTreeMap<Digest, Meter>>);

impl Meters {
    /// Adds one call that ended.
    pub(crate) fn record(&self, digest: Digest, usage: Usage, denials: u64, fault: Option<&FaultKind>) {
        self.with(digest, |meter| {
            meter.calls += 1;
            meter.cpu_us += usage.cpu_us;
            meter.wall_us += usage.wall_us;
            meter.peak_memory = meter.peak_memory.max(usage.peak_memory);
            meter.host_calls += usage.host_calls;
            meter.denials += denials;
            meter.traps += match fault {
                Some(FaultKind::Trap(_) | FaultKind::Cpu(_) | FaultKind::Wall(_) | FaultKind::Memory(_)) => 1,
                Some(FaultKind::Failed(_) | FaultKind::BadAnswer(_)) | None => 0,
            };
        });
    }

    /// Counts a decision that was taken without the component's answer.
    pub(crate) fn fallback(&self, digest: Digest) {
        self.with(digest, |meter| meter.fallbacks += 1);
    }

    /// All meters.
    pub(crate) fn snapshot(&self) -> BTreeMap<Digest, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with(&self, digest: Digest, change: impl FnOnce(&mut Meter)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(digest).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_digest_add_up_and_the_peak_is_the_largest() {
        let meters = Meters::default();
        let digest = Digest::of(b"a");
        let usage = |cpu_us, peak_memory| Usage { cpu_us, peak_memory, wall_us: 10, host_calls: 2 };
        meters.record(digest, usage(5, 100), 0, None);
        meters.record(digest, usage(7, 50), 1, Some(&FaultKind::Cpu(20)));
        meters.fallback(digest);
        let expected = Meter {
            calls: 2,
            cpu_us: 12,
            wall_us: 20,
            peak_memory: 100,
            host_calls: 4,
            traps: 1,
            denials: 1,
            fallbacks: 1,
        };
        assert_eq!(meters.snapshot(), BTreeMap::from([(digest, expected)]));
    }
}
