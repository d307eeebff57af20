//! What a call uses while it uses it: CPU by the clock of its thread, the time it waited, the data it
//! moved. From these follow two judgements: whether it may go on ([`Budget`]), and on which threads
//! ([`Pace`]).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use windlass_core::policy::Usage;

/// CPU that a byte of data gives back: a second for each megabyte. An interpreter needs a tenth of that.
const NS_PER_BYTE: u64 = 1_000;

/// What a call used so far. Shared with the caller, so that a call that is dropped is counted too.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    cpu_ns: AtomicU64,
    /// 0: nobody polls it right now.
    poll_began_ns: AtomicU64,
    waited_ns: AtomicU64,
    moved: AtomicU64,
    /// It gave way to others. The time until its next turn is not time that it waited.
    gave_way: AtomicBool,
    peak_memory: AtomicU64,
    host_calls: AtomicU64,
    denials: AtomicU64,
}

impl Counters {
    pub(crate) fn memory(&self, used: u64) {
        self.peak_memory.fetch_max(used, Relaxed);
    }

    /// Counts a call of a host function.
    pub(crate) fn called(&self) {
        self.host_calls.fetch_add(1, Relaxed);
    }

    pub(crate) fn host_calls(&self) -> u64 {
        self.host_calls.load(Relaxed)
    }

    /// Counts a call that was denied.
    pub(crate) fn denied(&self) {
        self.denials.fetch_add(1, Relaxed);
    }

    /// Counts data that came from outside or went there, each byte once.
    pub(crate) fn moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn gives_way(&self) {
        self.gave_way.store(true, Relaxed);
    }

    pub(crate) fn usage(&self, wall_us: u64) -> Usage {
        Usage { cpu_us: self.cpu_now() / 1_000, ..self.usage_until_poll(wall_us) }
    }

    /// Without the poll in progress: on whatever thread.
    fn usage_until_poll(&self, wall_us: u64) -> Usage {
        Usage {
            cpu_us: self.cpu_ns.load(Relaxed) / 1_000,
            wall_us,
            peak_memory: self.peak_memory.load(Relaxed),
            host_calls: self.host_calls.load(Relaxed),
            denials: self.denials.load(Relaxed),
            trapped: false,
        }
    }

    /// CPU used, the poll in progress included. Right only on the thread that polls, which is where
    /// the guest runs.
    pub(crate) fn cpu_now(&self) -> u64 {
        self.cpu_ns.load(Relaxed) + self.turn()
    }

    /// CPU of the poll in progress.
    pub(crate) fn turn(&self) -> u64 {
        match self.poll_began_ns.load(Relaxed) {
            0 => 0,
            began => now(ClockId::ThreadCPUTime).saturating_sub(began),
        }
    }

    /// CPU that waiting and data gave back.
    pub(crate) fn given_back(&self) -> u64 {
        self.waited_ns.load(Relaxed) + self.moved.load(Relaxed).saturating_mul(NS_PER_BYTE)
    }
}

/// What a call has used so far, for whoever may have to drop it before its end.
#[derive(Debug)]
pub struct Gauge {
    pub(crate) counters: Arc<Counters>,
    began: Instant,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge { counters: Arc::default(), began: Instant::now() }
    }
}

impl Gauge {
    /// What it has used. A guest that computes is looked at every few milliseconds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.counters.usage_until_poll(self.began.elapsed().as_micros().try_into().unwrap_or(u64::MAX))
    }
}

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// CPU that a guest may use.
///
/// A policy has so much for the whole call. A step or command has so much at a time: each second that
/// it waits gives a second back, each megabyte of events or logs another, and never is there more than
/// at the start. A call that neither waits nor moves data gives nothing back, so that no loop over
/// `clock.now` lives for ever; a step that reads or writes much is not punished for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit_ms: u64,
    renewed: bool,
    left_ns: u64,
    cpu_seen: u64,
    given_seen: u64,
    exceeded: bool,
}

impl Budget {
    /// For the whole call.
    pub(crate) fn whole(limit_ms: u64) -> Budget {
        let left_ns = limit_ms.saturating_mul(1_000_000);
        Budget { limit_ms, renewed: false, left_ns, cpu_seen: 0, given_seen: 0, exceeded: false }
    }

    /// At a time.
    pub(crate) fn renewed(limit_ms: u64) -> Budget {
        Budget { renewed: true, ..Budget::whole(limit_ms) }
    }

    /// Looks at the guest; false: it must stop.
    pub(crate) fn on_tick(&mut self, cpu_ns: u64, given_back_ns: u64) -> bool {
        if self.renewed {
            let given = given_back_ns.saturating_sub(self.given_seen);
            self.left_ns = self.left_ns.saturating_add(given).min(self.limit_ms.saturating_mul(1_000_000));
        }
        self.left_ns = self.left_ns.saturating_sub(cpu_ns.saturating_sub(self.cpu_seen));
        (self.cpu_seen, self.given_seen) = (cpu_ns, given_back_ns);
        self.exceeded = self.left_ns == 0;
        !self.exceeded
    }

    /// The limit, if the guest ran into it.
    pub(crate) fn exceeded(&self) -> Option<u64> {
        self.exceeded.then_some(self.limit_ms)
    }
}

