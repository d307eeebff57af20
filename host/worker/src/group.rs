//! The process group that a child leads: signalled while the child is not reaped, and never after,
//! since its number may belong to somebody else then.

use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Signal, getpriority_pgrp, getpriority_process, getrlimit, kill_process_group,
    pidfd_open, setpriority_pgrp, setpriority_process,
};
use rustix::thread::{CapabilitySet, capabilities};
use tokio::runtime::Handle;

use crate::machine::Machine;

/// A process group, as long as its leader is ours to reap.
#[derive(Debug)]
pub struct Group {
    machine: Arc<Machine>,
    leader: Pid,
    /// The leader itself, whoever has its number. None: it cannot be had.
    process: Option<OwnedFd>,
    reaped: Mutex<bool>,
}

impl Group {
    /// The group of a child that `machine`'s holder started as the leader of one.
    pub fn of(leader: Pid, machine: Arc<Machine>) -> Group {
        let process = pidfd_open(leader, PidfdFlags::NONBLOCK).ok();
        Group { machine, leader, process, reaped: Mutex::new(false) }
    }

    /// The group of a child that was reaped: there is nobody to signal.
    pub fn buried(machine: Arc<Machine>) -> Group {
        Group { machine, leader: Pid::INIT, process: None, reaped: Mutex::new(true) }
    }

    /// The worker's own: see [`Machine`].
    pub fn runtime(&self) -> Option<&Handle> {
        self.machine.runtime.as_ref()
    }

    /// The child's process id.
    pub fn leader(&self) -> Pid {
        self.leader
    }

    /// Readable once the leader has ended; it is not reaped by that.
    pub fn end_of_leader(&self) -> std::io::Result<OwnedFd> {
        match &self.process {
            Some(process) => process.try_clone(),
            None => Ok(pidfd_open(self.leader, PidfdFlags::NONBLOCK)?),
        }
    }

    /// Signals every process of the group. One that is gone is no error.
    pub fn signal(&self, signal: Signal) {
        let reaped = self.lock();
        if !*reaped {
            self.send(signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().expect("nobody panics while holding the lock of a group")
    }

    /// Lowers the priority of every process of the group, and of all that they start from now on. One that gives
    /// way more already stays as it is. Looks at each process of the machine, if it must: not where others wait.
    pub fn give_way(&self, nice: i32) {
        let is_done = |reaped: &bool| {
            // The least nice of them; where that is nice enough, there is nobody to look for.
            *reaped || getpriority_pgrp(Some(self.leader)).is_ok_and(|now| now >= nice)
        };
        if is_done(&self.lock()) {
            return;
        }
        // Who may not make a process less nice cannot hit one that gives way more. Found before the lock is taken:
        // who signals the group waits for nobody.
        let members = if may_raise() { self.members() } else { Vec::new() };
        let reaped = self.lock();
        if is_done(&reaped) {
            return;
        }
        let gives_way = |member: &Pid| getpriority_process(Some(*member)).is_ok_and(|now| now >= nice);
        let lowered = if members.iter().any(gives_way) {
            // The call for the whole group would make these less nice. A number may be another's by now.
            let others = members.into_iter().filter(|member| !gives_way(member));
            let others = others.filter(|member| group_of(*member) == Some(self.leader));
            let failed: Vec<Errno> =
                others.filter_map(|member| setpriority_process(Some(member), nice).err()).collect();
            failed.last().map_or(Ok(()), |error| Err(*error))
        } else {
            setpriority_pgrp(Some(self.leader), nice)
        };
        drop(reaped);
        match lowered {
            // Denied for those that give way more: that is what is wanted.
            Ok(()) | Err(Errno::SRCH | Errno::ACCESS | Errno::PERM) => {}
            Err(error) => {
                tracing::debug!(leader = ?self.leader, %error, "a process group keeps its priority")
            }
        }
    }

    /// The processes of the group.
    fn members(&self) -> Vec<Pid> {
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        let number = |entry: std::io::Result<std::fs::DirEntry>| {
            Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?)
        };
        processes.filter_map(number).filter(|pid| group_of(*pid) == Some(self.leader)).collect()
    }

    /// Kills what is left of the group, then reaps the leader. Blocks until the leader has ended, for so long at most:
    /// [`std::io::ErrorKind::WouldBlock`] if it has not.
    pub fn reap(&self, patience: Duration) -> std::io::Result<ExitStatus> {
        let mut reaped = self.lock();
        if !*reaped {
            self.send(Signal::KILL);
        }
        let status = match self.machine.holder.reap(self.leader) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let ended = self.end_of_leader()?;
                let patience = Timespec::try_from(patience).ok();
                rustix::io::retry_on_intr(|| {
                    poll(&mut [PollFd::new(&ended, PollFlags::IN)], patience.as_ref())
                })?;
                self.machine.holder.reap(self.leader)?
            }
            other => other?,
        };
        *reaped = true;
        Ok(status)
    }

    /// Waits no longer for a leader that was killed and does not end: it is an orphan from now on.
    pub fn disown(&self) {
        let mut reaped = self.lock();
        if !std::mem::replace(&mut *reaped, true)
            && let Err(error) = self.machine.holder.disown(self.leader)
        {
            tracing::warn!(leader = ?self.leader, %error, "failed to disown a child that does not end");
        }
    }

    /// Reaps a leader that was disowned and has ended after all. Whoever looks for orphans may have seen it first.
    pub fn reap_disowned(&self) {
        self.machine.holder.reap_orphan(self.leader).ok();
    }

    fn has_ended(&self) -> bool {
        let Some(process) = &self.process else { return true };
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        !matches!(poll(&mut ended, Some(&Timespec::default())), Ok(0))
    }

    /// For tests: no signal reaches it, as if the kernel held it.
    #[cfg(test)]
    pub fn hold(&self) {
        *self.lock() = true;
    }

    fn send(&self, signal: Signal) {
        // Without its parent, a leader that has ended is buried at once, and its number is anybody's.
        if !self.machine.holder.lives() && self.has_ended() {
            return;
        }
        match kill_process_group(self.leader, signal) {
            Ok(()) => {}
            // On its way from the group that it was started in to a session of its own.
            Err(Errno::SRCH) => {
                let _ended = rustix::process::kill_process(self.leader, signal);
            }
            Err(error) => tracing::warn!(leader = ?self.leader, %error, "failed to signal a process group"),
        }
    }
}

