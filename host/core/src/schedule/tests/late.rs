//! A store that answers late, with what it had at any moment since it was asked, and happenings of which the board is
//! told late, in any order.

use super::*;
use crate::schedule::Claim;

/// What the board has not heard of yet.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// What the store had before each happening.
    pub(super) history: Vec<Stored>,
    /// Reads under way, each with the moment when it was asked for.
    pub(super) reads: Vec<(usize, Read)>,
    pub(super) untold: Vec<News>,
    /// What another master holds.
    theirs: Vec<Request>,
}

/// What was committed.
#[derive(Debug)]
pub(super) enum News {
    Submitted(Request),
    Raised(Request),
    Withdrawn(Request),
    Claimed(Claim, BuildId),
    Refused(Claim, RequestId),
    Ended(BuildId, Outcome),
}

impl Table {
    /// The board hears of it, now or later.
    pub(super) fn news(&mut self, news: News) {
        match &mut self.late {
            Some(late) => late.untold.push(news),
            None => self.tell(news),
        }
    }

    /// The board hears of it.
    fn tell(&mut self, news: News) {
        let set = |r: Request| [(r.clone(), Arc::new(buildset(r.buildset.0)))];
        match news {
            News::Submitted(request) => self.board.submitted(set(request)),
            News::Raised(request) => self.board.raised(set(request)),
            News::Withdrawn(request) => self.board.withdrawn(&request.builder, request.id),
            News::Claimed(claim, build) => {
                self.board.claimed(claim.start, build);
                self.running.push((build, claim.worker, claim.builder.name.clone()));
            }
            News::Refused(claim, taken) => {
                self.board.refused(claim.start, Some(taken), "taken", self.now);
            }
            News::Ended(build, outcome) => self.board.build_ended(build, outcome, self.now),
        }
        self.turn();
    }

    /// The store makes a claim, for a new build, or refuses it.
    pub(super) fn store_claim(&mut self, claim: Claim) -> Option<BuildId> {
        let wanted: Vec<RequestId> = claim.requests.iter().map(|(r, _)| r.id).collect();
        let there = |id: &RequestId| self.stored.values().any(|request| request.id == *id);
        if let Some(taken) = wanted.iter().copied().find(|id| !there(id)) {
            self.news(News::Refused(claim, taken));
            return None;
        }
        self.builds += 1;
        let build = BuildId(self.builds);
        let rows = self.stored.extract_if(.., |_, request| wanted.contains(&request.id));
        let rows = rows.map(|(_, request)| request).collect();
        self.held.insert(build, rows);
        self.news(News::Claimed(claim, build));
        Some(build)
    }

    /// The store hears of a build's end.
    pub(super) fn store_end(&mut self, build: BuildId, outcome: Outcome) {
        let held = self.held.remove(&build).unwrap_or_default();
        if outcome == Outcome::Retry {
            self.stored.extend(held.into_iter().map(|r| (Turn::of(&r), r)));
        }
        self.running.retain(|(id, _, _)| *id != build);
        self.news(News::Ended(build, outcome));
    }

    fn stored_one(&mut self, which: usize) -> Option<Request> {
        let turn = *self.stored.keys().nth(which % self.stored.len().max(1))?;
        self.stored.remove(&turn)
    }

    /// Somebody withdraws one that waits.
    pub(super) fn withdraw(&mut self, which: usize) -> Option<RequestId> {
        let request = self.stored_one(which)?;
        let id = request.id;
        self.news(News::Withdrawn(request));
        Some(id)
    }

    /// Somebody gives one that waits another priority.
    pub(super) fn raise(&mut self, which: usize, priority: i32) {
        let Some(request) = self.stored_one(which) else { return };
        let request = Request { priority, version: request.version + 1, ..request };
        self.stored.insert(Turn::of(&request), request.clone());
        self.news(News::Raised(request));
    }

