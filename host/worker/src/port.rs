//! What a running command may do on this machine: the runtime's [`CommandPort`] over real processes and
//! files. Each power is checked against the command's [`Grants`] here, and nowhere else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::log_name;
use windlass_core::time::Timestamp;
use windlass_core::value::{Failure, Origin, Pair};
use windlass_protocol::message::Update;
use windlass_runtime::port::{BasePort, ChildPort, CommandPort, FileEntry, Level, SpawnOptions};

use crate::beneath::Root;
use crate::child::{self, Guard, Kept, Started, Starting, Surroundings, Watcher, interrupted};
use crate::files;
use crate::grant::{Exec, Grants};
use crate::machine::{Extent, MAX_PROCESSES, Machine};
use crate::secret::Secrets;
use crate::spool::left::{ChildLeft, Children};
use crate::spool::tape::{Call, Record};
use crate::spool::{CommandSpool, pieces};
use crate::transfer::Transfers;
use crate::tree;
use crate::work::Work;

use handle::Child;

pub use durable::Durable;
pub use living::Living;
pub use story::Story;

mod durable;
mod handle;
mod living;
mod plan;
mod story;
mod transfer;

/// From the first signal to the kill, unless the command says otherwise.
pub const GRACE: Duration = Duration::from_secs(10);

/// Children that one command may have at a time.
const MAX_CHILDREN: usize = 32;

/// Diagnostics that one command may write; a guest in a loop must not fill the master.
const MAX_DIAGNOSTICS: usize = 1_000;

/// Denials of one command that are told. Apart from what it writes, lest that leaves no room for them.
const MAX_DENIALS: u64 = 100;

/// Everything that a command acts through. Shared by the port and by the owner of the command.
#[derive(Debug)]
pub struct Context {
    /// The worker's own runtime; guests run on threads of another.
    pub runtime: Handle,
    /// Where it may be.
    pub root: Arc<Root>,
    /// What it may do.
    pub grants: Grants,
    /// What it shares with other commands.
    pub machine: Arc<Machine>,
    /// Files under way.
    pub transfers: Arc<Transfers>,
    /// Marks its children.
    pub mark: String,
    /// The builder's variables.
    pub env: Vec<(String, String)>,
    /// Its secrets, if it has any. They are in nothing else that it acts through.
    pub secrets: Option<Arc<Secrets>>,
    /// Where all that it says goes.
    pub spool: Arc<CommandSpool>,
    /// The reason, once it was interrupted.
    pub interrupt: watch::Receiver<Option<String>>,
    /// The watchers of its children.
    pub children: TaskTracker,
    /// Those that live.
    pub living: Arc<Living>,
    /// Cancelled when the command is over: its children end.
    pub over: CancellationToken,
    /// What it was denied, counted.
    pub denials: AtomicU64,
    /// The log that got the output of a child last.
    pub log: Mutex<Option<String>>,
    /// What its random numbers follow from.
    pub seed: [u8; 32],
    /// What an earlier agent left of its children.
    pub left: Mutex<Children>,
    /// Why it broke off, if it did.
    pub broken: Mutex<Option<String>>,
}

/// The port of one command.
pub struct Port {
    context: Arc<Context>,
    interrupt: watch::Receiver<Option<String>>,
    diagnostics: usize,
    /// Room for one child, whatever others have.
    own: Arc<Semaphore>,
    /// The number of the next child.
    next_child: u32,
    /// What goes to the tape together with the next message.
    along: Vec<Record>,
}

impl Port {
    /// The port of the command that has this context.
    pub fn new(context: Arc<Context>) -> Port {
        let interrupt = context.interrupt.clone();
        let own = Arc::new(Semaphore::new(1));
        Port { context, interrupt, diagnostics: 0, own, next_child: 0, along: Vec::new() }
    }

    /// Runs a blocking function of files where it delays nobody. It is one of the command's children:
    /// the command has not ended before it has stopped.
    async fn on_files<T: Send + 'static>(
        &mut self,
        call: &'static str,
        extent: Extent,
        operation: impl FnOnce(&Root, &mut Work) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.context.grants.files().map_err(|failure| self.context.denied(call, failure))?;
        let context = Arc::clone(&self.context);
        let turn = tokio::select! {
            turn = context.machine.turn(extent, context.root.path()) => turn,
            () = context.over.cancelled() => return Err(Failure::new("interrupted", "the command is over")),
        };
        let mut work = Work::new(context.over.clone(), context.interrupt.clone());
        let root = Arc::clone(&context.root);
        let run = move || {
            let _turn = turn;
            operation(&root, &mut work)
        };
        let task = context.children.spawn_blocking_on(run, &context.runtime);
        let done = task.await;
        done.unwrap_or_else(|error| Err(Failure::new("io", format!("a file operation broke off: {error}"))))
            .map_err(|failure| context.masked_failure(failure))
    }
}

