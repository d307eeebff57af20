//! What a running step may do: the port behind `windlass:master/step-host`, for one run of one step.
//!
//! The port belongs to the run and needs no lock. It moves things along (updates of commands into
//! logs, logs into commits, commits into acknowledgements) whenever the step waits for something;
//! while the step computes, nothing moves, and the worker's window holds its output back. When the
//! run is over, however it ended, the port's state comes home to the driver.
//!
//! - `host`: the functions of the contract; `book`, `events`: what they write and take
//! - `commands`: remote commands of the step
//! - `turn`: the one place that waits
//! - `batch`: what waits for a commit, and what is acknowledged after it
//! - `children`: buildsets that the step submits
//! - `processes`, `outside`: programs on the master, and other machines; `rights`: who may
//! - `results`: test results and figures
//! - `logs`, `lines`, `uid`: logs, whole lines, names of commands
//! - `replay`: the step's journal, and how a step that is taken up is answered from it
//! - `transfer`: files to and from the worker, artifacts

mod batch;
mod book;
mod children;
mod commands;
mod events;
mod host;
mod lines;
mod logs;
mod outside;
mod processes;
mod replay;
mod results;
pub(crate) mod rights;
mod transfer;
mod turn;
mod uid;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use windlass_config::config;
use windlass_core::builder::{Builder, StepSpec};
use windlass_core::excerpt::Limit;
use windlass_core::id::StepId;
use windlass_core::journal::{Given, Journal, Mark};
use windlass_core::persist::Persist;
use windlass_core::record::{BuildRow, StepRow};
use windlass_core::time::Timestamp;
use windlass_core::value::{Completion, Failure};
use windlass_runtime::Runtime;
use windlass_runtime::port::StepEvent;
use windlass_runtime::registry::Generation;
use windlass_store::Store;

use crate::build_driver::Builds;
use crate::clock::Clock;
use crate::events::Events;
use crate::secrets::{BuildSecrets, OwnTemplates};
use crate::worker_link::{CommandFeed, Links};
use batch::Batch;
use children::Children;
use commands::Command;
use logs::LogBook;
use processes::Processes;
use results::Results;
use rights::Rights;
use transfer::StepFiles;

pub(crate) use commands::{Acked, acknowledge};
pub(crate) use logs::without_logs;
#[cfg(test)]
pub(crate) use replay::started;
pub(crate) use replay::{Resumed, read as read_resumed, started_command};

/// Why a build is to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It is not.
    #[default]
    No,
    /// Somebody wants this step of it stopped, and no other.
    Step {
        /// Which.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// Somebody wants it stopped: it ends as cancelled.
    Cancel(String),
    /// The master goes down: the build is left as it runs, and the next master takes it up.
    Shutdown,
}

impl Stop {
    /// The reason, as this step is told. Of a shutdown it hears nothing: it goes on in the next master.
    pub(crate) fn reason(&self, of: StepId) -> Option<&str> {
        match self {
            Stop::No | Stop::Shutdown => None,
            Stop::Step { step, reason } => (*step == of).then_some(reason),
            Stop::Cancel(reason) => Some(reason),
        }
    }
}

/// When a step is to be over.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    /// The moment; none: it lies too far ahead to be told.
    pub(crate) at: Option<Instant>,
    /// Who set it, as the step is told.
    pub(crate) reason: String,
}

/// What a step is given for its run.
pub(crate) struct StepContext {
    pub(crate) store: Store,
    pub(crate) links: Links,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    pub(crate) config: Arc<config::Master>,
    pub(crate) generation: Arc<Generation>,
    /// Those of the generation that the build looked up already.
    pub(crate) hooks: windlass_config::Known,
    pub(crate) builder: Arc<Builder>,
    /// What it is given, the same whenever it is run again.
    pub(crate) given: Given,
    /// Of the build.
    pub(crate) secrets: Arc<BuildSecrets>,
    /// Which of them the step may name itself.
    pub(crate) own_templates: OwnTemplates,
    /// The build's row, lent for the run: properties and components change in it.
    pub(crate) build: BuildRow,
    pub(crate) step: StepRow,
    /// How many steps the build has, those that wait among them, and what the waiting ones take up.
    pub(crate) steps: usize,
    pub(crate) waiting_bytes: usize,
    /// What the step's beginning persists: it goes down with the first commit of the run.
    pub(crate) begun: Vec<Persist>,
    pub(crate) stop: watch::Receiver<Stop>,
    /// When the step has had its time, and what it is told then.
    pub(crate) deadline: Deadline,
    /// Counts what its commands cost on their worker.
    pub(crate) runtime: Runtime,
    /// What the step itself may do beyond its build.
    pub(crate) rights: Rights,
    /// Where sockets and programs live: the guests' threads have none.
    pub(crate) io: tokio::runtime::Handle,
    /// Where buildsets go that the step submits.
    pub(crate) builds: Builds,
    /// What there is of it, if it ran when the master ended.
    pub(crate) resumed: Option<Resumed>,
    /// Where the step stands, as meters name it: `builder ci, step 2 (compile)`.
    pub(crate) used: String,
}

