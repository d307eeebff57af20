//! The process group that a child leads: signalled while the child is not reaped, and never after,
//! since its number may belong to somebody else then.

use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpriority_pgrp, kill_process_group, setpriority_pgrp};

use crate::machine::Machine;

/// A process group, as long as its leader is ours to reap.
#[derive(Debug)]
pub struct Group {
    machine: Arc<Machine>,
    leader: Pid,
    reaped: Mutex<bool>,
}

impl Group {
    /// The group of a child that was started as the leader of one, by `machine`'s list of orphans.
    pub fn of(child: &Child, machine: Arc<Machine>) -> Group {
        Group { machine, leader: Pid::from_child(child), reaped: Mutex::new(false) }
    }

    /// The child's process id.
    pub fn leader(&self) -> Pid {
        self.leader
    }

    /// Signals every process of the group. One that is gone is no error.
    pub fn signal(&self, signal: Signal) {
        let reaped = self.reaped.lock().expect("nobody panics while holding the lock of a group");
        if !*reaped {
            self.send(signal);
        }
    }

    /// Lowers the priority of every process of the group, and of all that they start from now on. One that gives
    /// way more already stays as it is, and so do the others with it.
    pub fn give_way(&self, nice: i32) {
        let reaped = self.reaped.lock().expect("nobody panics while holding the lock of a group");
        if *reaped || getpriority_pgrp(Some(self.leader)).is_ok_and(|now| now >= nice) {
            return;
        }
        match setpriority_pgrp(Some(self.leader), nice) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => {
                tracing::debug!(leader = ?self.leader, %error, "a process group keeps its priority")
            }
        }
    }

    /// Kills what is left of the group, then reaps the leader. Blocks until the leader has ended.
    pub fn reap(&self, child: &mut Child) -> std::io::Result<ExitStatus> {
        let mut reaped = self.reaped.lock().expect("nobody panics while holding the lock of a group");
        if !*reaped {
            self.send(Signal::KILL);
        }
        let status = child.wait()?;
        *reaped = true;
        self.machine.orphans.reaped(self.leader);
        Ok(status)
    }

    fn send(&self, signal: Signal) {
        match kill_process_group(self.leader, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(leader = ?self.leader, %error, "failed to signal a process group"),
        }
    }
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

    #[test]
    fn a_group_that_gives_way_never_comes_back() {
        use std::os::unix::process::CommandExt;
        let orphans = crate::orphans::Orphans::new("a", false);
        let machine = Arc::new(Machine::new(Default::default(), "/nowhere".into(), orphans));
        let mut child =
            std::process::Command::new("sleep").arg("1000").process_group(0).spawn().expect("it starts");
        let group = Group::of(&child, machine);
        let nice = || getpriority_pgrp(Some(group.leader())).expect("it lives");
        group.give_way(12);
        let gave_way = nice();
        assert!(gave_way >= 12, "{gave_way}");
        group.give_way(10);
        assert_eq!(nice(), gave_way);
        group.reap(&mut child).expect("ours to wait for");
        group.give_way(19);
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
