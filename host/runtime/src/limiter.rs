//! Memory of one call: the sum over all linear memories and tables of the component, and its peak.
//!
//! wasmtime's own limits count each memory apart; an interpreter has several.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::charge::Counters;

/// What one entry of a table costs the host.
const TABLE_ENTRY: usize = size_of::<usize>();

/// The limiter of one store.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: u64,
    used: u64,
    /// How many functions of the host it had called when it was refused last. It may grow after that: the message
    /// of its panic needs a page, too.
    refused: Option<u64>,
    counters: Arc<Counters>,
}

/// How often a guest calls the host between a refusal and its end, if that is why it ends: it says so. One that
/// calls more often has coped.
const LAST_CALLS: u64 = 8;

impl Limiter {
    pub(crate) fn new(limit: u64, counters: Arc<Counters>) -> Limiter {
        Limiter { limit, used: 0, refused: None, counters }
    }

    /// The limit, if a guest that ends now ends because of it.
    pub(crate) fn refused(&self) -> Option<u64> {
        let refused_at = self.refused?;
        (self.counters.host_calls() <= refused_at + LAST_CALLS).then_some(self.limit)
    }

    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        let used = self.used.saturating_add(desired.saturating_sub(current) as u64);
        if used > self.limit {
            self.refused = Some(self.counters.host_calls());
            return false;
        }
        self.used = used;
        self.counters.memory(used);
        true
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(current.saturating_mul(TABLE_ENTRY), desired.saturating_mul(TABLE_ENTRY), None))
    }

    // A Python component has about 30 core instances, QuickJS 9.
    fn instances(&self) -> usize {
        256
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_summed_and_the_peak_is_reported() {
        let counters = Arc::new(Counters::default());
        let mut limiter = Limiter::new(1_000, Arc::clone(&counters));
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(!limiter.memory_growing(400, 700, None).unwrap());
        assert_eq!((limiter.refused(), counters.usage(0).peak_memory), (Some(1_000), 800));
    }

    #[test]
    fn growth_beyond_a_memorys_own_maximum_is_not_the_limits_doing() {
        let mut limiter = Limiter::new(1_000, Arc::new(Counters::default()));
        assert!(!limiter.memory_growing(0, 400, Some(300)).unwrap());
        assert_eq!(limiter.refused(), None);
    }

    /// Symptom: a step that panicked was told to have passed its memory limit. Cause: an hour before it had tried
    /// a large buffer, and made do with a small one. Cure: who goes on calling the host was not ended by that.
    ///
    /// Symptom: one that ran out of memory was told only that it trapped. Cause: its panic's message had got a page.
    /// Cure: that forgives nothing.
    #[test]
    fn whoever_goes_on_after_a_refusal_did_not_end_by_it_and_whoever_says_why_did() {
        let counters = Arc::new(Counters::default());
        let mut limiter = Limiter::new(1_000, Arc::clone(&counters));
        assert!(!limiter.memory_growing(0, 2_000, None).unwrap());
        assert_eq!(limiter.refused(), Some(1_000));
        assert!(limiter.memory_growing(0, 500, None).unwrap());
        assert_eq!(limiter.refused(), Some(1_000));
        (0..LAST_CALLS).for_each(|_| counters.called());
        assert_eq!(limiter.refused(), Some(1_000));
        counters.called();
        assert_eq!(limiter.refused(), None);
    }

    #[test]
    fn tables_count_by_their_entries() {
        let mut limiter = Limiter::new(1_000, Arc::new(Counters::default()));
        assert!(limiter.table_growing(0, 100, None).unwrap());
        assert!(!limiter.table_growing(100, 200, None).unwrap());
    }
}
