//! The part of [`crate::view`] about the console that looks into the running master.
//!
//! What it answers is JSON that follows the code and is promised to nobody.

use serde::{Deserialize, Serialize};

/// A look, with the password: `windlass debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct DebugOrder {
    /// The one whose hash stands in `[debug]`.
    pub password: String,
    /// Who asks, as they say, for the log.
    #[serde(default)]
    pub by: Option<String>,
    /// What for.
    pub look: DebugLook,
}

/// What is looked at, or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DebugLook {
    /// Nothing: whether the password is right.
    Password,
    /// Queues, slots, locks, suspensions, quarantines: as the dispatcher has them.
    Board,
    /// A build: its rows, its plan, and of the step that runs the journal and the commands.
    Build(u64),
    /// The links to workers: what each side has not acknowledged.
    Links,
    /// The tables with rows and bytes, the room, the commits.
    Store,
    /// A row.
    Row {
        /// The table.
        table: String,
        /// The parts of its key, with `,` in between, each as `rows` lists it: with `%` and two hex digits for each byte
        /// of what would divide it.
        key: String,
    },
    /// Rows of a table by their keys, and which of them are damaged.
    Rows {
        /// The table.
        table: String,
        /// Those behind this key; none: from the first on.
        #[serde(default)]
        after: Option<String>,
        /// At most so many; none: 100.
        #[serde(default)]
        limit: Option<usize>,
        /// Only those that are damaged.
        #[serde(default)]
        damaged: bool,
    },
    /// The plugins, and who holds old ones.
    Plugins,
    /// What runs, and since when.
    Tasks,
    /// A poller looks now. A change.
    Poll(String),
    /// The suspension of a policy ends. A change.
    Lift(String),
}

impl DebugLook {
    /// Whether it changes anything.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            DebugLook::Poll(_) | DebugLook::Lift(_) => true,
            DebugLook::Password
            | DebugLook::Board
            | DebugLook::Build(_)
            | DebugLook::Links
            | DebugLook::Store
            | DebugLook::Row { .. }
            | DebugLook::Rows { .. }
            | DebugLook::Plugins
            | DebugLook::Tasks => false,
        }
    }
}

/// The link of a worker, as its task has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DebugLink {
    /// The worker.
    pub worker: String,
    /// Where it is connected from; none: it is not.
    pub peer: Option<String>,
    /// The worker's directory and the number of its start; it outlives the link.
    pub instance: String,
    /// See there.
    pub epoch: u64,
    /// How long ago something was heard on the link, in milliseconds.
    pub heard_ms_ago: Option<u64>,
    /// How long commands still wait for it, in milliseconds; none: they do not wait.
    pub waits_ms: Option<u64>,
    /// Bytes of what its commands said that no step has taken yet.
    pub ahead_bytes: u64,
    /// Whether the link is not read until steps have caught up.
    pub held_back: bool,
    /// Its commands.
    pub commands: Vec<DebugCommand>,
}

/// A command of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugCommand {
    /// Its name.
    pub uid: String,
    /// Whether its start was put on a link.
    pub sent: bool,
    /// The epoch of the start of the worker that it was sent to before the master was started anew.
    pub epoch: Option<u64>,
    /// The last update that came.
    pub seen: u64,
    /// The last update that is durable, as the worker was told.
    pub acknowledged: u64,
    /// The number of its last update of all, once it came.
    pub done: Option<u64>,
    /// Why it was asked to stop.
    pub interrupt: Option<String>,
    /// Whether its step still listens.
    pub wanted: bool,
}
