//! What a store holds during one call: who the guest is, what it may use, what it used.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{HasSelf, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use windlass_core::change::Patch;
use windlass_core::policy::{FaultKind, Lookup, Lookups};

use crate::charge::{Budget, Counters};
use crate::limiter::Limiter;
use crate::port::{BasePort, CommandPort, ServicePort, StepPort};
use crate::said::Said;

/// Bytes that one call of a host function may carry, and one answer of a guest.
const HOSTCALL_FUEL: usize = 8 * 1024 * 1024;
/// Nanoseconds of CPU after which a guest that goes on gives way at the next tick.
const TURN: u64 = 5_000_000;
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
    /// The patch that a step reads, with its codebase.
    pub(crate) patch: Option<(String, Patch)>,
    /// Messages that went to the host's own log.
    pub(crate) messages: usize,
    /// What it wrote to its standard output and error.
    pub(crate) said: Said,
    /// What it may wait for by WASI: pollables by their handle, each with its moment in milliseconds.
    pub(crate) alarms: BTreeMap<u32, u64>,
    pub(crate) chance: Chance,
    wasi: Option<WasiCtx>,
    budget: Budget,
}

/// Random numbers that are a function of the call: made at first use.
pub(crate) enum Chance {
    /// From what the call was given.
    Seed(Box<blake3::Hasher>),
    /// From here on.
    Stream(blake3::OutputReader),
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
    /// Watches or reports.
    Service(Box<dyn ServicePort>),
}

impl Role {
    fn noun(&self) -> &'static str {
        match self {
            Role::Describe => "`describe`",
            Role::Policy(_) => "a policy",
            Role::Step(_) => "a build step",
            Role::Command(_) => "a slave-command",
            Role::Service(_) => "a reporter",
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

impl State {
    /// A store for one call.
    pub(crate) fn store(
        engine: &Engine,
        name: Arc<str>,
        seed: blake3::Hasher,
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
            patch: None,
            messages: 0,
            said: Said::default(),
            alarms: BTreeMap::new(),
            chance: Chance::Seed(Box::new(seed)),
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
        if !self.budget.on_tick(self.counters.cpu_now(), self.counters.given_back()) {
            UpdateDeadline::Interrupt
        } else if self.counters.turn() < TURN {
            // It has just begun: the tick passed while it waited.
            UpdateDeadline::Continue(1)
        } else {
            self.counters.gives_way();
            // Tokio's own yield, since wasmtime's would wake itself ahead of every other task.
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
        }
    }

    /// The limit that the guest ran into, if it did.
    pub(crate) fn limit_passed(&self) -> Option<FaultKind> {
        match self.limiter.refused() {
            _ if self.budget.exceeded().is_some() => self.budget.exceeded().map(FaultKind::Cpu),
            Some(bytes) => Some(FaultKind::Memory(bytes)),
            None => None,
        }
    }

    /// Counts a call of a host function.
    pub(crate) fn called(&self) {
        self.counters.called();
    }

    /// The step that runs; a trap in any other role.
    pub(crate) fn step(&mut self, interface: &str) -> wasmtime::Result<&mut dyn StepPort> {
        self.called();
        self.hear();
        match &mut self.role {
            Role::Step(port) => Ok(port.as_mut()),
            role @ (Role::Describe | Role::Policy(_) | Role::Command(_) | Role::Service(_)) => {
                Err(misplaced(interface, role))
            }
        }
    }

    /// The command that runs; a trap in any other role.
    pub(crate) fn command(&mut self, interface: &str) -> wasmtime::Result<&mut dyn CommandPort> {
        self.called();
        self.hear();
        match &mut self.role {
            Role::Command(port) => Ok(port.as_mut()),
            role @ (Role::Describe | Role::Policy(_) | Role::Step(_) | Role::Service(_)) => {
                Err(misplaced(interface, role))
            }
        }
    }

    /// The reporter that runs; none in any other role.
    pub(crate) fn service(&mut self) -> Option<&mut dyn ServicePort> {
        if !matches!(self.role, Role::Service(_)) {
            return None;
        }
        self.called();
        self.hear();
        match &mut self.role {
            Role::Service(port) => Some(port.as_mut()),
            Role::Describe | Role::Policy(_) | Role::Step(_) | Role::Command(_) => None,
        }
    }

    /// The decision in progress; a trap in any other role.
    pub(crate) fn decision(&mut self, interface: &str) -> wasmtime::Result<&mut Decision> {
        self.called();
        match &mut self.role {
            Role::Policy(decision) => Ok(decision),
            role @ (Role::Describe | Role::Step(_) | Role::Command(_) | Role::Service(_)) => {
                Err(misplaced(interface, role))
            }
        }
    }

    /// What all but policies share; none for those.
    pub(crate) fn base(&mut self) -> Option<&mut dyn BasePort> {
        match &mut self.role {
            Role::Describe | Role::Policy(_) => None,
            Role::Step(port) => Some(port.as_mut()),
            Role::Command(port) => Some(port.as_mut()),
            Role::Service(port) => Some(port.as_mut()),
        }
    }

    /// All but policies; a trap in those.
    pub(crate) fn running(&mut self, interface: &str) -> wasmtime::Result<&mut dyn BasePort> {
        self.called();
        self.hear();
        match &mut self.role {
            Role::Step(port) => Ok(port.as_mut()),
            Role::Command(port) => Ok(port.as_mut()),
            Role::Service(port) => Ok(port.as_mut()),
            role @ (Role::Describe | Role::Policy(_)) => Err(misplaced(interface, role)),
        }
    }
}

fn misplaced(interface: &str, role: &Role) -> wasmtime::Error {
    wasmtime::format_err!("{} may not call `{interface}`", role.noun())
}

impl WasiView for State {
    /// A world with nothing in it: no files, no environment, no arguments, no network, closed input;
    /// output goes to the diagnostics. Made at first use, since most guests have none.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let said = &self.said;
        let ctx = self
            .wasi
            .get_or_insert_with(|| WasiCtx::builder().stdout(said.stdout()).stderr(said.stderr()).build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}