/// Whether this process may make others less nice. One that cannot tell may.
fn may_raise() -> bool {
    let limited = getrlimit(Resource::Nice).current == Some(0);
    !limited || capabilities(None).map_or(true, |sets| sets.effective.contains(CapabilitySet::SYS_NICE))
}

/// The group of a process; none: it is gone, or it is a thread of the kernel, which has none.
fn group_of(process: Pid) -> Option<Pid> {
    let stat = std::fs::read(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The 5th field, counted from 1; the name before it may contain anything.
    let group = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(2)?;
    // One that is just ending has -1.
    Pid::from_raw(group.parse().ok().filter(|group| *group > 0)?)
}

/// The signal of this name, with or without `SIG`.
pub fn signal_named(name: &str) -> Option<Signal> {
    NAMES.iter().find(|(n, _)| *n == name || n.strip_prefix("SIG") == Some(name)).map(|(_, signal)| *signal)
}

/// The name of a signal: `SIGSEGV`.
pub fn name_of(number: i32) -> String {
    let known = NAMES.iter().find(|(_, signal)| signal.as_raw() == number);
    known.map_or_else(|| format!("signal {number}"), |(name, _)| (*name).to_owned())
}

const NAMES: &[(&str, Signal)] = &[
    ("SIGHUP", Signal::HUP),
    ("SIGINT", Signal::INT),
    ("SIGQUIT", Signal::QUIT),
    ("SIGILL", Signal::ILL),
    ("SIGTRAP", Signal::TRAP),
    ("SIGABRT", Signal::ABORT),
    ("SIGBUS", Signal::BUS),
    ("SIGFPE", Signal::FPE),
    ("SIGKILL", Signal::KILL),
    ("SIGUSR1", Signal::USR1),
    ("SIGSEGV", Signal::SEGV),
    ("SIGUSR2", Signal::USR2),
    ("SIGPIPE", Signal::PIPE),
    ("SIGALRM", Signal::ALARM),
    ("SIGTERM", Signal::TERM),
    ("SIGXCPU", Signal::XCPU),
    ("SIGXFSZ", Signal::XFSZ),
    ("SIGSYS", Signal::SYS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::{Holder, Spawn};
    use std::os::fd::AsFd;

    /// The group of a shell that runs a script.
    fn group(script: &str) -> Group {
        let holder = Arc::new(Holder::local().expect("a thread"));
        let orphans = crate::orphans::Orphans::new("a", false, Arc::clone(&holder));
        let machine = Arc::new(Machine::new(Default::default(), "/nowhere".into(), orphans));
        let root = std::fs::File::open("/").expect("it is there");
        let path = std::env::var_os("PATH").expect("tests have one");
        let spawn = Spawn {
            command: "c0",
            child: 0,
            program: "/bin/sh".as_ref(),
            argv: &["sh", "-c", script].map(str::to_owned),
            variables: &[("PATH".into(), path)].into(),
            directory: root.as_fd(),
            stdin: None,
            stdout: None,
            stderr: None,
            keep: &[],
            report: None,
        };
        Group::of(holder.spawn(&spawn).expect("it starts"), machine)
    }

    #[test]
    fn a_group_that_gives_way_never_comes_back() {
        let group = group("exec sleep 1000");
        let nice = || getpriority_pgrp(Some(group.leader())).expect("it lives");
        group.give_way(12);
        let gave_way = nice();
        assert!(gave_way >= 12, "{gave_way}");
        group.give_way(10);
        assert_eq!(nice(), gave_way);
        group.reap(Duration::from_secs(60)).expect("ours to wait for");
        group.give_way(19);
    }

    /// Symptom: `nice -n 19 make` ran with nice 10 after a second, where the worker was root. Cause: the least nice of
    /// the group was looked at, and all were set. Cure: only those are set that give way less.
    #[test]
    fn whoever_gives_way_more_keeps_doing_so_when_its_group_gives_way() {
        let group = group("nice -n 19 sleep 1000 & exec sleep 1000");
        let nice = |pid: Pid| getpriority_process(Some(pid)).unwrap_or_default();
        let began = std::time::Instant::now();
        let nicer = loop {
            if let Some(nicer) = group.members().into_iter().find(|member| nice(*member) == 19) {
                break nicer;
            }
            assert!(began.elapsed() < std::time::Duration::from_secs(30), "it has a nicer child");
            std::thread::yield_now();
        };
        group.give_way(10);
        assert!(nice(group.leader()) >= 10);
        assert_eq!(nice(nicer), 19);
        group.reap(Duration::from_secs(60)).expect("ours to wait for");
    }

    #[test]
    fn signals_have_names_both_ways() {
        assert_eq!(signal_named("TERM"), Some(Signal::TERM));
        assert_eq!(signal_named("SIGINT"), Some(Signal::INT));
        assert_eq!(signal_named("SIGNONSENSE"), None);
        assert_eq!(name_of(11), "SIGSEGV");
        assert_eq!(name_of(64), "signal 64");
    }
}
