//! One child process: what it is to be, and its end whatever happens. `start` makes it, `watcher` sees to it until it has
//! ended. Its parent is the holder, which also reaps it. `again`: one that an earlier agent started.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_runtime::port::{ChildEvent, Delivery, Limit};

use crate::beneath::Root;
use crate::environment::Variables;
use crate::follow::{self, Followed, Tail};
use crate::group::Group;
use crate::machine::Machine;
use crate::mask::{Mask, Masker};
use crate::output::{Delivered, Gathered, Lines};
use crate::pace::Pace;
use crate::spool::CommandSpool;
use crate::spool::left::ChildLeft;
use capture::Capture;
use feed::Feed;

mod again;
mod capture;
mod feed;
mod keep;
mod start;
mod watcher;

pub use again::{again, end_left};
pub use start::{Starting, begin, interrupted};
pub use watcher::Watcher;

/// How long a child that was killed may take to end: only the kernel can hold it then.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a thread may wait for one, on which others have something to do.
const SOON: Duration = Duration::from_millis(100);

/// Events on their way to the guest. What it does not take holds the child back: 8 reads of 32 KiB.
const EVENTS: usize = 8;

/// What to start, all of it checked.
#[derive(Debug)]
pub struct Plan {
    /// The file.
    pub program: PathBuf,
    /// As the child sees them, the program's name first.
    pub argv: Vec<String>,
    /// Opened beneath the builder's directory.
    pub directory: OwnedFd,
    /// Everything the child has.
    pub variables: Variables,
    /// Written to its input, which is then closed; `None`: it stays open.
    pub input: Option<Vec<u8>>,
    /// Files that it writes, followed into logs of their own.
    pub follow: Vec<Tail>,
    /// How it is watched over.
    pub kept: Kept,
}

/// How a child is watched over: what an agent that is started anew has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// When it was started, in milliseconds of the machine's own clock.
    pub began: u64,
    /// The time that it may take.
    pub max_time: Option<Duration>,
    /// Since the last output.
    pub idle_time: Option<Duration>,
    /// Lines of output.
    pub max_lines: Option<u64>,
    /// How it is stopped.
    pub ladder: Ladder,
    /// Whether it gets a terminal instead of pipes.
    pub terminal: bool,
    /// The log that gets the output.
    pub log: Option<String>,
    /// Whether standard output goes there.
    pub log_stdout: bool,
    /// Whether standard error goes there.
    pub log_stderr: bool,
    /// What the guest sees of it.
    pub deliver: Delivery,
    /// Files that it writes, followed into logs of their own.
    #[serde(default)]
    pub follow: Vec<follow::Kept>,
}

/// How far a child's output was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Bytes of standard output and of standard error that are in updates and events.
    pub taken: [u64; 2],
    /// Lines that it said, and whether the last byte of either stream was a `\r`.
    pub lines: Lines,
    /// The beginnings of lines that the guest is to get with their ends.
    pub carry: [Vec<u8>; 2],
    /// How far the files that it writes were read.
    #[serde(default)]
    pub followed: Vec<follow::Place>,
    /// The beginnings of lines that the log is to get with their ends.
    #[serde(default)]
    pub begun: [Vec<u8>; 2],
}

/// Why the host stopped a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// It went over a limit.
    Limit(Limit),
    /// The command was interrupted.
    Interrupted,
}

/// That the host stopped a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// For this reason.
    pub why: Why,
    /// When, in milliseconds of the machine's own clock.
    pub at: u64,
}

/// What a child has around it.
#[derive(Debug)]
pub struct Surroundings {
    /// Where its command may be.
    pub root: Arc<Root>,
    /// Who spawns and reaps it, and finds what it leaves.
    pub machine: Arc<Machine>,
    /// Where its output goes.
    pub spool: Arc<CommandSpool>,
    /// Whether its command is to stop.
    pub interrupt: watch::Receiver<Option<String>>,
    /// Whether its command is over.
    pub over: CancellationToken,
    /// Takes secrets out of its output.
    pub mask: Option<Arc<Mask>>,
}

