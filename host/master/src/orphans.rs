//! Programs that steps ran on a master that was killed: the next master of the same state ends them before anything
//! else.
//!
//! Each has a mark in its environment, and whoever it started has it too, unless it took it off: that one lives on, as it
//! does where a step ends. A master that such a program started has it, and is let alone with those that it comes from.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable that says whose they are.
pub(crate) const MARK: &str = "WINDLASS_PROGRAM_OF";

/// So often it is looked for those that were started while others were ended.
const ROUNDS: usize = 16;

/// How long one that was killed may take to end.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// So often it is looked at one that shows no variables, and what lies between. There are few such.
const LOOKS: usize = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// Its value: where the master keeps its state.
pub(crate) fn of(state: &Path) -> OsString {
    state.canonicalize().unwrap_or_else(|_| state.to_owned()).into()
}

/// Ends what a former master of this state left; how many that were. Blocks.
pub(crate) fn end(state: &Path) -> usize {
    let mut mark = MARK.as_bytes().to_vec();
    mark.push(b'=');
    mark.extend_from_slice(of(state).as_bytes());
    let own = line(i32::try_from(std::process::id()).unwrap_or_default());
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let found = marked(&mark, &own);
        if found == 0 {
            break;
        }
        ended += found;
    }
    ended
}

/// A process and those that it comes from.
fn line(of: i32) -> Vec<i32> {
    let parent = |of: &i32| parent(*of).filter(|parent| *parent > 0);
    std::iter::successors(Some(of), parent).collect()
}

fn parent(of: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{of}/stat")).ok()?;
    // Behind the name, which may be anything: the state and the parent.
    let (_, rest) =
        std::str::from_utf8(&stat[stat.iter().rposition(|byte| *byte == b')')?..]).ok()?.split_once(' ')?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// Kills every process that has the mark, but for its `own`; how many.
fn marked(mark: &[u8], own: &[i32]) -> usize {
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let others = numbers.filter(|number| !own.contains(number));
    others.filter_map(Pid::from_raw).filter(|pid| kill(*pid, mark)).count()
}

/// Kills a process if it has the mark, and waits until it has ended. It is held meanwhile, so that its number means nobody
/// else.
fn kill(pid: Pid, mark: &[u8]) -> bool {
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let is_marked = variables(pid).split(|byte| *byte == 0).any(|variable| variable == mark);
    if !is_marked || pidfd_send_signal(&held, Signal::KILL).is_err() {
        return false;
    }
    // One that the kernel holds is not waited for.
    let _ended = poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&PATIENCE));
    true
}

/// What a process was started with. Of one that is dead, or another user's, nothing can be read; of one that is just
/// becoming another program, nothing yet.
fn variables(pid: Pid) -> Vec<u8> {
    let file = |name: &str| std::fs::read(format!("/proc/{}/{name}", pid.as_raw_nonzero()));
    for _ in 0..LOOKS {
        // Without memory it has ended, or it is a thread of the kernel.
        match (file("environ"), file("statm")) {
            (Ok(variables), Ok(memory)) if variables.is_empty() && !memory.starts_with(b"0 ") => {
                std::thread::sleep(PAUSE);
            }
            (variables, _) => return variables.unwrap_or_default(),
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Symptom: now and then this test failed, and one of the programs lived on. Cause: a process that is just becoming
    /// another program shows no variables, and one that was killed is there for another moment. Cure: it is looked at
    /// again, and waited for.
    #[test]
    fn what_has_the_mark_of_a_state_ends_with_its_children_and_others_live() {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let start = |state: &Path| {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 600 & wait"]).env(MARK, of(state)).stdout(Stdio::null());
            command.spawn().unwrap()
        };
        let (mut mine, mut theirs) = (start(ours.path()), start(other.path()));
        assert!(end(ours.path()) >= 1);
        assert!(!mine.wait().unwrap().success());
        assert!(theirs.try_wait().unwrap().is_none());
        assert_eq!(end(ours.path()), 0);
        end(other.path());
        theirs.wait().unwrap();
    }

    /// Symptom: a master that a step's program had started killed itself at each start. Cause: it has the mark of that
    /// program. Cure: its own line is let alone.
    #[test]
    fn a_process_with_the_mark_is_let_alone_where_a_master_comes_from_it() {
        let state = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        let mut child = command.arg("600").env(MARK, of(state.path())).spawn().unwrap();
        let line = line(child.id().try_into().unwrap());
        assert_eq!(line[1], i32::try_from(std::process::id()).unwrap());
        let mark = [MARK.as_bytes(), b"=", of(state.path()).as_bytes()].concat();
        assert_eq!(marked(&mark, &line), 0);
        assert!(child.try_wait().unwrap().is_none());
        assert!(marked(&mark, &[]) >= 1);
        child.wait().unwrap();
    }
}
