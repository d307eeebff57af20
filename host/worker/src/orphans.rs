//! Processes that left the group of their command: they called `setsid`, or their parent ended before
//! them. The holder adopts them (`PR_SET_CHILD_SUBREAPER`), so that none outlives its command.
//!
//! Each child carries a mark in its environment; one that dropped it counts to every command that ran
//! when it was found, and ends with the last of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::environment::MARK;
use crate::holder::Holder;
use crate::proc::{self, Process};

/// How long a command's end tries to find and kill all that it left behind.
const MAX_TIME: Duration = Duration::from_secs(5);

/// Between two looks whether killed processes are gone, at least; and as a multiple of what a look takes: all that
/// there are may be hundreds, and nobody else is to feel that they are looked at.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_FOR_LOOK: u32 = 9;

/// How often to look again at an orphan that shows no environment, before it counts as unmarked.
const UNSURE: usize = 5;

/// Names in one report.
const MAX_NAMES: usize = 8;

/// Who is whose.
#[derive(Debug)]
pub struct Orphans {
    /// Begins the marks of this worker.
    worker: String,
    /// Whether the holder has nothing else to do, so that all it adopts came from commands.
    alone: bool,
    /// Whose children orphans are.
    holder: Arc<Holder>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Commands that run.
    running: BTreeSet<String>,
    /// Of orphans without a mark, by number and start: the commands that they may belong to.
    unmarked: BTreeMap<(i32, u64), BTreeSet<String>>,
}

/// What a command left behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Killed now, by number: the names of their programs.
    pub killed: BTreeMap<i32, String>,
    /// Not to be killed, by number: another user's, or stuck in the kernel.
    pub left: BTreeMap<i32, String>,
}

impl Orphans {
    /// For the worker that has this persistent name.
    pub fn new(instance: &str, alone: bool, holder: Arc<Holder>) -> Orphans {
        // Not the instance itself: builds see it.
        let worker = blake3::hash(format!("windlass worker {instance}").as_bytes()).to_hex()[..16].to_owned();
        // In a container the first process adopts whatever anybody started there. And without the kernel's
        // list of the first thread's children, those that this process started itself look the same.
        let alone = alone && holder.pid() != Pid::INIT && proc::has_list(holder.pid());
        Orphans { worker, alone, holder, inner: Mutex::default() }
    }

    /// Whose children they are.
    pub fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    /// What the environment of a command's children says.
    pub fn mark(&self, command: &str) -> String {
        format!("{}/{command}", self.worker)
    }

    /// A command begins.
    pub fn begin(&self, command: &str) {
        self.lock().running.insert(command.to_owned());
    }

    /// Looks at orphans while commands run: reaps those that ended, and remembers since when the others
    /// are there. Cheap where there are none.
    pub fn look(&self) {
        self.orphans_of(None);
    }

    /// Whether an orphan can't be told whose it is just now: it is about to become another program.
    fn is_unsure(&self) -> bool {
        let orphans = self.adopted().into_iter().filter_map(Process::look);
        orphans.filter(|p| !p.ended).any(|p| p.environment().is_empty())
    }

    /// The holder's children that nobody waits for.
    fn adopted(&self) -> Vec<Pid> {
        // Listed first: whoever is being started just now is known once the lock is free.
        let mut children = proc::children(self.holder.pid());
        children.retain(|pid| !self.holder.is_known(*pid));
        children
    }

    /// Whether a command has left something behind. Cheap where it has not.
    pub fn has_left(&self, command: &str) -> bool {
        if self.adopted().is_empty() {
            // The usual case, for the price of one look.
            self.lock().unmarked.clear();
            return false;
        }
        !self.orphans_of(Some(command)).is_empty() || self.is_unsure()
    }

    /// A command has ended: so does all that it left behind. Blocks, for [`MAX_TIME`] at most.
    pub fn end(&self, command: &str) -> Ended {
        for _ in 0..UNSURE {
            if !self.is_unsure() {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        let ended = end_all(|| self.orphans_of(Some(command)));
        self.forget(command);
        ended
    }

    /// A command has ended and has left nothing behind.
    pub fn forget(&self, command: &str) {
        let mut inner = self.lock();
        inner.running.remove(command);
        for owners in inner.unmarked.values_mut() {
            owners.remove(command);
        }
    }

    /// Ends what an earlier process of this worker left behind when it was killed. Blocks.
    pub fn end_leftovers(&self) -> Ended {
        let own = [rustix::process::getpid(), self.holder.pid()];
        let marked = |process: &Process| {
            let mark = process.variable(MARK);
            !own.contains(&process.pid) && mark.is_some_and(|mark| self.command_of(&mark).is_some())
        };
        end_all(|| proc::all().into_values().filter(|p| !p.ended && marked(p)).collect())
    }

    fn command_of<'a>(&self, mark: &'a str) -> Option<&'a str> {
        mark.strip_prefix(&self.worker)?.strip_prefix('/')
    }