impl Context {
    /// Counts a denial and tells of it in the build, whatever the guest makes of it.
    pub(crate) fn denied(&self, call: &str, failure: Failure) -> Failure {
        let before = self.denials.fetch_add(1, Ordering::Relaxed);
        let text = match before {
            ..MAX_DENIALS => {
                let detail = failure.detail.as_ref().map_or_else(String::new, |detail| format!("; {detail}"));
                format!("`{call}` was denied: {}{detail}", failure.message)
            }
            MAX_DENIALS => "further denials of this command are counted, and not told".to_owned(),
            _ => return failure,
        };
        self.tell(Level::Error, &text, Vec::new());
        failure
    }

    /// The command ends, for a reason that is its component's.
    fn break_off(&self, why: &str) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.get_or_insert_with(|| why.to_owned());
        self.over.cancel();
    }

    /// Says something in the build.
    fn tell(&self, level: Level, message: &str, along: Vec<Record>) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let message = self.masked_text(message.to_owned()).chars().take(MAX_MESSAGE).collect();
        self.spool.say([Update::Diagnostic { level: level.to_owned(), message }], along);
    }

    /// What a component says, without secrets.
    pub(crate) fn masked(&self, data: Bytes) -> Bytes {
        match &self.secrets {
            Some(secrets) => secrets.mask().bytes(&data).into(),
            None => data,
        }
    }

    /// A failure that a component learns of, without secrets: it may name what a build named.
    fn masked_failure(&self, failure: Failure) -> Failure {
        match &self.secrets {
            Some(secrets) => secrets.mask_failure(failure),
            None => failure,
        }
    }

    /// A text that a component says or learns, without secrets.
    fn masked_text(&self, text: String) -> String {
        match &self.secrets {
            Some(secrets) => secrets.mask().text(&text),
            None => text,
        }
    }
}

