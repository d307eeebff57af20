//! The holder as a process: it starts the agent, carries its requests, starts it again when it dies, and ends with it
//! when it ends by itself. One thread, no component, no configuration.
//!
//! SIGTERM and SIGINT are the agent's to heed. SIGHUP has the agent killed and started anew from the file that this
//! program was started from, whatever is in it by now: so a worker is upgraded while its commands run.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{self, SignalKind};

use super::PANICKED;
use super::keeper::Keeper;
use super::serve::serve_one;
use super::sockets;
use super::wire::Room;
use crate::group::name_of;
use crate::{harden, proc};

/// Before the agent is started again: at first, and at most, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// An agent that lived so long was no part of a row of failures.
const SOUND: Duration = Duration::from_secs(60);

/// At the holder's end: how long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The program that is the agent. Its standard input will be the link to the holder.
#[derive(Clone, Debug)]
pub struct AgentProgram {
    /// The file.
    pub file: PathBuf,
    /// What it is started with.
    pub arguments: Vec<OsString>,
}

/// Is the holder of a worker, until the worker ends: with which code. Nothing else may run in this process.
///
/// # Errors
/// If the process cannot be set up, or the agent cannot be started at all.
pub fn hold(agent: AgentProgram) -> io::Result<u8> {
    harden::harden();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut hold =
            Hold { agent, keeper: Keeper::alone(), signals: Signals::listen()?, is_stopping: false };
        let code = hold.run().await?;
        hold.end();
        Ok(code)
    })
}

struct Hold {
    agent: AgentProgram,
    keeper: Keeper,
    signals: Signals,
    /// Somebody wants all of it to end.
    is_stopping: bool,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Forward(Signal),
    Restart,
}

/// What is to follow the end of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The end of the holder.
    Leave(u8),
    /// Another agent at once.
    Now,
    /// Another agent after a pause.
    Later,
}

/// What follows an agent that has ended. `killed`: by the holder, for a restart. `has_children`: programs of commands
/// run still, which one that ends in good order ends.
fn after(status: ExitStatus, killed: bool, is_stopping: bool, has_children: bool) -> Next {
    let by_itself = status.code().filter(|code| *code != i32::from(PANICKED));
    match (by_itself, status.signal()) {
        // It could not begin, as with a configuration that has a mistake since: that costs no build.
        (Some(_), _) if has_children && !is_stopping => Next::Later,
        (Some(code), _) => Next::Leave(u8::try_from(code).unwrap_or(u8::MAX)),
        // As a shell says it.
        (None, signal) if is_stopping => {
            let code = signal.map_or(PANICKED.into(), |signal| 128 + signal);
            Next::Leave(u8::try_from(code).unwrap_or(u8::MAX))
        }
        (None, Some(_)) if killed => Next::Now,
        (None, _) => Next::Later,
    }
}

/// The pause before another agent, after one that lived so long and had this pause before it.
fn pause_after(last: Option<Duration>, lived: Duration) -> Duration {
    match last {
        Some(last) if lived < SOUND => (last * 2).min(LAST_PAUSE),
        Some(_) | None => FIRST_PAUSE,
    }
}

impl Hold {
    async fn run(&mut self) -> io::Result<u8> {
        let mut pause = None;
        let mut is_first = true;
        loop {
            let began = Instant::now();
            let next = match self.start() {
                Ok((agent, socket)) => {
                    let (status, killed) = self.tend(agent, socket).await?;
                    let next = after(status, killed, self.is_stopping, self.keeper.has_children());
                    if next != Next::Now && (status.signal().is_some() || next == Next::Later) {
                        tracing::error!("the agent of this worker {}", how(status));
                    }
                    next
                }
                Err(error) if is_first => return Err(error),
                Err(error) => {
                    let file = self.agent.file.display();
                    tracing::error!(%error, "failed to start the agent of this worker from `{file}`");
                    Next::Later
                }
            };
            is_first = false;
            match next {
                Next::Leave(code) => return Ok(code),
                Next::Now => pause = None,
                Next::Later => {
                    let length = pause_after(pause, began.elapsed());
                    pause = Some(length);
                    tracing::info!("it is started again in {length:.1?}; {}", self.keeper.census());
                    if let Some(code) = self.rest(length).await {
                        return Ok(code);
                    }
                }
            }
        }
    }

    fn start(&mut self) -> io::Result<(Child, OwnedFd)> {
        let (ours, theirs) = sockets()?;
        let mut command = Command::new(&self.agent.file);
        // In a group of its own: what somebody types for the holder is the holder's to hand on.
        command.args(&self.agent.arguments).stdin(Stdio::from(theirs)).process_group(0);
        Ok((command.spawn()?, ours))
    }

