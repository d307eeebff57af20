//! Questions to policies and their answers, as values. The records match `windlass:master/model`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::change::{Change, SourceStamp};
use crate::digest::Digest;
use crate::outcome::Outcome;
use crate::request::{Buildset, Request};
use crate::time::Timestamp;
use crate::value::{Failure, Pair, Value};

/// The kinds of hooks, by the names of their interfaces in `wit/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is the interface of the same name in wit/, documented there")]
pub enum HookKind {
    SlaveCommand,
    BuildStep,
    MergeRequests,
    PrioritizeBuilders,
    NextSlave,
    NextBuild,
    CanStartBuild,
    CodebaseGenerator,
    Renderer,
    Configurator,
    Scheduler,
    ChangeSource,
    ChangeHook,
    Reporter,
}

impl HookKind {
    /// All, in the order of the contract.
    pub const ALL: [HookKind; 14] = [
        HookKind::SlaveCommand,
        HookKind::BuildStep,
        HookKind::MergeRequests,
        HookKind::PrioritizeBuilders,
        HookKind::NextSlave,
        HookKind::NextBuild,
        HookKind::CanStartBuild,
        HookKind::CodebaseGenerator,
        HookKind::Renderer,
        HookKind::Configurator,
        HookKind::Scheduler,
        HookKind::ChangeSource,
        HookKind::ChangeHook,
        HookKind::Reporter,
    ];

    /// The interface's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            HookKind::SlaveCommand => "slave-command",
            HookKind::BuildStep => "build-step",
            HookKind::MergeRequests => "merge-requests",
            HookKind::PrioritizeBuilders => "prioritize-builders",
            HookKind::NextSlave => "next-slave",
            HookKind::NextBuild => "next-build",
            HookKind::CanStartBuild => "can-start-build",
            HookKind::CodebaseGenerator => "codebase-generator",
            HookKind::Renderer => "renderer",
            HookKind::Configurator => "configurator",
            HookKind::Scheduler => "scheduler",
            HookKind::ChangeSource => "change-source",
            HookKind::ChangeHook => "change-hook",
            HookKind::Reporter => "reporter",
        }
    }

    /// The function that does its work, as `interface.function`: how faults name a call.
    #[must_use]
    pub fn function(self) -> &'static str {
        match self {
            HookKind::MergeRequests => "merge-requests.mergeable",
            HookKind::PrioritizeBuilders => "prioritize-builders.order",
            HookKind::NextSlave => "next-slave.choose",
            HookKind::NextBuild => "next-build.choose",
            HookKind::CanStartBuild => "can-start-build.allow",
            HookKind::CodebaseGenerator => "codebase-generator.codebase",
            HookKind::SlaveCommand => "slave-command.run",
            HookKind::BuildStep => "build-step.run",
            HookKind::Renderer => "renderer.render",
            HookKind::Configurator => "configurator.configure",
            HookKind::Scheduler => "scheduler.handle",
            HookKind::ChangeSource => "change-source.poll",
            HookKind::ChangeHook => "change-hook.decode",
            HookKind::Reporter => "reporter.report",
        }
    }
}

impl std::fmt::Display for HookKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// `model.builder-info`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of `windlass:master/model.builder-info`")]
pub struct BuilderInfo {
    pub name: String,
    pub tags: Vec<String>,
    pub pending: u32,
    pub building: u32,
    pub highest_priority: Option<i32>,
    pub oldest_request: Option<Timestamp>,
}

/// `model.slave-info`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of `windlass:master/model.slave-info`")]
pub struct SlaveInfo {
    pub name: String,
    pub running: u32,
    pub max_builds: Option<u32>,
    pub connected_since: Timestamp,
    pub last_built: Option<Timestamp>,
    pub last_outcome: Option<Outcome>,
    pub load: Option<f64>,
    pub properties: Vec<Pair>,
}

