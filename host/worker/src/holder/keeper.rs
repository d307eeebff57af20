//! What a holder has: the children of commands, and descriptors that are to outlive the agent. One request in, one
//! answer out; who carries them is `serve`'s to say.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process_group, setrlimit, waitpid,
};

use super::wire::{Answer, Child, MAX_DESCRIPTORS, Order, Request, VERSION};

/// Children and descriptors.
#[derive(Debug, Default)]
pub struct Keeper {
    /// Those that were not reaped, by number.
    children: BTreeMap<i32, Child>,
    /// Those that were reaped, of commands that are not forgotten.
    buried: Vec<Child>,
    /// By command and name.
    kept: BTreeMap<(String, String), OwnedFd>,
    /// The agent itself: the holder's own to reap.
    pub agent: Option<Pid>,
    /// How many descriptors children may have, where this process may have more.
    limit: Option<Rlimit>,
}

/// An answer, and which of what is kept goes beside it.
type Answered<'a> = (Answer, Vec<BorrowedFd<'a>>);

impl Keeper {
    /// One that this process is for: it may have as many descriptors as the system lets it.
    pub fn alone() -> Keeper {
        let limit = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        Keeper { limit: raised.is_ok().then_some(limit), ..Keeper::default() }
    }

    /// For people: what it has.
    pub fn census(&self) -> String {
        format!("{} processes of commands are kept, and {} descriptors", self.children.len(), self.kept.len())
    }

    /// Whether there are children that were not reaped.
    pub fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// Does what is asked. None: no answer is awaited.
    pub fn answer(&mut self, request: Request, beside: Vec<OwnedFd>) -> Option<Answered<'_>> {
        let done = |result: io::Result<()>| result.map(|()| Answer::Done);
        let answer = match request {
            Request::Hello { version: _ } => Ok(Answer::Welcome {
                version: VERSION,
                pid: rustix::process::getpid().as_raw_nonzero().get(),
            }),
            Request::Spawn(order) => self.spawn(order, beside),
            Request::Children => {
                Ok(Answer::Children(self.children.values().chain(&self.buried).cloned().collect()))
            }
            Request::Reap { pid } => self.reap(pid),
            Request::ReapOrphan { pid } => done(self.reap_orphan(pid)),
            Request::Keep { command, name } => done(match beside.into_iter().next() {
                Some(descriptor) => {
                    self.kept.insert((command, name), descriptor);
                    Ok(())
                }
                None => Err(io::Error::other("there is no descriptor beside the request to keep one")),
            }),
            Request::Kept { from } => {
                let page = self.kept.iter().skip(from).take(MAX_DESCRIPTORS);
                let (names, beside): (Vec<_>, Vec<_>) =
                    page.map(|(name, kept)| (name.clone(), kept.as_fd())).unzip();
                let more = from.saturating_add(names.len()) < self.kept.len();
                return Some((Answer::Kept { names, more }, beside));
            }
            Request::Forget { command, prefix } => {
                self.kept.retain(|(of, name), _| *of != command || !name.starts_with(&prefix));
                let one: Option<u32> = prefix.strip_suffix('.').and_then(|child| child.parse().ok());
                // What is said of all of them, or of this one.
                self.buried.retain(|child| {
                    child.command != command || !(prefix.is_empty() || one == Some(child.child))
                });
                return None;
            }
        };
        Some((answer.unwrap_or_else(|error| failed(&error)), Vec::new()))
    }

    /// Ends every child, with its group.
    pub fn kill_all(&self) {
        for number in self.children.keys() {
            if let Some(pid) = Pid::from_raw(*number) {
                // Gone is as well.
                let _gone = kill_process_group(pid, Signal::KILL);
            }
        }
    }

    fn spawn(&mut self, order: Order, beside: Vec<OwnedFd>) -> io::Result<Answer> {
        let mut beside = beside.into_iter();
        let directory = beside.next().ok_or_else(|| io::Error::other("a child without a directory"))?;
        let mut stream = |is_given: bool| match is_given {
            true => beside.next().map(Stdio::from).ok_or_else(|| io::Error::other("a stream is missing")),
            false => Ok(Stdio::null()),
        };
        let Order { command: of, child, program, argv, variables, streams, kept } = order;
        let mut arguments = split(&argv);
        let mut command = Command::new(OsStr::from_bytes(&program));
        command.arg0(arguments.next().unwrap_or_default());
        command.args(arguments).env_clear().process_group(0);
        command.envs(split(&variables).map(variable));
        command.stdin(stream(streams[0])?).stdout(stream(streams[1])?).stderr(stream(streams[2])?);
        // Before the start: whoever finds the child finds them too.
        self.kept.extend(kept.into_iter().zip(beside).map(|(name, kept)| ((of.clone(), name), kept)));
        // The very directory that was checked, whatever its name leads to by now.
        command.current_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let started = self.limited(|| command.spawn())?;
        let pid = Pid::from_child(&started).as_raw_nonzero().get();
        self.children.insert(pid, Child { command: of, child, pid, status: None });
        Ok(Answer::Spawned { pid })
    }

    /// Children get the limit that this process was started with: programs rely on small numbers.
    fn limited<T>(&self, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(limit) = self.limit else { return spawn() };
        let set = |limit| setrlimit(Resource::Nofile, limit);
        set(limit)?;
        let spawned = spawn();
        let raised = set(Rlimit { current: limit.maximum, ..limit });
        raised.unwrap_or_else(|error| tracing::warn!(%error, "failed to raise the limit of descriptors"));
        spawned
    }

    fn reap(&mut self, number: i32) -> io::Result<Answer> {
        if !self.children.contains_key(&number) {
            return Err(rustix::io::Errno::CHILD.into());
        }
        match wait_for(number)? {
            Some(status) => {
                let buried = self.children.remove(&number);
                self.buried.extend(buried.map(|child| Child { status: Some(status), ..child }));
                Ok(Answer::Reaped { status })
            }
            None => Err(rustix::io::Errno::AGAIN.into()),
        }
    }

    fn reap_orphan(&self, number: i32) -> io::Result<()> {
        let is_agent = self.agent.is_some_and(|agent| agent.as_raw_nonzero().get() == number);
        if is_agent || self.children.contains_key(&number) {
            return Err(io::Error::other(format!("process {number} is no orphan")));
        }
        wait_for(number).map(drop)
    }
}

/// The end of a process as `wait` has it, if it has ended.
fn wait_for(number: i32) -> io::Result<Option<i32>> {
    let pid = Pid::from_raw(number).filter(|_| number > 0).ok_or(rustix::io::Errno::INVAL)?;
    Ok(waitpid(Some(pid), WaitOptions::NOHANG)?.map(|(_, status)| status.as_raw()))
}

/// The answer to what went wrong.
pub fn failed(error: &io::Error) -> Answer {
    Answer::Failed { errno: error.raw_os_error(), message: error.to_string() }
}

fn split(list: &[u8]) -> impl Iterator<Item = &OsStr> {
    let whole = list.strip_suffix(b"\0");
    whole.into_iter().flat_map(|list| list.split(|byte| *byte == 0)).map(OsStr::from_bytes)
}

/// The name ends at the first `=` that is not its first byte.
fn variable(text: &OsStr) -> (&OsStr, &OsStr) {
    let bytes = text.as_bytes();
    let end = bytes.iter().skip(1).position(|byte| *byte == b'=').map_or(bytes.len(), |at| at + 1);
    (OsStr::from_bytes(&bytes[..end]), OsStr::from_bytes(bytes.get(end + 1..).unwrap_or_default()))
}
