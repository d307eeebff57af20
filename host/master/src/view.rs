//! What the API answers and the command line prints: plain data, JSON on the wire.
//!
//! Times are milliseconds since 1970, UTC. Names follow the configuration's words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use windlass_core::digest::Digest;
use windlass_core::excerpt::Cut;
use windlass_core::outcome::Outcome;
pub use windlass_core::test_result::TestCounts;
use windlass_core::time::Timestamp;

/// Differences of two configurations.
pub use windlass_config::Plan;

pub use crate::view_artifact::{Artifact, TreeEntry};
pub use crate::view_debug::{DebugCommand, DebugLink, DebugLook, DebugOrder};
pub use crate::view_event::Event;
pub use crate::view_force::{Force, Forced, Patch};
pub use crate::view_lock::{Lock, LockUse};
pub use crate::view_log::{LogBytes, LogChunk, LogPiece, Window};
pub use crate::view_plugin::{
    Capability, Hook, Plugin, PluginChange, PluginChanges, PluginStats, PluginUsage, PolicyBudget,
    PolicyStatus, Replaced, UseStats,
};
pub use crate::view_request::{ListedRequest, RequestFilter, RequestPage, RequestState};
pub use crate::view_results::{Figure, FigureQuery, Test, TestQuery, Tests};
pub use crate::view_token::{NewToken, RevokeTokens, RevokedTokens, WorkerToken};
pub use crate::view_user::{User, UserChange};
pub use crate::view_why::{Decision, Estimate, FailedPolicy, Waits, Why, WhyRequest};
pub use windlass_core::schedule::{Wait, WaitsFor};

/// How the master is: `windlass status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The configured title.
    pub title: String,
    /// Where the title leads.
    #[serde(default)]
    pub title_url: Option<String>,
    /// Where this master is found by others.
    #[serde(default)]
    pub url: Option<String>,
    /// The version of the program.
    pub version: String,
    /// The number of the plugins' generation; each reconfig that changes something makes a new one.
    pub generation: u64,
    /// When the master started.
    pub started: Timestamp,
    /// The moment of this answer.
    pub now: Timestamp,
    /// Its process.
    pub pid: u32,
    /// Where workers connect, with the port that was really taken.
    pub listen: String,
    /// The configuration file.
    pub config: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The configured workers, in the order of the configuration.
    pub workers: Vec<WorkerStatus>,
    /// The configured builders, in the order of the configuration.
    pub builders: Vec<BuilderStatus>,
    /// Requests that wait, over all builders.
    pub pending: u64,
    /// Builds that run now, oldest first.
    pub running: Vec<Build>,
    /// Locks, with those who hold them and those who wait.
    pub locks: Vec<Lock>,
    /// Policies in use, with what became of their calls.
    pub policies: Vec<PolicyStatus>,
    /// Change sources.
    pub pollers: Vec<PollerStatus>,
    /// Schedulers.
    pub schedulers: Vec<SchedulerStatus>,
    /// Who is told what happens, in the order of the configuration.
    #[serde(default)]
    pub reporters: Vec<ReporterStatus>,
    /// How quickly the dispatcher answers.
    pub dispatch: DispatchStatus,
    /// The store's counters since the start.
    pub store: StoreStatus,
    /// Bytes of memory that the process has in use (resident); none where the system does not say.
    pub memory: Option<u64>,
    /// What a person should look at: a store that fails, a worker that was refused, a policy that was
    /// suspended.
    pub problems: Vec<String>,
}

/// A worker in [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// Since when it is connected; none: it is not.
    pub connected: Option<Timestamp>,
    /// Builds that run on it.
    pub running: u32,
    /// How many it may run at once; none: no limit.
    pub max_builds: Option<u32>,
    /// The version of its program.
    pub version: Option<String>,
    /// Its load average divided by its cores.
    pub load: Option<f64>,
    /// Until when it gets nothing new, since it was lost before builds got anywhere; none: it is not in quarantine.
    pub quarantine: Option<Timestamp>,
    /// How often that happened since a build last went well on it.
    pub failures: u32,
    /// Facts about the machine: `os`, `arch`, `cores`, `hostname`.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// A builder in [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuilderStatus {
    /// Its name.
    pub name: String,
    /// One line about it.
    pub description: Option<String>,
    /// Its labels.
    pub tags: Vec<String>,
    /// The workers that may build it.
    pub workers: Vec<String>,
    /// Requests that wait.
    pub pending: u64,
    /// Builds that run.
    pub building: u32,
    /// The newest build that ended.
    pub last: Option<LastBuild>,
    /// Why its requests wait, where some do.
    pub waiting: Option<Wait>,
}

/// The newest finished build of a builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastBuild {
    /// What `windlass build N` takes.
    pub id: u64,
    /// Its number within the builder.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub ended: Timestamp,
    /// One line about it.
    pub summary: String,
}

