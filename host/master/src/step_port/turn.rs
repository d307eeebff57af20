//! The one place where a step waits: something happens, and is taken in.

use tokio::time::Instant;
use windlass_core::persist::Committed;
use windlass_runtime::port::StepEvent;
use windlass_store::CommitError;

use super::children::News;
use super::processes::Said;
use super::{StepState, commands};
use crate::worker_link::CommandEvent;

/// What a turn brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something was taken in; look again.
    Moved,
    /// The caller's deadline has passed.
    TimeIsUp,
}

enum Happened {
    Command(usize, Option<CommandEvent>),
    Landed(Result<Committed, CommitError>),
    Child(News),
    Process(Said),
    Stop,
    Time,
}

impl StepState {
    /// Waits for one thing and takes it in, or for the deadline. Safe to drop while it waits.
    pub(super) async fn turn(&mut self, deadline: Option<Instant>) -> Turn {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Turn::TimeIsUp;
        }
        let room = self.has_room();
        let timer = self.timers.values().min().copied();
        let due = self.context.deadline.at.filter(|_| self.interrupted.is_none());
        let wake = [deadline, self.flush_at, timer, due].into_iter().flatten().min();
        let commands = &mut self.commands;
        let stop = &mut self.context.stop;
        let happened = tokio::select! {
            (index, event) = std::future::poll_fn(|cx| commands::poll(commands, cx)), if room => {
                Happened::Command(index, event)
            }
            landed = self.batch.landed() => Happened::Landed(landed),
            news = self.children.news() => Happened::Child(news),
            said = self.processes.said(), if room => Happened::Process(said),
            Ok(()) = stop.changed(), if self.interrupted.is_none() => Happened::Stop,
            () = sleep_until(wake) => Happened::Time,
        };
        match happened {
            Happened::Command(index, event) => self.on_command(index, event),
            Happened::Landed(result) => self.on_landed(result),
            Happened::Child(news) => self.on_child(news),
            Happened::Process(said) => self.on_process(said),
            Happened::Stop => {
                let step = self.context.step.id;
                let reason = self.context.stop.borrow_and_update().reason(step).map(str::to_owned);
                if let Some(reason) = reason {
                    self.tell_interrupt(reason);
                }
            }
            Happened::Time => return self.on_time(deadline),
        }
        Turn::Moved
    }

    fn tell_interrupt(&mut self, reason: String) {
        self.events.push_back(StepEvent::Interrupt(reason.clone()));
        self.interrupted = Some(reason);
    }

    fn on_time(&mut self, deadline: Option<Instant>) -> Turn {
        let now = Instant::now();
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush();
        }
        if self.interrupted.is_none() && self.context.deadline.at.is_some_and(|at| at <= now) {
            let reason = self.context.deadline.reason.clone();
            self.tell_interrupt(reason);
        }
        while let Some((&number, _)) = self.timers.iter().find(|(_, at)| **at <= now) {
            self.timers.remove(&number);
            self.queue(StepEvent::Timer(number));
        }
        if deadline.is_some_and(|deadline| deadline <= now) { Turn::TimeIsUp } else { Turn::Moved }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
