//! The task that watches over one child: its output, its limits, its end.
//!
//! It names what happened, then handles it in a plain method. It goes on whatever the guest does: limits
//! hold and output flows into the log while the guest computes or waits for something else.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_core::value::Origin;
use windlass_protocol::message::Update;
use windlass_runtime::port::{ChildEvent, Exit, Limit};

use super::capture::{Capture, READ};
use super::feed::Feed;
use super::keep::{STDIN, name_of as kept_as};
use super::{At, Control, Guard, LAST, Ladder, Stopped, Why, clock, instant};
use crate::follow::{self, Followed, Piece};
use crate::group::name_of;
use crate::mask::Masker;
use crate::output::{Delivered, Gathered, Lines};
use crate::pace::{self, Pace};
use crate::spool::tape::Record;
use crate::spool::{CommandSpool, pieces};

/// How long processes that outlive the child may keep its pipes open before they are killed: a `tee`
/// behind the shell writes its last lines, a forgotten server does not hold the build.
const LINGER: Duration = Duration::from_secs(5);

/// After the kill: a process that left the group may hold the pipes for ever.
const ABANDON: Duration = Duration::from_secs(1);

/// What comes next for a child that is being stopped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rung {
    Signal(Signal),
    /// It was killed, and does not end.
    GiveUp,
}

/// What to do about pipes that stay open after the child has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leftover {
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
    Followed(Option<Piece>),
}