fn milliseconds(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

/// A sleep that works on any thread.
fn sleep(runtime: &Handle, ms: u32) -> tokio::time::Sleep {
    let _entered = runtime.enter();
    tokio::time::sleep(milliseconds(ms))
}

#[async_trait]
impl BasePort for Port {
    fn diagnostic(&mut self, level: Level, message: &str) {
        self.diagnostics += 1;
        let (level, message) = match self.diagnostics {
            ..MAX_DIAGNOSTICS => (level, message),
            MAX_DIAGNOSTICS => (Level::Warn, "further messages of this command are dropped"),
            _ => return,
        };
        self.context.tell(level, message, std::mem::take(&mut self.along));
    }

    fn now(&mut self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn interrupted(&mut self) -> Option<String> {
        self.interrupt.borrow().clone()
    }

    async fn load_state(&mut self, _key: &str) -> Option<Vec<u8>> {
        None
    }

    async fn store_state(&mut self, _key: &str, _value: Option<Vec<u8>>) -> Result<(), Failure> {
        Err(Failure::unsupported("state of a command"))
    }
}

/// Characters of one diagnostic.
const MAX_MESSAGE: usize = 4_096;

impl Port {
    /// Starts a child. What `along` makes of the answer goes to the tape with it.
    async fn start(
        &mut self,
        options: SpawnOptions,
        along: impl FnOnce(&Result<u32, Failure>) -> Record + Send,
    ) -> Result<Child, Failure> {
        let context = Arc::clone(&self.context);
        if let Some(secrets) = &context.secrets {
            secrets.refuse_misplaced(&options)?;
        }
        let exec = match options.argv.first() {
            Some(program) => {
                context.grants.exec(program).map_err(|failure| context.denied("spawn", failure))?
            }
            None => Exec::Named,
        };
        if exec == Exec::Named {
            for (name, _) in &options.env {
                let denied = |failure| context.denied("spawn-options.env", failure);
                context.grants.env(name).map_err(denied)?;
            }
        }
        if context.living.count() >= MAX_CHILDREN {
            return Err(Failure::new("quota", format!("a command has at most {MAX_CHILDREN} children")));
        }
        let shared = || Arc::clone(&context.machine.processes).try_acquire_owned();
        let Ok(room) = Arc::clone(&self.own).try_acquire_owned().or_else(|_| shared()) else {
            let message = format!("the commands of this worker have {MAX_PROCESSES} children already");
            return Err(Failure::retryable("quota", message));
        };
        let (mut plan, header) = self.plan(options, exec)?;
        if let Some(secrets) = &context.secrets {
            secrets.put_into(&mut plan, &context.grants).map_err(|failure| match failure.code.as_str() {
                "denied" => context.denied("spawn", failure),
                _ => failure,
            })?;
        }
        let begun = std::mem::take(&mut context.left().begun);
        if let Some((log, text)) = plan.kept.log.as_ref().zip(header).filter(|_| !begun) {
            // Written by each attempt, by one that fails too: those may be many.
            context.spool.room().await;
            let said = pieces(log, Origin::Header, context.masked(text.into()));
            context.spool.say(said, vec![Record::Begun]);
        }
        let volatile = plan.input.is_none().then_some("its component holds the input of a program open");
        let child = self.next_child;
        // An agent that was killed between a start and its record: the child is there.
        let (kept, running) = (plan.kept.clone(), context.left().take(child));
        let surroundings = context.surroundings();
        let (started, watcher) = match running {
            // What it was told, nobody knows.
            Some(running) if plan.input.is_none() || plan.kept.terminal => {
                // In a task: it ends well even if nobody wants to know any more.
                let ending = child::end_left(child, running, surroundings);
                let ended = context.children.spawn_on(ending, &context.runtime).await;
                let broken = |error| Failure::retryable("worker-lost", format!("its end broke off: {error}"));
                Err(ended.unwrap_or_else(broken))
            }
            Some(mut running) => {
                if let Some(starting) = Starting::again(child, &plan, &mut running, &surroundings) {
                    context.started(starting).await?.release();
                }
                let _entered = context.runtime.enter();
                child::again(child, ChildLeft::new(kept.clone()), running, surroundings)
            }
            None => {
                let (starting, begun) = child::begin(child, plan, surroundings)?;
                let guard = context.started(starting).await?;
                let _entered = context.runtime.enter();
                begun.watched(guard)
            }
        }?;
        self.next_child += 1;
        let mut records = vec![Record::Child { child, kept: Box::new(kept.clone()) }];
        records.extend(volatile.map(|why| Record::Volatile { why: why.to_owned() }));
        records.push(along(&Ok(child)));
        context.spool.say([], records);
        Ok(self.watch(&kept, started, watcher, room))
    }

    /// A child that an earlier agent started, again.
    fn again(&mut self, child: u32) -> Result<Child, Failure> {
        self.next_child = child + 1;
        let context = Arc::clone(&self.context);
        let (left, running) = {
            let mut children = context.left();
            (children.left.remove(&child), children.take(child))
        };
        let lost = || Failure::retryable("worker-lost", format!("child {child} of the command is lost"));
        let left = left.ok_or_else(lost)?;
        let kept = left.kept.clone();
        let shared = || Arc::clone(&context.machine.processes).try_acquire_owned();
        let room = Arc::clone(&self.own).try_acquire_owned().or_else(|_| shared()).map_err(|_| lost())?;
        let (started, watcher) = {
            let _entered = context.runtime.enter();
            child::again(child, left, running.unwrap_or_default(), context.surroundings())
        }?;
        Ok(self.watch(&kept, started, watcher, room))
    }

    /// Has a child watched over, and gives it to the guest.
    fn watch(
        &self,
        kept: &Kept,
        started: Started,
        watcher: Option<Watcher>,
        room: OwnedSemaphorePermit,
    ) -> Child {
        let context = Arc::clone(&self.context);
        if let Some(log) = &kept.log {
            *context.log.lock().unwrap_or_else(PoisonError::into_inner) = Some(log.clone());
        }
        if let Some(watcher) = watcher {
            let lives = context.living.enter(kept.ladder.hurried().length());
            let watch = async move {
                watcher.watch().await;
                drop((room, lives));
            };
            // Looked at by the child itself: its events end without an exit if this task breaks off.
            drop(context.children.spawn_on(watch, &context.runtime));
        }
        Child::new(started, context)
    }
}

impl Context {
    fn left(&self) -> MutexGuard<'_, Children> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn started(&self, starting: Starting) -> Result<Guard, Failure> {
        starting.started(&self.runtime, &self.children).await
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            root: Arc::clone(&self.root),
            machine: Arc::clone(&self.machine),
            spool: Arc::clone(&self.spool),
            interrupt: self.interrupt.clone(),
            over: self.over.clone(),
            mask: self.secrets.as_ref().map(|secrets| Arc::clone(secrets.mask())),
        }
    }
}

