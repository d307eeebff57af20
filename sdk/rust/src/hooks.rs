//! A trait for each hook of the contract. Arguments arrive typed; the rest is as `wit/` has it.

use crate::bindings::build_step::exports::windlass::master::build_step::StepResult;
use crate::change_hook::Request;
use crate::change_source::PollResult;
use crate::model::{BuildRequest, BuilderInfo, Change, SlaveInfo};
use crate::scheduler::Event;
use crate::{Args, Completion, Failure, Pair, Value};

/// What every hook is: its name, its arguments, what it asks for.
pub trait Hook {
    /// The name that configurations use, in kebab-case.
    const NAME: &'static str;
    /// One line for lists and pages.
    const SUMMARY: &'static str;
    /// JSON Schema (2020-12) of the arguments; none: it takes none. With `"additionalProperties": false` a
    /// misspelt argument is found when the configuration is checked.
    const ARGS_SCHEMA: Option<&'static str> = None;
    /// Facts for the host, `plugin.hook.options` in the contract: `halt-on-failure`, `durable` ...
    const OPTIONS: &'static [(&'static str, bool)] = &[];
    /// What it asks for beyond logs and its arguments.
    const CAPABILITIES: &'static [Capability] = &[];
    /// What the arguments are read into.
    type Args: Args;
}

/// A capability that a hook asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// `exec`, `files`, `fetch` ...
    pub capability: &'static str,
    /// Programs, hosts, names ... as the capability defines; `*` stands for all.
    pub scope: &'static [&'static str],
    /// Why, for the person who grants.
    pub reason: &'static str,
}

/// A command that steps start on a worker.
pub trait SlaveCommand: Hook {
    /// Runs it. Returning ends the command, and the step gets this very answer.
    ///
    /// # Errors
    /// What the step is told instead of a completion.
    fn run(args: Self::Args) -> Result<Completion, Failure>;
}

/// A kind of build step.
pub trait BuildStep: Hook {
    /// Runs it.
    ///
    /// # Errors
    /// Ends the step as *exception*, or as *retry* if the failure is retryable.
    fn run(args: Self::Args) -> Result<StepResult, Failure>;
}

/// A policy that says which requests are built together.
pub trait MergeRequests: Hook {
    /// The ids of those of `others` that may be built together with `first`.
    ///
    /// # Errors
    /// The requests are not merged.
    fn mergeable(
        args: Self::Args,
        builder: BuilderInfo,
        first: BuildRequest,
        others: Vec<BuildRequest>,
    ) -> Result<Vec<u64>, Failure>;
}

/// A policy that says which builder is served first.
pub trait PrioritizeBuilders: Hook {
    /// The names of builders, in the order in which they are offered workers.
    ///
    /// # Errors
    /// The default order applies.
    fn order(args: Self::Args, builders: Vec<BuilderInfo>) -> Result<Vec<String>, Failure>;
}

/// A policy that chooses the worker for a request.
pub trait NextSlave: Hook {
    /// The name of one of `slaves`; none leaves the request for another time.
    ///
    /// # Errors
    /// The default choice applies.
    fn choose(
        args: Self::Args,
        builder: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        request: BuildRequest,
    ) -> Result<Option<String>, Failure>;
}

/// A policy that chooses what a builder does next.
pub trait NextBuild: Hook {
    /// The id of one of `requests`; none: none of them now.
    ///
    /// # Errors
    /// The default choice applies.
    fn choose(
        args: Self::Args,
        builder: BuilderInfo,
        requests: Vec<BuildRequest>,
    ) -> Result<Option<u64>, Failure>;
}

/// A policy that says where a request may be built, if anywhere.
pub trait CanStartBuild: Hook {
    /// The names of those of `slaves` that may take the request now.
    ///
    /// # Errors
    /// None may.
    fn allow(
        args: Self::Args,
        builder: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        request: BuildRequest,
    ) -> Result<Vec<String>, Failure>;
}

/// A policy that tells codebases apart.
pub trait CodebaseGenerator: Hook {
    /// The codebase of an incoming change.
    ///
    /// # Errors
    /// The change has the codebase that it came with.
    fn codebase(args: Self::Args, change: Change) -> Result<String, Failure>;
}

/// A value that is worked out when it is needed.
pub trait Renderer: Hook {
    /// Computes it.
    ///
    /// # Errors
    /// What needs the value ends as *exception*.
    fn render(args: Self::Args, properties: Vec<Pair>) -> Result<Value, Failure>;
}

/// Configuration made by a program.
pub trait Configurator: Hook {
    /// TOML text.
    ///
    /// # Errors
    /// The configuration is refused.
    fn configure(args: Self::Args) -> Result<String, Failure>;
}

/// Decides on its own when something is built.
pub trait Scheduler: Hook {
    /// Reacts to an event.
    ///
    /// # Errors
    /// Nothing that it did takes place, and the event is delivered again.
    fn handle(args: Self::Args, event: Event) -> Result<(), Failure>;
}

/// Finds changes by asking.
pub trait ChangeSource: Hook {
    /// Looks for changes.
    ///
    /// # Errors
    /// It is asked again when the next poll is due.
    fn poll(args: Self::Args) -> Result<PollResult, Failure>;
}

/// Reads changes out of an incoming HTTP request.
pub trait ChangeHook: Hook {
    /// The changes in it, oldest first.
    ///
    /// # Errors
    /// The sender is told so.
    fn decode(args: Self::Args, request: Request) -> Result<Vec<Change>, Failure>;
}

/// Tells somebody what happened.
pub trait Reporter: Hook {
    /// Reports one event, at least once.
    ///
    /// # Errors
    /// It is tried again later, if the failure is retryable.
    fn report(args: Self::Args, event_id: String, kind: String, event: String) -> Result<(), Failure>;
}
