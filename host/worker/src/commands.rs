//! The one owner of all commands of this worker. They go on while the link is down: the link tells what
//! the master wants, and takes from the spool what the commands say.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::digest::Digest;
use windlass_core::journal::begin;
use windlass_core::policy::Usage;
use windlass_core::value::{Completion, Failure};
use windlass_protocol::message::{CommandUid, Start, ToMaster, Update};
use windlass_runtime::Runtime;
use windlass_runtime::plugin::Plugin;

use crate::beneath::Root;
use crate::components::{Change, Components, Look};
use crate::grant::{Allow, Grants};
use crate::holder::{HOLDER_KILLED, Restart};
use crate::machine::Machine;
use crate::options::Event;
use crate::outgoing::Outgoing;
use crate::port::{Context, Story};
use crate::secret;
use crate::spool::tape::Record;
use crate::spool::{CommandSpool, Spool};
use crate::transfer::Transfers;
use left::Before;
use run::run;

pub use left::TakenUp;

mod left;
mod run;

#[cfg(test)]
pub(crate) use run::end_orphans;

/// What commands are made of.
pub struct Parts {
    /// Runs their components.
    pub runtime: Runtime,
    /// Finds them.
    pub components: Components,
    /// Takes what they say.
    pub spool: Arc<Spool>,
    /// Asks the master for what is missing.
    pub outgoing: Arc<Outgoing>,
    /// Where the builders' directories lie.
    pub builds: PathBuf,
    /// What this worker allows.
    pub allow: Allow,
    /// What commands share.
    pub machine: Arc<Machine>,
    /// Files under way.
    pub transfers: Arc<Transfers>,
    /// Called with what a person would want to see.
    pub on_event: Arc<dyn Fn(Event) + Send + Sync>,
}

/// How many commands there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Not ended.
    pub running: usize,
    /// Known: running, or ended and not acknowledged.
    pub known: usize,
}

/// The handle.
#[derive(Clone, Debug)]
pub struct Commands {
    /// The link waits when this many messages do: the owner only ever computes, so that is short.
    messages: mpsc::Sender<Message>,
    count: watch::Receiver<Count>,
}

/// What the owner is told.
#[derive(Debug)]
enum Message {
    Welcome(Vec<(CommandUid, u64)>, oneshot::Sender<()>),
    Start(Start),
    Interrupt(CommandUid, String),
    Ack(CommandUid, u64),
    Part { digest: Digest, offset: u64, total: u64, data: bytes::Bytes },
    NoComponent(Digest),
    Leave(Duration),
    Abandon,
    Lose(&'static str),
}

/// Messages of the link that may wait: a few thousand small builds' worth of starts and acknowledgements.
const MESSAGES: usize = 256;

impl Commands {
    /// Starts the owner, with the commands that an earlier agent left. It ends, and its commands with it, when the
    /// last handle is dropped.
    pub fn spawn(parts: Parts, left: Vec<TakenUp>) -> (Commands, tokio::task::JoinHandle<()>) {
        let (messages, heard) = mpsc::channel(MESSAGES);
        let (counted, count) = watch::channel(Count::default());
        let mut owner = Owner {
            parts,
            counted,
            entries: HashMap::new(),
            runs: JoinSet::new(),
            names: HashMap::new(),
            secrets: secret::Known::default(),
            behind: Vec::new(),
            leaving: None,
            abandoned: false,
        };
        for command in left {
            owner.take_up(command);
        }
        owner.recount();
        (Commands { messages, count }, tokio::spawn(owner.run(heard)))
    }

    /// The master accepted the link and has these numbers. When this returns, the spool offers what it lacks.
    pub async fn welcome(&self, commands: Vec<(CommandUid, u64)>) {
        let (done, heard) = oneshot::channel();
        self.tell(Message::Welcome(commands, done)).await;
        heard.await.expect("the owner of commands answers as long as a handle lives");
    }

    /// Runs a command, unless it is known.
    pub async fn start(&self, start: Start) {
        self.tell(Message::Start(start)).await;
    }

    /// Stops one.
    pub async fn interrupt(&self, command: CommandUid, reason: String) {
        self.tell(Message::Interrupt(command, reason)).await;
    }

    /// Everything up to `number` is durable at the master.
    pub async fn ack(&self, command: CommandUid, number: u64) {
        self.tell(Message::Ack(command, number)).await;
    }

