//! From a plan to a program that runs: the holder makes the child, and the child says whether it could become its program.
//! That may take for ever: its file, its interpreter or its directory may lie on a file system that does not answer. So
//! there is a bound, and nobody but its command waits.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::value::Failure;
use windlass_runtime::port::Delivery;

use super::capture::Capture;
use super::feed::Feed;
use super::keep::{Files, REPORT, name_of};
use super::{Guard, Ours, Plan, Started, Streams, Surroundings, To, Watcher, asynchronous, watched};
use crate::holder::{self, Spawn};
use crate::spool::CommandSpool;
use crate::spool::left::{ChildLeft, Running};
use crate::terminal::{self, Terminal, led};

/// How long a program may take to begin: the time that it may run, but no longer and no shorter than this.
const BEGIN: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(60);

/// A start takes less, unless something hangs: to be woken up after it would cost more than to wait.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// A child that was made, and may not be its program yet.
#[must_use]
#[derive(Debug)]
pub struct Starting {
    child: u32,
    /// As its command names it.
    program: String,
    bound: Duration,
    guard: Guard,
    report: OwnedFd,
    spool: Arc<CommandSpool>,
    interrupt: watch::Receiver<Option<String>>,
    /// Whether an interrupt ends it. One that came before is known: its command starts something all the same.
    heeds: bool,
    over: CancellationToken,
}

/// What such a child has around it: to be watched over once it is its program.
#[derive(Debug)]
pub struct Begun {
    child: u32,
    plan: Plan,
    ours: Streams,
    files: Files,
    surroundings: Surroundings,
}

/// Why a child is not its program.
#[derive(Debug)]
enum NotStarted {
    Refused(io::Error),
    Hangs,
    Interrupted(String),
}

/// Makes a child in a process group of its own.
pub fn begin(child: u32, plan: Plan, surroundings: Surroundings) -> Result<(Starting, Begun), Failure> {
    let failed = |error: io::Error| refused(name(&plan), &error);
    let terminal = plan.kept.terminal.then(Terminal::open).transpose().map_err(failed)?;
    let (ours, childs) = match terminal {
        Some(terminal) => terminal.streams(),
        None => piped(&plan),
    }
    .map_err(failed)?;
    let (program, argv) = if plan.kept.terminal {
        led(&plan.program, &plan.argv, &surroundings.machine.leader)
    } else {
        (plan.program.clone(), plan.argv.clone())
    };
    let files = Files::of(&plan, &ours).map_err(failed)?;
    // The end of its streams shows once nobody holds its side of them, and so does what it reports.
    let (report, childs_report) = holder::report().map_err(failed)?;
    let mut keep = files.kept(child, &ours);
    keep.push((name_of(child, REPORT), report.as_fd()));
    let spawn = Spawn {
        command: &surroundings.spool.uid().0,
        child,
        program: &program,
        argv: &argv,
        variables: &plan.variables,
        directory: plan.directory.as_fd(),
        stdin: childs.stdin.as_ref().map(AsFd::as_fd),
        stdout: childs.stdout.as_ref().map(AsFd::as_fd),
        stderr: childs.stderr.as_ref().map(AsFd::as_fd),
        keep: &keep,
        report: Some(childs_report.as_fd()),
    };
    let leader = surroundings.machine.holder.spawn(&spawn).map_err(failed)?;
    // From here on there is a child: whoever leaves must kill it.
    let guard = Guard::of(leader, &surroundings.machine);
    drop(keep);
    let starting = Starting::new(child, &plan, guard, report, &surroundings);
    Ok((starting, Begun { child, plan, ours, files, surroundings }))
}

impl Begun {
    /// Has it watched over. Within a tokio runtime; `watch` of what is returned belongs into a task.
    pub fn watched(self, guard: Guard) -> Result<(Started, Option<Watcher>), Failure> {
        let Begun { child, plan, ours, files, surroundings } = self;
        let failed = |error: io::Error| refused(name(&plan), &error);
        let Files { stdout, stderr, input, mut through } = files;
        let mut captured = |pipe: Option<OwnedFd>, file: Option<OwnedFd>| {
            let both = pipe.zip(file);
            both.map(|(pipe, file)| Capture::new(pipe, through.take(), file, 0)).transpose()
        };
        let stdout = captured(ours.stdout, stdout).map_err(failed)?;
        let stderr = captured(ours.stderr, stderr).map_err(failed)?;
        let feed = match (ours.stdin, &plan.input, input) {
            (Some(to), Some(_), Some(file)) => Ok(To::Fed(Feed::piped(to, file).map_err(failed)?)),
            (Some(to), Some(input), None) => {
                Ok(To::Fed(Feed::typed(to, terminal::typed(input.clone())).map_err(failed)?))
            }
            (Some(to), None, _) => rustix::io::ioctl_fionbio(&to, true).map(|()| To::Open(to)),
            (None, ..) => Ok(To::Nothing),
        };
        let feed = feed.map_err(|error| failed(error.into()))?;
        let streams = Ours { stdout, stderr, feed };
        let left = ChildLeft::new(plan.kept.clone());
        let name = name(&plan).to_owned();
        let watched = watched(child, left, guard, streams, plan.follow, surroundings);
        let (started, watcher) = watched.map_err(|error| refused(&name, &error))?;
        Ok((started, Some(watcher)))
    }
}

