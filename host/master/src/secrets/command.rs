//! Values that a program of the operators' prints: `pass show ci/token`, `vault kv get …`.
//!
//! It runs as the master, without a shell, without input, and with a time limit; what it says on its standard
//! error is nobody's to read, since it may be the value. A value is kept in memory for a while: a build asks for
//! it with each of its commands.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use windlass_core::secret::MAX_VALUE;
use windlass_protocol::message::SecretValue;

/// How long a value is used before the program is asked again.
const KEPT: Duration = Duration::from_secs(60);

/// How often an end is looked for of a program that has closed its output.
const LOOK: Duration = Duration::from_millis(5);

/// How long at least a failure stands for those who ask, too; and as long as it took to come. So a program that hangs
/// takes no more than half of anybody's time.
const FAILED: Duration = Duration::from_secs(5);

/// Why a program gave no value. Never holds what it said.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("`{program}` cannot be started: {error}")]
    Start { program: String, error: Arc<std::io::Error> },
    #[error("`{program}` did not end within {} s", timeout.as_secs_f64())]
    Late { program: String, timeout: Duration },
    #[error("`{program}` ended with {status}")]
    Status { program: String, status: std::process::ExitStatus },
    #[error("what `{program}` says cannot be read: {error}")]
    Read { program: String, error: Arc<std::io::Error> },
}

/// What came of the last run, and until when that stands. Locked by whoever runs the program: all others wait for that
/// run.
type Kept = Arc<Mutex<Option<(Result<SecretValue, Failed>, Instant)>>>;

/// By what was run.
static VALUES: Mutex<BTreeMap<Vec<String>, Kept>> = Mutex::new(BTreeMap::new());

/// The value that a program printed a little while ago, or prints now; or why it printed none. A failure of a little
/// while ago counts if it `stands`: not for a person who has mended something. Blocks.
pub(super) fn value(argv: &[String], timeout: Duration, stands: bool) -> Result<Vec<u8>, Failed> {
    let kept = {
        let mut values = VALUES.lock().unwrap_or_else(PoisonError::into_inner);
        // What no configuration names any more goes with its time. What is in use is not looked at: its lock may be
        // held for long.
        values.retain(|_, kept| Arc::strong_count(kept) > 1 || is_fresh(kept));
        Arc::clone(values.entry(argv.to_vec()).or_default())
    };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let told = |result: &Result<SecretValue, Failed>| match result {
        Ok(value) => Ok(value.0.to_vec()),
        Err(failed) => Err(failed.clone()),
    };
    let counts =
        |(result, until): &&(Result<_, _>, Instant)| (stands || result.is_ok()) && Instant::now() < *until;
    if let Some((result, _)) = kept.as_ref().filter(counts) {
        return told(result);
    }
    let began = Instant::now();
    let result = run(argv, timeout).map(|value| SecretValue(value.into()));
    let lasts = if result.is_ok() { KEPT } else { FAILED.max(began.elapsed()) };
    let (result, _) = kept.insert((result, Instant::now() + lasts));
    told(result)
}

fn is_fresh(kept: &Kept) -> bool {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.as_ref().is_some_and(|(_, until)| Instant::now() < *until)
}

/// The program as it is started.
pub(super) fn program(argv: &[String]) -> Command {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // Whatever it starts ends with it.
    command.process_group(0);
    super::take_out(&mut command);
    command
}