/// Whether a guest mostly waits or computes: 20 ms in a burst, and a quarter of the time that it waits.
#[derive(Debug)]
struct Pace {
    left_ns: u64,
    computes: bool,
}

impl Pace {
    const BURST: u64 = 20_000_000;

    fn used(&mut self, cpu_ns: u64, waited_ns: u64) {
        self.left_ns = (self.left_ns + waited_ns / 4).min(Pace::BURST).saturating_sub(cpu_ns);
        self.computes = if self.computes { self.left_ns < Pace::BURST / 2 } else { self.left_ns == 0 };
    }
}

/// A call whose polls are charged to it, by the CPU clock of the thread that polls.
pub(crate) struct Charged<T> {
    call: Pin<Box<dyn Future<Output = T> + Send>>,
    counters: Arc<Counters>,
    alarm: Arc<Alarm>,
    pace: Pace,
    /// Since when it waits.
    pending_ns: Option<u64>,
}

impl<T> Charged<T> {
    pub(crate) fn new(counters: Arc<Counters>, call: impl Future<Output = T> + Send + 'static) -> Charged<T> {
        let pace = Pace { left_ns: Pace::BURST, computes: false };
        Charged { call: Box::pin(call), counters, alarm: Arc::default(), pace, pending_ns: None }
    }

    /// Whether it computes rather than waits.
    pub(crate) fn computes(&self) -> bool {
        self.pace.computes
    }
}

impl<T> Future for Charged<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let woken = this.alarm.set(cx.waker());
        let gave_way = this.counters.gave_way.swap(false, Relaxed);
        let waited = match this.pending_ns.take() {
            Some(since) if !gave_way => woken.saturating_sub(since),
            Some(_) | None => 0,
        };
        this.counters.waited_ns.fetch_add(waited, Relaxed);
        let waker = Waker::from(Arc::clone(&this.alarm));
        let began = now(ClockId::ThreadCPUTime);
        this.counters.poll_began_ns.store(began.max(1), Relaxed);
        let polled = this.call.as_mut().poll(&mut Context::from_waker(&waker));
        let used = now(ClockId::ThreadCPUTime).saturating_sub(began);
        this.counters.poll_began_ns.store(0, Relaxed);
        this.counters.cpu_ns.fetch_add(used, Relaxed);
        this.pace.used(used, waited);
        if polled.is_pending() {
            this.pending_ns = Some(now(ClockId::Monotonic));
        }
        polled
    }
}

/// Notes when a call that waits is woken: the time from then to its next turn is not its own.
#[derive(Debug, Default)]
struct Alarm {
    task: Mutex<Option<Waker>>,
    /// 0: not yet.
    woken_ns: AtomicU64,
}

impl Alarm {
    /// Sets it for the task that polls now; returns when it went off last.
    fn set(&self, waker: &Waker) -> u64 {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
        match self.woken_ns.swap(0, Relaxed) {
            0 => now(ClockId::Monotonic),
            woken => woken,
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The first one counts.
        let _first = self.woken_ns.compare_exchange(0, now(ClockId::Monotonic), Relaxed, Relaxed);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_policys_budget_covers_the_whole_call() {
        let mut budget = Budget::whole(20);
        assert!(budget.on_tick(10 * MS, 100 * MS));
        assert!(budget.on_tick(19 * MS, 500 * MS));
        assert!(!budget.on_tick(20 * MS, 900 * MS));
        assert_eq!(budget.exceeded(), Some(20));
    }

    #[test]
    fn waiting_gives_a_step_its_cpu_back_and_no_more_than_it_had() {
        let mut budget = Budget::renewed(20);
        assert!(budget.on_tick(15 * MS, 0));
        assert!(budget.on_tick(19 * MS, 1_000 * MS), "20 ms again, of which it used 4");
        assert!(budget.on_tick(34 * MS, 1_000 * MS));
        assert!(!budget.on_tick(36 * MS, 1_000 * MS));
    }

    #[test]
    fn data_gives_cpu_back_and_calls_do_not() {
        let counters = Counters::default();
        for _ in 0..1_000 {
            counters.called();
        }
        assert_eq!(counters.given_back(), 0);
        counters.moved(1_000_000);
        assert_eq!(counters.given_back(), 1_000 * MS);
    }

    #[test]
    fn whoever_computes_for_long_is_told_apart_until_it_has_waited() {
        let mut pace = Pace { left_ns: Pace::BURST, computes: false };
        pace.used(15 * MS, 0);
        assert!(!pace.computes);
        pace.used(10 * MS, MS);
        assert!(pace.computes);
        pace.used(0, 20 * MS);
        assert!(pace.computes, "5 ms of 20 are not enough to come back");
        pace.used(0, 40 * MS);
        assert!(!pace.computes);
    }

    #[tokio::test]
    async fn giving_way_is_not_waiting() {
        let counters = Arc::new(Counters::default());
        let call = {
            let counters = Arc::clone(&counters);
            async move {
                counters.gives_way();
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                let before = counters.given_back();
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                (before, counters.given_back())
            }
        };
        let (gave_way, waited) = Charged::new(Arc::clone(&counters), call).await;
        assert_eq!(gave_way, 0);
        assert!(waited >= 4 * MS, "{waited}");
    }
}
