//! Programs that a step runs on the master. They lead process groups of their own and end with the step.

use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use windlass_core::value::{Completion, Failure, Origin, Pair, Value};
use windlass_runtime::port::StepEvent;

use super::{End, StepState};

/// The most programs of one step, in all and at once.
const MAX_PROCESSES: usize = 1_000;
const MAX_AT_ONCE: usize = 16;

/// Output that waits to be taken in, in pieces of at most 64 KiB.
const PIECES: usize = 16;
const PIECE: usize = 64 * 1024;

/// Between asking a program to end and ending it.
const GRACE: Duration = Duration::from_secs(5);

/// What a program sees of the master's environment.
const INHERITED: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

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

impl StepState {
    /// Starts a program: its number.
    pub(super) fn start_process(
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
        self.context.rights.check("master-process", program)?;
        if argv.iter().chain(env.iter().map(|(_, value)| value)).any(|text| self.names_secret(text)) {
            let message = "a program on the master gets no secrets: it can read them where the master does";
            return Err(Failure::new("denied", message));
        }
        let mut command = Command::new(program);
        command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().kill_on_drop(true);
        command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.as_std_mut().process_group(0);
        // A step runs on a thread of guests, which cannot wait for programs.
        let io = self.context.io.clone();
        let entered = io.enter();
        let child = command.spawn().map_err(|error| {
            Failure::new("spawn-failed", format!("`{program}` cannot be started: {error}"))
        })?;
        let number = u32::try_from(self.processes.logs.len()).expect("there are at most MAX_PROCESSES");
        let (stop, stopped) = watch::channel(false);
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        self.processes.logs.push(log.to_owned());
        self.processes.stops.push(stop);
        self.processes.running += 1;
        let tell = self.processes.tell.clone();
        drop(entered);
        self.processes.tasks.spawn_on(attend(number, Group::new(child), stopped, timeout, tell), &io);
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

/// A program with its whole process group, which ends with this.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    fn new(child: Child) -> Group {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Group { child, id }
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            // An error says that nobody of it is left.
            kill_process_group(id, signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once it was waited for, its number may be somebody else's.
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

/// Sees a program to its end.
async fn attend(
    number: u32,
    mut group: Group,
    mut stopped: watch::Receiver<bool>,
    timeout: Option<Duration>,
    tell: mpsc::Sender<Said>,
) {
    let (out, err) = (group.child.stdout.take(), group.child.stderr.take());
    let (to_out, to_err) = (tell.clone(), tell.clone());
    let output = async {
        tokio::join!(
            forward(number, Origin::Stdout, out, to_out),
            forward(number, Origin::Stderr, err, to_err)
        );
    };
    tokio::pin!(output);
    let mut late = false;
    let limit = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let asked = async {
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::pin!(limit, asked);
    let mut read = false;
    let status = loop {
        tokio::select! {
            status = group.child.wait() => break status,
            () = &mut output, if !read => read = true,
            () = &mut limit => {
                late = true;
                break end(&mut group).await;
            }
            () = &mut asked => break end(&mut group).await,
        }
    };
    if !read && tokio::time::timeout(GRACE, &mut output).await.is_err() {
        // What it left behind holds its output open, so its group is still there.
        group.signal(Signal::KILL);
        tracing::warn!(
            number,
            "a program on the master left others behind that hold its output; they are ended"
        );
    }
    // An error says that the step has ended.
    tell.send(Said::Ended(number, completion(status, late))).await.ok();
}

/// Asks the group to end, and ends it.
async fn end(group: &mut Group) -> std::io::Result<ExitStatus> {
    group.signal(Signal::TERM);
    match tokio::time::timeout(GRACE, group.child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            group.signal(Signal::KILL);
            group.child.wait().await
        }
    }
}

async fn forward(
    number: u32,
    origin: Origin,
    from: Option<impl AsyncRead + Unpin>,
    tell: mpsc::Sender<Said>,
) {
    let Some(mut from) = from else { return };
    let mut buffer = BytesMut::with_capacity(PIECE);
    loop {
        buffer.reserve(PIECE);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if tell.send(Said::Output(number, origin, buffer.split().freeze())).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn completion(status: std::io::Result<ExitStatus>, late: bool) -> End {
    use std::os::unix::process::ExitStatusExt as _;
    let status = status.map_err(|error| Failure::new("io", format!("its end cannot be had: {error}")))?;
    let mut values = Vec::new();
    if let Some(signal) = status.signal() {
        values.push(Pair { name: "signal".to_owned(), value: Value::Integer(signal.into()) });
    }
    if late {
        values.push(Pair { name: "timed-out".to_owned(), value: Value::Boolean(true) });
    }
    Ok(Completion { rc: status.code(), values })
}
