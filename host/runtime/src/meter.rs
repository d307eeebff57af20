//! What each component cost, by the digest of its bytes and by its use.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use windlass_core::digest::Digest;
use windlass_core::policy::Usage;

/// Uses that have a meter of their own. Steps are added by guests and named by them, so that without a
/// bound a guest could fill the host with names.
const MAX_USES: usize = 10_000;

/// The use that stands for all beyond [`MAX_USES`].
const OTHERS: &str = "others";

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

impl Meter {
    /// Saturating: what a worker says of its own calls is taken as it comes.
    fn add(&mut self, usage: Usage) {
        self.calls += 1;
        self.cpu_us = self.cpu_us.saturating_add(usage.cpu_us);
        self.wall_us = self.wall_us.saturating_add(usage.wall_us);
        self.peak_memory = self.peak_memory.max(usage.peak_memory);
        self.host_calls = self.host_calls.saturating_add(usage.host_calls);
        self.denials = self.denials.saturating_add(usage.denials);
        self.traps += u64::from(usage.trapped);
    }
}

/// The meters of all components.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    total: BTreeMap<Digest, Meter>,
    uses: BTreeMap<(Digest, String), Meter>,
}

impl Meters {
    /// Adds one call that ended.
    pub(crate) fn record(&self, digest: Digest, used: &str, usage: Usage) {
        self.with(digest, used, |meter| meter.add(usage));
    }

    /// Counts a decision that was taken without the component's answer.
    pub(crate) fn fallback(&self, digest: Digest, used: &str) {
        self.with(digest, used, |meter| meter.fallbacks += 1);
    }

    /// By digest.
    pub(crate) fn totals(&self) -> BTreeMap<Digest, Meter> {
        self.kept().total.clone()
    }

    /// By digest and use.
    pub(crate) fn uses(&self) -> BTreeMap<(Digest, String), Meter> {
        self.kept().uses.clone()
    }

    /// Forgets the components that are not to be kept, and the uses that are not; the total of a component
    /// remembers those.
    pub(crate) fn retain(&self, keep: impl Fn(&Digest) -> bool, keep_use: impl Fn(&str) -> bool) {
        let mut kept = self.kept();
        kept.total.retain(|digest, _| keep(digest));
        kept.uses.retain(|(digest, used), _| keep(digest) && (used == OTHERS || keep_use(used)));
    }

    fn with(&self, digest: Digest, used: &str, change: impl Fn(&mut Meter)) {
        let mut kept = self.kept();
        change(kept.total.entry(digest).or_default());
        let mut key = (digest, used.to_owned());
        if kept.uses.len() >= MAX_USES && !kept.uses.contains_key(&key) {
            key.1 = OTHERS.to_owned();
        }
        change(kept.uses.entry(key).or_default());
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(cpu_us: u64, peak_memory: u64) -> Usage {
        Usage { cpu_us, peak_memory, wall_us: 10, host_calls: 2, denials: 1, trapped: cpu_us > 5 }
    }

    #[test]
    fn calls_of_one_digest_add_up_and_the_peak_is_the_largest() {
        let meters = Meters::default();
        let digest = Digest::of(b"a");
        meters.record(digest, "builder ci: next-slave", usage(5, 100));
        meters.record(digest, "builder docs: next-slave", usage(7, 50));
        meters.fallback(digest, "builder docs: next-slave");
        let docs = Meter {
            calls: 1,
            cpu_us: 7,
            wall_us: 10,
            peak_memory: 50,
            host_calls: 2,
            traps: 1,
            denials: 1,
            fallbacks: 1,
        };
        assert_eq!(meters.uses()[&(digest, "builder docs: next-slave".to_owned())], docs);
        let total =
            Meter { calls: 2, cpu_us: 12, wall_us: 20, peak_memory: 100, host_calls: 4, denials: 2, ..docs };
        assert_eq!(meters.totals(), BTreeMap::from([(digest, total)]));
    }

    #[test]
    fn what_is_not_kept_is_forgotten_and_a_total_remembers_its_uses() {
        let meters = Meters::default();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        for (digest, used) in [(a, "builder x: next-slave"), (a, "builder y: next-slave"), (b, "loading")] {
            meters.record(digest, used, usage(1, 1));
        }
        meters.retain(|digest| *digest == a, |used| used.starts_with("builder x:"));
        assert_eq!(meters.totals().into_iter().map(|(d, m)| (d, m.calls)).collect::<Vec<_>>(), [(a, 2)]);
        assert_eq!(meters.uses().into_keys().collect::<Vec<_>>(), [(a, "builder x: next-slave".to_owned())]);
    }

    #[test]
    fn uses_beyond_measure_share_one_meter() {
        let meters = Meters::default();
        let digest = Digest::of(b"a");
        for n in 0..MAX_USES + 5 {
            meters.record(digest, &format!("step {n}"), usage(1, 1));
        }
        let uses = meters.uses();
        assert_eq!(uses.len(), MAX_USES + 1);
        assert_eq!(uses[&(digest, OTHERS.to_owned())].calls, 5);
        assert_eq!(meters.totals()[&digest].calls, MAX_USES as u64 + 5);
    }
}
