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
use crate::request::{Buildset, Pending, Request, Turn};

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
    /// Requests that came into the lane meanwhile, or changed there.
    pub(super) came: BTreeSet<RequestId>,
    /// Requests with a turn after the end that the lane was told of meanwhile.
    late: Vec<(Request, Arc<Buildset>, Told)>,
    /// The store is read from its first request on: what the lane has beside that is nobody's.
    from_first: bool,
}

/// What a lane is told of a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It did not wait before.
    New,
    /// It waited before, with another priority.
    Raised,
}

/// The turn after which a lane wants to read on; none: from its first.
pub(super) type After = Option<Turn>;

impl Loading {
    fn new(from_first: bool) -> Loading {
        Loading { gone: BTreeSet::new(), came: BTreeSet::new(), late: Vec::new(), from_first }
    }
}

impl Lane {
    /// Takes in the first ones of all that the store has.
    pub(super) fn open(&mut self, Pending { rows, count }: Pending) {
        let (loaded, last) = (rows.len() as u64, rows.last().map(|(request, _)| Turn::of(request)));
        for (request, buildset) in rows {
            self.insert(request, buildset);
        }
        self.tail = last.filter(|_| count > loaded).map(|end| Tail { end, count: count - loaded });
    }

    /// Adds a request that waits since just now, or with another priority. False: there is nothing to decide.
    pub(super) fn add(&mut self, request: Request, buildset: Arc<Buildset>, told: Told) -> bool {
        let turn = Turn::of(&request);
        if self.is_loaded_up_to(turn) {
            let leaves_tail = told == Told::Raised && !self.contains(request.id);
            let news = self.insert(request, buildset);
            if let Some(tail) = self.tail.as_mut().filter(|_| news && leaves_tail) {
                tail.count = tail.count.saturating_sub(1);
            }
            self.cut();
            return news;
        }
        if self.contains(request.id) {
            return self.insert(request, buildset);
        }
        if let Some(loading) = &mut self.loading {
            loading.late.push((request, buildset, told));
        } else if let Some(tail) = self.tail.as_mut().filter(|_| told == Told::New) {
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
            loading.late.retain(|(request, ..)| request.id != id);
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

    /// Where to read first to compare the lane with the store, which counts `total`; none: they agree, as far as
    /// counts tell, and are not compared `anyway`.
    pub(super) fn compare(&mut self, total: u64, anyway: bool) -> Option<After> {
        let known = self.loaded_ones() as u64 + self.tail.map_or(0, |tail| tail.count);
        let agree = known == total && (known == 0 || !anyway);
        if agree || self.loading.is_some() {
            return None;
        }
        self.loading = Some(Loading::new(true));
        Some(None)
    }

    /// Takes in what the store has after the turn that was asked for: all up to the last row, or, if there are fewer
    /// than `limit`, all.
    pub(super) fn loaded(&mut self, Pending { rows, count: total }: Pending, limit: usize) {
        let Some(loading) = self.loading.take() else { return };
        let last = rows.last().filter(|_| rows.len() >= limit).map(|(request, _)| Turn::of(request));
        let beyond = total.saturating_sub(rows.len() as u64);
        if loading.from_first {
            let stored: BTreeSet<RequestId> = rows.iter().map(|(request, _)| request.id).collect();
            self.forget_ghosts(last, &loading, &stored);
        }
        let mut added = 0;
        for (request, buildset) in rows {
            if !loading.gone.contains(&request.id) && self.insert(request, buildset) {
                added += 1;
            }
        }
        self.tail = last.map(|end| {
            let count = if loading.from_first {
                // What is loaded beyond the last row waits there until the end has come so far.
                self.leave_after(end);
                beyond.saturating_sub(self.loaded_after(end))
            } else {
                self.tail.map_or(0, |tail| tail.count.saturating_sub(added))
            };
            Tail { end, count }
        });
        for (request, buildset, told) in loading.late {
            self.add(request, buildset, told);
        }
        self.cut();
    }

    /// The store could not be read.
    pub(super) fn not_loaded(&mut self) {
        for (request, buildset, told) in self.loading.take().into_iter().flat_map(|loading| loading.late) {
            self.add(request, buildset, told);
        }
    }

    fn read_on(&mut self) -> Option<After> {
        let tail = self.tail?;
        self.loading = Some(Loading::new(false));
        Some(Some(tail.end))
    }

    /// Leaves to the store what comes late, if too many are loaded.
    fn cut(&mut self) {
        let keep = self.keep.max(1);
        if self.loading.is_some() || self.waiting_ones() <= 2 * keep {
            return;
        }
        let Some(end) = self.waiting_at(keep - 1) else { return };
        // What waits beyond the end says nothing of what is loaded.
        let end = self.tail.map_or(end, |tail| tail.end.min(end));
        let count = self.tail.map_or(0, |tail| tail.count) + self.leave_after(end);
        self.tail = Some(Tail { end, count });
    }
}
