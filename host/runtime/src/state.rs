//! What a store holds during one call: who the guest is, what it may use, what it used.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::{HasSelf, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use windlass_core::policy::{FaultKind, Lookup, Lookups, Usage};

use crate::limiter::Limiter;
use crate::port::{BasePort, CommandPort, StepPort};

/// Bytes that one call of a host function may carry, and one answer of a guest.
const HOSTCALL_FUEL: usize = 8 * 1024 * 1024;
/// Resources that a guest may hold at a time.
const MAX_HANDLES: usize = 1_000;

/// The store's data.
pub(crate) struct State {
    /// The plugin's.
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) counters: Arc<Counters>,
    /// Children that are being put together; see `imports::process`.
    pub(crate) drafts: usize,
    /// Messages that went to the host's own log.
    pub(crate) messages: usize,
    wasi: Option<WasiCtx>,
    budget: Budget,
}

/// How `add_to_linker` functions find their host: the state itself.
pub(crate) type Host = HasSelf<State>;

/// What the guest runs as. Functions that belong to another role trap.
pub(crate) enum Role {
    /// Says what it is: no capability at all.
    Describe,
    /// Decides: a pure function of its input and of recorded look-ups.
    Policy(Decision),
    /// Runs a step of a build.
    Step(Box<dyn StepPort>),
    /// Runs a command on a worker.
    Command(Box<dyn CommandPort>),
}

impl Role {
    fn noun(&self) -> &'static str {
        match self {
            Role::Describe => "`describe`",
            Role::Policy(_) => "a policy",
            Role::Step(_) => "a build step",
            Role::Command(_) => "a slave-command",
        }
    }
}

/// A decision in progress: what may be looked up, and what was.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub(crate) lookups: Lookups,
    pub(crate) made: Vec<Lookup>,
    /// Bytes in `made`.
    pub(crate) recorded: usize,
}

/// CPU that a guest may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit_ms: u64,
    /// Whether a call of a host function begins it anew.
    renewed: bool,
    since_ns: u64,
    calls_seen: u64,
    exceeded: bool,
}

impl Budget {
    /// For the whole call.
    pub(crate) fn whole(limit_ms: u64) -> Budget {
        Budget { limit_ms, renewed: false, since_ns: 0, calls_seen: 0, exceeded: false }
    }

    /// Between two calls of host functions.
    pub(crate) fn between_calls(limit_ms: u64) -> Budget {
        Budget { renewed: true, ..Budget::whole(limit_ms) }
    }

    /// Looks at the guest; false: it must stop.
    fn on_tick(&mut self, cpu_ns: u64, host_calls: u64) -> bool {
        if self.renewed && host_calls != self.calls_seen {
            (self.calls_seen, self.since_ns) = (host_calls, cpu_ns);
        }
        self.exceeded = cpu_ns.saturating_sub(self.since_ns) >= self.limit_ms.saturating_mul(1_000_000);
        !self.exceeded
    }
}

impl State {
    /// A store for one call.
    pub(crate) fn store(
        engine: &Engine,
        name: Arc<str>,
        role: Role,
        memory: u64,
        budget: Budget,
        counters: &Arc<Counters>,
    ) -> Store<State> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let state = State {
            name,
            role,
            table,
            limiter: Limiter::new(memory, Arc::clone(counters)),
            counters: Arc::clone(counters),
            drafts: 0,
            messages: 0,
            wasi: None,
            budget,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(HOSTCALL_FUEL);
        store.set_max_component_handles(MAX_HANDLES);
        // Before instantiation too: start functions run there.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut cx| Ok(cx.data_mut().on_tick()));
        store
    }

    /// Every tick a guest that computes gives way to the others on its thread, or is stopped. What
    /// counts is the CPU time of the thread: a machine under load makes no verdict against a plugin.
    fn on_tick(&mut self) -> UpdateDeadline {
        let calls = self.counters.host_calls.load(Relaxed);
        if self.budget.on_tick(self.counters.cpu_now(), calls) {
            // Tokio's own yield, since wasmtime's would wake itself ahead of every other task.
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
        } else {
            UpdateDeadline::Interrupt
        }
    }

    /// The limit that the guest ran into, if it did.
    pub(crate) fn limit_passed(&self) -> Option<FaultKind> {
        match self.limiter.refused() {
            _ if self.budget.exceeded => Some(FaultKind::Cpu(self.budget.limit_ms)),
            Some(bytes) => Some(FaultKind::Memory(bytes)),
            None => None,
        }
    }

