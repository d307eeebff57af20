//! The engine with its threads, cache and meters, as one handle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use wasmtime::Engine;
use wasmtime::component::Linker;
use windlass_core::digest::Digest;
use windlass_core::policy::{Fault, HookKind, Lookups, Question, Usage};
use windlass_core::value::Pair;

use crate::cache::Cache;
use crate::call::{self, Called, CommandEnd, Computed, Reply, Reported, StepEnd, Told};
use crate::charge::{Counters, Gauge};
use crate::compiler::Compiler;
use crate::engine::{self, EngineError};
use crate::guests::Guests;
use crate::imports;
use crate::load::{self, LoadError};
use crate::meter::{Meter, Meters};
use crate::options::{Limits, Options};
use crate::plugin::{Plugin, Source};
use crate::port::{CommandPort, ServicePort, StepPort};
use crate::state::State;

/// Runs components. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

/// What all calls share.
pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) compiler: Compiler,
    pub(crate) cache: Cache,
    /// Held by the one who compiles.
    pub(crate) compiling: Mutex<()>,
    pub(crate) master: Linker<State>,
    pub(crate) worker: Linker<State>,
    /// Steps, commands and trials.
    pub(crate) guests: Guests,
    /// Policies, apart: steps that compute must not use up the time in which a policy has to answer.
    pub(crate) policies: Guests,
    pub(crate) meters: Meters,
}

impl Runtime {
    /// Starts the engine and the threads of the guests.
    pub fn new(options: Options) -> Result<Runtime, EngineError> {
        let engine = engine::start()?;
        let cache = Cache::open(&options.cache_dir, &engine).map_err(EngineError::Cache)?;
        let master = imports::master(&engine).map_err(|error| EngineError::Link(error.into()))?;
        let worker = imports::worker(&engine).map_err(|error| EngineError::Link(error.into()))?;
        let guests = Guests::start("guest", options.guest_threads).map_err(EngineError::Threads)?;
        let policies = Guests::start_quick("policy", options.guest_threads).map_err(EngineError::Threads)?;
        let Options { limits, compiler, .. } = options;
        let (compiling, meters) = (Mutex::default(), Meters::default());
        let inner =
            Inner { engine, limits, compiler, cache, compiling, master, worker, guests, policies, meters };
        Ok(Runtime { inner: Arc::new(inner) })
    }

    /// Loads a component: what the file is, which interfaces it names, compile (or take it from the
    /// cache), link, compare types, ask what it is, check what it says. Blocks: call it off the async
    /// threads.
    pub fn load(&self, name: &str, origin: Source, bytes: Bytes) -> Result<Arc<Plugin>, LoadError> {
        load::load(&self.inner, name, origin, &bytes)
    }

    /// Asks a policy, in an instance of its own. Dropping the future ends the call. It is counted under
    /// [`Question::used_by`].
    pub async fn ask(
        &self,
        plugin: &Arc<Plugin>,
        hook: &str,
        args: &str,
        question: Question,
        lookups: Lookups,
    ) -> Reply {
        let function = question.kind().function();
        let counters = Arc::new(Counters::default());
        let called = called(plugin, hook, args, &question.used_by());
        let asked = call::ask(Arc::clone(&self.inner), Arc::clone(&counters), called, question, lookups);
        self.inner.policies.run(counters, asked).await.unwrap_or_else(|error| Reply {
            answer: Err(call::host_failed(plugin, function, error)),
            lookups: Vec::new(),
            usage: Usage::default(),
        })
    }

    /// Asks a renderer for a value of a build with these properties, in an instance of its own and within the
    /// budget of a policy. Dropping the future ends the call. `used` is as in [`Runtime::run_step`].
    pub async fn render(
        &self,
        plugin: &Arc<Plugin>,
        hook: &str,
        args: &str,
        used: &str,
        properties: Vec<Pair>,
        lookups: Lookups,
    ) -> Computed {
        let counters = Arc::new(Counters::default());
        let called = called(plugin, hook, args, used);
        let asked = call::render(Arc::clone(&self.inner), Arc::clone(&counters), called, properties, lookups);
        self.inner.policies.run(counters, asked).await.unwrap_or_else(|error| Computed {
            value: Err(call::host_failed(plugin, HookKind::Renderer.function(), error)),
            usage: Usage::default(),
        })
    }

    /// Asks a configurator for TOML, in an instance of its own and within the budget of a trial. It is counted under
    /// `configurator`. Blocks: call it off the async threads.
    pub fn configure(&self, plugin: &Arc<Plugin>, hook: &str, args: &str) -> Result<String, Box<Fault>> {
        call::configure(&self.inner, called(plugin, hook, args, "configurator"))
    }

