//! What a holder has: the children of commands, and descriptors that are to outlive the agent. One request in, one
//! answer out; who carries them is `serve`'s to say.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process_group, setrlimit, waitpid,
};

use super::start::{Start, start};
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
    /// How many descriptors children may have, where this process may have more: programs rely on small numbers.
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
            Request::Disown { pid } => done(match self.children.remove(&pid) {
                Some(_) => Ok(()),
                None => Err(rustix::io::Errno::CHILD.into()),
            }),
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
        let missing = || io::Error::other("a descriptor of a child is missing");
        let mut beside = beside.into_iter();
        let directory = beside.next().ok_or_else(missing)?;
        let mut stream = |is_given: bool| match is_given {
            true => beside.next().ok_or_else(missing),
            false => Ok(File::options().read(true).write(true).open("/dev/null")?.into()),
        };
        let Order {
            command,
            child,
            program,
            argv,
            variables,
            streams: [input, output, errors],
            kept,
            reports,
        } = order;
        let program = CString::new(&program[..]).map_err(io::Error::other)?;
        let streams = [stream(input)?, stream(output)?, stream(errors)?];
        // Before the start: whoever finds the child finds them too.
        let kept = kept.into_iter().map(|name| (command.clone(), name));
        self.kept.extend(kept.zip(beside.by_ref()));
        let report = if reports { Some(beside.next().ok_or_else(missing)?) } else { None };
        let pid = start(&Start {
            program: &program,
            argv: &argv,
            variables: &variables,
            directory: directory.as_fd(),
            streams: streams.each_ref().map(AsFd::as_fd),
            limit: self.limit,
            report: report.as_ref().map(AsFd::as_fd),
        })?;
        let pid = pid.as_raw_nonzero().get();
        self.children.insert(pid, Child { command, child, pid, status: None });
        Ok(Answer::Spawned { pid })
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