    /// A part of a component.
    pub async fn part(&self, digest: Digest, offset: u64, total: u64, data: bytes::Bytes) {
        self.tell(Message::Part { digest, offset, total, data }).await;
    }

    /// The master has no such component.
    pub async fn no_component(&self, digest: Digest) {
        self.tell(Message::NoComponent(digest)).await;
    }

    /// Takes no more commands, and interrupts the running ones after `drain`.
    pub async fn leave(&self, drain: Duration) {
        self.tell(Message::Leave(drain)).await;
    }

    /// Nobody looks after those that run any more, and no other begins. They have not ended before [`Commands::lose`].
    pub async fn abandon(&self) {
        self.tell(Message::Abandon).await;
    }

    /// All that run have ended, for this reason.
    pub async fn lose(&self, why: &'static str) {
        self.tell(Message::Lose(why)).await;
    }

    /// How many there are, as it changes.
    pub fn count(&self) -> watch::Receiver<Count> {
        self.count.clone()
    }

    async fn tell(&self, message: Message) {
        self.messages.send(message).await.expect("the owner of commands lives as long as a handle does");
    }
}

/// A command that the master may still ask about.
struct Entry {
    /// `plugin:hook`.
    hook: String,
    /// Where it works.
    builddir: String,
    interrupt: watch::Sender<Option<String>>,
    spool: Arc<CommandSpool>,
    phase: Phase,
    /// The master does not know it any more.
    unwanted: bool,
    /// What an earlier agent left of it, until it is gone on with.
    left: Option<Box<Before>>,
}

enum Phase {
    /// For its component, or for its directory. With what its random numbers follow from.
    Waits(Box<Start>, [u8; 32]),
    Runs,
    Ended,
}

/// It is to leave: since when commands are interrupted.
#[derive(Clone, Copy)]
enum Leaving {
    At(Instant),
    Interrupted,
}

struct Owner {
    parts: Parts,
    counted: watch::Sender<Count>,
    entries: HashMap<CommandUid, Entry>,
    runs: JoinSet<Ended>,
    names: HashMap<Id, CommandUid>,
    secrets: secret::Known,
    /// Commands whose directory is still in use by one that nobody wants any more.
    behind: Vec<(CommandUid, Arc<Plugin>)>,
    leaving: Option<Leaving>,
    /// Nobody looks after those that run, and no other begins.
    abandoned: bool,
}

/// What the set of running commands says when a task ended.
type Joined = Result<(Id, Ended), JoinError>;

/// How the run of a command ended, and what its component cost.
type Ended = (Result<Completion, Failure>, Option<Usage>);

/// Commands at a time: each costs the memory of an instance, and what it said and the master does not
/// have yet. The master's builds start a few each.
const MAX_RUNNING: usize = 1_000;

/// How often orphans are looked at while commands run: zombies are reaped then.
const LOOKS: Duration = Duration::from_secs(2);

const LEAVES: &str = "the worker shuts down";

const UNKNOWN: &str = "the master does not know this command any more";

impl Owner {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        // Dropped before the commands are, which it keeps from being ended.
        let _restart = Restart::if_held(&self.parts.machine.holder);
        enum Turn {
            Message(Option<Message>),
            Ended(Option<Joined>),
            Component(Digest, Change),
            Leave,
            Look,
        }
        let mut looks = tokio::time::interval(LOOKS);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let leave_at = match self.leaving {
                Some(Leaving::At(at)) => Some(at),
                Some(Leaving::Interrupted) | None => None,
            };
            let turn = tokio::select! {
                message = messages.recv() => Turn::Message(message),
                ended = self.runs.join_next_with_id(), if !self.runs.is_empty() => Turn::Ended(ended),
                (digest, change) = self.parts.components.changed() => Turn::Component(digest, change),
                () = tokio::time::sleep_until(leave_at.unwrap_or_else(Instant::now)), if leave_at.is_some() => Turn::Leave,
                _ = looks.tick(), if !self.runs.is_empty() => Turn::Look,
            };
            match turn {
                Turn::Message(Some(message)) => self.on_message(message),
                // Dropping the set ends what still runs.
                Turn::Message(None) => return,
                Turn::Ended(Some(ended)) => self.on_ended(ended),
                Turn::Ended(None) => {}
                Turn::Component(digest, change) => self.on_component(digest, change),
                Turn::Leave => self.interrupt_all(),
                Turn::Look => self.parts.machine.orphans.look(),
            }
            self.recount();
        }
    }

    fn recount(&self) {
        let running = self.entries.values().filter(|entry| !matches!(entry.phase, Phase::Ended)).count();
        let count = Count { running, known: self.entries.len() };
        self.counted.send_if_modified(|was| std::mem::replace(was, count) != count);
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Welcome(commands, done) => {
                self.on_welcome(&commands.into_iter().collect());
                // A link that went meanwhile does not listen.
                let _gone = done.send(());
            }
            Message::Start(start) => self.on_start(start),
            Message::Interrupt(uid, reason) => self.interrupt(&uid, reason),
            Message::Ack(uid, number) => self.on_ack(&uid, number),
            Message::Part { digest, offset, total, data } => {
                if let Some(change) = self.parts.components.part(digest, offset, total, &data) {
                    self.on_component(digest, change);
                }
            }
            Message::NoComponent(digest) => {
                if let Some(change) = self.parts.components.none(digest) {
                    self.on_component(digest, change);
                }
            }
            Message::Leave(drain) => {
                let running = self.counted.borrow().running;
                (self.parts.on_event)(Event::Draining { running });
                self.leaving = Some(Leaving::At(Instant::now() + drain));
            }
            Message::Abandon => self.abandon(),
            Message::Lose(why) => self.lose_all(why),
        }
    }

    fn on_welcome(&mut self, wanted: &HashMap<CommandUid, u64>) {
        let known: Vec<CommandUid> = self.entries.keys().cloned().collect();
        for uid in known {
            let entry = self.entries.get_mut(&uid).expect("its key was taken just now");
            match wanted.get(&uid).map(|received| entry.spool.resume(*received)) {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(command = uid.0, %error, "the master claims what it can't have; the command is dropped");
                    self.drop_unwanted(&uid);
                }
                None => self.drop_unwanted(&uid),
            }
        }
        for digest in self.parts.components.wanted_anew() {
            self.parts.outgoing.say(ToMaster::Need { digest });
        }
    }

    fn drop_unwanted(&mut self, uid: &CommandUid) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        match entry.phase {
            Phase::Runs => {
                entry.unwanted = true;
                // It says nothing more to anybody.
                self.parts.spool.forget(uid);
                self.interrupt(uid, UNKNOWN.to_owned());
            }
            Phase::Waits(..) if entry.left.is_some() => {
                entry.unwanted = true;
                self.end(uid, Err(Failure::new("interrupted", UNKNOWN)));
            }
            Phase::Waits(..) | Phase::Ended => self.forget(uid),
        }
    }

    fn forget(&mut self, uid: &CommandUid) {
        self.entries.remove(uid);
        self.parts.spool.forget(uid);
    }

    fn on_start(&mut self, start: Start) {
        let uid = start.command.clone();
        if !is_uid(&uid) {
            tracing::error!(command = uid.0, "the master sent a command whose name is none; it is ignored");
            return;
        }
        let mut seed = [0; 32];
        if let Err(error) = getrandom::fill(&mut seed) {
            tracing::warn!(command = uid.0, %error, "the random numbers of a command follow from its name");
            seed = *blake3::hash(uid.0.as_bytes()).as_bytes();
        }
        let spool = match self.parts.spool.open(&uid, &Record::Began { start: start.clone(), seed }) {
            Ok(Some(spool)) => spool,
            // Sent again after a reconnect: it runs or ran already.
            Ok(None) => return,
            Err(error) => {
                tracing::error!(command = uid.0, %error, "a command can't be begun: it cannot have a tape");
                let how = Err(not_begun(&error, self.parts.machine.holder.lives()));
                let update = Update::Done { how, log_hash: begin(), usage: None };
                // If that is lost with the link, the next hello does not name the command.
                self.parts.outgoing.say(ToMaster::Update { command: uid, number: 1, update });
                return;
            }
        };
        let hook = format!("{}:{}", start.plugin, start.hook);
        let (interrupt, _) = watch::channel(None);
        let (digest, plugin, builddir) = (start.digest, start.plugin.clone(), start.builddir.clone());
        let phase = Phase::Waits(Box::new(start), seed);
        let entry = Entry { hook, builddir, interrupt, spool, phase, unwanted: false, left: None };
        self.entries.insert(uid.clone(), entry);
        if self.leaving.is_some() {
            return self.end(&uid, Err(Failure::retryable("worker-lost", LEAVES)));
        }
        if self.counted.borrow().running >= MAX_RUNNING {
            let message = format!("this worker runs {MAX_RUNNING} commands already");
            return self.end(&uid, Err(Failure::retryable("quota", message)));
        }
        match self.parts.components.look(digest, &plugin) {
            Look::Ready(plugin) => self.begin(&uid, plugin),
            Look::Later => {}
        }
    }

    fn on_component(&mut self, digest: Digest, change: Change) {
        let waits = |entry: &Entry| matches!(&entry.phase, Phase::Waits(start, _) if start.digest == digest);
        let waiting: Vec<CommandUid> =
            self.entries.iter().filter(|(_, entry)| waits(entry)).map(|(uid, _)| uid.clone()).collect();
        match change {
            Change::Need => self.parts.outgoing.say(ToMaster::Need { digest }),
            Change::Ready(plugin) => {
                if plugin.source == windlass_runtime::plugin::Source::Master {
                    let event = Event::Received { plugin: plugin.name.clone(), digest: digest.short() };
                    (self.parts.on_event)(event);
                }
                for uid in waiting {
                    self.begin(&uid, Arc::clone(&plugin));
                }
            }
            Change::Failed(failure) => {
                for uid in waiting {
                    self.end(&uid, Err(failure.clone()));
                }
            }
        }
    }

    /// Runs a command that waits, unless it was stopped meanwhile. What a master that restarted builds
    /// again comes while the old command is being stopped: two in one directory would harm each other.
    fn begin(&mut self, uid: &CommandUid, plugin: Arc<Plugin>) {
        let Some(entry) = self.entries.get(uid) else { return };
        if self.abandoned {
            return;
        }
        let leftover = |other: &Entry| other.unwanted && other.builddir == entry.builddir;
        if self.entries.values().any(leftover) {
            self.behind.push((uid.clone(), plugin));
            return;
        }
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let (start, seed) = match std::mem::replace(&mut entry.phase, Phase::Runs) {
            Phase::Waits(start, seed) => (start, seed),
            other @ (Phase::Runs | Phase::Ended) => {
                entry.phase = other;
                return;
            }
        };
        (self.parts.on_event)(Event::Started { hook: entry.hook.clone(), command: uid.0.clone() });
        let root = match Root::open(&self.parts.builds, &start.builddir) {
            Ok(root) => Arc::new(root),
            Err(failure) => return self.end(uid, Err(failure)),
        };
        let asked =
            plugin.capabilities.iter().map(|asked| (asked.capability.as_str(), asked.scope.as_slice()));
        let granted = start.grants.iter().map(|(name, scope)| (name.as_str(), scope.as_slice()));
        let bundled = self.parts.components.is_bundled(&start.digest);
        let secrets = match self.secrets.take(start.secrets.clone()) {
            Ok(secrets) => secrets,
            Err(failure) => return self.end(uid, Err(failure)),
        };
        let (hook, digest) = (entry.hook.clone(), start.digest.short());
        let (answers, children) =
            entry.left.take().map(|left| (left.answers, left.children)).unwrap_or_default();
        let context = Arc::new(Context {
            runtime: Handle::current(),
            root,
            grants: Grants::new(hook, digest, asked, granted, &self.parts.allow, bundled),
            mark: self.parts.machine.orphans.mark(&uid.0),
            machine: Arc::clone(&self.parts.machine),
            transfers: Arc::clone(&self.parts.transfers),
            env: start.env.clone(),
            secrets,
            spool: Arc::clone(&entry.spool),
            interrupt: entry.interrupt.subscribe(),
            children: TaskTracker::new(),
            living: Arc::default(),
            over: CancellationToken::new(),
            denials: AtomicU64::default(),
            log: Mutex::default(),
            seed,
            left: Mutex::new(children),
            broken: Mutex::default(),
        });
        let run = run(self.parts.runtime.clone(), plugin, *start, context, Story::new(answers));
        let task = self.runs.spawn(run);
        self.names.insert(task.id(), uid.clone());
    }

    fn on_ended(&mut self, ended: Joined) {
        let (id, (how, usage)) = match ended {
            Ok((id, ended)) => (id, ended),
            Err(error) => {
                let message = format!("the worker's own code broke off: {error}");
                (error.id(), (Err(Failure::new("worker-bug", message)), None))
            }
        };
        if let Some(uid) = self.names.remove(&id) {
            self.ended(&uid, how, usage);
        }
    }

    fn ended(&mut self, uid: &CommandUid, how: Result<Completion, Failure>, usage: Option<Usage>) {
        let Some(entry) = self.entries.get_mut(uid).filter(|entry| !matches!(entry.phase, Phase::Ended))
        else {
            return;
        };
        // Whatever it says of its end then, this is how it was.
        let is_gone = !self.parts.machine.holder.lives();
        let how = if is_gone { Err(Failure::retryable("worker-lost", HOLDER_KILLED)) } else { how };
        let stopped_by_us = entry.interrupt.borrow().as_deref() == Some(LEAVES);
        // Not the step's fault: somewhere else it may run to its end.
        let how = if stopped_by_us { Err(Failure::retryable("worker-lost", LEAVES)) } else { how };
        let text = match &how {
            Ok(Completion { rc: Some(rc), .. }) => format!("rc {rc}"),
            Ok(Completion { rc: None, .. }) => "done".to_owned(),
            Err(failure) => failure.to_string(),
        };
        (self.parts.on_event)(Event::Ended { hook: entry.hook.clone(), command: uid.0.clone(), how: text });
        entry.phase = Phase::Ended;
        if entry.unwanted {
            self.forget(uid);
            for (uid, plugin) in std::mem::take(&mut self.behind) {
                self.begin(&uid, plugin);
            }
        } else {
            entry.spool.done(how, usage);
        }
    }

    fn interrupt(&mut self, uid: &CommandUid, reason: String) {
        let Some(entry) = self.entries.get(uid) else { return };
        // The first reason stays.
        entry.interrupt.send_if_modified(|interrupt| match interrupt {
            Some(_) => false,
            none => {
                *none = Some(reason.clone());
                entry.spool.record(Record::Interrupted { reason: reason.clone() });
                true
            }
        });
        if matches!(entry.phase, Phase::Waits(..)) && entry.left.is_none() {
            self.end(uid, Err(Failure::new("interrupted", reason)));
        }
    }

    fn interrupt_all(&mut self) {
        self.leaving = Some(Leaving::Interrupted);
        let running = self.entries.iter().filter(|(_, entry)| !matches!(entry.phase, Phase::Ended));
        let running: Vec<CommandUid> = running.map(|(uid, _)| uid.clone()).collect();
        for uid in running {
            self.interrupt(&uid, LEAVES.to_owned());
        }
    }

    fn on_ack(&mut self, uid: &CommandUid, number: u64) {
        let Some(entry) = self.entries.get(uid) else { return };
        match entry.spool.ack(number) {
            Ok(true) => self.forget(uid),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(command = uid.0, %error, "the master acknowledged what it can't have")
            }
        }
    }
}

/// A name that is safe as a file's: the master's are 32 hex digits.
fn is_uid(uid: &CommandUid) -> bool {
    (1..=64).contains(&uid.0.len()) && uid.0.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Why a command has no tape. The holder keeps them: one that was killed is no lack of room, and the build is built again
/// whatever its step makes of the answer.
fn not_begun(error: &std::io::Error, holder_lives: bool) -> Failure {
    match holder_lives {
        true => Failure::retryable("quota", format!("this worker has no room for a command: {error}")),
        false => Failure::retryable("worker-lost", HOLDER_KILLED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: a build whose holder was killed went on without commands, or failed. Cause: a start that reached the agent
    /// before it had found out was answered as a lack of room, of which steps make what they like. Cure: it says that the
    /// worker is lost.
    #[test]
    fn a_command_that_the_death_of_the_holder_kept_from_beginning_says_so() {
        let error = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        for (lives, code) in [(true, "quota"), (false, "worker-lost")] {
            let failure = not_begun(&error, lives);
            assert_eq!((failure.code.as_str(), failure.retryable), (code, true));
        }
    }
}
