//! One child process: what it is to be, its start, and its end whatever happens. `watcher` sees to it in between.
//! Its parent is the holder, which also reaps it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, Signal, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_core::value::Failure;
use windlass_runtime::port::{ChildEvent, Delivery};

use crate::environment::Variables;
use crate::follow::{Followed, Tail};
use crate::group::Group;
use crate::holder::Spawn;
use crate::machine::Machine;
use crate::mask::{Mask, Masker};
use crate::output::{Delivered, Gathered, Lines};
use crate::pace::Pace;
use crate::spool::CommandSpool;
use crate::terminal::{self, Terminal, led};

mod watcher;

pub use watcher::Watcher;

/// How long a child that was killed may take to end: only the kernel can hold it then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Events on their way to the guest. What it does not take holds the child back: 8 reads of 32 KiB.
const EVENTS: usize = 8;

/// What to start, all of it checked.
#[derive(Debug)]
pub struct Plan {
    /// Which of its command's children it is.
    pub child: u32,
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
    /// Limits.
    pub max_time: Option<Duration>,
    /// Since the last output.
    pub idle_time: Option<Duration>,
    /// Lines of output.
    pub max_lines: Option<u64>,
    /// How it is stopped.
    pub ladder: Ladder,
    /// Whether it gets a terminal instead of pipes.
    pub terminal: bool,
    /// Files that it writes, followed into logs of their own.
    pub follow: Vec<Tail>,
    /// The log that gets the output.
    pub log: Option<String>,
    /// Whether standard output goes there.
    pub log_stdout: bool,
    /// Whether standard error goes there.
    pub log_stderr: bool,
    /// What the guest sees of it.
    pub deliver: Delivery,
    /// Takes secrets out of its output.
    pub mask: Option<Arc<Mask>>,
}

/// The signals that stop a child, one after the other for as long as something of it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// At once.
    pub first: Signal,
    /// How long it may take after the first.
    pub grace: Duration,
    /// The next one. If that is no kill, a kill follows as well.
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

/// Starts a child in a process group of its own. Within a tokio runtime; `watch` of what is returned
/// belongs into a task.
pub fn start(
    plan: Plan,
    machine: Arc<Machine>,
    spool: Arc<CommandSpool>,
    interrupt: watch::Receiver<Option<String>>,
    over: CancellationToken,
) -> Result<(Started, Watcher), Failure> {
    let failed = |error: &std::io::Error| {
        let program = plan.argv.first().map_or("", String::as_str);
        Failure::new("spawn-failed", format!("failed to start `{program}`: {error}"))
    };
    let terminal = plan.terminal.then(Terminal::open).transpose().map_err(|error| failed(&error))?;
    let is_terminal = terminal.is_some();
    let (ours, childs) = match terminal {
        Some(terminal) => terminal.streams(),
        None => piped(&plan),
    }
    .map_err(|error| failed(&error))?;
    let (program, argv) = match is_terminal {
        true => led(&plan.program, &plan.argv, &machine.leader),
        false => (plan.program.clone(), plan.argv.clone()),
    };
    let spawn = Spawn {
        command: &spool.uid().0,
        child: plan.child,
        program: &program,
        argv: &argv,
        variables: &plan.variables,
        directory: plan.directory.as_fd(),
        stdin: childs.stdin.as_ref().map(AsFd::as_fd),
        stdout: childs.stdout.as_ref().map(AsFd::as_fd),
        stderr: childs.stderr.as_ref().map(AsFd::as_fd),
    };
    let leader = machine.holder.spawn(&spawn).map_err(|error| failed(&error))?;
    // From here on the child runs: whoever leaves must kill it.
    let group = Arc::new(Group::of(leader, machine));
    let guard = Guard { reaped: false, group: Arc::clone(&group) };
    // The end of its streams shows once nobody holds its side of them.
    drop(childs);
    let exited = exit_of(&group).map_err(|error| failed(&error))?;
    let Streams { stdin, stdout, stderr } = ours;
    // Unchecked: a terminal is no pipe, and is read and written like one.
    let reader = |fd: OwnedFd| {
        rustix::io::ioctl_fionbio(&fd, true)?;
        pipe::Receiver::from_owned_fd_unchecked(fd)
    };
    let stdout = stdout.map(reader).transpose().map_err(|error| failed(&error))?;
    let stderr = stderr.map(reader).transpose().map_err(|error| failed(&error))?;
    let (kept_open, to_write, input) = match plan.input {
        None => (stdin, None, Vec::new()),
        Some(input) => {
            let writer = |fd: OwnedFd| {
                rustix::io::ioctl_fionbio(&fd, true)?;
                pipe::Sender::from_owned_fd_unchecked(fd)
            };
            let sender = stdin.map(writer).transpose().map_err(|error| failed(&error))?;
            (None, sender, if is_terminal { terminal::typed(input) } else { input })
        }
    };
    if let Some(input) = &kept_open {
        rustix::io::ioctl_fionbio(input, true).map_err(|error| failed(&error.into()))?;
    }

    let now = Instant::now();
    let (sender, events) = mpsc::channel(EVENTS);
    let (control, control_heard) = watch::channel(Control::default());
    let watcher = Watcher {
        guard,
        exited,
        ended: false,
        killed: false,
        stdout,
        stderr,
        stdin: to_write,
        input,
        written: 0,
        scratch: Vec::new(),
        gathered: Gathered::default(),
        delivered: Delivered::new(plan.deliver),
        followed: Followed::start(plan.follow, plan.mask.as_ref()),
        maskers: plan.mask.map(|mask| [Masker::new(Arc::clone(&mask)), Masker::new(mask)]),
        lines: Lines::default(),
        stopped: None,
        max_time: plan.max_time.map(|limit| now + limit),
        idle_time: plan.idle_time,
        last_output: now,
        max_lines: plan.max_lines,
        next_rung: None,
        patience: PATIENCE,
        lost: false,
        leftover: None,
        pace: Pace::new(now.into_std()),
        ladder: plan.ladder,
        log: plan.log,
        log_stdout: plan.log_stdout,
        log_stderr: plan.log_stderr,
        spool,
        events: sender,
        control: control_heard,
        interrupt,
        over,
    };
    Ok((Started { group, events, control, input: kept_open, terminal: is_terminal }, watcher))
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

/// Pipes for what somebody wants to say or hear: our side, and the child's.
fn piped(plan: &Plan) -> std::io::Result<(Streams, Streams)> {
    let pipe = |is_wanted: bool| -> std::io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        Ok(if is_wanted {
            pipe_with(PipeFlags::CLOEXEC).map(|(r, w)| (Some(r), Some(w)))?
        } else {
            (None, None)
        })
    };
    let heard = |logged: bool| plan.deliver != Delivery::None || (plan.log.is_some() && logged);
    // Limits of silence and of lines are about output, so it has to be read.
    let watched = plan.idle_time.is_some() || plan.max_lines.is_some();
    let (childs_stdin, stdin) = pipe(plan.input.as_ref().is_none_or(|input| !input.is_empty()))?;
    let (stdout, childs_stdout) = pipe(heard(plan.log_stdout) || watched)?;
    let (stderr, childs_stderr) = pipe(heard(plan.log_stderr) || watched)?;
    let childs = Streams { stdin: childs_stdin, stdout: childs_stdout, stderr: childs_stderr };
    Ok((Streams { stdin, stdout, stderr }, childs))
}

