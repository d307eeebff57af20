//! Programs that a step runs on the master. They lead process groups of their own, which end with the step at the
//! latest.
//!
//! - `program`: which file a name stands for, and what its environment is
//! - `attend`: one program, from its start to the end of its group

mod attend;
mod program;

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use windlass_core::value::{Failure, Origin};
use windlass_runtime::port::StepEvent;

use self::attend::{Attended, attend};
use super::{End, StepState};
use crate::orphans;

/// The most programs of one step, in all and at once.
const MAX_PROCESSES: usize = 1_000;
const MAX_AT_ONCE: usize = 16;

/// Pieces of output that wait to be taken in.
const PIECES: usize = 16;

/// Between asking a program to end and ending it.
const GRACE: Duration = Duration::from_secs(5);

/// What a step may use, and which programs. `*` in its scope: any, with any environment.
const MASTER_PROCESS: &str = "master-process";

/// The programs of one run of a step.
pub(super) struct Processes {
    logs: Vec<String>,
    stops: Vec<watch::Sender<bool>>,
    running: usize,
    tell: mpsc::Sender<Said>,
    said: mpsc::Receiver<Said>,
    /// Aborted with the step, which kills what still runs.
    tasks: JoinSet<()>,
}

/// What came of a program.
pub(super) enum Said {
    Output(u32, Origin, Bytes),
    Ended(u32, End),
}

impl Default for Processes {
    fn default() -> Processes {
        let (tell, said) = mpsc::channel(PIECES);
        Processes { logs: Vec::new(), stops: Vec::new(), running: 0, tell, said, tasks: JoinSet::new() }
    }
}

impl Processes {
    /// Resolves when a program said something or ended. Safe to drop while it waits.
    pub(super) async fn said(&mut self) -> Said {
        match self.said.recv().await {
            Some(said) => said,
            // We hold a sender ourselves.
            None => std::future::pending().await,
        }
    }
}

impl Processes {
    /// The step started it before the master's restart.
    pub(super) fn started_before(&mut self, started: &Result<u32, Failure>, log: &str) {
        if started.is_ok() {
            self.logs.push(log.to_owned());
            self.stops.push(watch::channel(false).0);
            self.running += 1;
        }
    }

    /// And heard of its end: who did not is not taken up.
    pub(super) fn ended_before(&mut self) {
        self.running -= 1;
    }
}

impl StepState {
    /// Starts a program: its number. What the step said before is durable by then, and that it is started.
    pub(super) async fn start_process(
        &mut self,
        argv: &[String],
        env: &[(String, String)],
        timeout_ms: Option<u32>,
        log: &str,
    ) -> Result<u32, Failure> {
        let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
            return Err(Failure::new("bad-argument", "there is no program to start"));
        };
        if self.processes.logs.len() >= MAX_PROCESSES || self.processes.running >= MAX_AT_ONCE {
            let message =
                format!("a step may start {MAX_PROCESSES} programs on the master, {MAX_AT_ONCE} at once");
            return Err(Failure::new("quota", message));
        }
        self.context.rights.check(MASTER_PROCESS, program)?;
        if argv.iter().chain(env.iter().map(|(_, value)| value)).any(|text| self.names_secret(text)) {
            let message = "a program on the master gets no secrets: it can read them where the master does";
            return Err(Failure::new("denied", message));
        }
        let any = self.context.rights.covers_all(MASTER_PROCESS);
        let file =
            if any { program.into() } else { program::granted(program, env, self.context.store.folder())? };
        self.journal.once(format!("it started `{program}` on the master"));
        self.before_effects().await?;
        let mut command = Command::new(file);
        command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().kill_on_drop(true);
        command.envs(program::inherited());
        command.envs(env.iter().map(|(name, value)| (name, value)));
        // Last, so that no step takes it off: whoever has it ends with the next start at the latest.
        command.env(orphans::MARK, orphans::of(self.context.store.folder()));
        command.as_std_mut().process_group(0);
        // A step runs on a thread of guests, which cannot wait for programs.
        let io = self.context.io.clone();
        let entered = io.enter();
        let attended = Attended::spawn(&mut command, GRACE).map_err(|error| {
            Failure::new("spawn-failed", format!("`{program}` cannot be started: {error}"))
        })?;
        drop(entered);
        let number = u32::try_from(self.processes.logs.len()).expect("there are at most MAX_PROCESSES");
        let (stop, stopped) = watch::channel(false);
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        self.processes.logs.push(log.to_owned());
        self.processes.stops.push(stop);
        self.processes.running += 1;
        let tell = self.processes.tell.clone();
        self.processes.tasks.spawn_on(attend(number, attended, stopped, timeout, tell), &io);
        Ok(number)
    }

    /// Stops a program. One that has ended is no error.
    pub(super) fn stop_process(&mut self, process: u32) -> Result<(), Failure> {
        match self.processes.stops.get(process as usize) {
            Some(stop) => {
                stop.send_replace(true);
                Ok(())
            }
            None => Err(Failure::new("not-found", format!("this step has started no program {process}"))),
        }
    }

    /// Takes in what a program said.
    pub(super) fn on_process(&mut self, said: Said) {
        match said {
            Said::Output(process, origin, data) => {
                let log = self.processes.logs[process as usize].clone();
                if let Err(failure) = self.append(&log, origin, data) {
                    tracing::warn!(build = %self.context.build.id, %failure, "output of a program was dropped");
                }
            }
            Said::Ended(process, how) => {
                self.processes.running -= 1;
                self.queue(StepEvent::ProcessDone { process, how });
            }
        }
    }
}
