//! Calls of guests: a policy's answer, a run of a step, a run of a command, and the trial at load.
//!
//! Each has a store of its own. The store is dropped with the call, whatever came of it; a caller that
//! loses interest drops the future, and the guest's children go with its store.

mod configure;
mod render;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinError;
use wasmtime::Store;
use wasmtime::component::InstancePre;
use windlass_core::digest::Digest;
use windlass_core::outcome::Outcome;
use windlass_core::policy::{Answer, Fault, FaultKind, HookKind, Lookup, Lookups, Question, Usage};
use windlass_core::value::{Completion, Failure};

use crate::bindings::master::exports::windlass::base::plugin as wit;
use crate::bindings::master::windlass::base::types as base;
use crate::bounds;
use crate::charge::{Budget, Counters};
use crate::convert::{each, list};
use crate::hooks::Indices;
use crate::load::{Problem, TRIAL_CPU_MS};
use crate::plugin::Plugin;
use crate::port::{CommandPort, StepPort};
use crate::runtime::Inner;
use crate::state::{Decision, Role, State};
use crate::trap;

pub(crate) use configure::configure;
pub use render::Computed;
pub(crate) use render::render;
pub(crate) use report::report;
pub use report::{Reported, Told};

/// What came of asking a policy.
#[derive(Debug)]
pub struct Reply {
    /// Its answer, unjudged, or why there is none.
    pub answer: Result<Answer, Fault>,
    /// What it looked up, in order.
    pub lookups: Vec<Lookup>,
    /// What it cost.
    pub usage: Usage,
}

/// What a step says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// How it ended.
    pub outcome: Outcome,
    /// Replaces what it said last.
    pub summary: Option<String>,
}

/// How a run of a step ended.
#[derive(Debug)]
pub struct StepEnd {
    /// Its result, or why there is none. A guest's own `Err` is [`FaultKind::Failed`].
    pub result: Result<StepResult, Fault>,
    /// What it cost.
    pub usage: Usage,
}

/// How a run of a slave-command ended.
#[derive(Debug)]
pub struct CommandEnd {
    /// Its completion, or why there is none. A guest's own `Err` is [`FaultKind::Failed`].
    pub result: Result<Completion, Fault>,
    /// What it cost.
    pub usage: Usage,
}

/// Names and ids that an answer may have: ten times what the largest question holds.
const MAX_ANSWERS: usize = 10_000;
/// Bytes of a name in an answer.
const MAX_NAME: usize = 1_024;

/// How long a plugin's description or a configurator's answer may take by the clock on the wall. Both only compute, so
/// that their CPU budget ends them; a busy machine, to which they give way, must not.
const PURE_WALL: Duration = Duration::from_secs(60);

/// What is needed to make an instance.
pub(crate) struct Guest {
    pub(crate) name: Arc<str>,
    pub(crate) digest: Digest,
    pub(crate) pre: InstancePre<State>,
    /// Where it is used, for the meters.
    pub(crate) used: String,
}

impl Guest {
    fn of(plugin: &Plugin, used: String) -> Guest {
        Guest {
            name: Arc::from(plugin.name.as_str()),
            digest: plugin.digest,
            pre: plugin.prepared.pre.clone(),
            used,
        }
    }
}

/// Which hook is called, with what, and for whom.
pub(crate) struct Called {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) hook: String,
    pub(crate) args: String,
    pub(crate) used: String,
}

impl Called {
    fn guest(&mut self) -> Guest {
        Guest::of(&self.plugin, std::mem::take(&mut self.used))
    }
}

/// Why a call ended without an answer, before it is known whether a limit was behind it.
enum Stop {
    Error(wasmtime::Error),
    Kind(FaultKind),
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Stop {
        Stop::Error(error)
    }
}

impl From<base::Failure> for Stop {
    fn from(failure: base::Failure) -> Stop {
        let mut failure = Failure::from(failure);
        failure.message = bounds::cut(&failure.message, bounds::MAX_BYTES).to_owned();
        failure.detail = failure.detail.map(|detail| bounds::cut(&detail, bounds::MAX_BYTES).to_owned());
        Stop::Kind(FaultKind::Failed(failure))
    }
}

/// A call in progress: whose it is, and what it used. Counted when it ends, or is dropped.
struct Call {
    inner: Arc<Inner>,
    guest: Guest,
    function: &'static str,
    counters: Arc<Counters>,
    began: Instant,
    counted: bool,
}