impl Starting {
    fn new(child: u32, plan: &Plan, guard: Guard, report: OwnedFd, surroundings: &Surroundings) -> Starting {
        let Surroundings { root: _, machine: _, spool, interrupt, over, mask: _ } = surroundings;
        Starting {
            child,
            program: name(plan).to_owned(),
            bound: plan.kept.max_time.unwrap_or(*BEGIN.end()).clamp(*BEGIN.start(), *BEGIN.end()),
            guard,
            report,
            spool: Arc::clone(spool),
            interrupt: interrupt.clone(),
            heeds: interrupt.borrow().is_none(),
            over: over.clone(),
        }
    }

    /// One that an earlier agent made. None: that one did not ask for a report, or knew it.
    pub fn again(
        child: u32,
        plan: &Plan,
        running: &mut Running,
        surroundings: &Surroundings,
    ) -> Option<Starting> {
        let report = running.kept.remove(&name_of(child, REPORT))?;
        let guard = match running.pid {
            Some(pid) => Guard::of(pid, &surroundings.machine),
            None => Guard::buried(running.status, &surroundings.machine),
        };
        Some(Starting::new(child, plan, guard, report, surroundings))
    }

    /// Waits until it is its program; what is not is killed. If it takes long, a task of the command's waits, on this
    /// runtime: so it ends well even if nobody wants to know any more.
    pub async fn started(self, runtime: &Handle, tasks: &TaskTracker) -> Result<Guard, Failure> {
        let _came = poll(&mut [PollFd::new(&self.report, PollFlags::IN)], Some(&AT_ONCE));
        let (program, bound) = (self.program.clone(), self.bound);
        let started = match holder::reported(&self.report) {
            Some(Ok(())) => Ok(self.guard),
            Some(Err(error)) => {
                self.ended();
                Err(NotStarted::Refused(error))
            }
            None => {
                let broken = |error| Err(NotStarted::Refused(io::Error::other(error)));
                tasks.spawn_on(self.attend(), runtime).await.unwrap_or_else(broken)
            }
        };
        started.map_err(|why| match why {
            NotStarted::Refused(error) => refused(&program, &error),
            NotStarted::Hangs => Failure {
                detail: Some(HANGS.to_owned()),
                ..Failure::new(
                    "spawn-failed",
                    format!("failed to start `{program}`: it did not begin in {bound:?}"),
                )
            },
            NotStarted::Interrupted(reason) => Failure::new("interrupted", reason),
        })
    }

    async fn attend(self) -> Result<Guard, NotStarted> {
        let mut interrupt = self.interrupt.clone();
        let why = tokio::select! {
            came = reported(&self.report) => match came {
                Ok(()) => return Ok(self.guard),
                Err(error) => NotStarted::Refused(error),
            },
            () = tokio::time::sleep(self.bound) => NotStarted::Hangs,
            () = self.over.cancelled() => NotStarted::Interrupted("the command is over".to_owned()),
            reason = interrupted(&mut interrupt), if self.heeds => NotStarted::Interrupted(reason),
        };
        self.end().await;
        Err(why)
    }

    async fn end(self) {
        self.guard.end().await;
        self.spool.give_up(&name_of(self.child, ""));
    }

    /// It has ended, or is about to.
    fn ended(self) {
        drop(self.guard);
        self.spool.give_up(&name_of(self.child, ""));
    }
}

const HANGS: &str =
    "its file, its interpreter or its working directory may lie on a file system that does not answer";

async fn reported(report: &OwnedFd) -> io::Result<()> {
    let report: AsyncFd<OwnedFd> = asynchronous(report.try_clone()?)?;
    loop {
        let mut ready = report.readable().await?;
        match holder::reported(report.get_ref()) {
            Some(came) => return came,
            None => ready.clear_ready(),
        }
    }
}

/// Waits for an interrupt; for ever, if the command's owner is gone.
pub async fn interrupted(interrupt: &mut watch::Receiver<Option<String>>) -> String {
    let reason = interrupt.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
    match reason {
        Some(reason) => reason,
        None => std::future::pending().await,
    }
}

fn name(plan: &Plan) -> &str {
    plan.argv.first().map_or("", String::as_str)
}

fn refused(program: &str, error: &io::Error) -> Failure {
    Failure::new("spawn-failed", format!("failed to start `{program}`: {error}"))
}

/// Pipes for what somebody wants to say or hear: our side, and the child's.
fn piped(plan: &Plan) -> io::Result<(Streams, Streams)> {
    let pipe = |is_wanted: bool| -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        Ok(if is_wanted {
            pipe_with(PipeFlags::CLOEXEC).map(|(r, w)| (Some(r), Some(w)))?
        } else {
            (None, None)
        })
    };
    let heard = |logged: bool| plan.kept.deliver != Delivery::None || (plan.kept.log.is_some() && logged);
    // Limits of silence and of lines are about output, so it has to be read.
    let watched = plan.kept.idle_time.is_some() || plan.kept.max_lines.is_some();
    let (childs_stdin, stdin) = pipe(plan.input.as_ref().is_none_or(|input| !input.is_empty()))?;
    let (stdout, childs_stdout) = pipe(heard(plan.kept.log_stdout) || watched)?;
    let (stderr, childs_stderr) = pipe(heard(plan.kept.log_stderr) || watched)?;
    let childs = Streams { stdin: childs_stdin, stdout: childs_stdout, stderr: childs_stderr };
    Ok((Streams { stdin, stdout, stderr }, childs))
}
