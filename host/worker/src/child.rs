//! One child process and the task that watches over it: its pipes, its limits, its end.
//!
//! The task names what happened, then handles it in a plain method. It goes on whatever the guest does:
//! limits hold and output flows into the log while the guest computes or waits for something else.
//!
//! Deliberately absent: a parent-death signal. It needs `pre_exec`, which costs the fast way to spawn
//! and is unsafe; the holder process of a later version will own the children instead.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{PidfdFlags, Signal, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_core::value::{Failure, Origin};
use windlass_runtime::port::{ChildEvent, Delivery, Exit, Limit};

use crate::environment::Variables;
use crate::group::{Group, name_of};
use crate::machine::Machine;
use crate::mask::{Mask, Masker};
use crate::output::{Delivered, Gathered};
use crate::pace::{self, Pace};
use crate::spool::CommandSpool;

/// How long processes that outlive the child may keep its pipes open before they are killed: a `tee`
/// behind the shell writes its last lines, a forgotten server does not hold the build.
const LINGER: Duration = Duration::from_secs(5);

/// After the kill: a process that left the group may hold the pipes for ever.
const ABANDON: Duration = Duration::from_secs(1);

/// Events on their way to the guest. What it does not take holds the child back: 8 reads of 32 KiB.
const EVENTS: usize = 8;

const READ: usize = 32 * 1024;

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
    /// Limits.
    pub max_time: Option<Duration>,
    /// Since the last output.
    pub idle_time: Option<Duration>,
    /// Lines of output.
    pub max_lines: Option<u64>,
    /// From the first signal to the kill.
    pub grace: Duration,
    /// The first signal.
    pub stop_signal: Signal,
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
    let mut command = Command::new(&plan.program);
    let (name, arguments) = plan.argv.split_first().expect("the port refuses an empty argv");
    command.arg0(name).args(arguments).env_clear().envs(&plan.variables).process_group(0);
    // The very directory that was checked, whatever its name leads to by now.
    command.current_dir(format!("/proc/self/fd/{}", plan.directory.as_raw_fd()));
    let piped_input = plan.input.as_ref().is_none_or(|input| !input.is_empty());
    command.stdin(if piped_input { Stdio::piped() } else { Stdio::null() });
    let heard = |logged: bool| plan.deliver != Delivery::None || (plan.log.is_some() && logged);
    let stream = |heard: bool| if heard { Stdio::piped() } else { Stdio::null() };
    // Limits of silence and of lines are about output, so it has to be read.
    let watched = plan.idle_time.is_some() || plan.max_lines.is_some();
    command.stdout(stream(heard(plan.log_stdout) || watched));
    command.stderr(stream(heard(plan.log_stderr) || watched));
    let mut child = machine.orphans.spawn(|| command.spawn()).map_err(|error| failed(&error))?;

    // From here on the child runs: whoever leaves must kill it.
    let group = Arc::new(Group::of(&child, machine));
    let mut guard = Guard { child: None, group: Arc::clone(&group) };
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    guard.child = Some(child);
    let exited = exit_of(&group).map_err(|error| failed(&error))?;
    let reader = |fd: OwnedFd| pipe::Receiver::from_owned_fd(fd);
    let stdout = stdout.map(|s| reader(s.into())).transpose().map_err(|error| failed(&error))?;
    let stderr = stderr.map(|s| reader(s.into())).transpose().map_err(|error| failed(&error))?;
    let stdin = stdin.map(OwnedFd::from);
    let (kept_open, to_write, input) = match plan.input {
        None => (stdin, None, Vec::new()),
        Some(input) => {
            let sender = stdin.map(pipe::Sender::from_owned_fd).transpose();
            (None, sender.map_err(|error| failed(&error))?, input)
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
        maskers: plan.mask.map(|mask| [Masker::new(Arc::clone(&mask)), Masker::new(mask)]),
        lines: 0,
        stopped: None,
        max_time: plan.max_time.map(|limit| now + limit),
        idle_time: plan.idle_time,
        last_output: now,
        max_lines: plan.max_lines,
        kill_at: None,
        leftover: None,
        pace: Pace::new(now.into_std()),
        grace: plan.grace,
        stop_signal: plan.stop_signal,
        log: plan.log,
        log_stdout: plan.log_stdout,
        log_stderr: plan.log_stderr,
        spool,
        events: sender,
        control: control_heard,
        interrupt,
        over,
    };
    Ok((Started { group, events, control, input: kept_open }, watcher))
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
    child: Option<std::process::Child>,
    group: Arc<Group>,
}

