//! What waits for a commit, and the commits that are under way.

use std::collections::VecDeque;
use std::pin::Pin;

use tokio::time::{Duration, Instant};
use windlass_core::persist::{Committed, Persist};
use windlass_store::CommitError;

use super::StepState;
use super::commands::{self, Acked};
use crate::fatal::is_gone;

/// So many bytes of logs go down at once.
const FLUSH_BYTES: usize = 256 * 1024;

/// So long anything waits for company.
pub(super) const FLUSH_AFTER: Duration = Duration::from_millis(50);

/// So long after they were written, rows that changed again wait for company: a step may change them all the
/// time, and they may be large.
const ROWS_AFTER: Duration = Duration::from_secs(1);

/// So many bytes of logs may wait or be under way; then updates are left with the link.
const MAX_UNCOMMITTED: usize = 4 * 1024 * 1024;

type Flight = Pin<Box<dyn Future<Output = Result<Committed, CommitError>> + Send>>;

/// Rows that wait, and commits under way, oldest first.
pub(super) struct Batch {
    rows: Vec<Persist>,
    flights: VecDeque<UnderWay>,
    bytes: usize,
}

struct UnderWay {
    commit: Flight,
    bytes: usize,
    acks: Vec<Acked>,
    /// The rows of the batch without its logs, for the case that there is no room for logs.
    rows: Vec<Persist>,
}

impl Batch {
    pub(super) fn new(rows: Vec<Persist>) -> Batch {
        Batch { rows, flights: VecDeque::new(), bytes: 0 }
    }

