//! Starting a master: every part in its order, and every error with what to do about it.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_config::{MasterText, Read, config};
use windlass_core::id::MasterId;
use windlass_core::secret::Seal;
use windlass_core::time::Timestamp;
use windlass_runtime::registry::Generation;
use windlass_runtime::{Compiler, EngineError, Limits, Runtime, files};
use windlass_store::{CasError, CommitError, DiskRoom, OnCommit, OpenError, ReadError, Store};

use crate::answers::Answers;
use crate::archive;
use crate::build_driver::{Builds, DriverParts, STOP_GRACE};
use crate::clock::{Clock, SystemClock};
use crate::debug::Console;
use crate::dispatcher::{self, Dispatcher};
use crate::events::Events;
use crate::fatal::Fatal;
use crate::git_poller::{self, Pollers};
use crate::handle::Handle;
use crate::include;
use crate::intake::{self, Intake};
use crate::masters::{self, MastersError};
use crate::plugins;
use crate::reading::{Faults, Good, Reading, Text};
use crate::reconfig::Gate;
use crate::recovery::{self, Recovered, RecoveryError, TakeUp};
use crate::reporter::{self, Reporters};
use crate::running::Running;
use crate::secrets;
use crate::stats::Names;
use crate::worker_link::{LinkLimits, LinkParts, Links};
use crate::worker_tokens::{self, OpenTokensError};
use crate::world::World;

/// In whose name this process claims requests. Several masters over one store are a later thing.
pub(crate) const MASTER: MasterId = MasterId(1);

