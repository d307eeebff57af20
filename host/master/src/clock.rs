//! The clock as a port: the daemon reads the system's, tests set one by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use windlass_core::id::MasterId;
use windlass_core::persist::Persist;
use windlass_core::time::{Reading, Steady, Timestamp};
use windlass_store::{ReadError, Store};

/// Says what time it is.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// What the next process may go on from; none: this clock has no such thing.
    fn reading(&self) -> Option<Reading> {
        None
    }

    /// Goes on from what an earlier process read last.
    fn go_on_from(&self, _last: &Reading) {}
}

/// The system's clock, made steady: somebody who sets it neither ends what waits nor makes it wait for ever
/// ([`Steady`]).
pub struct SystemClock {
    wall: Wall,
    steady: Mutex<Steady>,
    /// Which start of the machine this is.
    boot: String,
}

/// What the machine's clock says.
pub type Wall = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl SystemClock {
    /// Reads the clock of the machine.
    #[must_use]
    pub fn new() -> SystemClock {
        SystemClock::over(Arc::new(wall))
    }

    /// Reads this instead of the clock of the machine: for tests of a clock that somebody sets.
    #[must_use]
    pub fn over(wall: Wall) -> SystemClock {
        let steady = Mutex::new(Steady::new(wall(), counter_ns()));
        // Without it, each start of the master counts as one of the machine.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        SystemClock { wall, steady, boot: boot.trim().to_owned() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.at((self.wall)(), counter_ns())
    }

    fn reading(&self) -> Option<Reading> {
        let (counter_ms, boot) = (counter_ns() / 1_000_000, self.boot.clone());
        (!boot.is_empty()).then(|| Reading { at: self.now(), counter_ms, boot })
    }

    fn go_on_from(&self, last: &Reading) {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        let wall = (self.wall)();
        *steady = Steady::after(last, wall, counter_ns(), &self.boot);
        let off_ms = steady.at(wall, counter_ns()).0.abs_diff(wall.0);
        if off_ms > TOLD_FROM_MS {
            tracing::warn!(
                seconds = off_ms / 1_000,
                "the machine's clock was set while builds waited; the master's time comes to it slowly"
            );
        }
    }
}

/// A clock that was set by less is none of anybody's business.
const TOLD_FROM_MS: u64 = 60_000;

/// The clock of the machine.
#[must_use]
pub fn wall() -> Timestamp {
    // A clock before 1970 is a broken one; the epoch itself is as good an answer as any.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Nanoseconds since the machine was started, also those in which it slept.
fn counter_ns() -> u64 {
    let since = clock_gettime(ClockId::Boottime);
    u64::try_from(since.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(since.tv_nsec).unwrap_or(0)
}

/// Whose state the last reading is; the key is the master's number.
const OWNER: &str = "clock";

/// Lets a clock go on from what this master read last.
pub(crate) fn go_on(clock: &dyn Clock, store: &Store, master: MasterId) -> Result<(), ReadError> {
    let last = store.state(OWNER, &master.0.to_string())?;
    if let Some(last) = last.and_then(|row| serde_json::from_slice(&row).ok()) {
        clock.go_on_from(&last);
    }
    Ok(())
}

/// The row of the present reading.
pub(crate) fn row(clock: &dyn Clock, master: MasterId) -> Option<Persist> {
    let value = serde_json::to_vec(&clock.reading()?).expect("names and numbers");
    Some(Persist::PutState { owner: OWNER.to_owned(), key: master.0.to_string(), value: Some(value) })
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> ManualClock {
        ManualClock(AtomicU64::new(start.0))
    }

    /// Moves on by `ms` milliseconds.
    pub fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