/// Watches over a child until its end.
#[derive(Debug)]
pub struct Watcher {
    /// Which one of its command.
    pub(super) child: u32,
    pub(super) guard: Guard,
    /// None: an earlier agent reaped it.
    pub(super) exited: Option<AsyncFd<OwnedFd>>,
    /// Not reaped yet: its group can be signalled till the very end.
    pub(super) ended: bool,
    /// Whoever wanted it has gone.
    pub(super) killed: bool,
    pub(super) stdout: Option<Capture>,
    pub(super) stderr: Option<Capture>,
    pub(super) feed: Option<Feed>,
    pub(super) scratch: Vec<u8>,
    pub(super) gathered: Gathered,
    pub(super) delivered: Delivered,
    /// What the guest gets, and no agent but this one knows of yet.
    pub(super) produced: Vec<ChildEvent>,
    /// Of standard output and of standard error; before anybody sees what was read.
    pub(super) maskers: Option<[Masker; 2]>,
    pub(super) followed: Option<Followed>,
    pub(super) lines: Lines,
    /// How far the output was taken, as the tape says.
    pub(super) at: At,
    pub(super) stopped: Option<Why>,
    pub(super) max_time: Option<Instant>,
    pub(super) idle_time: Option<Duration>,
    pub(super) last_output: Instant,
    pub(super) max_lines: Option<u64>,
    /// When the next rung of the ladder is reached.
    pub(super) next_rung: Option<(Instant, Rung)>,
    /// How long it may take to end after the last one.
    pub(super) patience: Duration,
    /// It was given up: whatever becomes of it, nobody waits for it.
    pub(super) lost: bool,
    pub(super) leftover: Option<(Instant, Leftover)>,
    pub(super) pace: Pace,
    pub(super) ladder: Ladder,
    pub(super) log: Option<String>,
    pub(super) log_stdout: bool,
    pub(super) log_stderr: bool,
    pub(super) spool: Arc<CommandSpool>,
    pub(super) events: mpsc::Sender<ChildEvent>,
    pub(super) control: watch::Receiver<Control>,
    pub(super) interrupt: watch::Receiver<Option<String>>,
    pub(super) over: CancellationToken,
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
                ready = writable(&self.feed), if self.feed.is_some() => named(ready, Turn::Writable),
                ready = exited(&self.exited), if !self.ended => named(ready, Turn::Exited),
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
                piece = next_piece(&mut self.followed), if !full && self.followed.is_some() => Turn::Followed(piece),
                () = self.spool.room(), if full => Turn::Room,
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Turn::Timer,
            };
            self.on(turn);
            if (self.ended || self.lost) && self.stdout.is_none() && self.stderr.is_none() {
                // Nothing more is written to them by the child: what stands there now is all. And nobody holds a
                // pipe any more.
                self.followed.iter().for_each(Followed::finish);
                self.leftover = None;
            }
        }
        self.release();
        self.deliver(|delivered| delivered.finish());
        self.flush_all(Instant::now());
        let exit = self.exit();
        self.spool.record(Record::Exited { child: self.child, exit: exit.clone() });
        self.spool.give_up(&kept_as(self.child, ""));
        if self.lost {
            let (guard, gone) = (self.guard, self.exited);
            // Reaped all the same, should it ever end.
            drop(tokio::spawn(async move {
                named(exited(&gone).await, Turn::Exited);
                drop(guard);
            }));
        }
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
                self.followed = None;
                self.kill();
                self.leftover = self.ended.then(|| (Instant::now(), Leftover::Kill));
            }
            Turn::Timer => self.on_timer(Instant::now()),
            // Both only let the next turn read again.
            Turn::Room | Turn::Delivered(true) => {}
            Turn::Delivered(false) => self.delivered.close(),
            Turn::Followed(piece) => self.on_followed(piece),
        }
    }

    fn is_finished(&self) -> bool {
        let pipes = self.stdout.is_some() || self.stderr.is_some();
        (self.ended || self.lost) && !pipes && self.followed.is_none()
    }

    /// What a file that is followed has grown by. That is a sign of life, as output is.
    fn on_followed(&mut self, piece: Option<Piece>) {
        match piece {
            Some(Piece { log, data }) => {
                self.last_output = Instant::now();
                self.flush_with(self.last_output, pieces(&log, Origin::Stdout, data).collect());
            }
            None => {
                self.at.followed = self.places();
                self.followed = None;
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let limits = (self.stopped.is_none() && !self.ended)
            .then(|| [self.max_time, self.idle_time.map(|limit| self.last_output + limit)]);
        let limits = limits.into_iter().flatten().flatten();
        limits
            .chain(self.next_rung.map(|(at, _)| at))
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
                self.stop(Why::Limit(Limit::MaxTime));
            } else if passed(self.idle_time.map(|limit| self.last_output + limit)) {
                self.stop(Why::Limit(Limit::IdleTime));
            }
        }
        if let Some((_, rung)) = self.next_rung.filter(|(at, _)| *at <= now) {
            match rung {
                Rung::Signal(signal) => self.step(signal, LAST, Signal::KILL),
                Rung::GiveUp => self.give_up(now),
            }
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
            let group = Arc::clone(&self.guard.group);
            drop(tokio::task::spawn_blocking(move || group.give_way(nice)));
        }
    }

    /// What is readable now, one piece of it: other events get their turn in between.
    fn read(&mut self, origin: Origin) {
        let stream = if origin == Origin::Stderr { &mut self.stderr } else { &mut self.stdout };
        let Some(capture) = stream else { return };
        self.scratch.resize(READ, 0);
        match capture.take(&mut self.scratch) {
            Ok(0) => self.close(origin),
            Ok(len) => {
                self.last_output = Instant::now();
                let scratch = std::mem::take(&mut self.scratch);
                let data = &scratch[..len];
                let too_many = self.max_lines.is_some_and(|limit| self.lines.count(origin, data) > limit);
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
                self.scratch = scratch;
                if too_many {
                    self.stop(Why::Limit(Limit::MaxLines));
                }
                let due = self.gathered.due(self.last_output).is_some_and(|due| due <= self.last_output);
                if due || !self.is_logged(origin) || self.delivered.is_wanted() {
                    self.flush(self.last_output);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // The end of a terminal.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => self.close(origin),
            Err(error) => {
                tracing::warn!(%error, "failed to read from a child");
                self.close(origin);
            }
        }
    }

    fn close(&mut self, origin: Origin) {
        // What was taken of it is told before it is gone.
        self.release_one(origin);
        self.gathered.finish(origin);
        self.flush(Instant::now());
        *(if origin == Origin::Stderr { &mut self.stderr } else { &mut self.stdout }) = None;
    }

    fn is_logged(&self, origin: Origin) -> bool {
        self.log.is_some() && if origin == Origin::Stderr { self.log_stderr } else { self.log_stdout }
    }

    /// Output on its two ways, to the log and to the guest.
    fn hand_on(&mut self, origin: Origin, data: &[u8]) {
        if self.is_logged(origin) {
            self.gathered.push(origin, data);
        }
        if !self.control.borrow().waiting {
            self.deliver(|delivered| delivered.push(origin, data));
        }
    }

    /// Something for the guest.
    fn deliver(&mut self, make: impl FnOnce(&mut Delivered)) {
        let before = self.delivered.count();
        make(&mut self.delivered);
        self.produced.extend(self.delivered.since(before).cloned());
    }

    /// The streams have ended: what was held back was no secret.
    fn release(&mut self) {
        self.release_one(Origin::Stdout);
        self.release_one(Origin::Stderr);
    }

    fn release_one(&mut self, origin: Origin) {
        let Some(maskers) = &mut self.maskers else { return };
        let held = maskers[usize::from(origin == Origin::Stderr)].finish();
        if !held.is_empty() {
            self.hand_on(origin, &held);
        }
    }

    fn write(&mut self) {
        if self.feed.as_mut().is_some_and(Feed::write) {
            self.feed = None;
            // Else its end would not show.
            self.spool.give_up(&kept_as(self.child, STDIN));
            self.spool.record(Record::Fed { child: self.child });
        }
    }

    /// Puts what came into updates and events, together with how far that is.
    fn flush(&mut self, now: Instant) {
        self.flush_with(now, Vec::new());
    }

    /// Of lines that have no end yet, too.
    fn flush_all(&mut self, now: Instant) {
        self.gathered.finish(Origin::Stdout);
        self.gathered.finish(Origin::Stderr);
        self.flush(now);
    }

    fn flush_with(&mut self, now: Instant, mut said: Vec<Update>) {
        if let Some(log) = &self.log {
            for (origin, data) in self.gathered.take(now) {
                said.extend(pieces(log, origin, data));
            }
        }
        let (taken, carry, followed) = (self.taken(), self.delivered.carry(), self.places());
        let at = At { taken, lines: self.lines, carry, followed, begun: self.gathered.begun() };
        if said.is_empty() && self.produced.is_empty() && at == self.at {
            return;
        }
        let child = self.child;
        let mut records: Vec<_> =
            self.produced.drain(..).map(|event| Record::Event { child, event }).collect();
        records.push(Record::At { child, at: at.clone() });
        self.spool.say(said, records);
        for (capture, taken) in [&mut self.stdout, &mut self.stderr].into_iter().zip(at.taken) {
            capture.iter_mut().for_each(|capture| capture.is_kept(taken));
        }
        self.at = at;
    }

    fn places(&self) -> Vec<follow::Place> {
        self.followed.as_ref().map_or_else(|| self.at.followed.clone(), |followed| followed.places().to_vec())
    }

    /// How much of either stream was handed on; what a masker holds back was not.
    fn taken(&self) -> [u64; 2] {
        let taken = |which: usize, capture: &Option<Capture>| match capture {
            Some(capture) => {
                let held = self.maskers.as_ref().map_or(0, |maskers| maskers[which].held());
                capture.taken() - held as u64
            }
            None => self.at.taken[which],
        };
        [taken(0, &self.stdout), taken(1, &self.stderr)]
    }

    fn on_exited(&mut self) {
        self.ended = true;
        self.feed = None;
        let now = Instant::now();
        // After a stop the rest of the group has its grace period and no more.
        let at = match (self.stopped, self.next_rung) {
            _ if self.killed => now,
            (Some(_), Some((at, Rung::Signal(_)))) => at,
            (Some(_), Some((_, Rung::GiveUp)) | None) => now,
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
                    self.flush_all(now);
                    let text = "processes that the command left behind were killed\n";
                    self.spool.log(&log, Origin::Header, text.into());
                }
                self.guard.group.signal(Signal::KILL);
                self.leftover = Some((now + ABANDON, Leftover::Abandon));
            }
            Leftover::Abandon => {
                self.close(Origin::Stdout);
                self.close(Origin::Stderr);
            }
        }
    }

    fn on_control(&mut self) {
        let control = *self.control.borrow_and_update();
        if control.waiting {
            self.delivered.close();
            self.on_interrupt();
        }
        if control.terminated && self.next_rung.is_none() {
            // The guest sent the first one.
            let Ladder { grace, second, .. } = self.ladder();
            self.next_rung = Some((Instant::now() + grace, Rung::Signal(second)));
        }
    }

    /// A guest in `next-event` is told and decides; for one in `wait` the host does.
    fn on_interrupt(&mut self) {
        let interrupted = self.interrupt.borrow_and_update().is_some();
        if interrupted && self.control.borrow().waiting && !self.ended {
            self.stop(Why::Interrupted);
        }
    }

    /// Goes on with what an earlier agent did.
    pub(super) fn resume(&mut self, stopped: Option<Stopped>) {
        if self.exited.is_none() {
            self.on_exited();
        }
        if let Some(Stopped { why, at }) = stopped {
            self.stopped = Some(why);
            let Ladder { first, grace, second } = self.ladder();
            if first == Signal::KILL {
                return self.kill();
            }
            self.next_rung = Some((instant(at) + grace, Rung::Signal(second)));
        }
    }

    fn stop(&mut self, why: Why) {
        if self.stopped.is_none() {
            self.stopped = Some(why);
            let stopped = Stopped { why, at: clock() };
            self.spool.record(Record::Stopped { child: self.child, stopped });
            let Ladder { first, grace, second } = self.ladder();
            self.step(first, grace, second);
        }
    }

    fn ladder(&self) -> Ladder {
        if self.interrupt.borrow().is_some() { self.ladder.hurried() } else { self.ladder }
    }

    fn kill(&mut self) {
        self.step(Signal::KILL, LAST, Signal::KILL);
    }

    /// Sends a signal of the ladder. What follows a while later is the next one, unless this was the last.
    fn step(&mut self, signal: Signal, then_after: Duration, then: Signal) {
        self.guard.group.signal(signal);
        let now = Instant::now();
        self.next_rung = Some(if signal == Signal::KILL {
            (now + self.patience, Rung::GiveUp)
        } else {
            (now + then_after, Rung::Signal(then))
        });
    }

    /// Waits no longer for a child that was killed: it may hang in the kernel for ever, on a file system that is gone.
    fn give_up(&mut self, now: Instant) {
        self.next_rung = None;
        if self.ended {
            return;
        }
        self.lost = true;
        self.flush_all(now);
        (self.stdout, self.stderr, self.feed) = (None, None, None);
        if let Some(log) = self.log.clone().filter(|_| !self.killed) {
            let text = "the program was killed and does not end; nobody waits for it any more\n";
            self.spool.log(&log, Origin::Header, text.into());
        }
    }

    fn exit(&mut self) -> Exit {
        let status = match (!self.lost).then(|| self.guard.reap()).flatten() {
            Some(Ok(status)) => Some(status),
            Some(Err(error)) => {
                tracing::error!(%error, "failed to reap a child");
                None
            }
            None => None,
        };
        let interrupted = self.interrupt.borrow().is_some();
        let (code, signal) = (status.and_then(|s| s.code()), status.and_then(|s| s.signal()));
        match (self.stopped, code, signal) {
            (Some(Why::Limit(limit)), _, _) => Exit::TimedOut(limit),
            (Some(Why::Interrupted), _, _) => Exit::Interrupted,
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

async fn readable(capture: &Option<Capture>) -> std::io::Result<()> {
    match capture {
        Some(capture) => capture.readable().await,
        None => std::future::pending().await,
    }
}

async fn exited(process: &Option<AsyncFd<OwnedFd>>) -> std::io::Result<()> {
    match process {
        Some(process) => process.readable().await.map(drop),
        None => Ok(()),
    }
}

async fn next_piece(followed: &mut Option<Followed>) -> Option<Piece> {
    match followed {
        Some(followed) => followed.next().await,
        None => std::future::pending().await,
    }
}

async fn writable(feed: &Option<Feed>) -> std::io::Result<()> {
    match feed {
        Some(feed) => feed.writable().await,
        None => std::future::pending().await,
    }
}