/// The port of one run. Dropping it sends its state home.
pub(crate) struct Port {
    state: Option<Box<StepState>>,
    home: Option<oneshot::Sender<Box<StepState>>>,
}

/// A port, and where its state comes home.
pub(crate) fn port(context: StepContext) -> (Port, oneshot::Receiver<Box<StepState>>) {
    let (home, came_home) = oneshot::channel();
    (Port { state: Some(Box::new(StepState::new(context))), home: Some(home) }, came_home)
}

impl Port {
    fn state(&mut self) -> &mut StepState {
        self.state.as_mut().expect("it is taken at the drop only")
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let (Some(state), Some(home)) = (self.state.take(), self.home.take())
            && home.send(state).is_err()
        {
            tracing::debug!("a step's port came home to nobody: its build was given up");
        }
    }
}

/// All that a run of a step knows.
pub(crate) struct StepState {
    context: StepContext,
    /// The moment that the step sees: it moves on at blocking calls that return.
    now: Timestamp,
    journal: Journal,
    /// What there is of commands that the step started before the master's restart, by their numbers.
    marks: BTreeMap<u32, Mark>,
    feeds: BTreeMap<u32, CommandFeed>,
    /// It is taken up, and no live call has ended yet: its present moment lies before the master's end.
    behind: bool,
    /// It is taken up, and has not come to a live call yet.
    replays: bool,
    commands: Vec<Command>,
    files: StepFiles,
    /// How many of them have not ended.
    running: usize,
    events: VecDeque<StepEvent>,
    /// What `events` cost.
    queued: usize,
    /// How many diagnostics the step wrote.
    told: usize,
    logs: LogBook,
    results: Results,
    batch: Batch,
    /// When what waits in the batch goes down at the latest.
    flush_at: Option<Instant>,
    timers: BTreeMap<u32, Instant>,
    next_timer: u32,
    children: Children,
    processes: Processes,
    interrupted: Option<String>,
    /// The same, as the step was told: it hears of it at calls that are in its journal.
    seen: Option<String>,
    added: Vec<StepSpec>,
    /// The row of the step or the build changed and waits for a commit.
    dirty: bool,
    /// It goes down with the next commit; else not before this moment.
    rows_due: bool,
    next_rows: Instant,
    /// What is held of logs beyond their limits goes down then, or when there is much of it.
    next_ends: Instant,
    /// Bytes of the answers of commands that have ended.
    answered: usize,
    fault: Option<String>,
    /// A log has grown beyond all bounds: nothing new is begun, and this is what the step ended by.
    flooded: Option<String>,
    worker_lost: Option<String>,
}

/// What a run leaves behind.
pub(crate) struct Remains {
    /// The build's row with what the step changed in it.
    pub(crate) build: BuildRow,
    /// The step's row with its summary and links.
    pub(crate) step: StepRow,
    /// Steps that it added.
    pub(crate) added: Vec<StepSpec>,
    /// Goes into the commit that records the step's end.
    pub(crate) persist: Vec<Persist>,
    /// Acknowledges the commands' updates; to be called after that commit.
    pub(crate) acks: Vec<Acked>,
    /// The machinery failed during the run.
    pub(crate) fault: Option<String>,
    /// Its worker was lost.
    pub(crate) worker_lost: Option<String>,
}