    /// Serves an agent until it has ended: how, and whether it was killed to be started anew.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of other types; an OwnedFd keeps its promise"
    )]
    async fn tend(&mut self, mut agent: Child, socket: OwnedFd) -> io::Result<(ExitStatus, bool)> {
        let pid = Pid::from_child(&agent);
        self.keeper.agent = Some(pid);
        let ended = AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::NONBLOCK)?, Interest::READABLE)?;
        // Not to be woken up each time that the agent has read an answer.
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        let (mut killed, mut is_open, mut room) = (false, true, Room::default());
        loop {
            let turn = tokio::select! {
                _ = ended.readable() => Turn::Ended,
                ready = socket.readable(), if is_open => Turn::Asked(ready?),
                asked = self.signals.next() => Turn::Signal(asked),
            };
            match turn {
                Turn::Ended => break,
                Turn::Asked(mut ready) => {
                    match serve_one(&mut self.keeper, socket.get_ref(), &mut room, RecvFlags::DONTWAIT) {
                        Ok(still) => is_open = still,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                        Err(error) => {
                            tracing::error!(%error, "the link to the agent is broken");
                            is_open = false;
                        }
                    }
                }
                Turn::Signal(Asked::Forward(signal)) => {
                    self.is_stopping = true;
                    // Not reaped yet: the number is its own.
                    kill_process(pid, signal).ok();
                }
                Turn::Signal(Asked::Restart) => {
                    tracing::info!("the agent is started anew; {}", self.keeper.census());
                    killed = true;
                    kill_process(pid, Signal::KILL).ok();
                }
            }
        }
        // What it asked for before its end.
        while is_open {
            let served = serve_one(&mut self.keeper, socket.get_ref(), &mut room, RecvFlags::DONTWAIT);
            is_open = served.unwrap_or(false);
        }
        let status = agent.wait()?;
        self.keeper.agent = None;
        Ok((status, killed))
    }

    /// Waits before another start. A code: somebody wants an end instead.
    async fn rest(&mut self, length: Duration) -> Option<u8> {
        tokio::select! {
            () = tokio::time::sleep(length) => None,
            asked = self.signals.next() => match asked {
                Asked::Forward(_) => Some(u8::from(self.keeper.has_children())),
                Asked::Restart => None,
            },
        }
    }

    /// Ends whatever is left: nobody would look after it.
    fn end(&mut self) {
        self.keeper.kill_all();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = proc::children(getpid());
            if left.is_empty() || Instant::now() > deadline {
                return;
            }
            for pid in left {
                kill_process(pid, Signal::KILL).ok();
                waitpid(Some(pid), WaitOptions::NOHANG).ok();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What happened.
enum Turn<'a> {
    Ended,
    Asked(tokio::io::unix::AsyncFdReadyGuard<'a, OwnedFd>),
    Signal(Asked),
}

fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by {}", name_of(signal)),
        (None, code) => format!("ended with code {}", code.unwrap_or_default()),
    }
}

/// The signals that a holder heeds.
struct Signals {
    hangup: unix::Signal,
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            hangup: unix::signal(SignalKind::hangup())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Restart,
            _ = self.interrupt.recv() => Asked::Forward(Signal::INT),
            _ = self.terminate.recv() => Asked::Forward(Signal::TERM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_ends_by_itself_ends_its_holder_and_one_that_breaks_is_replaced() {
        let (exited, killed) = (|code: i32| ExitStatus::from_raw(code << 8), ExitStatus::from_raw(9));
        let panicked = i32::from(PANICKED);
        assert_eq!(after(exited(3), false, false, false), Next::Leave(3));
        assert_eq!(after(exited(3), false, false, true), Next::Later, "programs run still");
        assert_eq!(after(exited(1), false, true, true), Next::Leave(1), "somebody wanted an end");
        assert_eq!(after(exited(0), true, false, false), Next::Leave(0));
        assert_eq!(after(killed, false, false, false), Next::Later);
        assert_eq!(after(exited(panicked), false, false, false), Next::Later);
        assert_eq!(after(killed, true, false, false), Next::Now);
        assert_eq!(after(killed, true, true, false), Next::Leave(137), "somebody wanted an end");
        assert_eq!(after(exited(panicked), false, true, false), Next::Leave(101));
    }

    #[test]
    fn pauses_grow_until_an_agent_has_lived_for_a_while() {
        let short = Duration::from_secs(1);
        let mut pauses = vec![pause_after(None, short)];
        for _ in 0..7 {
            pauses.push(pause_after(pauses.last().copied(), short));
        }
        assert_eq!(pauses[..3], [100, 200, 400].map(Duration::from_millis));
        assert_eq!(pauses[7], LAST_PAUSE);
        assert_eq!(pause_after(Some(LAST_PAUSE), SOUND), FIRST_PAUSE);
    }
}
