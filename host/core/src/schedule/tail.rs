//! The part of a long lane that stays in the store: the lane holds the first requests of the default order, knows
//! where they end and how many come after, and asks for the next ones when it runs low.
//!
//! What is loaded is all that the store has up to the *end*, so that the head of a lane is the head of its backlog.
//! A request whose turn is after the end only counts. While the store is being read, what leaves the lane and what
//! arrives is remembered: the answer may be older.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::StartId;
use super::lane::Lane;
use crate::id::RequestId;
use crate::request::{Buildset, Request, Turn};

/// What the store has beyond the loaded ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// All up to this turn are loaded.
    pub(super) end: Turn,
    /// So many come after it. A figure for people and policies: a missed event may falsify it until the next scan.
    pub(super) count: u64,
}

/// A look into the store under way.
#[derive(Debug)]
pub(super) struct Loading {
    /// Requests that left the lane meanwhile.
    pub(super) gone: BTreeSet<RequestId>,
    /// Requests that were submitted meanwhile with a turn after the end.
    late: Vec<(Request, Arc<Buildset>)>,
    /// Where the whole lane is compared with the store: how many the store counted.
    total: Option<u64>,
}

/// The turn after which a lane wants to read on; none: from its first.
pub(super) type After = Option<Turn>;

impl Lane {
    /// Takes in the first ones of all that the store has.
    pub(super) fn open(&mut self, head: Vec<(Request, Arc<Buildset>)>, count: u64) {
        let (loaded, last) = (head.len() as u64, head.last().map(|(request, _)| Turn::of(request)));
        for (request, buildset) in head {
            self.insert(request, buildset);
        }
        self.tail = last.filter(|_| count > loaded).map(|end| Tail { end, count: count - loaded });
    }

    /// Adds a request that was just submitted or changed. False: there is nothing to decide.
    pub(super) fn add(&mut self, request: Request, buildset: Arc<Buildset>) -> bool {
        let turn = Turn::of(&request);
        if self.is_loaded_up_to(turn) {
            let moved = request.version > 1 && !self.contains(request.id);
            let news = self.insert(request, buildset);
            if let Some(tail) = self.tail.as_mut().filter(|_| news && moved) {
                // It came out of the tail: its priority was raised.
                tail.count = tail.count.saturating_sub(1);
            }
            self.cut();
            return news;
        }
        if self.contains(request.id) {
            return self.insert(request, buildset);
        }
        if let Some(loading) = &mut self.loading {
            loading.late.push((request, buildset));
        } else if let Some(tail) = self.tail.as_mut().filter(|_| request.version == 1) {
            tail.count += 1;
        }
        false
    }

    /// Whether all that waits up to this turn is loaded.
    pub(super) fn is_loaded_up_to(&self, turn: Turn) -> bool {
        self.tail.is_none_or(|tail| turn <= tail.end)
    }

    /// A request that is not loaded was completed by somebody.
    pub(super) fn forget(&mut self, id: RequestId) {
        if let Some(loading) = &mut self.loading {
            loading.gone.insert(id);
            let late = loading.late.len();
            loading.late.retain(|(request, _)| request.id != id);
            if loading.late.len() < late {
                return;
            }
        }
        if let Some(tail) = &mut self.tail {
            tail.count = tail.count.saturating_sub(1);
        }
    }

    /// The turn of the first waiting one; if that is still in the store, it is none before this.
    pub(super) fn next(&self) -> Option<Turn> {
        self.head().or(self.tail.map(|tail| tail.end))
    }

    /// Whether the first waiting one is still in the store.
    pub(super) fn is_dry(&self) -> bool {
        self.tail.is_some() && !self.has_waiting()
    }

    /// Where to read on if fewer than `low` are left to be taken. The lane counts on it from now on.
    pub(super) fn refill(&mut self, low: usize) -> Option<After> {
        let low = low.clamp(1, self.keep.max(1));
        if self.loading.is_some() || self.tail.is_none() || self.window(None, low).len() >= low {
            return None;
        }
        self.read_on()
    }

    /// Where to read on for a start that has seen all that is loaded, unless that is under way. It waits for `more`.
    pub(super) fn park(&mut self, start: StartId, more: usize) -> Option<After> {
        self.parked = Some(start);
        self.keep = self.keep.max(self.waiting_ones() + more);
        if self.loading.is_some() { None } else { self.read_on() }
    }

    /// Where to read first to compare the whole lane with the store, which counts `total`; none: they agree.
    pub(super) fn compare(&mut self, total: u64) -> Option<After> {
        let known = self.loaded_ones() as u64 + self.tail.map_or(0, |tail| tail.count);
        if known == total || self.loading.is_some() {
            return None;
        }
        self.loading = Some(Loading { gone: BTreeSet::new(), late: Vec::new(), total: Some(total) });
        Some(None)
    }

    /// Takes in what the store has after the turn that was asked for: all up to the last row, or, if there are fewer
    /// than `limit`, all.
    pub(super) fn loaded(&mut self, rows: Vec<(Request, Arc<Buildset>)>, limit: usize) {
        let Some(loading) = self.loading.take() else { return };
        let last = rows.last().filter(|_| rows.len() >= limit).map(|(request, _)| Turn::of(request));
        let mut added = 0;
        for (request, buildset) in rows {
            if !loading.gone.contains(&request.id) && self.insert(request, buildset) {
                added += 1;
            }
        }
        match (last, loading.total) {
            (None, _) => self.tail = None,
            (Some(last), None) => {
                let count = self.tail.map_or(0, |tail| tail.count.saturating_sub(added));
                self.tail = Some(Tail { end: last, count });
            }
            // What is loaded beyond the last row waits there until the end has come so far.
            (Some(last), Some(total)) => {
                let known = self.loaded_ones() + loading.gone.len();
                self.tail = Some(Tail { end: last, count: total.saturating_sub(known as u64) });
            }
        }
        for (request, buildset) in loading.late {
            self.add(request, buildset);
        }
        self.cut();
    }

    /// The store could not be read.
    pub(super) fn not_loaded(&mut self) {
        for (request, buildset) in self.loading.take().into_iter().flat_map(|loading| loading.late) {
            self.add(request, buildset);
        }
    }

    fn read_on(&mut self) -> Option<After> {
        let tail = self.tail?;
        self.loading = Some(Loading { gone: BTreeSet::new(), late: Vec::new(), total: None });
        Some(Some(tail.end))
    }

    /// Leaves to the store what comes late, if too many are loaded.
    fn cut(&mut self) {
        let keep = self.keep.max(1);
        if self.loading.is_some() || self.waiting_ones() <= 2 * keep {
            return;
        }
        let Some(end) = self.waiting_at(keep - 1) else { return };
        let mut count = self.tail.map_or(0, |tail| tail.count);
        for turn in self.waiting_after(keep) {
            // What the store does not know of it stays known: it waits beyond the end.
            if self.get(turn.id).is_some_and(super::lane::Entry::is_as_stored) {
                self.take_out(turn.id);
                count += 1;
            }
        }
        self.tail = Some(Tail { end, count });
    }
}
