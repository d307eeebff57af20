//! What a worker is started with, what it tells meanwhile, and how it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_runtime::Compiler;

use crate::holder::Holder;

/// Everything about a worker that `worker.toml` does not say.
#[derive(Clone)]
pub struct Options {
    /// Relative paths of the configuration begin here: the directory of `worker.toml`.
    pub directory: PathBuf,
    /// Cancelled when the worker is to leave.
    pub shutdown: CancellationToken,
    /// How long running commands may go on after that, before they are interrupted.
    pub drain: Duration,
    /// The holder that started this process: which is the worker then and nothing else, so that it may be hardened,
    /// and what its holder adopts came from commands. None: a thread holds the children, and a process that leaves its
    /// command's group outlives the command.
    pub holder: Option<Arc<Holder>>,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// How this program is started to become another one in a terminal: its file, and what leads to
    /// [`crate::lead_terminal`]. Empty: terminals of commands are nobody's controlling ones.
    pub leader: Vec<String>,
    /// Called with what a person would want to see. Must not block.
    pub on_event: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Options {
    /// Interrupts commands at once on shutdown, and tells nobody anything.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, shutdown: CancellationToken) -> Options {
        Options {
            directory: directory.into(),
            shutdown,
            drain: Duration::ZERO,
            holder: None,
            compiler: Compiler::InProcess,
            leader: Vec::new(),
            on_event: Arc::new(|_| {}),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// What a person who looks at a worker wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It is about to connect.
    Connecting {
        /// `ws://host:port`.
        master: String,
    },
    /// The master accepted it.
    Connected {
        /// `ws://host:port`.
        master: String,
    },
    /// There is no link; running commands go on.
    Disconnected {
        /// Why, in one line.
        why: String,
        /// When it tries again.
        retry_in: Duration,
    },
    /// A command started.
    Started {
        /// `plugin:hook`.
        hook: String,
        /// Its name for ever.
        command: String,
    },
    /// A command ended.
    Ended {
        /// `plugin:hook`.
        hook: String,
        /// Its name for ever.
        command: String,
        /// `rc 0`, or what went wrong.
        how: String,
    },
    /// A component arrived from the master.
    Received {
        /// The plugin's name.
        plugin: String,
        /// The first digits of its digest.
        digest: String,
    },
    /// It takes no more commands and leaves when the running ones have ended.
    Draining {
        /// How many still run.
        running: usize,
    },
}

/// How a worker ended when nothing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to leave, and the master has all that the commands said.
    Clean,
    /// It was asked to leave, and updates that the master had not acknowledged are lost with it.
    Unacknowledged,
}

/// Why a worker can't go on.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum WorkerError {
    #[error("failed to prepare the worker's directory `{path}`")]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("another worker runs in `{path}`; each needs a directory of its own")]
    Locked { path: PathBuf },
    #[error(
        "failed to read the token from `{path}`; `windlass token FILE` makes one, with its hash for master.toml"
    )]
    Token {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the token file `{path}` can be read by others; `chmod 600 {path}` mends that")]
    OpenToken { path: PathBuf },
    #[error("the token file `{path}` is empty")]
    EmptyToken { path: PathBuf },
    #[error("`{address}` is no address of a master; it looks like ws://host:9989")]
    Address { address: String },
    #[error("the holder of this worker was killed, and its commands with it; start the worker again")]
    HolderKilled,
    #[error("the holder of this worker does not answer; start the worker again")]
    Holder {
        #[source]
        source: std::io::Error,
    },
    #[error("failed to start the engine that runs plugins")]
    Engine(#[source] windlass_runtime::EngineError),
    #[error("the master refused worker `{name}`: {message} ({code})")]
    Refused { name: String, code: String, message: String },
}