/// How a master is started.
#[derive(Clone)]
pub struct Options {
    /// The configuration file, `master.toml`.
    pub config_path: PathBuf,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The components that every master has without a plugins folder: name and bytes.
    pub bundled: Vec<(String, Bytes)>,
    /// Deadlines of the links to workers.
    pub links: LinkLimits,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// What a call of a plugin may use.
    pub limits: Limits,
    /// Is told of each commit of the store; for tests of crashes.
    pub on_commit: Option<OnCommit>,
    /// Says how much room is left on the disk of the state.
    pub room: DiskRoom,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub fn new(config_path: impl Into<PathBuf>) -> Options {
        let bundled = windlass_plugins::bundled().iter();
        Options {
            config_path: config_path.into(),
            clock: Arc::new(SystemClock::new()),
            bundled: bundled.map(|b| (b.name.to_owned(), Bytes::from_static(b.bytes))).collect(),
            links: LinkLimits::default(),
            compiler: Compiler::InProcess,
            limits: Limits::default(),
            on_commit: None,
            room: DiskRoom::default(),
        }
    }
}

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration file cannot be read.
    #[error("failed to read `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration or plugins are wrong: all that is.
    #[error("{0}")]
    Invalid(Faults),
    /// A directory of the master cannot be made or made private.
    #[error("failed to prepare the directory `{path}`", path = path.display())]
    Folder {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Plugins cannot run here.
    #[error("failed to start the runtime of plugins")]
    Engine(#[from] EngineError),
    /// The store cannot be opened.
    #[error("failed to open the store")]
    Open(#[from] OpenError),
    /// The store cannot be read.
    #[error("failed to read the store")]
    ReadStore(#[from] ReadError),
    /// The bytes of a plugin cannot be kept.
    #[error("failed to keep the bytes of the plugins")]
    Keep(#[from] CasError),
    /// The store takes nothing.
    #[error("failed to write to the store")]
    Commit(#[from] CommitError),
    /// What the last run left cannot be put in order.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The rows of masters could not be brought up to date.
    #[error(transparent)]
    Masters(#[from] MastersError),
    /// The tokens of workers cannot be read.
    #[error(transparent)]
    Tokens(#[from] OpenTokensError),
    /// Workers cannot connect.
    #[error("failed to listen for workers on `{address}`, which `listen` in [master] says")]
    Listen {
        /// As configured.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl StartError {
    /// Each thing that is wrong, rendered for a terminal without colours; empty: the message says all.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        match self {
            StartError::Invalid(faults) => faults.details(),
            _ => Vec::new(),
        }
    }

    /// Whether the configuration or a plugin is at fault, not what surrounds the master.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, StartError::Invalid(_))
    }
}

/// A running master. Dropping it does not stop it in an orderly way; [`Handle::shutdown`] does.
#[derive(Debug)]
pub struct Master {
    handle: Handle,
}

impl Master {
    /// What others hold of it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Resolves once the master has shut down; [`Handle::failure`] says whether something forced it to.
    pub async fn stopped(&self) {
        self.handle.stopped().await;
    }
}

/// Starts a master: ready when it returns. On a disk without room that takes until there is some; who drops it meanwhile has
/// a store that can be opened anew.
pub async fn start(options: Options) -> Result<Master, StartError> {
    let Options { config_path, clock, bundled, links, compiler, limits, on_commit, room } = options;
    let path = std::path::absolute(&config_path)
        .map_err(|source| StartError::Read { path: config_path.clone(), source })?;
    let text =
        files::text(&path, files::MOST).map_err(|source| StartError::Read { path: path.clone(), source })?;
    let text = MasterText::parse(&path, &text);
    let fixed = text.peek(&include::variable).map_err(|errors| StartError::Invalid(errors.into()))?;
    let folders = Folders::of(&path, &fixed);
    let (events, fatal) = (Events::default(), Fatal::default());

    // What computes or waits for the disk happens off the async threads.
    let prepare = {
        let (folders, bundled, path) = (folders.clone(), bundled.clone(), path.clone());
        let cache = windlass_runtime::Options::new(folders.state.join("cache"));
        let of_runtime = windlass_runtime::Options { compiler, limits, ..cache };
        let of_store = windlass_store::Options { on_commit, room, ..windlass_store::Options::default() };
        move || prepare(&folders, &bundled, of_runtime, of_store, &path, text)
    };
    let Prepared { runtime, store, read, generation } = blocking(prepare).await?;
    let config = Arc::clone(&read.config);
    let listener = listen(&fixed.listen).await?;
    let address = listener.local_addr().map_or(fixed.listen.clone(), |address| address.to_string());

    // Before anything is too old.
    crate::clock::go_on(&*clock, &store, MASTER)?;
    let (keeping, keep) = (config.logs.keeping, config.artifacts);
    let begin = begin(&store, &runtime, config, generation, &*clock);
    // What is written waits for room on the disk, and what may go from there makes some.
    let begun = tokio::select! {
        begun = begin => begun?,
        never = archive::make_room(&store, keeping, keep, &*clock) => match never {},
    };
    let Begun { world, seal, started, recovered: Recovered { taken_up, closed, freed } } = begun;
    if closed + freed > 0 {
        tracing::info!(builds = closed, requests = freed, "closed what the last run left; it is built again");
    }

    let links = Links::new(LinkParts {
        cas: store.cas().clone(),
        clock: Arc::clone(&clock),
        events: events.clone(),
        limits: links,
    });
    links.transfers().serve(folders.public.clone());
    let tokens = worker_tokens::open(&store, links.tokens(), &world.config.workers);
    tokio::select! {
        opened = tokens => opened?,
        never = archive::make_room(&store, keeping, keep, &*clock) => match never {},
    }
    let builds = Builds::new(DriverParts {
        store: store.clone(),
        runtime: runtime.clone(),
        links: links.clone(),
        clock: Arc::clone(&clock),
        events: events.clone(),
        fatal: fatal.clone(),
        world: Arc::clone(&world),
        stop_grace: STOP_GRACE,
        seal: seal.clone(),
    })?;
    let dispatcher = Dispatcher::spawn(dispatcher::Parts {
        store: store.clone(),
        policies: Arc::new(runtime.clone()),
        start: Arc::new(builds.clone()),
        clock: Arc::clone(&clock),
        master: MASTER,
        fatal: fatal.clone(),
        world: Arc::clone(&world),
        taken_up: taken_up.iter().map(TakeUp::on_board).collect(),
    });
    builds.report_to(Arc::new(dispatcher.clone()));
    links.report_to(Arc::new(dispatcher.clone()));
    links.wait_for_workers(Duration::from_millis(world.config.worker_grace_ms));
    links.configure(&world.config.workers);
    // What runs on workers is expected before any of them can connect.
    builds.take_up(taken_up);
    let intake = Intake::spawn(intake::Parts {
        store: store.clone(),
        runtime: runtime.clone(),
        submit: Arc::new(dispatcher.clone()),
        clock: Arc::clone(&clock),
        events: events.clone(),
        fatal: fatal.clone(),
        world: Arc::clone(&world),
    })?;
    let pollers = Pollers::new(git_poller::Parts {
        store: store.clone(),
        intake: intake.clone(),
        clock: Arc::clone(&clock),
        folder: folders.state.join("pollers"),
    });
    links.listen(listener);
    pollers.configure(&world.config.git_pollers);
    let reporters = Reporters::new(reporter::Parts {
        store: store.clone(),
        runtime: runtime.clone(),
        clock: Arc::clone(&clock),
        fatal: fatal.clone(),
        seal,
    });
    reporters.configure(&world);
    let running = Running {
        config_path: path,
        folders,
        address,
        started,
        bundled,
        clock,
        events,
        fatal,
        store,
        runtime,
        world: ArcSwap::new(world),
        read: ArcSwap::new(read),
        dispatcher,
        builds,
        links,
        intake,
        pollers,
        reporters,
        names: Names::default(),
        gate: Gate::default(),
        console: Console::default(),
        tasks: TaskTracker::new(),
        asked_down: AtomicBool::new(false),
        closing: CancellationToken::new(),
        closed: CancellationToken::new(),
    };
    let handle = Handle::new(running);
    handle.heed_fatal();
    handle.log_policies();
    handle.mind_masters();
    handle.mind_archive();
    handle.mind_artifacts();
    handle.mind_tokens();
    Ok(Master { handle })
}

/// The directories of a master.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// The store, the cache of compiled components, the pollers' mirrors, the socket.
    pub state: PathBuf,
    /// Where people put components.
    pub plugins: PathBuf,
    /// Where people put files that builds may download.
    pub public: PathBuf,
}

impl Folders {
    pub(crate) fn of(config_path: &Path, fixed: &config::Fixed) -> Folders {
        let base = config_path.parent().unwrap_or(Path::new("/"));
        Folders {
            state: base.join(&fixed.state_dir),
            plugins: base.join(&fixed.plugins_dir),
            public: base.join(&fixed.public_dir),
        }
    }
}

/// What the first writes of a master leave it with.
struct Begun {
    world: Arc<World>,
    seal: Seal,
    started: Timestamp,
    recovered: Recovered,
}

/// Takes up what the store has, as the one master that writes to it.
async fn begin(
    store: &Store,
    runtime: &Runtime,
    config: Arc<config::Master>,
    generation: Generation,
    clock: &dyn Clock,
) -> Result<Begun, StartError> {
    let generation = number(store, generation).await?;
    let seal = secrets::seal(store).await?;
    let started = clock.now();
    masters::register(store, MASTER, started).await?;
    let world = Arc::new(World { config, generation: Arc::new(generation) });
    let recovered = recovery::recover(store, runtime, &world.generation, MASTER, clock.now()).await?;
    Ok(Begun { world, seal, started, recovered })
}

struct Prepared {
    runtime: Runtime,
    store: Store,
    read: Arc<Read>,
    generation: Generation,
}

fn prepare(
    folders: &Folders,
    bundled: &[(String, Bytes)],
    of_runtime: windlass_runtime::Options,
    of_store: windlass_store::Options,
    path: &Path,
    text: MasterText,
) -> Result<Prepared, StartError> {
    private(&folders.state)?;
    let runtime = Runtime::new(of_runtime)?;
    let answers = Answers::of(&folders.state);
    let reading = Reading {
        runtime: &runtime,
        old: None,
        bundled,
        folder: &folders.plugins,
        path,
        text: Text::Parsed(Box::new(text)),
        is_master: true,
        before: Some(&answers),
    };
    let (read, warnings) = reading.read();
    let Good { read, generation, bytes, answered } = read.map_err(StartError::Invalid)?;
    let config = &read.config;
    secrets::hide(&config.secrets);
    if let Some(warnings) = warnings {
        tracing::warn!("{}", warnings.render());
    }
    for configurator in &config.configurators {
        if let Some(fault) = &configurator.fault {
            tracing::error!(
                configurator = configurator.hook,
                fault,
                "it failed; this start goes on with what it wrote when it was asked the same before"
            );
        }
    }
    let of_store = windlass_store::Options {
        max_log_bytes_total: config.logs.max_bytes,
        // Steps cut each log at its limit and say so behind it; a limit here would refuse that note, and
        // would not follow a reconfiguration.
        max_log_bytes: None,
        decisions: config.decisions,
        ..of_store
    };
    let store = Store::open(&folders.state, of_store)?;
    // Whom it tells of builds it knows before the first write, which may end some.
    store.report_to(reporter::readers(config));
    // Nobody else has this state now.
    let ended = crate::orphans::end(store.folder());
    if ended > 0 {
        tracing::warn!(
            processes = ended,
            "ended programs of steps that the last run had left on this machine"
        );
    }
    plugins::keep(store.cas(), &bytes)?;
    // What is only for bad days keeps nobody down on a good one. First what it leaves may make room.
    answers.forget_others(&answered);
    answers.keep_or_say(&answered, |bytes| store.has_room(bytes));
    Ok(Prepared { runtime, store, read, generation })
}

/// Makes a directory that only its owner may look into, or makes it so.
fn private(folder: &Path) -> Result<(), StartError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let private = made.and_then(|()| {
        let mode = std::fs::metadata(folder)?.permissions().mode();
        if mode & 0o077 == 0 {
            return Ok(());
        }
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
    });
    private.map_err(|source| StartError::Folder { path: folder.to_owned(), source })
}

async fn listen(address: &str) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| StartError::Listen { address: address.to_owned(), source })
}

/// Numbers the first generation of this process: as the last one of the process before where the
/// plugins are the same, else the next. A build's generation so means one set of plugins for ever.
async fn number(store: &Store, mut generation: Generation) -> Result<Generation, StartError> {
    let last = store.state("master", "generation")?;
    let last: Option<plugins::Numbered> = last.and_then(|text| serde_json::from_slice(&text).ok());
    let digests = generation.digests();
    match last {
        Some(last) if last.plugins == digests => generation.number = last.number,
        other => {
            generation.number = other.map_or(1, |last| last.number + 1);
            store.commit(vec![plugins::remember(&generation)]).await?;
        }
    }
    Ok(generation)
}

/// Runs `work` off the async threads. A panic in it goes on in the caller.
pub(crate) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