impl Guard {
    fn reap(&mut self) -> Option<std::io::Result<ExitStatus>> {
        self.child.take().map(|mut child| self.group.reap(&mut child))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.reap() {
            tracing::warn!(%error, "failed to reap a child");
        }
    }
}

/// Why the host stopped a child.
#[derive(Clone, Copy, Debug)]
enum Stopped {
    Limit(Limit),
    Interrupted,
}

/// What to do about pipes that stay open after the child has ended.
#[derive(Clone, Copy, Debug)]
enum Leftover {
    Kill,
    Abandon,
}

/// What happened.
#[derive(Debug)]
enum Turn {
    Readable(Origin),
    Writable,
    Exited,
    Control,
    Interrupted,
    Over,
    Timer,
    Room,
    Delivered(bool),
}

/// Watches over a child until its end.
#[derive(Debug)]
pub struct Watcher {
    guard: Guard,
    exited: AsyncFd<OwnedFd>,
    /// Not reaped yet: its group can be signalled till the very end.
    ended: bool,
    /// Whoever wanted it has gone.
    killed: bool,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    stdin: Option<pipe::Sender>,
    input: Vec<u8>,
    written: usize,
    scratch: Vec<u8>,
    gathered: Gathered,
    delivered: Delivered,
    /// Of standard output and of standard error; before anybody sees what was read.
    maskers: Option<[Masker; 2]>,
    lines: u64,
    stopped: Option<Stopped>,
    max_time: Option<Instant>,
    idle_time: Option<Duration>,
    last_output: Instant,
    max_lines: Option<u64>,
    kill_at: Option<Instant>,
    leftover: Option<(Instant, Leftover)>,
    pace: Pace,
    grace: Duration,
    stop_signal: Signal,
    log: Option<String>,
    log_stdout: bool,
    log_stderr: bool,
    spool: Arc<CommandSpool>,
    events: mpsc::Sender<ChildEvent>,
    control: watch::Receiver<Control>,
    interrupt: watch::Receiver<Option<String>>,
    over: CancellationToken,
}

impl Watcher {
    /// Until the child has ended and all that it wrote is in the log and with the guest.
    pub async fn watch(mut self) {
        let mut control_open = true;
        let mut interrupt_open = true;
        let mut over_seen = false;
        // An interrupt that came before the child counts.
        self.on_interrupt();
        while !self.is_finished() {
            let full = !self.spool.has_room();
            let reading = !full && !self.delivered.is_waiting();
            let deadline = self.deadline();
            let turn = tokio::select! {
                ready = readable(&self.stdout), if reading && self.stdout.is_some() => named(ready, Turn::Readable(Origin::Stdout)),
                ready = readable(&self.stderr), if reading && self.stderr.is_some() => named(ready, Turn::Readable(Origin::Stderr)),
                ready = writable(&self.stdin), if self.stdin.is_some() => named(ready, Turn::Writable),
                ready = self.exited.readable(), if !self.ended => named(ready.map(drop), Turn::Exited),
                changed = self.control.changed(), if control_open => { control_open = changed.is_ok(); Turn::Control }
                changed = self.interrupt.changed(), if interrupt_open => { interrupt_open = changed.is_ok(); Turn::Interrupted }
                () = self.over.cancelled(), if !over_seen => { over_seen = true; Turn::Over }
                permit = self.events.reserve(), if self.delivered.is_waiting() => match permit {
                    Ok(permit) => {
                        if let Some(event) = self.delivered.pop() {
                            permit.send(event);
                        }
                        Turn::Delivered(true)
                    }
                    Err(_) => Turn::Delivered(false),
                },
                () = self.spool.room(), if full => Turn::Room,
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Turn::Timer,
            };
            self.on(turn);
        }
        self.release();
        self.flush(Instant::now());
        self.delivered.finish();
        let exit = self.exit();
        // What is left for the guest, unless it has gone.
        while let Some(event) = self.delivered.pop() {
            tokio::select! {
                sent = self.events.send(event) => if sent.is_err() { return },
                () = self.over.cancelled() => return,
            }
        }
        tokio::select! {
            // A guest that dropped the child does not want to know.
            _ = self.events.send(ChildEvent::Exited(exit)) => {}
            () = self.over.cancelled() => {}
        }
    }

