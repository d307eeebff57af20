//! A child that an earlier agent started: gone on with where that one stood, or ended.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use windlass_core::value::Failure;
use windlass_runtime::port::{ChildEvent, Exit};

use super::capture::{Capture, Through};
use super::feed::Feed;
use super::keep::{INPUT, SAID_ERR, SAID_OUT, STDERR, STDIN, STDOUT, THROUGH_IN, THROUGH_OUT, name_of};
use super::{EVENTS, Guard, Ours, Started, Surroundings, To, Watcher, watched};
use crate::follow::Tail;
use crate::group::Group;
use crate::spool::left::{ChildLeft, Running};

/// A child that an earlier agent started, again. Within a tokio runtime.
pub fn again(
    child: u32,
    mut left: ChildLeft,
    running: Running,
    surroundings: Surroundings,
) -> Result<(Started, Option<Watcher>), Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("child {child} of the command can't be gone on with: {error}");
        Failure::retryable("worker-lost", message)
    };
    let Running { pid, status, mut kept } = running;
    if let Some(exit) = left.exit.take() {
        return Ok((over(left.events, exit, &surroundings), None));
    }
    let guard = match pid {
        Some(pid) => Guard::of(pid, &surroundings.machine),
        None => Guard::buried(status, &surroundings.machine),
    };
    let mut descriptor = |name: &str| kept.remove(&name_of(child, name));
    let mut through = match (descriptor(THROUGH_OUT), descriptor(THROUGH_IN)) {
        (Some(read), Some(write)) => Some(Through { read, write }),
        _ => None,
    };
    let mut captured = |pipe: &str, file: &str, taken| match (descriptor(pipe), descriptor(file)) {
        (Some(pipe), Some(file)) => Capture::new(pipe, through.take(), file, taken).map(Some),
        _ => Ok(None),
    };
    let stdout = captured(STDOUT, SAID_OUT, left.at.taken[0]).map_err(failed)?;
    let stderr = captured(STDERR, SAID_ERR, left.at.taken[1]).map_err(failed)?;
    let feed = match (descriptor(STDIN), descriptor(INPUT)) {
        (Some(to), Some(file)) => To::Fed(Feed::piped(to, file).map_err(failed)?),
        _ => To::Nothing,
    };
    let streams = Ours { stdout, stderr, feed };
    let places = left.at.followed.iter().copied().chain(std::iter::repeat(None));
    let tail = |(kept, place)| Tail::again(Arc::clone(&surroundings.root), kept, place);
    let tails = left.kept.follow.clone().into_iter().zip(places).map(tail).collect();
    let (started, watcher) = watched(child, left, guard, streams, tails, surroundings).map_err(failed)?;
    Ok((started, Some(watcher)))
}

/// Ends a child that no agent can go on with: what its command hears. Within a tokio runtime.
pub async fn end_left(child: u32, running: Running, surroundings: Surroundings) -> Failure {
    if let Some(pid) = running.pid {
        Guard::of(pid, &surroundings.machine).end().await;
    }
    surroundings.spool.give_up(&name_of(child, ""));
    Failure::retryable(
        "worker-lost",
        "the agent of this worker ended while it started a program with an open input",
    )
}

/// A child that has ended, and of which the guest may not have taken everything.
fn over(events: Vec<ChildEvent>, exit: Exit, surroundings: &Surroundings) -> Started {
    let (sender, receiver) = mpsc::channel(EVENTS);
    let over = surroundings.over.clone();
    drop(tokio::spawn(async move {
        for event in events.into_iter().chain([ChildEvent::Exited(exit)]) {
            tokio::select! {
                sent = sender.send(event) => if sent.is_err() { return },
                () = over.cancelled() => return,
            }
        }
    }));
    let group = Arc::new(Group::buried(Arc::clone(&surroundings.machine)));
    Started { group, events: receiver, control: watch::Sender::default(), input: None, terminal: false }
}