/// Runs a program to its end, and answers what it printed.
fn run(argv: &[String], timeout: Duration) -> Result<Vec<u8>, Failed> {
    let deadline = Instant::now() + timeout;
    let program = argv[0].clone();
    let child = self::program(argv)
        .spawn()
        .map_err(|error| Failed::Start { program: program.clone(), error: Arc::new(error) })?;
    let mut group = Group(child);
    let output = group.0.stdout.take().expect("it is a pipe");
    let (sender, read) = mpsc::sync_channel(1);
    // With room for an end of line, and for one byte that shows that it is too long. The thread ends with the
    // output, at the latest when the group is killed.
    std::thread::spawn(move || {
        let mut value = Vec::new();
        let end = output.take(MAX_VALUE as u64 + 3).read_to_end(&mut value);
        // Nobody may wait any more.
        sender.send(end.map(|_| value)).ok();
    });
    let late = || Failed::Late { program: program.clone(), timeout };
    let value = match read.recv_timeout(timeout) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => return Err(Failed::Read { program, error: Arc::new(error) }),
        Err(_) => return Err(late()),
    };
    loop {
        match group.0.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(value),
            Ok(Some(status)) => return Err(Failed::Status { program, status }),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Ok(None) => return Err(late()),
            Err(error) => return Err(Failed::Read { program, error: Arc::new(error) }),
        }
    }
}

/// A child with all that it starts in its group: none outlives this.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may be gone already, with all of its own.
            kill_process_group(group, Signal::KILL).ok();
        }
        self.0.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_value_is_what_a_program_prints() {
        let value = run(&sh("printf 'hunter2\\n'; echo noise >&2"), Duration::from_secs(60)).unwrap();
        assert_eq!(value, b"hunter2\n");
    }

    #[test]
    fn what_a_program_says_is_in_no_message() {
        let failed = run(&sh("echo hunter2; echo hunter2 >&2; exit 3"), Duration::from_secs(60)).unwrap_err();
        assert_eq!(failed.to_string(), "`sh` ended with exit status: 3");
        assert!(!format!("{failed:?}").contains("hunter2"));
        let failed = run(&["/nowhere/at-all".to_owned()], Duration::from_secs(60)).unwrap_err();
        assert!(failed.to_string().starts_with("`/nowhere/at-all` cannot be started"), "{failed}");
    }

    #[test]
    fn one_that_does_not_end_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        // The child of the child holds the output open.
        let script = format!("sleep 1000 & echo $! > '{}'; wait", pid.display());
        let failed = run(&sh(&script), Duration::from_secs(5)).unwrap_err();
        assert_eq!(failed.to_string(), "`sh` did not end within 5 s");
        let pid = std::fs::read_to_string(pid).unwrap();
        assert!(!pid.is_empty());
        let is_alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            // One that nobody has asked about yet is dead all the same.
            stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while is_alive() {
            assert!(Instant::now() < deadline, "it lives on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn too_much_is_read_as_far_as_it_shows_that_it_is_too_much() {
        let value = run(&sh("head -c 100000 /dev/zero"), Duration::from_secs(60));
        assert!(value.is_err() || value.is_ok_and(|value| value.len() == MAX_VALUE + 3));
    }

    /// Symptom: each command of each build waited a minute for a program that hung, one behind the other. Cause: only
    /// values were kept. Cure: a failure stands for those who wait, and for a while.
    #[test]
    fn a_program_that_fails_is_not_asked_again_by_all_who_wait_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let argv = sh(&format!("echo x >> '{}'; exit 3", count.display()));
        let ask = || value(&argv, Duration::from_secs(60), true).unwrap_err().to_string();
        std::thread::scope(|scope| {
            for asks in [0; 8].map(|_| scope.spawn(ask)) {
                assert_eq!(asks.join().unwrap(), "`sh` ended with exit status: 3");
            }
        });
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\n");
        value(&argv, Duration::from_secs(60), false).unwrap_err();
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\nx\n", "whoever has mended it hears of that");
    }

    #[test]
    fn a_program_is_not_asked_for_each_command_of_a_build() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let argv = sh(&format!("echo x >> '{0}'; cat '{0}' | wc -l; echo long", count.display()));
        let once = value(&argv, Duration::from_secs(60), true).unwrap();
        assert_eq!(value(&argv, Duration::from_secs(60), false).unwrap(), once);
        assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n");
    }
}