/// A change source in [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PollerStatus {
    /// Its name.
    pub name: String,
    /// What it watches.
    pub repository: String,
    /// The newest revision that it has seen, by branch.
    pub heads: BTreeMap<String, String>,
    /// When it last looked.
    pub last_poll: Option<Timestamp>,
    /// When it looks again.
    pub next_poll: Option<Timestamp>,
    /// What went wrong the last time; it is tried again.
    pub error: Option<String>,
}

/// A scheduler in [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchedulerStatus {
    /// Its name.
    pub name: String,
    /// `single-branch` or `force`.
    pub kind: String,
    /// The builders that it asks to build.
    pub builders: Vec<String>,
    /// Changes that wait for the tree to be stable.
    pub changes: usize,
    /// When it acts on them unless another change comes.
    pub fires: Option<Timestamp>,
}

/// A reporter in [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReporterStatus {
    /// Its name.
    pub name: String,
    /// The qualified hook.
    pub hook: String,
    /// Events that it took, ever.
    pub delivered: u64,
    /// Events that wait for it.
    pub waiting: u64,
    /// Events that could not be told, and are not told again.
    pub lost: u64,
    /// Events that were dropped because too many waited.
    pub dropped: u64,
    /// Why the oldest event was not taken; none: nothing is wrong.
    pub error: Option<String>,
    /// When it is told again.
    pub next_try: Option<Timestamp>,
    /// Why an event was lost, the newest since the start of the master.
    pub last_lost: Option<String>,
}

/// How quickly the dispatcher answers, in [`Status`]: from when something happened (a request, a worker, a
/// build's end, a policy's answer, a commit) until it was handled, and what it led to was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DispatchStatus {
    /// Events since the start; the other figures are over the newest 10,000 of them.
    pub events: u64,
    /// Half of them took at most so many microseconds.
    pub p50_us: u64,
    /// 99 of 100 took at most so many.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl DispatchStatus {
    /// A dispatcher that takes longer for one event in a hundred is in trouble.
    pub const GOOD_P99_US: u64 = 50_000;
}

/// The store's counters in [`Status`], since the start of the master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Batches of effects that callers committed.
    pub batches: u64,
    /// Transactions that they were grouped into.
    pub commits: u64,
    /// Those of them that hold what running steps were answered.
    #[serde(default)]
    pub journals: u64,
    /// Syncs to disk.
    pub syncs: u64,
    /// Bytes of logs written.
    pub log_bytes: u64,
}

/// A build in lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// What `windlass build N` takes: unique over all builders.
    pub id: u64,
    /// Its number within the builder, from 1.
    pub number: u64,
    /// The builder.
    pub builder: String,
    /// The worker.
    pub worker: String,
    /// The requests that it serves.
    pub requests: Vec<u64>,
    /// Why it was made.
    pub reason: String,
    /// The branch of its first source stamp.
    pub branch: Option<String>,
    /// The revision of its first source stamp, or the one that was got (`got_revision`).
    pub revision: Option<String>,
    /// The generation of plugins that it keeps for its life.
    pub generation: u64,
    /// When it started.
    pub started: Timestamp,
    /// When it ended; none: it runs.
    pub ended: Option<Timestamp>,
    /// How it ended; none: it runs.
    pub outcome: Option<Outcome>,
    /// One line about it.
    pub summary: String,
    /// Who wrote its changes, or else who forced it: users by their names, others as their changes say; the newest ones
    /// of many. Lists of builds have it and `windlass build N`; elsewhere it is empty.
    #[serde(default)]
    pub authors: Vec<String>,
}

/// All about a build: `windlass build N`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildDetail {
    /// What lists show.
    #[serde(flatten)]
    pub build: Build,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// Every component that acted on it.
    pub components: Vec<Component>,
    /// The policies that failed while it was decided upon: the default rule decided in their place.
    pub failed_policies: Vec<FailedPolicy>,
    /// What it builds, by codebase.
    pub stamps: Vec<Stamp>,
    /// The changes in it, oldest first.
    pub changes: Vec<Change>,
    /// Its properties, sorted by name.
    pub properties: Vec<Property>,
}

/// A step of a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its place in the build, from 0.
    pub position: u32,
    /// Its name, unique in the build.
    pub name: String,
    /// The qualified hook that ran it.
    pub hook: String,
    /// The component that ran it.
    pub digest: Digest,
    /// When it started.
    pub started: Timestamp,
    /// When it ended; none: it runs.
    pub ended: Option<Timestamp>,
    /// How it ended; none: it runs.
    pub outcome: Option<Outcome>,
    /// One line about it.
    pub summary: String,
    /// Named links.
    pub urls: Vec<(String, String)>,
    /// What failed, where a plugin or the machinery is at fault: plugin, digest and call.
    pub fault: Option<String>,
    /// People see it only if they ask for all.
    #[serde(default)]
    pub hidden: bool,
    /// What components computed for it.
    #[serde(default)]
    pub computed: Vec<Computed>,
    /// The test results that it reported, counted.
    #[serde(default, skip_serializing_if = "TestCounts::is_empty")]
    pub tests: TestCounts,
    /// Its figures, comparable from build to build.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statistics: BTreeMap<String, f64>,
    /// Its logs.
    pub logs: Vec<Log>,
}