    fn on(&mut self, turn: Turn) {
        match turn {
            Turn::Readable(origin) => self.read(origin),
            Turn::Writable => self.write(),
            Turn::Exited => self.on_exited(),
            Turn::Control => self.on_control(),
            Turn::Interrupted => self.on_interrupt(),
            Turn::Over => {
                self.delivered.close();
                self.killed = true;
                self.kill();
                self.leftover = self.ended.then(|| (Instant::now(), Leftover::Kill));
            }
            Turn::Timer => self.on_timer(Instant::now()),
            // Both only let the next turn read again.
            Turn::Room | Turn::Delivered(true) => {}
            Turn::Delivered(false) => self.delivered.close(),
        }
    }

    fn is_finished(&self) -> bool {
        self.ended && self.stdout.is_none() && self.stderr.is_none()
    }

    fn deadline(&self) -> Option<Instant> {
        let limits = (self.stopped.is_none() && !self.ended)
            .then(|| [self.max_time, self.idle_time.map(|limit| self.last_output + limit)]);
        let limits = limits.into_iter().flatten().flatten();
        limits
            .chain(self.kill_at)
            .chain(self.leftover.map(|(at, _)| at))
            .chain(self.pace.next_look().map(Instant::from_std))
            .chain(self.gathered.due(Instant::now()))
            .min()
    }