    /// Where policies run. Whoever asks in a task of their own spawns it there: on another thread it would only
    /// pass the question on, and the answer back.
    #[must_use]
    pub fn policy_threads(&self) -> &tokio::runtime::Handle {
        self.inner.policies.threads()
    }

    /// Runs a step to its end. Dropping the future ends it: its instance and its port are dropped.
    /// `used` says where the step stands, for the meters: `builder ci, step 2 (compile)`.
    pub async fn run_step(
        &self,
        plugin: &Arc<Plugin>,
        hook: &str,
        args: &str,
        used: &str,
        port: Box<dyn StepPort>,
    ) -> StepEnd {
        let counters = Arc::new(Counters::default());
        let called = called(plugin, hook, args, used);
        let run = call::run_step(Arc::clone(&self.inner), Arc::clone(&counters), called, port);
        self.inner.guests.run(counters, run).await.unwrap_or_else(|error| StepEnd {
            result: Err(call::host_failed(plugin, HookKind::BuildStep.function(), error)),
            usage: Usage::default(),
        })
    }

    /// Runs a slave-command to its end. Dropping the future ends it: its instance, its port and its
    /// children are dropped, and `gauge` tells what it used until then. `used` is as in [`Runtime::run_step`].
    pub async fn run_command(
        &self,
        plugin: &Arc<Plugin>,
        hook: &str,
        args: &str,
        used: &str,
        port: Box<dyn CommandPort>,
        gauge: &Gauge,
    ) -> CommandEnd {
        let counters = Arc::clone(&gauge.counters);
        let called = called(plugin, hook, args, used);
        let run = call::run_command(Arc::clone(&self.inner), Arc::clone(&counters), called, port);
        self.inner.guests.run(counters, run).await.unwrap_or_else(|error| CommandEnd {
            result: Err(call::host_failed(plugin, HookKind::SlaveCommand.function(), error)),
            usage: Usage::default(),
        })
    }

    /// Tells a reporter of an event, in an instance of its own. Dropping the future ends the call. `used` is as in
    /// [`Runtime::run_step`].
    pub async fn report(
        &self,
        plugin: &Arc<Plugin>,
        hook: &str,
        args: &str,
        used: &str,
        told: Told,
        port: Box<dyn ServicePort>,
    ) -> Reported {
        let counters = Arc::new(Counters::default());
        let called = called(plugin, hook, args, used);
        let report = call::report(Arc::clone(&self.inner), Arc::clone(&counters), called, told, port);
        self.inner.guests.run(counters, report).await.unwrap_or_else(|error| Reported {
            result: Err(call::host_failed(plugin, HookKind::Reporter.function(), error)),
            usage: Usage::default(),
        })
    }

    /// What one call may use.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// How many steps and commands compute right now, rather than wait.
    #[must_use]
    pub fn computing(&self) -> usize {
        self.inner.guests.computing()
    }

    /// What each component cost since this process began, by the digest of its bytes.
    #[must_use]
    pub fn usage(&self) -> BTreeMap<Digest, Meter> {
        self.inner.meters.totals()
    }

    /// The same apart for each use: `builder ci: next-slave`, `builder ci, step 2 (compile)`, `loading`.
    #[must_use]
    pub fn usage_by_use(&self) -> BTreeMap<(Digest, String), Meter> {
        self.inner.meters.uses()
    }

    /// Forgets what components cost that are not to be kept, and what single uses cost that are not.
    pub fn forget_usage(&self, keep: impl Fn(&Digest) -> bool, keep_use: impl Fn(&str) -> bool) {
        self.inner.meters.retain(keep, keep_use);
    }

    /// Counts a decision that was taken without the component's answer.
    pub fn count_fallback(&self, digest: Digest, used: &str) {
        self.inner.meters.fallback(digest, used);
    }

    /// Counts a call that ran elsewhere: a command, on its worker.
    pub fn count_elsewhere(&self, digest: Digest, used: &str, usage: Usage) {
        self.inner.meters.record(digest, used, usage);
    }
}

fn called(plugin: &Arc<Plugin>, hook: &str, args: &str, used: &str) -> Called {
    Called { plugin: Arc::clone(plugin), hook: hook.to_owned(), args: args.to_owned(), used: used.to_owned() }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("limits", &self.inner.limits).finish_non_exhaustive()
    }
}