/// The signals that stop a child, one after the other for as long as something of it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// At once.
    #[serde(with = "number")]
    pub first: Signal,
    /// How long it may take after the first.
    pub grace: Duration,
    /// The next one. If that is no kill, a kill follows as well.
    #[serde(with = "number")]
    pub second: Signal,
}

/// From the second signal of a ladder, if that is no kill, to the kill.
const LAST: Duration = Duration::from_secs(5);

/// The most that a child may take for its first signal at an interrupt: its build is waited for no longer. Together
/// with what may follow it is less than a master gives a step that was stopped, and its commands thereafter.
const MAX_GRACE: Duration = Duration::from_secs(30);

impl Ladder {
    /// As it is at an interrupt.
    pub fn hurried(self) -> Ladder {
        Ladder { grace: self.grace.min(MAX_GRACE), ..self }
    }

    /// From the first signal to the kill.
    pub fn length(self) -> Duration {
        if self.second == Signal::KILL { self.grace } else { self.grace + LAST }
    }
}

/// What the guest's side tells the task.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control {
    /// The guest waits for the end: the host handles interrupts and discards output.
    pub waiting: bool,
    /// The guest asked it to terminate: a kill follows after the grace period.
    pub terminated: bool,
}

/// The guest's side.
#[derive(Debug)]
pub struct Started {
    /// For signals.
    pub group: Arc<Group>,
    /// Output, then the exit.
    pub events: mpsc::Receiver<ChildEvent>,
    /// To the task.
    pub control: watch::Sender<Control>,
    /// The child's input, if it stays open.
    pub input: Option<OwnedFd>,
    /// Whether that is a terminal.
    pub terminal: bool,
}

/// Our side of a child's streams.
struct Ours {
    stdout: Option<Capture>,
    stderr: Option<Capture>,
    feed: To,
}

/// A child's input.
enum To {
    Nothing,
    Fed(Feed),
    /// The guest writes to it.
    Open(OwnedFd),
}

fn watched(
    child: u32,
    left: ChildLeft,
    guard: Guard,
    streams: Ours,
    follow: Vec<Tail>,
    surroundings: Surroundings,
) -> std::io::Result<(Started, Watcher)> {
    let Surroundings { root: _, machine: _, spool, interrupt, over, mask } = surroundings;
    let ChildLeft { kept, at, events: earlier, fed: _, stopped, exit: _ } = left;
    let carry = at.carry.clone();
    let (sender, events) = mpsc::channel(EVENTS);
    let (control, control_heard) = watch::channel(Control::default());
    let group = Arc::clone(&guard.group);
    let exited = (!guard.reaped).then(|| exit_of(&group)).transpose()?;
    let (feed, input) = match streams.feed {
        To::Nothing => (None, None),
        To::Fed(feed) => (Some(feed), None),
        To::Open(input) => (None, Some(input)),
    };
    let started = Started { group, events, control, input, terminal: kept.terminal };
    let now = Instant::now();
    let mut watcher = Watcher {
        child,
        guard,
        ended: false,
        exited,
        killed: false,
        stdout: streams.stdout,
        stderr: streams.stderr,
        feed,
        scratch: Vec::new(),
        gathered: Gathered::resumed(at.begun.clone()),
        delivered: Delivered::resumed(kept.deliver, carry, earlier),
        produced: Vec::new(),
        followed: Followed::start(follow, mask.as_ref()),
        maskers: mask.map(|mask| [Masker::new(Arc::clone(&mask)), Masker::new(mask)]),
        lines: at.lines,
        at,
        stopped: None,
        max_time: kept.max_time.map(|limit| instant(kept.began) + limit),
        idle_time: kept.idle_time,
        last_output: now,
        max_lines: kept.max_lines,
        next_rung: None,
        patience: PATIENCE,
        lost: false,
        leftover: None,
        pace: Pace::new(now.into_std()),
        ladder: kept.ladder,
        log: kept.log,
        log_stdout: kept.log_stdout,
        log_stderr: kept.log_stderr,
        spool,
        events: sender,
        control: control_heard,
        interrupt,
        over,
    };
    watcher.resume(stopped);
    Ok((started, watcher))
}