impl Call {
    fn begin(inner: Arc<Inner>, counters: Arc<Counters>, guest: Guest, function: &'static str) -> Call {
        Call { inner, guest, function, counters, began: Instant::now(), counted: false }
    }

    /// A store. `given` is what the call was given: its random numbers are a function of that.
    fn store(&self, given: &[&str], role: Role, memory: u64, budget: Budget) -> Store<State> {
        let name = Arc::clone(&self.guest.name);
        let mut seed = blake3::Hasher::new();
        seed.update(self.guest.digest.as_bytes());
        for given in given {
            seed.update(&(given.len() as u64).to_le_bytes()).update(given.as_bytes());
        }
        State::store(&self.inner.engine, name, seed, role, memory, budget, &self.counters)
    }

    /// Counts it, and puts a name to what went wrong.
    fn end<T>(mut self, result: Result<T, Stop>, state: &mut State) -> (Result<T, Fault>, Usage) {
        for (level, line) in state.said.finish() {
            state.tell(level, &line);
        }
        let result = result.map_err(|stop| match stop {
            Stop::Kind(kind) => kind,
            Stop::Error(error) => state
                .limit_passed()
                .unwrap_or_else(|| FaultKind::Trap(trap::text(&error, &state.said.last_words()))),
        });
        let usage = self.count(result.as_ref().err());
        let result = result.map_err(|kind| Fault {
            plugin: self.guest.name.to_string(),
            digest: self.guest.digest,
            call: self.function.to_owned(),
            kind,
        });
        (result, usage)
    }

    fn count(&mut self, fault: Option<&FaultKind>) -> Usage {
        self.counted = true;
        let mut usage = self.counters.usage(self.began.elapsed().as_micros().try_into().unwrap_or(u64::MAX));
        usage.trapped = match fault {
            Some(FaultKind::Trap(_) | FaultKind::Cpu(_) | FaultKind::Wall(_) | FaultKind::Memory(_)) => true,
            Some(FaultKind::Failed(_) | FaultKind::BadAnswer(_)) | None => false,
        };
        self.inner.meters.record(self.guest.digest, &self.guest.used, usage);
        usage
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.counted {
            self.count(None);
        }
    }
}

/// Runs `call` to its end, for at most `wall`.
async fn within<T>(wall: Duration, call: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    match tokio::time::timeout(wall, call).await {
        Ok(ended) => ended,
        Err(_) => Err(Stop::Kind(FaultKind::Wall(wall.as_millis().try_into().unwrap_or(u64::MAX)))),
    }
}

/// The host's own code failed while a guest ran.
pub(crate) fn host_failed(plugin: &Plugin, call: &str, error: JoinError) -> Fault {
    let why = match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            format!("the host panicked: {text}")
        }
        Err(_) => "the host is shutting down".to_owned(),
    };
    tracing::error!(plugin = plugin.name, call, "{why}");
    Fault {
        plugin: plugin.name.clone(),
        digest: plugin.digest,
        call: call.to_owned(),
        kind: FaultKind::Trap(why),
    }
}

/// The host's own code failed while somebody waited for a guest's answer.
fn host_gone(plugin: &Plugin, call: &str) -> Fault {
    Fault {
        plugin: plugin.name.clone(),
        digest: plugin.digest,
        call: call.to_owned(),
        kind: FaultKind::Trap("the host failed while it was asked".to_owned()),
    }
}

/// Asks a policy, on a guest thread.
pub(crate) async fn ask(
    inner: Arc<Inner>,
    counters: Arc<Counters>,
    mut called: Called,
    question: Question,
    lookups: Lookups,
) -> Reply {
    let limits = inner.limits;
    let call = Call::begin(inner, counters, called.guest(), question.kind().function());
    let role = Role::Policy(Decision { lookups, ..Decision::default() });
    let mut store = call.store(
        &[&called.hook, &called.args],
        role,
        limits.policy_memory,
        Budget::whole(limits.policy_cpu_ms),
    );
    let wall = Duration::from_millis(limits.policy_wall_ms);
    let answer = within(wall, decide(&mut store, &called, question)).await;
    let mut state = store.into_data();
    let lookups = match &mut state.role {
        Role::Policy(decision) => std::mem::take(&mut decision.made),
        Role::Describe | Role::Step(_) | Role::Command(_) | Role::Service(_) => {
            unreachable!("BUG: a policy changed its role")
        }
    };
    let (answer, usage) = call.end(answer, &mut state);
    Reply { answer, lookups, usage }
}