/// Readable once the leader has ended; it is not reaped by that.
#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of other types; an OwnedFd keeps its promise"
)]
fn exit_of(group: &Group) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(pidfd_open(group.leader(), PidfdFlags::NONBLOCK)?)
}

/// Kills and reaps a child whose watcher was dropped before its end.
#[derive(Debug)]
struct Guard {
    reaped: bool,
    group: Arc<Group>,
}

impl Guard {
    fn reap(&mut self) -> Option<std::io::Result<ExitStatus>> {
        (!std::mem::replace(&mut self.reaped, true)).then(|| self.group.reap())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.reap() {
            tracing::warn!(%error, "failed to reap a child");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beneath::Root;
    use crate::holder::Holder;
    use crate::orphans::Orphans;
    use crate::spool::{Limits, Spool};
    use windlass_protocol::message::CommandUid;
    use windlass_runtime::port::{Exit, Limit};

    /// Symptom: a step stood until its deadline, a day later. Cause: its program hung in the kernel, on a file system
    /// that was gone, and was waited for after it was killed. Cure: nobody waits for it any more, and the log says so.
    #[tokio::test]
    async fn a_child_that_does_not_end_though_it_was_killed_is_given_up() {
        let (base, root) = Root::beside_a_precious_file();
        let orphans = Orphans::new("a", false, Arc::new(Holder::local().unwrap()));
        let machine = Arc::new(Machine::new(Variables::new(), "/nowhere".into(), orphans));
        let said = Spool::new(base.path(), Limits::default());
        let spool = said.open(&CommandUid("c0".into())).unwrap();
        let plan = Plan {
            child: 0,
            program: "/bin/sleep".into(),
            argv: ["sleep", "1000"].map(str::to_owned).to_vec(),
            directory: root.directory(".").unwrap(),
            variables: Variables::new(),
            input: Some(Vec::new()),
            max_time: Some(Duration::from_millis(1)),
            idle_time: None,
            max_lines: None,
            ladder: Ladder { first: Signal::TERM, grace: Duration::ZERO, second: Signal::KILL },
            terminal: false,
            follow: Vec::new(),
            log: Some("stdio".into()),
            log_stdout: true,
            log_stderr: true,
            deliver: Delivery::None,
            mask: None,
        };
        let (_interrupt, heard) = watch::channel(None);
        let (mut started, mut watcher) =
            start(plan, machine, spool, heard, CancellationToken::new()).unwrap();
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