    fn on_timer(&mut self, now: Instant) {
        let passed = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now);
        if passed(self.gathered.due(now)) {
            self.flush(now);
        }
        if self.delivered.is_waiting() || !self.spool.has_room() {
            // It is we who do not read: that is no silence of the child.
            self.last_output = now;
        }
        if !self.ended && self.stopped.is_none() {
            if passed(self.max_time) {
                self.stop(Stopped::Limit(Limit::MaxTime));
            } else if passed(self.idle_time.map(|limit| self.last_output + limit)) {
                self.stop(Stopped::Limit(Limit::IdleTime));
            }
        }
        if passed(self.kill_at) {
            self.kill();
        }
        if passed(self.pace.next_look().map(Instant::from_std)) {
            self.look_at_pace(now);
        }
        if let Some((_, what)) = self.leftover.filter(|(at, _)| *at <= now) {
            self.on_leftover(what, now);
        }
    }

    fn look_at_pace(&mut self, now: Instant) {
        let leader = self.guard.group.leader();
        let seen = if self.ended { pace::Seen::default() } else { pace::look(leader) };
        if let Some(nice) = self.pace.on_look(seen, now.into_std()) {
            self.guard.group.give_way(nice);
        }
    }

    /// What is readable now, one piece of it: other events get their turn in between.
    fn read(&mut self, origin: Origin) {
        let stream = if origin == Origin::Stderr { &mut self.stderr } else { &mut self.stdout };
        let Some(pipe) = stream else { return };
        self.scratch.resize(READ, 0);
        match pipe.try_read(&mut self.scratch) {
            Ok(0) => *stream = None,
            Ok(len) => {
                self.last_output = Instant::now();
                let scratch = std::mem::take(&mut self.scratch);
                let data = &scratch[..len];
                match &mut self.maskers {
                    Some([_, masker]) if origin == Origin::Stderr => {
                        let data = masker.push(data);
                        self.hand_on(origin, &data);
                    }
                    Some([masker, _]) => {
                        let data = masker.push(data);
                        self.hand_on(origin, &data);
                    }
                    None => self.hand_on(origin, data),
                }
                let lines = data.iter().filter(|byte| **byte == b'\n').count() as u64;
                self.scratch = scratch;
                if let Some(limit) = self.max_lines {
                    self.lines += lines;
                    if self.lines > limit {
                        self.stop(Stopped::Limit(Limit::MaxLines));
                    }
                }
                if self.gathered.due(self.last_output).is_some_and(|due| due <= self.last_output) {
                    self.flush(self.last_output);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, "failed to read from a child");
                *stream = None;
            }
        }
    }

    /// Output on its two ways, to the log and to the guest.
    fn hand_on(&mut self, origin: Origin, data: &[u8]) {
        let logged = if origin == Origin::Stderr { self.log_stderr } else { self.log_stdout };
        if self.log.is_some() && logged {
            self.gathered.push(origin, data);
        }
        if !self.control.borrow().waiting {
            self.delivered.push(origin, data);
        }
    }

    /// The streams have ended: what was held back was no secret.
    fn release(&mut self) {
        let Some(maskers) = &mut self.maskers else { return };
        let held = maskers.each_mut().map(Masker::finish);
        for (origin, data) in [Origin::Stdout, Origin::Stderr].into_iter().zip(held) {
            if !data.is_empty() {
                self.hand_on(origin, &data);
            }
        }
    }

    fn write(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        match stdin.try_write(&self.input[self.written..]) {
            Ok(len) => self.written += len,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // A child that does not want its input closes it; that is its right.
            Err(_) => self.written = self.input.len(),
        }
        if self.written == self.input.len() {
            self.stdin = None;
        }
    }

    fn flush(&mut self, now: Instant) {
        if let Some(log) = &self.log {
            for (origin, data) in self.gathered.take(now) {
                self.spool.log(log, origin, data);
            }
        }
    }

    fn on_exited(&mut self) {
        self.ended = true;
        self.stdin = None;
        let now = Instant::now();
        // After a stop the rest of the group has its grace period and no more.
        let at = match (self.stopped, self.kill_at) {
            _ if self.killed => now,
            (Some(_), kill_at) => kill_at.unwrap_or(now),
            (None, _) => now + LINGER,
        };
        self.leftover = Some((at, Leftover::Kill));
    }

    fn on_leftover(&mut self, what: Leftover, now: Instant) {
        let held_back = self.delivered.is_waiting() || !self.spool.has_room();
        if held_back && !self.killed {
            // It is we who do not read.
            self.leftover = Some((now + LINGER, what));
            return;
        }
        match what {
            Leftover::Kill => {
                if let Some(log) = self.log.clone().filter(|_| self.stopped.is_none() && !self.killed) {
                    self.flush(now);
                    let text = "processes that the command left behind were killed\n";
                    self.spool.log(&log, Origin::Header, text.into());
                }
                self.guard.group.signal(Signal::KILL);
                self.leftover = Some((now + ABANDON, Leftover::Abandon));
            }
            Leftover::Abandon => (self.stdout, self.stderr) = (None, None),
        }
    }

    fn on_control(&mut self) {
        let control = *self.control.borrow_and_update();
        if control.waiting {
            self.delivered.close();
            self.on_interrupt();
        }
        if control.terminated && self.kill_at.is_none() {
            self.kill_at = Some(Instant::now() + self.grace);
        }
    }

    /// A guest in `next-event` is told and decides; for one in `wait` the host does.
    fn on_interrupt(&mut self) {
        let interrupted = self.interrupt.borrow_and_update().is_some();
        if interrupted && self.control.borrow().waiting && !self.ended {
            self.stop(Stopped::Interrupted);
        }
    }

    fn stop(&mut self, why: Stopped) {
        if self.stopped.is_none() {
            self.stopped = Some(why);
            self.guard.group.signal(self.stop_signal);
            self.kill_at = Some(Instant::now() + self.grace);
        }
    }

    fn kill(&mut self) {
        self.kill_at = None;
        self.guard.group.signal(Signal::KILL);
    }

    fn exit(&mut self) -> Exit {
        let status = match self.guard.reap() {
            Some(Ok(status)) => status,
            Some(Err(error)) => {
                tracing::error!(%error, "failed to reap a child");
                return Exit::Signal("lost".to_owned());
            }
            None => return Exit::Signal("lost".to_owned()),
        };
        let interrupted = self.interrupt.borrow().is_some();
        match (self.stopped, status.code(), status.signal()) {
            (Some(Stopped::Limit(limit)), _, _) => Exit::TimedOut(limit),
            (Some(Stopped::Interrupted), _, _) => Exit::Interrupted,
            (None, Some(code), _) => Exit::Code(code),
            (None, None, _) if interrupted => Exit::Interrupted,
            (None, None, Some(signal)) => Exit::Signal(name_of(signal)),
            (None, None, None) => Exit::Signal("lost".to_owned()),
        }
    }
}

/// An error of the reactor: the handler finds out when it reads, writes or reaps.
fn named(ready: std::io::Result<()>, turn: Turn) -> Turn {
    if let Err(error) = ready {
        tracing::warn!(%error, "failed to wait for a child");
    }
    turn
}

async fn readable(pipe: &Option<pipe::Receiver>) -> std::io::Result<()> {
    match pipe {
        Some(pipe) => pipe.readable().await,
        None => std::future::pending().await,
    }
}

async fn writable(pipe: &Option<pipe::Sender>) -> std::io::Result<()> {
    match pipe {
        Some(pipe) => pipe.writable().await,
        None => std::future::pending().await,
    }
}
