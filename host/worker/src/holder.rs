//! The holder, as its agent sees it: whoever spawns the children of commands, is their parent, and keeps descriptors for
//! the agent that comes after this one.
//!
//! **The holder keeps, the agent works.** `windlass worker` is a small process (`serve`) that starts the agent and starts
//! it again when it dies; children, pipes and spools live on meanwhile. It knows nothing of configuration, masters or
//! components, so that there is little in it that could go wrong or need an upgrade.
//!
//! - `wire`: what the two say to each other
//! - `keeper`: children and descriptors, one request after the other; `start`: how a child is made
//! - `serve`: carries the requests; `process`: a process that does so, and starts the agent

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, getpid, getppid, pidfd_open};
use tokio::io::unix::AsyncFd;

use crate::environment::Variables;
use wire::{Answer, Order, Received, Request, Room, VERSION};

mod keeper;
mod process;
mod serve;
mod start;
mod wire;

pub use process::{AgentProgram, hold};
pub use start::{report, reported};

/// Why commands end, as their steps say it.
pub const HOLDER_KILLED: &str = "the holder of this worker was killed, and its commands with it";

/// How a panic ends a process.
pub const PANICKED: u8 = 101;

/// Ends this process at once where the thread that has it panics, before anything that it guards is dropped: the holder
/// starts another one, which goes on with the commands.
#[derive(Debug)]
pub struct Restart(bool);

impl Restart {
    /// Of an agent; where a thread of this process is the holder, nobody would start another one.
    pub fn if_held(holder: &Holder) -> Restart {
        Restart(holder.is_process())
    }
}

impl Drop for Restart {
    fn drop(&mut self) {
        if self.0 && std::thread::panicking() {
            std::process::exit(PANICKED.into());
        }
    }
}

/// A link to the holder of this worker. Its calls block for well under a millisecond.
#[derive(Debug)]
pub struct Holder {
    inner: Mutex<Inner>,
    pid: Pid,
    /// Which messages it knows: it may be of an earlier version than its agent.
    version: u32,
    /// To see its end; none if it is a thread of this process.
    process: Option<OwnedFd>,
}

#[derive(Debug)]
struct Inner {
    socket: OwnedFd,
    room: Room,
    /// The holder closed its end: it is ending, even if it has not ended.
    broken: bool,
    /// Its children that were not reaped, as far as they are this agent's business.
    children: BTreeSet<i32>,
}

/// A child to start, at the head of a process group of its own.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Whose it is.
    pub command: &'a str,
    /// Which of the command's children.
    pub child: u32,
    /// The file.
    pub program: &'a Path,
    /// As the child sees them, the program's name first.
    pub argv: &'a [String],
    /// Everything that the child has.
    pub variables: &'a Variables,
    /// Where it begins.
    pub directory: BorrowedFd<'a>,
    /// None: /dev/null.
    pub stdin: Option<BorrowedFd<'a>>,
    /// None: /dev/null.
    pub stdout: Option<BorrowedFd<'a>>,
    /// None: /dev/null.
    pub stderr: Option<BorrowedFd<'a>>,
    /// Kept for the command from its start on, under these names.
    pub keep: &'a [(String, BorrowedFd<'a>)],
    /// The child's end of a [`report`]. None: one that cannot become its program ends with code 127.
    pub report: Option<BorrowedFd<'a>>,
}

/// A child of a command that is not forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildOf {
    /// Whose it is.
    pub command: String,
    /// Which of the command's children.
    pub child: u32,
    /// Its number, which is nobody else's before it is reaped.
    pub pid: Pid,
    /// How it ended, if it was reaped.
    pub status: Option<ExitStatus>,
}

/// A descriptor that was kept.
#[derive(Debug)]
pub struct Kept {
    /// Whose it is.
    pub command: String,
    /// Which of them.
    pub name: String,
    /// Another one for the same thing.
    pub descriptor: OwnedFd,
}

impl Holder {
    /// The holder at the other end of a socket that it gave to this process, its child.
    pub fn held(socket: OwnedFd) -> io::Result<Holder> {
        let mut holder = Holder::greet(socket)?;
        let process = pidfd_open(holder.pid, PidfdFlags::NONBLOCK)?;
        if getppid() != Some(holder.pid) {
            // Gone meanwhile, and its number is perhaps somebody else's.
            return Err(gone());
        }
        holder.process = Some(process);
        let left = holder.children()?.into_iter().filter(|child| child.status.is_none());
        let left = left.map(|child| child.pid.as_raw_nonzero().get()).collect();
        holder.lock().children = left;
        Ok(holder)
    }