async fn decide(
    store: &mut Store<State>,
    Called { plugin, hook, args, .. }: &Called,
    question: Question,
) -> Result<Answer, Stop> {
    let indices = &plugin.prepared.indices;
    let kind = question.kind();
    let missing = || Stop::Kind(FaultKind::BadAnswer(format!("it has no hook of kind {kind}")));
    let instance = plugin.prepared.pre.instantiate_async(&mut *store).await?;
    let answer = match question {
        Question::MergeRequests { builder, first, others } => {
            let guest = indices.merge_requests.as_ref().ok_or_else(missing)?.load(&mut *store, &instance)?;
            let (builder, first, others) = (builder.into(), first.into(), list(others));
            let ids = guest.call_mergeable(store, hook, args, &builder, &first, &others).await??;
            Answer::Requests(ids)
        }
        Question::PrioritizeBuilders { builders } => {
            let guest =
                indices.prioritize_builders.as_ref().ok_or_else(missing)?.load(&mut *store, &instance)?;
            Answer::Names(guest.call_order(store, hook, args, &list(builders)).await??)
        }
        Question::NextSlave { builder, slaves, request } => {
            let guest = indices.next_slave.as_ref().ok_or_else(missing)?.load(&mut *store, &instance)?;
            let (builder, slaves, request) = (builder.into(), each(&slaves), request.into());
            Answer::Slave(guest.call_choose(store, hook, args, &builder, &slaves, &request).await??)
        }
        Question::NextBuild { builder, requests } => {
            let guest = indices.next_build.as_ref().ok_or_else(missing)?.load(&mut *store, &instance)?;
            let (builder, requests) = (builder.into(), list(requests));
            Answer::Request(guest.call_choose(store, hook, args, &builder, &requests).await??)
        }
        Question::CanStartBuild { builder, slaves, request } => {
            let guest = indices.can_start_build.as_ref().ok_or_else(missing)?.load(&mut *store, &instance)?;
            let (builder, slaves, request) = (builder.into(), each(&slaves), request.into());
            Answer::Names(guest.call_allow(store, hook, args, &builder, &slaves, &request).await??)
        }
        Question::CodebaseGenerator { change } => {
            let guest =
                indices.codebase_generator.as_ref().ok_or_else(missing)?.load(&mut *store, &instance)?;
            Answer::Codebase(guest.call_codebase(store, hook, args, &change.into()).await??)
        }
    };
    bounded(answer)
}

/// Whether the answer makes sense is for the caller to judge; here it is only kept small.
fn bounded(answer: Answer) -> Result<Answer, Stop> {
    let (count, longest) = match &answer {
        Answer::Requests(ids) => (ids.len(), 0),
        Answer::Names(names) => (names.len(), names.iter().map(String::len).max().unwrap_or(0)),
        Answer::Slave(name) => (1, name.as_ref().map_or(0, String::len)),
        Answer::Request(_) => (1, 0),
        Answer::Codebase(name) => (1, name.len()),
    };
    let why = if count > MAX_ANSWERS {
        format!("{count} entries; at most {MAX_ANSWERS} are taken")
    } else if longest > MAX_NAME {
        format!("a name of {longest} bytes; at most {MAX_NAME} are taken")
    } else {
        return Ok(answer);
    };
    Err(Stop::Kind(FaultKind::BadAnswer(why)))
}

/// Runs a step, on a guest thread.
pub(crate) async fn run_step(
    inner: Arc<Inner>,
    counters: Arc<Counters>,
    mut called: Called,
    port: Box<dyn StepPort>,
) -> StepEnd {
    let limits = inner.limits;
    let call = Call::begin(inner, counters, called.guest(), HookKind::BuildStep.function());
    let mut store = call.store(
        &[&called.hook, &called.args, &call.guest.used],
        Role::Step(port),
        limits.step_memory,
        Budget::renewed(limits.step_cpu_ms),
    );
    let result = step(&mut store, &called).await;
    let (result, usage) = call.end(result, store.data_mut());
    StepEnd { result, usage }
}

