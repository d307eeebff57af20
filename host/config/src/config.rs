//! The checked configuration: what `master.toml` and `worker.toml` mean once nothing is wrong in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use windlass_core::artifact::Keep;
use windlass_core::builder::{Builder, PolicyUse};
pub use windlass_core::change::ChangeFilter;
use windlass_core::decision::Budget;
use windlass_core::keeping::Keeping;
use windlass_core::lock::{Access, Lock};
use windlass_core::properties::Properties;
use windlass_core::report::{Mode, Wanted};
use windlass_core::user::Users;
use windlass_core::validation::Validation;

/// A checked `master.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Master {
    /// Shown in titles.
    pub title: String,
    /// Where the title leads.
    pub title_url: Option<String>,
    /// Where this master is found by others.
    pub url: Option<String>,
    /// Settings that need a restart to change.
    pub fixed: Fixed,
    /// What people may write who force a build.
    pub validation: Validation,
    /// Properties that every build gets.
    pub properties: Properties,
    /// Locks, by name.
    pub locks: BTreeMap<String, Lock>,
    /// The workers that may connect.
    pub workers: Vec<Worker>,
    /// The builders.
    pub builders: Vec<Builder>,
    /// The order in which builders are offered workers; none: highest priority, oldest, name.
    pub prioritize_builders: Option<PolicyUse>,
    /// The codebase of incoming changes; none: empty.
    pub codebase_generator: Option<PolicyUse>,
    /// Change sources.
    pub git_pollers: Vec<GitPoller>,
    /// Schedulers.
    pub schedulers: Vec<Scheduler>,
    /// Components that wrote a part of this configuration, in the order of the file.
    #[serde(default)]
    pub configurators: Vec<Configurator>,
    /// Who is told what happens.
    #[serde(default)]
    pub reporters: Vec<Reporter>,
    /// Where users are known from.
    #[serde(default)]
    pub user_managers: Vec<UserManager>,
    /// Whom they know.
    #[serde(default)]
    pub users: Users,
    /// Grants of capabilities: hook (qualified) to capability to scope. Bundled hooks that the file
    /// does not name have theirs.
    pub grants: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Where the values of secrets come from, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// How often the anti-entropy scan looks at the store, in milliseconds.
    pub db_poll_interval_ms: u64,
    /// How long a step may run that has no `deadline` of its own, in milliseconds.
    pub step_deadline_ms: u64,
    /// How long the commands of a worker wait for it once its link is cut, in milliseconds.
    #[serde(default = "usual_grace")]
    pub worker_grace_ms: u64,
    /// Who may look in; none: nobody.
    #[serde(default)]
    pub debug: Option<Console>,
    /// Limits of logs.
    pub logs: Logs,
    /// How many records of decisions are kept.
    pub decisions: Budget,
    /// How large artifacts may be, and how long they are kept.
    pub artifacts: Keep,
}

/// What [`Master::worker_grace_ms`] is where nobody says otherwise: longer than the restart of a switch, or of a worker's
/// machine, whose commands then are known to be lost at once.
#[must_use]
pub const fn usual_grace() -> u64 {
    15 * 60_000
}

/// A component that wrote a part of a configuration. What it wrote stands where it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configurator {
    /// `plugin:hook`.
    pub hook: String,
    /// Its arguments: JSON.
    pub args: String,
    /// Why it wrote nothing this time, if what stands here is what it wrote when it was asked the same before.
    #[serde(default)]
    pub fault: Option<String>,
}

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Where the value is.
    pub source: SecretSource,
    /// Whether ends of line at its end do not belong to it.
    pub strip: bool,
}

/// Where the value of a secret is. It is read whenever a command needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// In a file that only its owner may read.
    File(PathBuf),
    /// In a variable of the master's environment.
    Env(String),
    /// What a program prints that the master runs.
    Command {
        /// The program, which `[grants.secrets]` names, and its arguments.
        argv: Vec<String>,
        /// How long it may take, in milliseconds.
        timeout_ms: u64,
    },
}

/// Settings that are refused by a reconfig: they need a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixed {
    /// Where workers connect: `127.0.0.1:9989`. Port 0 picks a free one.
    pub listen: String,
    /// State directory: store, logs, components, socket. Relative to the configuration's directory.
    pub state_dir: PathBuf,
    /// Plugins folder. Relative to the configuration's directory.
    pub plugins_dir: PathBuf,
    /// Folder with files that every build may download. Relative to the configuration's directory.
    pub public_dir: PathBuf,
}

/// A worker as the master knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Unique.
    pub name: String,
    /// `blake3:<64 hex digits>` of the token; none: those that commands make count alone.
    #[serde(default)]
    pub token_hash: Option<String>,
    /// How many builds at once (`max_builds`); none: no limit.
    pub max_builds: Option<u32>,
    /// Properties that its builds get.
    pub properties: Properties,
    /// Properties that its builds get where nobody sets them.
    #[serde(default)]
    pub default_properties: Properties,
    /// What each of its builds holds, beside the locks of its builder.
    pub locks: Vec<Access>,
}