    /// The holder that started this process: its link is the standard input, which is /dev/null thereafter.
    pub fn on_stdin() -> io::Result<Holder> {
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let null = std::fs::File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        Holder::held(socket)
    }

    /// A holder that is a thread of this process, and dies with it: for embedding and for tests.
    pub fn local() -> io::Result<Holder> {
        let (ours, theirs) = sockets()?;
        std::thread::Builder::new().name("holder".to_owned()).spawn(move || serve::serve(&theirs))?;
        Holder::greet(ours)
    }

    fn greet(socket: OwnedFd) -> io::Result<Holder> {
        let inner =
            Mutex::new(Inner { socket, room: Room::default(), broken: false, children: BTreeSet::new() });
        let mut holder = Holder { inner, pid: getpid(), version: 0, process: None };
        match holder.ask(&Request::Hello { version: VERSION }, &[])? {
            (Answer::Welcome { version, pid }, _) => {
                holder.version = version;
                holder.pid = Pid::from_raw(pid).ok_or_else(strange)?;
                Ok(holder)
            }
            _ => Err(strange()),
        }
    }

    /// Makes a child. Whether it can become its program is to be read from its report.
    pub fn spawn(&self, spawn: &Spawn<'_>) -> io::Result<Pid> {
        let streams = [spawn.stdin, spawn.stdout, spawn.stderr];
        let kept = spawn.keep.iter().map(|(_, descriptor)| *descriptor);
        let beside: Vec<BorrowedFd<'_>> = std::iter::once(spawn.directory)
            .chain(streams.into_iter().flatten())
            .chain(kept)
            .chain(spawn.report)
            .collect();
        let order = Order {
            command: spawn.command.to_owned(),
            child: spawn.child,
            program: Bytes::copy_from_slice(spawn.program.as_os_str().as_bytes()),
            argv: list(spawn.argv.iter().map(|argument| [argument.as_ref()]))?,
            variables: list(spawn.variables.iter().map(|(name, value)| [name, OsStr::new("="), value]))?,
            streams: streams.map(|stream| stream.is_some()),
            kept: spawn.keep.iter().map(|(name, _)| name.clone()).collect(),
            reports: spawn.report.is_some(),
        };
        // Under the lock: nobody takes it for an orphan before it stands in the list.
        let mut inner = self.lock();
        match inner.ask(&Request::Spawn(order), &beside)? {
            (Answer::Spawned { pid }, _) => {
                inner.children.insert(pid);
                Pid::from_raw(pid).ok_or_else(strange)
            }
            _ => Err(strange()),
        }
    }

    /// The children of commands that are not forgotten, those of an earlier agent among them.
    pub fn children(&self) -> io::Result<Vec<ChildOf>> {
        let (Answer::Children(children), _) = self.ask(&Request::Children, &[])? else {
            return Err(strange());
        };
        let child = |c: wire::Child| {
            let status = c.status.map(ExitStatus::from_raw);
            Some(ChildOf { pid: Pid::from_raw(c.pid)?, command: c.command, child: c.child, status })
        };
        Ok(children.into_iter().filter_map(child).collect())
    }

    /// Buries a child, whose number is free thereafter. [`io::ErrorKind::WouldBlock`]: it has not ended.
    pub fn reap(&self, pid: Pid) -> io::Result<ExitStatus> {
        let number = pid.as_raw_nonzero().get();
        let mut inner = self.lock();
        let (Answer::Reaped { status }, _) = inner.ask(&Request::Reap { pid: number }, &[])? else {
            return Err(strange());
        };
        inner.children.remove(&number);
        Ok(ExitStatus::from_raw(status))
    }

    /// Buries a process that came to the holder when its parent ended, if it has ended. Never one of the known children.
    pub fn reap_orphan(&self, pid: Pid) -> io::Result<()> {
        self.ask(&Request::ReapOrphan { pid: pid.as_raw_nonzero().get() }, &[]).map(drop)
    }

