//! How a link ends, and the seat with it.

use std::sync::atomic::Ordering;

use tokio::time::Instant;
use windlass_protocol::message::ToWorker;

use super::{Link, Seat};
use crate::view;

impl Seat {
    /// Nothing more is sent to the worker, and nothing that it said is handled any more.
    pub(super) fn cut(&mut self, why: &str) {
        let Some(link) = self.link.take() else { return };
        link.wire.cut(None);
        tracing::warn!(worker = self.name, why, "lost the link to a worker");
        self.shown.update(|shown| *shown = None);
        self.expected_until = Some(Instant::now() + self.links.grace());
        if let Some(report) = self.links.report() {
            report.worker_down(&self.name);
        }
        let (worker, reason) = (&self.name, why);
        self.links
            .0
            .parts
            .events
            .tell(|| view::Event::WorkerLost { worker: worker.clone(), reason: reason.to_owned() });
        if let Some(probe) = self.probe.take() {
            self.on_candidate(probe.candidate);
        }
    }

    pub(super) fn remove(mut self) {
        let reason = "removed from the master's configuration";
        if let Some(link) = self.close(reason) {
            link.wire.cut(Some(ToWorker::Bye { reason: reason.to_owned() }));
        }
    }

    /// What waits for the worker is sent before the goodbye.
    pub(super) fn shut_down(mut self) {
        let reason = "shutdown";
        if let Some(link) = self.close(reason) {
            link.wire.send(ToWorker::Bye { reason: reason.to_owned() });
        }
    }

    /// What ends in any case with the seat; the link is left.
    pub(super) fn close(&mut self, reason: &str) -> Option<Link> {
        self.shown.reachable.store(false, Ordering::Release);
        self.shown.update(|shown| *shown = None);
        self.lose_all(reason);
        let link = self.link.take()?;
        if let Some(report) = self.links.report() {
            report.worker_down(&self.name);
        }
        Some(link)
    }
}