/// `model.build-request`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of `windlass:master/model.build-request`")]
pub struct RequestInfo {
    pub id: u64,
    pub buildset: u64,
    pub builder: String,
    pub stamps: Vec<SourceStamp>,
    pub priority: i32,
    pub submitted: Timestamp,
    pub waited_for: bool,
    pub reason: String,
    pub properties: Vec<Pair>,
}

impl RequestInfo {
    /// What a policy sees of a request. Properties it looks up.
    #[must_use]
    pub fn of(request: &Request, buildset: &Buildset) -> RequestInfo {
        RequestInfo {
            id: request.id.0,
            buildset: request.buildset.0,
            builder: request.builder.clone(),
            stamps: buildset.stamps.clone(),
            priority: request.priority,
            submitted: request.submitted,
            waited_for: request.waited_for,
            reason: buildset.reason.clone(),
            properties: Vec::new(),
        }
    }
}

/// What a policy is asked.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is the function of the interface of the same name in wit/")]
pub enum Question {
    MergeRequests { builder: BuilderInfo, first: RequestInfo, others: Vec<RequestInfo> },
    PrioritizeBuilders { builders: Vec<BuilderInfo> },
    NextSlave { builder: BuilderInfo, slaves: Arc<Vec<SlaveInfo>>, request: RequestInfo },
    NextBuild { builder: BuilderInfo, requests: Vec<RequestInfo> },
    CanStartBuild { builder: BuilderInfo, slaves: Arc<Vec<SlaveInfo>>, request: RequestInfo },
    CodebaseGenerator { change: Change },
}

impl Question {
    /// Whose policy is asked, as meters name a use: `builder ci: next-slave`.
    #[must_use]
    pub fn used_by(&self) -> String {
        let kind = self.kind().as_str();
        match self {
            Question::MergeRequests { builder, .. }
            | Question::NextSlave { builder, .. }
            | Question::NextBuild { builder, .. }
            | Question::CanStartBuild { builder, .. } => used_by(Some(&builder.name), kind),
            Question::PrioritizeBuilders { .. } | Question::CodebaseGenerator { .. } => used_by(None, kind),
        }
    }

    /// The builders or workers that it offers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (builders, slaves): (&[BuilderInfo], &[SlaveInfo]) = match self {
            Question::PrioritizeBuilders { builders } => (builders, &[]),
            Question::NextSlave { slaves, .. } | Question::CanStartBuild { slaves, .. } => (&[], slaves),
            Question::MergeRequests { .. }
            | Question::NextBuild { .. }
            | Question::CodebaseGenerator { .. } => (&[], &[]),
        };
        builders.iter().map(|b| b.name.as_str()).chain(slaves.iter().map(|s| s.name.as_str()))
    }

    /// The requests that it is about, the one that others may join first.
    pub fn requests(&self) -> impl Iterator<Item = &RequestInfo> {
        let (first, others): (Option<&RequestInfo>, &[RequestInfo]) = match self {
            Question::MergeRequests { first, others, .. } => (Some(first), others),
            Question::NextSlave { request, .. } | Question::CanStartBuild { request, .. } => {
                (Some(request), &[])
            }
            Question::NextBuild { requests, .. } => (None, requests),
            Question::PrioritizeBuilders { .. } | Question::CodebaseGenerator { .. } => (None, &[]),
        };
        first.into_iter().chain(others)
    }

    /// The hook that answers it.
    #[must_use]
    pub fn kind(&self) -> HookKind {
        match self {
            Question::MergeRequests { .. } => HookKind::MergeRequests,
            Question::PrioritizeBuilders { .. } => HookKind::PrioritizeBuilders,
            Question::NextSlave { .. } => HookKind::NextSlave,
            Question::NextBuild { .. } => HookKind::NextBuild,
            Question::CanStartBuild { .. } => HookKind::CanStartBuild,
            Question::CodebaseGenerator { .. } => HookKind::CodebaseGenerator,
        }
    }
}

/// How meters name the use of a policy by a builder, or by the master as a whole.
#[must_use]
pub fn used_by(builder: Option<&str>, kind: &str) -> String {
    match builder {
        Some(builder) => format!("builder {builder}: {kind}"),
        None => format!("master: {kind}"),
    }
}