/// The machine's own clock, in milliseconds: it goes on whoever is killed.
pub fn clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000 + now.tv_nsec.cast_unsigned() / 1_000_000
}

/// A moment of that clock.
fn instant(at: u64) -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_millis(clock().saturating_sub(at))).unwrap_or(now)
}

/// Signals by their numbers.
mod number {
    use rustix::process::Signal;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(signal: &Signal, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i32(signal.as_raw())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Signal, D::Error> {
        let number = i32::deserialize(from)?;
        Signal::from_named_raw(number).ok_or_else(|| serde::de::Error::custom(format!("no signal {number}")))
    }
}

/// A descriptor that is waited for.
#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of other types; an OwnedFd keeps its promise"
)]
fn asynchronous(descriptor: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// Input, output and errors of a child, as far as there are any: one side of them.
#[derive(Debug, Default)]
pub struct Streams {
    /// What it reads.
    pub stdin: Option<OwnedFd>,
    /// What it says.
    pub stdout: Option<OwnedFd>,
    /// What it complains about.
    pub stderr: Option<OwnedFd>,
}

/// Readable once the leader has ended; it is not reaped by that.
fn exit_of(group: &Group) -> std::io::Result<AsyncFd<OwnedFd>> {
    asynchronous(group.end_of_leader()?)
}

/// Kills and reaps a child whose watcher was dropped before its end.
#[derive(Debug)]
pub struct Guard {
    reaped: bool,
    /// Of one that an earlier agent reaped.
    status: Option<ExitStatus>,
    group: Arc<Group>,
}

impl Guard {
    fn of(leader: Pid, machine: &Arc<Machine>) -> Guard {
        let group = Arc::new(Group::of(leader, Arc::clone(machine)));
        Guard { reaped: false, status: None, group }
    }

    /// Of a child that an earlier agent reaped.
    fn buried(status: Option<ExitStatus>, machine: &Arc<Machine>) -> Guard {
        Guard { reaped: true, status, group: Arc::new(Group::buried(Arc::clone(machine))) }
    }

    /// Somebody else sees to it.
    pub fn release(mut self) {
        self.reaped = true;
    }

    /// Kills it, and waits for its end no longer than for any child's. Within a tokio runtime.
    async fn end(mut self) {
        if !self.reaped {
            end(&self.group).await;
            self.reaped = true;
        }
    }

    fn reap(&mut self) -> Option<std::io::Result<ExitStatus>> {
        if self.reaped {
            return self.status.take().map(Ok);
        }
        let reaped = self.group.reap(SOON);
        self.reaped = !matches!(&reaped, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        Some(reaped)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(Err(error)) = self.reap() else { return };
        if self.reaped {
            tracing::warn!(%error, "failed to reap a child");
        } else if let Some(runtime) = self.group.runtime() {
            let group = Arc::clone(&self.group);
            drop(runtime.spawn(async move { end(&group).await }));
        } else {
            self.group.disown();
        }
    }
}

/// Kills a group and reaps its leader. One that does not end, though it was killed, is nobody's after a while.
async fn end(group: &Arc<Group>) {
    group.signal(Signal::KILL);
    let leader = group.leader();
    let ended = match exit_of(group) {
        Ok(ended) => ended,
        Err(error) => {
            tracing::warn!(?leader, %error, "a child that was killed can't be waited for");
            return group.disown();
        }
    };
    if let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, ended.readable()).await {
        match group.reap(SOON) {
            Ok(_) => return,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return tracing::warn!(?leader, %error, "failed to reap a child"),
        }
    }
    group.disown();
    let group = Arc::clone(group);
    // Should it ever end.
    drop(tokio::spawn(async move {
        if ended.readable().await.is_ok() {
            group.reap_disowned();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::{Holder, Spawn};
    use crate::orphans::Orphans;
    use crate::spool::{Limits, Spool};
    use std::os::fd::AsFd;
    use tokio::runtime::Handle;
    use tokio_util::task::TaskTracker;
    use windlass_protocol::message::CommandUid;
    use windlass_runtime::port::Exit;

    fn machine() -> Arc<Machine> {
        let orphans = Orphans::new("a", false, Arc::new(Holder::local().unwrap()));
        Arc::new(Machine::new(Variables::new(), "/nowhere".into(), orphans))
    }

    /// Symptom: one child that hung in the kernel held up a thread of the worker for ever. Cause: whoever dropped it waited
    /// for its end. Cure: it is handed to a task, of the worker and not of whoever drops it.
    #[tokio::test]
    async fn a_child_that_is_dropped_and_does_not_end_is_waited_for_by_no_thread() {
        let machine = machine();
        let here = std::fs::File::open("/").unwrap();
        let spawn = Spawn {
            command: "c0",
            child: 0,
            program: "/bin/sleep".as_ref(),
            argv: &["sleep", "1000"].map(str::to_owned),
            variables: &Variables::new(),
            directory: here.as_fd(),
            stdin: None,
            stdout: None,
            stderr: None,
            keep: &[],
            report: None,
        };
        let pid = machine.holder.spawn(&spawn).unwrap();
        let guard = Guard::of(pid, &machine);
        // As the kernel would have it.
        guard.group.hold();
        // As a guest's call drops it, whose runtime has no input or output.
        let of_a_guest = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        std::thread::spawn(move || of_a_guest().block_on(async { drop(guard) })).join().unwrap();
        assert!(rustix::process::test_kill_process(pid).is_ok());
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        let reaped = async {
            while machine.holder.is_known(pid) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reaped).await.unwrap();
    }

    /// Symptom: a step stood until its deadline, a day later. Cause: its program hung in the kernel, on a file system
    /// that was gone, and was waited for after it was killed. Cure: nobody waits for it any more, and the log says so.
    #[tokio::test]
    async fn a_child_that_does_not_end_though_it_was_killed_is_given_up() {
        let (base, root) = Root::beside_a_precious_file();
        let machine = machine();
        let said = Spool::new(base.path(), Limits::default(), Arc::clone(&machine.holder));
        let spool = said.open(&CommandUid("c0".into()), &crate::spool::tape::Record::Begun).unwrap().unwrap();
        let kept = Kept {
            began: clock(),
            max_time: Some(Duration::from_millis(1)),
            idle_time: None,
            max_lines: None,
            ladder: Ladder { first: Signal::TERM, grace: Duration::ZERO, second: Signal::KILL },
            terminal: false,
            log: Some("stdio".into()),
            log_stdout: true,
            log_stderr: true,
            deliver: Delivery::None,
            follow: Vec::new(),
        };
        let plan = Plan {
            program: "/bin/sleep".into(),
            argv: ["sleep", "1000"].map(str::to_owned).to_vec(),
            directory: root.directory(".").unwrap(),
            variables: Variables::new(),
            input: Some(Vec::new()),
            follow: Vec::new(),
            kept,
        };
        let (_interrupt, heard) = watch::channel(None);
        let over = CancellationToken::new();
        let root = Arc::new(root);
        let surroundings = Surroundings { root, machine, spool, interrupt: heard, over, mask: None };
        let (starting, begun) = begin(0, plan, surroundings).unwrap();
        let guard = starting.started(&Handle::current(), &TaskTracker::new()).await.unwrap();
        let (mut started, watcher) = begun.watched(guard).unwrap();
        let mut watcher = watcher.unwrap();
        // As the kernel would have it.
        started.group.hold();
        watcher.patience = Duration::ZERO;
        watcher.watch().await;
        let told = started.events.recv().await;
        assert_eq!(told, Some(ChildEvent::Exited(Exit::TimedOut(Limit::MaxTime))));
        assert!(said.next().is_some(), "the log says it");
        let pid = started.group.leader();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        // It is reaped when it ends after all.
        let gone = async {
            while rustix::process::test_kill_process(pid).is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    }
}
