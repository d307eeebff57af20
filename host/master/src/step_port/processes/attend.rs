//! One program on the master, from its start to the end of its process group.
//!
//! The program is not waited for (reaped) before its group has been killed: until then the group's number cannot be
//! anybody else's, so what the program left behind is reached, whether it holds the output or not.

use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::BytesMut;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use windlass_core::value::{Completion, Failure, Origin, Pair, Value};

use super::Said;
use crate::step_port::End;

/// Output is taken in pieces of at most so many bytes.
const PIECE: usize = 64 * 1024;

/// A program with its whole process group, which ends with this.
pub(super) struct Attended {
    child: Child,
    id: Pid,
    /// Readable once the program has ended; it is not reaped by that.
    exit: AsyncFd<OwnedFd>,
    grace: Duration,
}

impl Attended {
    /// Starts a program that leads a group of its own. So much time lies between asking it to end and ending it; and so
    /// long others may hold its output in silence when it has ended.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of other types; an OwnedFd keeps its promise"
    )]
    pub(super) fn spawn(command: &mut Command, grace: Duration) -> std::io::Result<Attended> {
        // Dropped on the way, the child is killed.
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id = id.ok_or_else(|| std::io::Error::other("it has no number"))?;
        let exit = AsyncFd::new(pidfd_open(id, PidfdFlags::NONBLOCK)?)?;
        Ok(Attended { child, id, exit, grace })
    }

    fn signal(&self, signal: Signal) {
        // An error says that nobody of it is left.
        kill_process_group(self.id, signal).ok();
    }

    /// Resolves once the program has ended.
    async fn ended(&self) {
        // The registration ends with the runtime only, and with that all of this.
        drop(self.exit.readable().await);
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        // Once it was waited for, its number may be somebody else's.
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

enum Happened {
    /// All output is read, or given up: others hold it.
    Read {
        held: bool,
    },
    Ended,
    Late,
    Asked,
    Kill,
}

/// Sees a program to its end.
pub(super) async fn attend(
    number: u32,
    mut program: Attended,
    mut stopped: watch::Receiver<bool>,
    timeout: Option<Duration>,
    tell: mpsc::Sender<Said>,
) {
    let grace = program.grace;
    let (exited, heard) = watch::channel(false);
    let (out, err) = (program.child.stdout.take(), program.child.stderr.take());
    let mut output = pin!(async {
        let out = forward(number, Origin::Stdout, out, tell.clone(), heard.clone(), grace);
        let err = forward(number, Origin::Stderr, err, tell.clone(), heard.clone(), grace);
        let (out, err) = tokio::join!(out, err);
        out || err
    });
    let mut asked = pin!(async {
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    let mut limit = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let (mut read, mut over, mut late, mut told, mut kill) = (false, false, false, false, None);
    while !(read && over) {
        let happened = tokio::select! {
            held = &mut output, if !read => Happened::Read { held },
            () = program.ended(), if !over => Happened::Ended,
            () = sleep_until(limit) => Happened::Late,
            () = &mut asked, if !told => Happened::Asked,
            () = sleep_until(kill) => Happened::Kill,
        };
        match happened {
            Happened::Read { held } => {
                read = true;
                if held {
                    tracing::warn!(number, "a program on the master left others behind that hold its output");
                }
            }
            Happened::Ended => {
                over = true;
                exited.send_replace(true);
            }
            Happened::Late | Happened::Asked => {
                limit = None;
                if matches!(happened, Happened::Late) {
                    late |= !over;
                } else {
                    told = true;
                }
                program.signal(if over { Signal::KILL } else { Signal::TERM });
                kill = kill.or(Some(Instant::now() + grace));
            }
            Happened::Kill => {
                kill = None;
                program.signal(Signal::KILL);
            }
        }
    }
    // Whoever it left behind ends here.
    program.signal(Signal::KILL);
    let status = program.child.wait().await;
    // An error says that the step has ended.
    tell.send(Said::Ended(number, completion(status, late))).await.ok();
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Hands output over until its end, however long whoever takes it in lets us wait. True: the program has ended, others
/// hold its output, and nothing comes of them.
async fn forward(
    number: u32,
    origin: Origin,
    from: Option<impl AsyncRead + Unpin>,
    tell: mpsc::Sender<Said>,
    mut exited: watch::Receiver<bool>,
    grace: Duration,
) -> bool {
    let Some(mut from) = from else { return false };
    let mut buffer = BytesMut::with_capacity(PIECE);
    loop {
        buffer.reserve(PIECE);
        let read = tokio::select! {
            // What is there counts, whatever the time.
            biased;
            read = from.read_buf(&mut buffer) => read,
            () = silence(&mut exited, grace) => return true,
        };
        match read {
            Ok(0) | Err(_) => return false,
            Ok(_) => {
                if tell.send(Said::Output(number, origin, buffer.split().freeze())).await.is_err() {
                    return false;
                }
            }
        }
    }
}

/// Resolves when the program has ended, and nothing came since for long.
async fn silence(exited: &mut watch::Receiver<bool>, grace: Duration) {
    if exited.wait_for(|exited| *exited).await.is_err() {
        return std::future::pending().await;
    }
    tokio::time::sleep(grace).await;
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Stdio;

    use super::*;

    const BOUND: Duration = Duration::from_secs(60);

    fn start(script: &str, grace: Duration) -> (watch::Sender<bool>, mpsc::Receiver<Said>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.as_std_mut().process_group(0);
        let program = Attended::spawn(command.kill_on_drop(true), grace).unwrap();
        let ((tell, said), (stop, stopped)) = (mpsc::channel(1), watch::channel(false));
        tokio::spawn(attend(0, program, stopped, None, tell));
        (stop, said)
    }

    /// All output, and the end.
    async fn rest(said: &mut mpsc::Receiver<Said>) -> (Vec<u8>, Completion) {
        let mut output = Vec::new();
        loop {
            match tokio::time::timeout(BOUND, said.recv()).await.expect("it ends in time").unwrap() {
                Said::Output(_, _, data) => output.extend_from_slice(&data),
                Said::Ended(_, how) => return (output, how.unwrap()),
            }
        }
    }

    fn is_alive(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that nobody has asked about yet is dead all the same.
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }

    async fn gone(pid: &str) {
        let deadline = Instant::now() + BOUND;
        while is_alive(pid) {
            assert!(Instant::now() < deadline, "{pid} lives on");
            tokio::task::yield_now().await;
        }
    }

    /// Symptom: the end of a program's output was lost, with exit code 0. Cause: once the program had ended, its output
    /// had 5 s to be taken in, though the step may be busy elsewhere for longer. Cure: only silence counts.
    #[tokio::test]
    async fn output_waits_for_whoever_takes_it_in() {
        let (_stop, mut said) = start("head -c 300000 /dev/zero", Duration::ZERO);
        let (output, end) = rest(&mut said).await;
        assert_eq!((output.len(), end.rc), (300_000, Some(0)));
    }

    /// Symptom: what a program put into the background lived on for ever, as the master. Cause: the program was waited
    /// for before its group was ended, and then its number may be anybody's. Cure: the group first.
    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it_though_it_holds_no_output() {
        let (_stop, mut said) = start("sleep 1000 >/dev/null 2>&1 & echo $!", BOUND);
        let (output, end) = rest(&mut said).await;
        assert_eq!(end.rc, Some(0));
        gone(String::from_utf8(output).unwrap().trim()).await;
    }

    #[tokio::test]
    async fn output_is_read_while_a_program_that_was_asked_to_end_does_so() {
        // A shell says of what was ended with it how that ended.
        let script = "exec 2>/dev/null; trap 'head -c 200000 /dev/zero; exit 3' TERM; echo x; while :; do sleep 0.01; done";
        let (stop, mut said) = start(script, BOUND);
        let Some(Said::Output(..)) = said.recv().await else { panic!("it says that it listens") };
        stop.send_replace(true);
        let (output, end) = rest(&mut said).await;
        assert_eq!((output.len(), end.rc), (200_000, Some(3)));
    }
}