/// What a component computed for a step, by the hook `renderer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Computed {
    /// For what: `args.env.PATH`, `do_step_if`.
    pub place: String,
    /// The qualified hook.
    pub hook: String,
    /// The component's bytes.
    pub digest: Digest,
    /// What it answered.
    pub value: serde_json::Value,
}

/// A log of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Its name: `stdio`.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// No more will come.
    pub finished: bool,
    /// BLAKE3 of all its bytes but those of headers, once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Digest>,
    /// What was dropped because it was too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Its bytes were removed, because it was too old.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

/// A component that acted on a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// The kind of the hook: `build-step`, `next-slave` ...
    pub kind: String,
    /// The qualified hook.
    pub hook: String,
    /// The exact bytes.
    pub digest: Digest,
    /// Whether the current generation has the same bytes under this plugin's name.
    pub current: bool,
}

/// What a build builds of one codebase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The codebase; empty where there is only one.
    pub codebase: String,
    /// The project.
    pub project: String,
    /// Where the source lives.
    pub repository: String,
    /// The branch; none: the default one.
    pub branch: Option<String>,
    /// The exact revision; none: the newest.
    pub revision: Option<String>,
    /// The patch on top of it.
    #[serde(default)]
    pub patch: Option<PatchInfo>,
}

/// A patch, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchInfo {
    /// As of `patch -p`.
    pub level: u32,
    /// Where it is applied, below the source.
    pub directory: String,
    /// Who sent it.
    pub author: String,
    /// What they said.
    pub comment: String,
    /// In bytes.
    pub size: usize,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its number.
    pub id: u64,
    /// Who wrote it, as the change says.
    pub author: String,
    /// The user that this is, if it is a known one.
    #[serde(default)]
    pub user: Option<String>,
    /// The commit message.
    pub comments: String,
    /// Where the source lives.
    pub repository: String,
    /// The branch.
    pub branch: Option<String>,
    /// The revision.
    pub revision: Option<String>,
    /// The codebase.
    pub codebase: String,
    /// Paths that it touches.
    pub files: Vec<String>,
    /// When it was made.
    pub when: Timestamp,
}

/// A property of a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: serde_json::Value,
    /// Who set it.
    pub source: String,
}

/// Requests that were submitted together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Buildset {
    /// Its number.
    pub id: u64,
    /// Why.
    pub reason: String,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Its requests.
    pub requests: Vec<Request>,
    /// The worst outcome, once all requests are complete.
    pub outcome: Option<Outcome>,
}

/// A request to run one builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub id: u64,
    /// The builder.
    pub builder: String,
    /// Larger is sooner.
    pub priority: i32,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Whether a build has it now.
    pub claimed: bool,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// Which builds to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildFilter {
    /// Only of this builder.
    pub builder: Option<String>,
    /// Only on this worker.
    pub worker: Option<String>,
    /// Only finished ones, or only running ones.
    pub complete: Option<bool>,
    /// Only those with smaller numbers, to page on.
    pub before: Option<u64>,
    /// At most so many; none: 50.
    pub limit: Option<usize>,
}

/// What was held against a worker until a person released it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The worker.
    pub worker: String,
    /// Until when its quarantine would have lasted; none: it was in none.
    pub quarantine: Option<Timestamp>,
    /// How often it was lost before a build got anywhere, since one last went well on it.
    pub failures: u32,
}

/// What a poll that was asked for found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polled {
    /// The poller.
    pub poller: String,
    /// New changes.
    pub changes: usize,
}

/// What a reconfig did, or (`plan_only`) would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconfigured {
    /// The generation that is now live; the old one's number where nothing changed.
    pub generation: u64,
    /// Nothing was changed: it was only asked what would be.
    pub plan_only: bool,
    /// Whether anything differs.
    pub changed: bool,
    /// Differences of the configuration.
    pub plan: Plan,
    /// What is allowed in the new configuration and probably not meant, rendered for a terminal.
    pub warnings: Vec<String>,
    /// Differences of the plugins.
    pub plugins: PluginChanges,
    /// Builds that go on with plugins of an older generation.
    pub builds_holding: Vec<u64>,
    /// Policies whose suspension was lifted: any reconfig that is not refused does, whether or not something
    /// differs.
    pub lifted: Vec<String>,
}