    /// The orphans that end with a command. Those that have ended already are reaped.
    fn orphans_of(&self, command: Option<&str>) -> Vec<Process> {
        let mut inner = self.lock();
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for pid in self.adopted() {
            let Some(process) = Process::look(pid) else { continue };
            if process.ended {
                if self.alone {
                    // Gone already is as well.
                    self.holder.reap_orphan(pid).ok();
                }
                continue;
            }
            let mark = process.variable(MARK);
            let is_of_it = match mark.as_deref().and_then(|mark| self.command_of(mark)) {
                // A mark of nobody who runs is a lie, or of one that ended too late.
                Some(owner) if !self.alone || inner.running.contains(owner) => Some(owner) == command,
                Some(_) | None if self.alone => {
                    let key = (pid.as_raw_nonzero().get(), process.started);
                    seen.insert(key);
                    let Inner { unmarked, running, .. } = &mut *inner;
                    let owners = unmarked.entry(key).or_insert_with(|| running.clone());
                    owners.iter().all(|owner| Some(owner.as_str()) == command)
                }
                Some(_) | None => false,
            };
            if is_of_it {
                found.push(process);
            }
        }
        inner.unmarked.retain(|key, _| seen.contains(key));
        found
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while holding the list of orphans")
    }
}

/// Stops, then kills, what `find` finds with all its descendants, until it finds nothing any more: what
/// was stopped starts nothing new, and what a killed process leaves behind becomes an orphan in turn.
fn end_all(find: impl Fn() -> Vec<Process>) -> Ended {
    let mut ended = Ended::default();
    let deadline = Instant::now() + MAX_TIME;
    loop {
        let began = Instant::now();
        let known =
            |p: &Process, list: &BTreeMap<i32, String>| list.contains_key(&p.pid.as_raw_nonzero().get());
        let roots: Vec<Process> = find().into_iter().filter(|p| !known(p, &ended.left)).collect();
        if roots.is_empty() {
            return ended;
        }
        let mut all: BTreeMap<i32, Process> = BTreeMap::new();
        loop {
            let new = proc::with_descendants(&roots).into_iter().filter(|p| !p.ended);
            let new: Vec<Process> =
                new.filter(|p| !all.contains_key(&p.pid.as_raw_nonzero().get())).collect();
            if new.is_empty() || Instant::now() > deadline {
                break;
            }
            for process in new {
                let number = process.pid.as_raw_nonzero().get();
                match process.signal(Signal::STOP) {
                    Ok(()) => drop(all.insert(number, process)),
                    Err(error) => {
                        refused(&process, error);
                        ended.left.insert(number, process.name.clone());
                        all.insert(number, process);
                    }
                }
            }
        }
        for (number, process) in all {
            if ended.left.contains_key(&number) {
                continue;
            }
            match process.signal(Signal::KILL) {
                Ok(()) => drop(ended.killed.insert(number, process.name)),
                Err(error) => {
                    refused(&process, error);
                    ended.left.insert(number, process.name);
                }
            }
        }
        if Instant::now() > deadline {
            // Killed, but stuck in the kernel.
            ended.left.extend(find().into_iter().map(|p| (p.pid.as_raw_nonzero().get(), p.name)));
            return ended;
        }
        std::thread::sleep(PAUSE.max(began.elapsed() * PAUSE_FOR_LOOK));
    }
}

fn refused(process: &Process, error: Errno) {
    tracing::warn!(pid = ?process.pid, name = process.name, %error, "failed to kill what a command left behind");
}

impl Ended {
    /// For the log of the command: lines, or nothing.
    pub fn report(&self) -> String {
        let line = |what: &str, list: &BTreeMap<i32, String>| {
            let names = list.iter().take(MAX_NAMES).map(|(pid, name)| format!("{} ({pid})", tame(name)));
            let mut names = names.collect::<Vec<_>>().join(", ");
            if list.len() > MAX_NAMES {
                names = format!("{names} and {} more", list.len() - MAX_NAMES);
            }
            if list.is_empty() { String::new() } else { format!("{what}: {names}\n") }
        };
        line("processes that the command left behind were killed", &self.killed)
            + &line("processes that the command left behind can't be killed", &self.left)
    }
}

/// A name that a process gave itself, as it may stand in a log.
fn tame(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_killed_is_told_by_name_and_not_at_any_length() {
        let list = |n: i32| (1..=n).map(|pid| (pid, "sle\u{1b}ep".to_owned())).collect();
        assert_eq!(Ended::default().report(), "");
        let ended = Ended { killed: list(2), left: BTreeMap::new() };
        let text = "processes that the command left behind were killed: sle?ep (1), sle?ep (2)\n";
        assert_eq!(ended.report(), text);
        let ended = Ended { killed: BTreeMap::new(), left: list(20) };
        assert!(ended.report().ends_with("sle?ep (8) and 12 more\n"), "{}", ended.report());
    }

    #[test]
    fn marks_of_other_workers_are_not_ours() {
        let orphans = |instance| Orphans::new(instance, false, Arc::new(Holder::local().unwrap()));
        let (ours, theirs) = (orphans("a"), orphans("b"));
        assert_eq!(ours.command_of(&ours.mark("c1")), Some("c1"));
        assert_eq!(ours.command_of(&theirs.mark("c1")), None);
        assert!(!ours.mark("c1").contains("a/"), "the instance is not told");
    }
}
