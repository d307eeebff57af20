//! Processes as `/proc` shows them: who they are, whose children, and a signal that reaches none but them.

use std::collections::BTreeMap;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process. Its number may be given to another one after its end; the time of its start tells them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Its parent's.
    pub parent: i32,
    /// In ticks since the machine started.
    pub started: u64,
    /// The name of its program, cut by the kernel; it chose that itself.
    pub name: String,
    /// It has ended, and its parent has not looked yet.
    pub ended: bool,
}

impl Process {
    /// Looks at a process; none: there is none of this number.
    pub fn look(pid: Pid) -> Option<Process> {
        let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name may contain anything, brackets and spaces too: what follows begins after the last one.
        let (before, after) = stat.rsplit_once(')')?;
        let name = before.split_once('(')?.1.to_owned();
        let mut fields = after.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        // The 22nd field of the line, counted from 1.
        let started = fields.nth(17)?.parse().ok()?;
        Some(Process { pid, parent, started, name, ended })
    }

    /// Signals this process, and no other that has its number by now.
    pub fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let handle = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(()),
            other => other?,
        };
        // The handle holds the process of this moment: is it still the one that was looked at?
        if Process::look(self.pid).is_none_or(|now| now.started != self.started) {
            return Ok(());
        }
        match pidfd_send_signal(handle, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The environment that it was started with; empty at the moment of its exec, or if it hides it.
    pub fn environment(&self) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/environ", self.pid.as_raw_nonzero())).unwrap_or_default()
    }

    /// The value of a variable that it was started with.
    pub fn variable(&self, name: &str) -> Option<String> {
        let environment = self.environment();
        let mut lines = environment.split(|byte| *byte == 0);
        let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// Whether [`children`] knows the children of threads apart.
pub fn has_list(of: Pid) -> bool {
    listed(of).is_some()
}

/// The children of the first thread of a process: those that it adopted are among them.
pub fn children(of: Pid) -> Vec<Pid> {
    match listed(of) {
        Some(children) => children,
        // A kernel without that file (CONFIG_PROC_CHILDREN).
        None => {
            all().into_values().filter(|p| p.parent == of.as_raw_nonzero().get()).map(|p| p.pid).collect()
        }
    }
}

fn listed(of: Pid) -> Option<Vec<Pid>> {
    let of = of.as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).ok()?;
    Some(text.split_ascii_whitespace().filter_map(pid).collect())
}

/// All processes that one may look at.
pub fn all() -> BTreeMap<i32, Process> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let numbers = folder.filter_map(|entry| pid(entry.ok()?.file_name().to_str()?));
    numbers.filter_map(Process::look).map(|p| (p.pid.as_raw_nonzero().get(), p)).collect()
}

/// These processes, and all that descend from them.
pub fn with_descendants(roots: &[Process]) -> Vec<Process> {
    let everybody = all();
    let mut children: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in everybody.values() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found: Vec<Process> = roots.to_vec();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let below = children.remove(&process.pid.as_raw_nonzero().get()).unwrap_or_default();
        found.extend(below.into_iter().filter(|child| !roots.iter().any(|r| r.pid == child.pid)).cloned());
        next += 1;
    }
    found
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_with_its_parent_name_and_variables() {
        let mut child = std::process::Command::new("sleep").arg("1000").env("MARK", "m").spawn().unwrap();
        let pid = Pid::from_child(&child);
        // For a moment of its exec a process has no variables that others could read.
        let began = std::time::Instant::now();
        let process = loop {
            let process = Process::look(pid).unwrap();
            if process.variable("MARK").is_some() || began.elapsed().as_secs() > 30 {
                break process;
            }
            std::thread::yield_now();
        };
        assert_eq!((process.parent.cast_unsigned(), process.ended), (std::process::id(), false));
        assert_eq!(process.variable("MARK").as_deref(), Some("m"));
        assert_eq!(process.variable("MAR"), None);
        let own = Process::look(rustix::process::getpid()).unwrap();
        assert!(with_descendants(&[own]).contains(&process));
        let somebody_else = Process { started: process.started + 1, ..process.clone() };
        somebody_else.signal(Signal::KILL).unwrap();
        assert_eq!(child.try_wait().unwrap(), None, "a number alone is not enough");
        process.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
        assert_eq!(Process::look(pid).filter(|p| p.started == process.started), None);
    }
}
