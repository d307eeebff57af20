//! The children of a command that live, and how long an interrupt waits for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The children that live.
#[derive(Debug, Default)]
pub struct Living(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// How long stopping each may take.
    stopping: BTreeMap<u64, Duration>,
}

impl Living {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().stopping.len()
    }

    /// How long stopping them all may take, at once.
    pub fn stopping(&self) -> Duration {
        self.lock().stopping.values().max().copied().unwrap_or_default()
    }

    /// One more, until what is answered is dropped.
    pub(super) fn enter(self: &Arc<Self>, stopping: Duration) -> Lives {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.stopping.insert(number, stopping);
        Lives { living: Arc::clone(self), number }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A child that lives.
pub(super) struct Lives {
    living: Arc<Living>,
    number: u64,
}

impl Drop for Lives {
    fn drop(&mut self) {
        self.living.lock().stopping.remove(&self.number);
    }
}