#[async_trait]
impl CommandPort for Port {
    fn seed(&self) -> [u8; 32] {
        self.context.seed
    }

    async fn spawn(&mut self, options: SpawnOptions) -> Result<Box<dyn ChildPort>, Failure> {
        let along = |answer: &Result<u32, Failure>| Record::Called {
            call: Call::Spawn,
            args: 0,
            answer: story::encode(answer),
        };
        Ok(Box::new(self.start(options, along).await?))
    }

    async fn sleep(&mut self, ms: u32) -> Result<(), Failure> {
        let sleep = sleep(&self.context.runtime, ms);
        tokio::select! {
            () = sleep => Ok(()),
            reason = interrupted(&mut self.interrupt) => Err(Failure::new("interrupted", reason)),
        }
    }

    async fn log(&mut self, log: &str, origin: Origin, data: Bytes) -> Result<(), Failure> {
        let log = self.context.masked_text(log.to_owned());
        log_name::check(&log)?;
        self.context.spool.room().await;
        let said = pieces(&log, origin, self.context.masked(data));
        self.context.spool.say(said, std::mem::take(&mut self.along));
        Ok(())
    }

    async fn update(&mut self, values: Vec<Pair>) -> Result<(), Failure> {
        self.context.spool.room().await;
        let values = match &self.context.secrets {
            Some(secrets) => secrets.mask_values(values),
            None => values,
        };
        self.context.spool.say([Update::Values { values }], std::mem::take(&mut self.along));
        Ok(())
    }

    async fn make_directory(&mut self, path: &str) -> Result<(), Failure> {
        let path = path.to_owned();
        self.on_files("make-directory", Extent::File, move |root, _| root.make_directory(&path).map(drop))
            .await
    }

    async fn remove(&mut self, path: &str) -> Result<(), Failure> {
        let path = path.to_owned();
        self.on_files("remove", Extent::Tree, move |root, work| tree::remove(root, &path, work)).await
    }

    async fn copy(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.on_files("copy", Extent::Tree, move |root, work| tree::copy(root, &from, &to, work)).await
    }

    async fn stat(&mut self, path: &str) -> Result<FileEntry, Failure> {
        let path = path.to_owned();
        self.on_files("stat", Extent::File, move |root, _| files::stat(root, &path)).await
    }

    async fn entries(&mut self, directory: &str) -> Result<Vec<FileEntry>, Failure> {
        let directory = directory.to_owned();
        let entries = self
            .on_files("entries", Extent::Tree, move |root, work| files::entries(root, &directory, work))
            .await?;
        let shown = |entry: FileEntry| FileEntry { path: self.context.masked_text(entry.path), ..entry };
        Ok(entries.into_iter().map(shown).collect())
    }

    async fn glob(&mut self, pattern: &str) -> Result<Vec<String>, Failure> {
        let pattern = pattern.to_owned();
        let paths =
            self.on_files("glob", Extent::Tree, move |root, work| files::glob(root, &pattern, work)).await?;
        Ok(paths.into_iter().map(|path| self.context.masked_text(path)).collect())
    }

    async fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        let path = path.to_owned();
        let data = self.on_files("read", Extent::File, move |root, _| files::read(root, &path)).await?;
        // What a process wrote there may be what it was given.
        Ok(self.context.masked(data.into()).into())
    }

    async fn write(&mut self, path: &str, data: &[u8]) -> Result<(), Failure> {
        if let Some(secrets) = &self.context.secrets {
            secrets.refuse_content(data)?;
        }
        let (path, data) = (path.to_owned(), data.to_vec());
        self.on_files("write", Extent::File, move |root, _| files::write(root, &path, &data)).await
    }
}

#[cfg(test)]
mod tests;