impl StepState {
    fn new(context: StepContext) -> StepState {
        let mut logs = LogBook::new(
            context.build.id,
            context.step.id,
            context.build.fence,
            Limit {
                head: context.config.logs.max_log_bytes,
                tail: context.config.logs.max_log_tail_bytes as usize,
            },
        );
        let mut context = context;
        let begun = std::mem::take(&mut context.begun);
        let behind = context.resumed.is_some();
        let transfers = context.links.transfers().clone();
        let Resumed { kept, feeds, logs: there, files } = context.resumed.take().unwrap_or_default();
        logs.resume(there);
        let (marks, has_given) = (kept.marks.clone(), kept.given().is_some());
        let mut journal = Journal::resumed(kept);
        if !has_given && !journal.is_replaying() {
            journal.gives(context.given.clone());
        }
        let results = Results::resumed(context.step.tests.total);
        StepState {
            // The same whenever the step is run again.
            now: context.step.started,
            journal,
            marks,
            feeds,
            behind,
            replays: behind,
            seen: None,
            commands: Vec::new(),
            files: files.unwrap_or_else(|| StepFiles::new(transfers)),
            running: 0,
            events: VecDeque::new(),
            queued: 0,
            told: 0,
            logs,
            results,
            batch: Batch::new(begun),
            // Whoever looks for what hangs finds it, also if it never says anything.
            flush_at: Some(Instant::now() + batch::FLUSH_AFTER),
            timers: BTreeMap::new(),
            next_timer: 0,
            children: Children::default(),
            processes: Processes::default(),
            // A build that is being stopped already still runs its steps that always run.
            interrupted: None,
            added: Vec::new(),
            dirty: false,
            rows_due: false,
            next_rows: Instant::now(),
            next_ends: Instant::now(),
            answered: 0,
            fault: None,
            flooded: None,
            worker_lost: None,
            context,
        }
    }

    /// Leaves the run as it stands: all that is known of it goes down, and the next master goes on from there. Its
    /// commands run on.
    pub(crate) async fn leave(mut self) {
        self.commands.iter_mut().for_each(commands::Command::part);
        // Those that the step has not come to again.
        std::mem::take(&mut self.feeds).into_values().for_each(CommandFeed::part);
        self.files.part();
        self.journal.leave();
        self.flush_all();
        while self.batch.in_flight() {
            // Without a store there is nothing to say, and nothing more to write: it is as after a kill.
            let landed = self.batch.landed().await;
            if landed.is_err() {
                return;
            }
            self.on_landed(landed);
        }
    }

    /// Ends the run: stops what still runs, waits for it until `deadline`, and hands over the rest. None: the master
    /// goes down meanwhile; the step ends once more, and in the same way, when the next one takes it up.
    pub(crate) async fn finish(mut self, deadline: Instant) -> Option<Remains> {
        self.go_live();
        self.cancel_children();
        // Programs on the master end with the step.
        self.processes = Processes::default();
        // Nobody reads events any more.
        self.commands.iter_mut().for_each(commands::Command::stop_observing);
        let running: Vec<u32> =
            (0..).zip(&self.commands).filter(|(_, c)| c.end.is_none()).map(|(n, _)| n).collect();
        for number in running {
            self.interrupt(number, "its step has ended");
        }
        let mut stop = self.context.stop.clone();
        while self.commands.iter().any(|command| command.end.is_none()) {
            let turned = tokio::select! {
                turned = self.turn(Some(deadline)) => Some(turned),
                Ok(_) = stop.wait_for(|stop| *stop == Stop::Shutdown) => None,
            };
            match turned {
                Some(turn::Turn::Moved) => {}
                Some(turn::Turn::TimeIsUp) => {
                    tracing::warn!(build = %self.context.build.id, "a command outlived its step");
                    break;
                }
                None => {
                    self.leave().await;
                    return None;
                }
            }
        }
        self.settle().await;
        let artifacts = self.settle_files().await;
        let mut persist = self.batch.take_rows();
        persist.extend(artifacts);
        self.drain_results(&mut persist);
        self.logs.finish(self.context.clock.now(), &mut persist);
        if self.fault.is_some() {
            // There is no room for logs, or the store is gone: the step's end is worth more.
            persist = without_logs(&persist);
        }
        Some(Remains {
            build: self.context.build,
            step: self.context.step,
            added: self.added,
            persist,
            acks: commands::acks(&mut self.commands, true),
            fault: self.fault.or(self.flooded),
            worker_lost: self.worker_lost,
        })
    }
}

/// How a command ended.
type End = Result<Completion, Failure>;