async fn step(
    store: &mut Store<State>,
    Called { plugin, hook, args, .. }: &Called,
) -> Result<StepResult, Stop> {
    let Some(indices) = &plugin.prepared.indices.build_step else {
        return Err(Stop::Kind(FaultKind::BadAnswer("it has no hook of kind build-step".to_owned())));
    };
    let instance = plugin.prepared.pre.instantiate_async(&mut *store).await?;
    let guest = indices.load(&mut *store, &instance)?;
    let result = guest.call_run(store, hook, args).await??;
    let summary = result.summary.map(|text| bounds::line(&text, bounds::MAX_LINE));
    Ok(StepResult { outcome: result.outcome.into(), summary })
}

/// Runs a slave-command, on a guest thread.
pub(crate) async fn run_command(
    inner: Arc<Inner>,
    counters: Arc<Counters>,
    mut called: Called,
    port: Box<dyn CommandPort>,
) -> CommandEnd {
    let limits = inner.limits;
    let call = Call::begin(inner, counters, called.guest(), HookKind::SlaveCommand.function());
    let mut store =
        call.store(&[], Role::Command(port), limits.command_memory, Budget::renewed(limits.step_cpu_ms));
    let result = command(&mut store, &called).await;
    let (result, usage) = call.end(result, store.data_mut());
    CommandEnd { result, usage }
}

async fn command(
    store: &mut Store<State>,
    Called { plugin, hook, args, .. }: &Called,
) -> Result<Completion, Stop> {
    let Some(indices) = &plugin.prepared.indices.slave_command else {
        return Err(Stop::Kind(FaultKind::BadAnswer("it has no hook of kind slave-command".to_owned())));
    };
    let instance = plugin.prepared.pre.instantiate_async(&mut *store).await?;
    let guest = indices.load(&mut *store, &instance)?;
    let completion = Completion::from(guest.call_run(store, hook, args).await??);
    match bounds::pairs("the completion", &completion.values) {
        Ok(()) => Ok(completion),
        Err(failure) => Err(Stop::Kind(FaultKind::BadAnswer(failure.message))),
    }
}

/// Instantiates a component for the first time, compares the types of its hooks, and asks what it is.
/// Blocks until a guest thread has done it.
pub(crate) fn trial(inner: &Arc<Inner>, guest: Guest, indices: Indices) -> Result<wit::Description, Problem> {
    let counters = Arc::new(Counters::default());
    let call = Call::begin(Arc::clone(inner), Arc::clone(&counters), guest, "plugin.describe");
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let running = inner.guests.run(counters, async move {
        // The receiver waits below; it is gone only with this whole process.
        drop(answer.send(describe(call, indices).await));
    });
    let described = answered.recv();
    drop(running);
    described.unwrap_or_else(|_| {
        let why = "the host failed while it was asked".to_owned();
        Err(Problem::Describe(Box::new(FaultKind::Trap(why))))
    })
}

async fn describe(call: Call, indices: Indices) -> Result<wit::Description, Problem> {
    let memory = call.inner.limits.policy_memory;
    let mut store = call.store(&[], Role::Describe, memory, Budget::whole(TRIAL_CPU_MS));
    let asked = within(PURE_WALL, async {
        let instance = call.guest.pre.instantiate_async(&mut store).await?;
        if let Err(problems) = indices.check_types(&mut store, &instance) {
            return Ok(Err(Problem::all(problems)));
        }
        let plugin = match indices.plugin.load(&mut store, &instance) {
            Ok(plugin) => plugin,
            Err(error) => {
                let interface = "plugin".to_owned();
                return Ok(Err(Problem::Types { interface, cause: error.into() }));
            }
        };
        Ok(Ok(plugin.call_describe(&mut store).await?))
    })
    .await;
    let (described, _) = call.end(asked, store.data_mut());
    described.map_err(|fault| Problem::Describe(Box::new(fault.kind)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_small() {
        assert!(bounded(Answer::Requests(vec![1; MAX_ANSWERS])).is_ok());
        assert!(bounded(Answer::Requests(vec![1; MAX_ANSWERS + 1])).is_err());
        assert!(bounded(Answer::Slave(Some("x".repeat(MAX_NAME + 1)))).is_err());
        assert!(bounded(Answer::Names(vec!["a".to_owned(), "x".repeat(MAX_NAME + 1)])).is_err());
    }
}