    /// Another master claims one that waits, of which nobody is told; or all that others hold is taken from them.
    pub(super) fn elsewhere(&mut self, which: Option<usize>) {
        if self.late.is_none() {
            return;
        }
        let taken = which.and_then(|which| self.stored_one(which));
        let Some(late) = &mut self.late else { return };
        late.theirs.extend(taken);
        if which.is_none() {
            for request in std::mem::take(&mut late.theirs) {
                self.stored.insert(Turn::of(&request), request.clone());
                self.news(News::Submitted(request));
            }
        }
    }

    /// The store knows what becomes of claims and builds of which the board was not told: so the next one begins. What
    /// was under way never comes.
    pub(super) fn hear_of_builds(&mut self) {
        let Some(late) = &mut self.late else { return };
        late.reads.clear();
        let mut ended = Vec::new();
        for news in std::mem::take(&mut late.untold) {
            match news {
                News::Claimed(claim, build) => {
                    self.running.push((build, claim.worker, claim.builder.name.clone()));
                }
                News::Ended(build, _) => ended.push(build),
                News::Submitted(_) | News::Raised(_) | News::Withdrawn(_) | News::Refused(..) => {}
            }
        }
        self.running.retain(|(build, _, _)| !ended.contains(build));
    }

    /// Time goes on in the store.
    pub(super) fn snapshot(&mut self) {
        if let Some(late) = &mut self.late {
            late.history.push(self.stored.clone());
        }
    }

    /// One read comes back, with what the store had at a moment since it was asked for, or with an error.
    pub(super) fn read_comes(&mut self, which: usize, when: Option<usize>) {
        let Some(late) = self.late.as_mut().filter(|late| !late.reads.is_empty()) else { return };
        let (since, read) = late.reads.remove(which % late.reads.len());
        late.history.push(self.stored.clone());
        match (when, read) {
            (Some(when), read) => {
                let moment = since + when % (late.history.len() - since);
                read.answer(&mut self.board, &late.history[moment]);
            }
            (None, Read::Page { builder, .. }) => self.board.not_loaded(&builder, self.now),
            (None, Read::Count) => {}
        }
        self.turn();
    }

    /// One piece of news is heard.
    pub(super) fn news_comes(&mut self, which: usize) {
        let Some(late) = self.late.as_mut().filter(|late| !late.untold.is_empty()) else { return };
        let news = late.untold.remove(which % late.untold.len());
        self.tell(news);
    }

    /// Everything comes as it is now, and from now on at once.
    pub(super) fn catch_up(&mut self) {
        self.elsewhere(None);
        if let Some(late) = &mut self.late {
            late.history.clear();
            late.reads.iter_mut().for_each(|(since, _)| *since = 0);
        }
        while self.late.as_ref().is_some_and(|late| !late.untold.is_empty() || !late.reads.is_empty()) {
            self.news_comes(0);
            self.read_comes(0, Some(0));
        }
        self.late = None;
    }
}

impl Board {
    /// Panics unless the board knows what the store has: as many, or, if `each`, the same requests. What starts have
    /// taken is left out, since their claims will tell, and so is what it holds back beyond what it has loaded.
    pub(super) fn agrees_with(&self, stored: &Stored, each: bool) {
        for (name, lane) in &self.lanes {
            let taken = lane.taken();
            let (theirs, there): (Vec<&Request>, Vec<&Request>) =
                stored.values().filter(|r| r.builder == *name).partition(|r| taken.contains(&r.id));
            let is_due = |request: &Request| lane.is_loaded_up_to(Turn::of(request));
            let is_sure = lane.known().all(|known| is_due(known) || there.contains(&known));
            if is_sure && theirs.len() == taken.len() && (each || taken.is_empty()) {
                assert_eq!(lane.pending(), there.len() as u64, "`{name}` counts otherwise");
            }
            for request in there.iter().filter(|_| each) {
                assert!(lane.contains(request.id) || !is_due(request), "`{name}` does not know {request:?}");
            }
            for known in lane.known().filter(|known| each && is_due(known)) {
                assert!(there.contains(&known), "`{name}` knows {known:?}, which does not wait");
            }
        }
    }
}