/// The console that looks into the running master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// Argon2id of the password.
    pub password_hash: String,
    /// Whether it may change anything.
    pub allow_changes: bool,
}

/// A file of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserManager {
    /// As it is written; it begins where the configuration is.
    pub path: String,
}

/// A poller of a git repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GitPoller {
    /// Unique; the repository's URL unless set.
    pub name: String,
    /// URL or path.
    pub repository: String,
    /// Branches to watch; empty: the default one.
    pub branches: Vec<String>,
    /// How often, in milliseconds.
    pub poll_interval_ms: u64,
    /// Goes into its changes.
    pub project: String,
    /// Goes into its changes.
    pub category: Option<String>,
    /// Whether commits that are there at the very first poll make changes.
    pub build_existing: bool,
}

/// A scheduler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scheduler {
    /// Unique.
    pub name: String,
    /// The builders that it asks to build.
    pub builders: Vec<String>,
    /// The priority of its requests.
    pub priority: i32,
    /// Properties that its builds get.
    pub properties: Properties,
    /// What makes it act.
    pub kind: SchedulerKind,
}

/// What makes a scheduler act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SchedulerKind {
    /// Changes that pass the filter, once no more came for a while.
    SingleBranch {
        /// Which changes.
        filter: ChangeFilter,
        /// `treeStableTimer`, in milliseconds.
        tree_stable_ms: u64,
    },
    /// A person: `windlass force`.
    Force,
    /// A step of a build: `trigger`.
    Triggerable,
    /// A buildset of another scheduler that ended as success or with warnings: its source is built further.
    Dependent {
        /// The other scheduler.
        upstream: String,
    },
}

impl SchedulerKind {
    /// Its name in a configuration.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            SchedulerKind::SingleBranch { .. } => "single-branch",
            SchedulerKind::Force => "force",
            SchedulerKind::Triggerable => "triggerable",
            SchedulerKind::Dependent { .. } => "dependent",
        }
    }
}

/// A reporter: a component that tells others what becomes of builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reporter {
    /// Unique; what waits for it is kept under this name.
    pub name: String,
    /// The qualified hook.
    pub hook: String,
    /// Its arguments, JSON text with templates.
    pub args: String,
    /// Which ends of builds it is told; none: all.
    pub modes: Option<BTreeSet<Mode>>,
    /// Whether it is told of starts, too.
    pub starts: bool,
    /// The builders that it is told of; empty: those with its tags, or all.
    pub builders: Vec<String>,
    /// Tags of the builders that it is told of; empty: any.
    pub tags: Vec<String>,
    /// Schedulers; empty: all.
    pub schedulers: Vec<String>,
    /// Branches; empty: all.
    pub branches: Vec<String>,
    /// Secrets that its arguments may name.
    pub secrets: Vec<String>,
}

impl Reporter {
    /// What it wants to be told, of these builders.
    #[must_use]
    pub fn wanted(&self, builders: &[Builder]) -> Wanted {
        let is_tagged = |builder: &&Builder| builder.tags.iter().any(|tag| self.tags.contains(tag));
        let builders = match (self.builders.is_empty(), self.tags.is_empty()) {
            (false, _) => Some(self.builders.iter().cloned().collect()),
            (true, false) => Some(builders.iter().filter(is_tagged).map(|b| b.name.clone()).collect()),
            (true, true) => None,
        };
        Wanted {
            modes: self.modes.clone(),
            starts: self.starts,
            builders,
            schedulers: self.schedulers.clone(),
            branches: self.branches.clone(),
        }
    }
}

/// Limits of logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// What all logs together may take on disk, in bytes; none: what the disk has.
    pub max_bytes: Option<u64>,
    /// What one log may take, in bytes; the rest is dropped with a record of its length.
    pub max_log_bytes: u64,
    /// What is kept of the end of one that is longer, beside that.
    pub max_log_tail_bytes: u64,
    /// How finished ones are kept.
    pub keeping: Keeping,
}

impl Default for Logs {
    fn default() -> Logs {
        Logs {
            max_bytes: None,
            max_log_bytes: 100 << 20,
            max_log_tail_bytes: 256 << 10,
            keeping: Keeping::default(),
        }
    }
}

/// A checked `worker.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerFile {
    /// Its name in the master's configuration.
    pub name: String,
    /// `ws://host:port`.
    pub master: String,
    /// The token in clear: a file that only its owner reads, relative to the configuration.
    pub token_file: PathBuf,
    /// Its directory: builds, components, spool. Relative to the configuration's directory.
    pub base_dir: PathBuf,
    /// Capabilities that this worker permits: hook (qualified, `plugin:*` or `*`) to capability to
    /// scope. What is not named may do what it asks for if it is bundled, and else nothing.
    pub allow: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Names of the worker's own environment that children inherit.
    pub inherit_env: Vec<String>,
}