    /// Waits no longer for a child, which was killed and does not end: from now on it is an orphan.
    pub fn disown(&self, pid: Pid) -> io::Result<()> {
        if self.version < wire::DISOWNS {
            let message = "the holder of this worker is of an earlier version and cannot disown a child; the next start of \
                           the worker ends that";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let number = pid.as_raw_nonzero().get();
        let mut inner = self.lock();
        inner.ask(&Request::Disown { pid: number }, &[])?;
        inner.children.remove(&number);
        Ok(())
    }

    /// Whether a child of the holder is one that somebody waits for, or the agent itself.
    pub fn is_known(&self, pid: Pid) -> bool {
        pid == getpid() || self.lock().children.contains(&pid.as_raw_nonzero().get())
    }

    /// Keeps a descriptor for the next agent, instead of what was kept under these names.
    pub fn keep(&self, command: &str, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let request = Request::Keep { command: command.to_owned(), name: name.to_owned() };
        self.ask(&request, &[descriptor]).map(drop)
    }

    /// All that is kept, by command and name.
    pub fn kept(&self) -> io::Result<Vec<Kept>> {
        let mut kept = Vec::new();
        // Under one lock: the places of those that follow stay as they are.
        let mut inner = self.lock();
        loop {
            let (Answer::Kept { names, more }, beside) =
                inner.ask(&Request::Kept { from: kept.len() }, &[])?
            else {
                return Err(strange());
            };
            if names.len() != beside.len() || (more && names.is_empty()) {
                return Err(strange());
            }
            let named = names.into_iter().zip(beside);
            kept.extend(named.map(|((command, name), descriptor)| Kept { command, name, descriptor }));
            if !more {
                return Ok(kept);
            }
        }
    }

    /// Drops what is kept for a command under names that begin with `prefix`; all of it, and its ended children, if
    /// that is empty.
    pub fn forget(&self, command: &str, prefix: &str) -> io::Result<()> {
        let request = Request::Forget { command: command.to_owned(), prefix: prefix.to_owned() };
        self.lock().send(&request, &[])
    }

    /// The process whose children orphans are.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether the holder is a process of its own.
    pub fn is_process(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its children still have it: their numbers are nobody else's then.
    pub fn lives(&self) -> bool {
        let Some(process) = &self.process else { return true };
        // Its descriptors are closed a moment before its end shows.
        if self.lock().broken {
            return false;
        }
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        matches!(poll(&mut ended, Some(&Timespec::default())), Ok(0))
    }

    /// Comes back when the holder has ended, and its children have lost their parent.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of other types; an OwnedFd keeps its promise"
    )]
    pub async fn gone(&self) {
        let ended = async {
            let process = self.process.as_ref().map(OwnedFd::try_clone)?.ok();
            AsyncFd::new(process?).ok()?.readable().await.ok().map(drop)
        };
        if ended.await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    fn ask(&self, request: &Request, beside: &[BorrowedFd<'_>]) -> io::Result<(Answer, Vec<OwnedFd>)> {
        self.lock().ask(request, beside)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while holding the link to the holder")
    }
}

impl Inner {
    fn ask(&mut self, request: &Request, beside: &[BorrowedFd<'_>]) -> io::Result<(Answer, Vec<OwnedFd>)> {
        let answer = self.exchange(request, beside);
        self.broken |= answer.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        answer
    }

    fn exchange(
        &mut self,
        request: &Request,
        beside: &[BorrowedFd<'_>],
    ) -> io::Result<(Answer, Vec<OwnedFd>)> {
        self.send(request, beside)?;
        match wire::receive(&self.socket, &mut self.room, RecvFlags::empty()) {
            Ok(Received::Message(Answer::Failed { errno: Some(errno), .. }, _)) => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Ok(Received::Message(Answer::Failed { errno: None, message }, _)) => {
                Err(io::Error::other(message))
            }
            Ok(Received::Message(answer, beside)) => Ok((answer, beside)),
            Ok(Received::Unknown(_)) => Err(strange()),
            Ok(Received::End) => Err(gone()),
            Err(error) => Err(lost(error)),
        }
    }

    fn send(&mut self, request: &Request, beside: &[BorrowedFd<'_>]) -> io::Result<()> {
        wire::send(&self.socket, request, beside, SendFlags::empty()).map_err(lost)
    }
}

/// A pair of sockets for an agent and its holder.
fn sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Texts for one variable-length list of the kernel, each with a NUL behind it.
fn list<'a, const N: usize>(items: impl Iterator<Item = [&'a OsStr; N]>) -> io::Result<Bytes> {
    let mut list = Vec::new();
    for part in items {
        for text in part {
            if text.as_bytes().contains(&0) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "an argument or a variable contains a NUL",
                ));
            }
            list.extend_from_slice(text.as_bytes());
        }
        list.push(0);
    }
    Ok(list.into())
}

fn strange() -> io::Error {
    io::Error::other("the holder of this worker answered what nobody asked")
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the holder of this worker was killed")
}

fn lost(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => gone(),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