    /// Counts a call of a host function.
    pub(crate) fn called(&self) {
        self.counters.host_calls.fetch_add(1, Relaxed);
    }

    /// The step that runs; a trap in any other role.
    pub(crate) fn step(&mut self, interface: &str) -> wasmtime::Result<&mut dyn StepPort> {
        self.called();
        match &mut self.role {
            Role::Step(port) => Ok(port.as_mut()),
            role @ (Role::Describe | Role::Policy(_) | Role::Command(_)) => Err(misplaced(interface, role)),
        }
    }

    /// The command that runs; a trap in any other role.
    pub(crate) fn command(&mut self, interface: &str) -> wasmtime::Result<&mut dyn CommandPort> {
        self.called();
        match &mut self.role {
            Role::Command(port) => Ok(port.as_mut()),
            role @ (Role::Describe | Role::Policy(_) | Role::Step(_)) => Err(misplaced(interface, role)),
        }
    }

    /// The decision in progress; a trap in any other role.
    pub(crate) fn decision(&mut self, interface: &str) -> wasmtime::Result<&mut Decision> {
        self.called();
        match &mut self.role {
            Role::Policy(decision) => Ok(decision),
            role @ (Role::Describe | Role::Step(_) | Role::Command(_)) => Err(misplaced(interface, role)),
        }
    }

    /// What steps and commands share; none for a policy.
    pub(crate) fn base(&mut self) -> Option<&mut dyn BasePort> {
        match &mut self.role {
            Role::Describe | Role::Policy(_) => None,
            Role::Step(port) => Some(port.as_mut()),
            Role::Command(port) => Some(port.as_mut()),
        }
    }

    /// Steps and commands; a trap in any other role.
    pub(crate) fn running(&mut self, interface: &str) -> wasmtime::Result<&mut dyn BasePort> {
        self.called();
        match &mut self.role {
            Role::Step(port) => Ok(port.as_mut()),
            Role::Command(port) => Ok(port.as_mut()),
            role @ (Role::Describe | Role::Policy(_)) => Err(misplaced(interface, role)),
        }
    }
}

fn misplaced(interface: &str, role: &Role) -> wasmtime::Error {
    wasmtime::format_err!("{} may not call `{interface}`", role.noun())
}

impl WasiView for State {
    /// A world with nothing in it: no files, no environment, no arguments, no network, closed input,
    /// output to nowhere. Made at first use, since most guests have none.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| WasiCtx::builder().build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// What a call used so far. Shared with the caller, so that a call that is dropped is counted too.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    cpu_ns: AtomicU64,
    poll_began_ns: AtomicU64,
    peak_memory: AtomicU64,
    pub(crate) host_calls: AtomicU64,
    denials: AtomicU64,
}

impl Counters {
    pub(crate) fn memory(&self, used: u64) {
        self.peak_memory.fetch_max(used, Relaxed);
    }

    pub(crate) fn usage(&self, wall_us: u64) -> Usage {
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
    fn cpu_now(&self) -> u64 {
        self.cpu_ns.load(Relaxed) + thread_cpu_ns().saturating_sub(self.poll_began_ns.load(Relaxed))
    }
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A future whose polls are charged to a call, by the CPU clock of the thread that polls.
pub(crate) struct Charged<F> {
    future: Pin<Box<F>>,
    counters: Arc<Counters>,
}

impl<F: Future> Charged<F> {
    pub(crate) fn new(future: F, counters: Arc<Counters>) -> Charged<F> {
        Charged { future: Box::pin(future), counters }
    }
}

impl<F: Future> Future for Charged<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let began = thread_cpu_ns();
        self.counters.poll_began_ns.store(began, Relaxed);
        let polled = self.future.as_mut().poll(cx);
        self.counters.cpu_ns.fetch_add(thread_cpu_ns().saturating_sub(began), Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_policys_budget_covers_the_whole_call() {
        let mut budget = Budget::whole(20);
        assert!(budget.on_tick(10 * MS, 1));
        assert!(budget.on_tick(19 * MS, 50));
        assert!(!budget.on_tick(20 * MS, 51));
    }

    #[test]
    fn a_steps_budget_begins_anew_at_each_host_call() {
        let mut budget = Budget::between_calls(20);
        assert!(budget.on_tick(15 * MS, 1));
        assert!(budget.on_tick(30 * MS, 1));
        assert!(!budget.on_tick(36 * MS, 1));
        assert!(budget.on_tick(36 * MS, 2));
    }
}