    /// Resolves when the oldest commit has ended. Safe to drop while it waits.
    pub(super) async fn landed(&mut self) -> Result<Committed, CommitError> {
        match self.flights.front_mut() {
            Some(flight) => flight.commit.as_mut().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn in_flight(&self) -> bool {
        !self.flights.is_empty()
    }

    pub(super) fn take_rows(&mut self) -> Vec<Persist> {
        std::mem::take(&mut self.rows)
    }
}

impl StepState {
    /// Whether more output may be taken in.
    pub(super) fn has_room(&self) -> bool {
        self.batch.bytes + self.logs.bytes() < MAX_UNCOMMITTED
    }

    /// Something waits for a commit: sees to it that it goes down soon.
    pub(super) fn flush_soon(&mut self) {
        let swallowed = self.logs.swallowed().is_some_and(|bytes| bytes >= self.logs.may_swallow());
        if self.logs.bytes() >= FLUSH_BYTES || swallowed {
            return self.flush();
        }
        let soon = Instant::now() + FLUSH_AFTER;
        self.flush_at = Some(self.flush_at.map_or(soon, |at| at.min(soon)));
    }

    /// Puts what waits on its way, in one commit, unless that is to wait for more.
    pub(super) fn flush(&mut self) {
        match self.ends_wait(Instant::now()).filter(|_| self.logs.bytes() < FLUSH_BYTES) {
            Some(later) => self.flush_at = Some(later),
            None => self.flush_all(),
        }
    }

    /// Puts all that waits on its way, in one commit.
    pub(super) fn flush_all(&mut self) {
        self.flush_at = None;
        let now = Instant::now();
        if self.dirty && !self.rows_due && now < self.next_rows {
            self.flush_at = Some(self.next_rows);
        } else if std::mem::take(&mut self.dirty) {
            (self.rows_due, self.next_rows) = (false, now + ROWS_AFTER);
            let (fence, step) = (self.context.build.fence, self.context.step.clone());
            // Rows are whole: what waits of the same two is older. A step that starts a command begins like that.
            self.batch.rows.retain(|row| match row {
                Persist::PutStep { step: older, .. } => older.id != step.id,
                other => !matches!(other, Persist::PutBuild(_)),
            });
            self.batch.rows.push(Persist::PutStep { fence, step });
            self.batch.rows.push(Persist::PutBuild(self.context.build.clone()));
        }
        let mut persist = self.batch.take_rows();
        self.drain_results(&mut persist);
        self.drain_journal(&mut persist);
        let acks = commands::acks(&mut self.commands, self.journal.is_volatile() || self.fault.is_some());
        let held: usize = persist.iter().map(held).sum();
        let bytes = self.logs.bytes() + held;
        if self.fault.is_some() {
            // Logs are lost already; what comes after them is taken off the link and dropped.
            let mut dropped = Vec::new();
            self.logs.drain(&mut dropped);
        }
        if persist.is_empty() && self.logs.bytes() == 0 {
            match self.batch.flights.back_mut() {
                // Nothing to write, but earlier writes must land first.
                Some(last) => last.acks.extend(acks),
                None => self.acknowledge(acks),
            }
            return;
        }
        let rows = if self.logs.bytes() == 0 { Vec::new() } else { persist.clone() };
        self.logs.drain(&mut persist);
        let commit: Flight = Box::pin(self.context.store.commit(persist));
        self.batch.bytes += bytes;
        self.batch.flights.push_back(UnderWay { commit, bytes, acks, rows });
    }

    /// Handles the end of the oldest commit.
    pub(super) fn on_landed(&mut self, result: Result<Committed, CommitError>) {
        let Some(flight) = self.batch.flights.pop_front() else { return };
        self.batch.bytes -= flight.bytes;
        match result {
            Ok(_) => {}
            Err(error) => {
                let gone = is_gone(&error);
                // The rows go down without the logs, in front of whatever waits.
                let later = std::mem::replace(&mut self.batch.rows, flight.rows);
                self.batch.rows.extend(later);
                let why = crate::build_driver::chain(&error);
                // With them, so that nobody goes on with logs that lack these bytes.
                self.journal.give_up(&format!("its logs could not be kept: {why}"));
                self.break_off(&why);
                if gone {
                    // The commit of the step's end decides: it goes through, or the store is gone.
                    return commands::hold_back(&mut self.commands, &flight.acks);
                }
            }
        }
        // Without a place for them, updates are of no use any more: the worker may forget them, too.
        self.acknowledge(flight.acks);
    }

    /// Waits until every commit under way has ended.
    pub(super) async fn settle(&mut self) {
        while self.batch.in_flight() {
            let landed = self.batch.landed().await;
            self.on_landed(landed);
        }
    }

    /// Makes all that waits durable.
    pub(super) async fn make_durable(&mut self) {
        self.flush_all();
        self.settle().await;
    }

    fn acknowledge(&self, acks: Vec<Acked>) {
        commands::acknowledge(&self.context.links, &self.context.build.worker, acks);
    }

    /// A log of the step has grown beyond all bounds: what floods it is stopped, what is in the log stays.
    pub(super) fn stop_flood(&mut self, why: String) {
        if self.flooded.is_some() {
            return;
        }
        tracing::warn!(build = %self.context.build.id, step = self.context.step.name, why, "a step is stopped");
        self.interrupt_all(&why);
        self.flooded = Some(why);
    }

    /// The machinery failed under the step: the first reason counts, and everything is stopped.
    pub(super) fn break_off(&mut self, why: &str) {
        if self.fault.is_some() {
            return;
        }
        tracing::error!(build = %self.context.build.id, step = self.context.step.name, why, "a step cannot go on");
        self.fault = Some(why.to_owned());
        self.interrupt_all(why);
    }

    fn interrupt_all(&mut self, why: &str) {
        self.interrupted.get_or_insert_with(|| why.to_owned());
        self.events.push_back(windlass_runtime::port::StepEvent::Interrupt(why.to_owned()));
        self.interrupt_commands(why);
    }
}

/// The ends of logs that a row brings along.
fn held(row: &Persist) -> usize {
    match row {
        Persist::PutMark { mark, .. } => mark.ends.iter().map(|(_, held)| held.bytes()).sum(),
        _ => 0,
    }
}