/// What a policy answered, unjudged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// `merge-requests`: ids of requests.
    Requests(Vec<u64>),
    /// `prioritize-builders`, `can-start-build`: names.
    Names(Vec<String>),
    /// `next-slave`: a name, or none.
    Slave(Option<String>),
    /// `next-build`: an id, or none.
    Request(Option<u64>),
    /// `codebase-generator`: a codebase.
    Codebase(String),
}

impl Answer {
    /// What it takes up, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Answer::Requests(ids) => 8 * ids.len(),
            Answer::Names(names) => names.iter().map(|name| 24 + name.len()).sum(),
            Answer::Slave(name) => name.as_ref().map_or(0, String::len),
            Answer::Request(_) => 8,
            Answer::Codebase(codebase) => codebase.len(),
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Requests(ids) if ids.is_empty() => f.write_str("no request"),
            Answer::Requests(ids) => {
                write!(f, "requests {}", ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
            }
            Answer::Names(names) if names.is_empty() => f.write_str("none"),
            Answer::Names(names) => f.write_str(&names.join(", ")),
            Answer::Slave(name) => f.write_str(name.as_deref().unwrap_or("none")),
            Answer::Request(Some(id)) => write!(f, "request {id}"),
            Answer::Request(None) => f.write_str("no request"),
            Answer::Codebase(codebase) => write!(f, "codebase `{codebase}`"),
        }
    }
}

/// What a policy may look up while it decides (`windlass:master/decision`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lookups {
    /// The moment of the decision.
    pub now: Timestamp,
    /// Properties of requests, by id.
    pub requests: BTreeMap<u64, Vec<Pair>>,
    /// Properties of workers, by name: of all of them, so that no question makes a copy.
    pub slaves: Arc<BTreeMap<String, Arc<Vec<Pair>>>>,
}

/// A look-up that a policy made, with its answer, for the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// `request-property 12 branch`.
    pub question: String,
    /// The answer.
    pub answer: Option<Value>,
}

/// Why a plugin's call gave no answer. Always the plugin's own fault, and shown as such.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("plugin `{plugin}` ({digest}) failed in `{call}`: {kind}", digest = digest.short())]
pub struct Fault {
    /// The plugin's name.
    pub plugin: String,
    /// Its bytes.
    pub digest: Digest,
    /// The function that was called: `next-slave.choose`.
    pub call: String,
    /// What happened.
    pub kind: FaultKind,
}

impl Fault {
    /// So much of it as is kept for people; the words are the plugin's own, and as many as it likes.
    #[must_use]
    pub fn brief(&self) -> String {
        const MOST: usize = 2_000;
        let mut text = self.to_string();
        if text.len() > MOST {
            text.truncate(text.floor_char_boundary(MOST));
            text.push_str(" ...");
        }
        text
    }
}

/// What happened in a call that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FaultKind {
    /// It trapped; the text says how and where.
    #[error("it trapped: {0}")]
    Trap(String),
    /// It used up its CPU budget.
    #[error("it used more than its {0} ms of CPU")]
    Cpu(u64),
    /// It did not come back in time.
    #[error("it did not answer within {0} ms")]
    Wall(u64),
    /// It asked for more memory than it may have.
    #[error("it asked for more than its {0} bytes of memory")]
    Memory(u64),
    /// It answered `Err`.
    #[error("it answered: {0}")]
    Failed(Failure),
    /// Its answer makes no sense; the text says what was wrong.
    #[error("its answer was refused: {0}")]
    BadAnswer(String),
}

/// What a call cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Microseconds of CPU in the guest and its host calls.
    pub cpu_us: u64,
    /// Microseconds from start to end.
    pub wall_us: u64,
    /// The most memory it had, in bytes.
    pub peak_memory: u64,
    /// Calls of host functions.
    pub host_calls: u64,
    /// Calls of host functions that were denied for want of a grant.
    #[serde(default)]
    pub denials: u64,
    /// Whether it trapped or passed a limit.
    #[serde(default)]
    pub trapped: bool,
}
