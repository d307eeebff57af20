//! The dispatcher's task: events in, the board decides, effects out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use windlass_core::decision::Decision;
use windlass_core::id::RequestId;
use windlass_core::id::{BuildId, DecisionId};
use windlass_core::lock::Access;
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Committed, Refusal};
use windlass_core::policy::used_by;
use windlass_core::record::BuildRow;
use windlass_core::request::{Buildset, Request};
use windlass_core::schedule::{Ask, Board, Claim, Effect, HEAD, Numbers, StartId, Status, StepLocks};
use windlass_core::time::Timestamp;
use windlass_runtime::registry::Generation;
use windlass_store::CommitError;

use super::looks::Look;
use super::pace::Pace;
use super::plans::Plans;
use super::policies::broken;
use super::records::{Commit, Records, persist};
use super::rules::rules;
use super::task::{Done, Heads, Page, Purpose, history, read};
use super::{BuildEnded, BuildStart, Parts, Standing, WorkerUp, suspensions};
use crate::build_driver::retries;
use crate::fatal::is_gone;
use crate::world::World;

/// Events that are taken together before anything is decided: a burst costs one round of visits.
const BURST: usize = 512;
/// Builders whose next requests are read at once; other events come between.
const PAGES: usize = 8;
/// The status is published at most so often.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Whoever asks for it waits at least so long after the last time, together with all who ask meanwhile.
const ASKED_EVERY: Duration = Duration::from_millis(10);
/// What it costs to publish it, at most, as a share of the time: one in so much.
const PUBLISH_SHARE: u32 = 20;

/// What the handle says.
pub(super) enum Event {
    Submitted(Vec<(Request, Arc<Buildset>)>),
    Raised(Vec<(Request, Arc<Buildset>)>),
    Withdrawn(String, RequestId),
    WorkerUp(WorkerUp),
    WorkerDown(String),
    WorkerLoad(String, f64),
    BuildEnded(BuildEnded),
    StepLocks { build: BuildId, step: String, uses: Vec<Access>, tell: watch::Sender<Standing> },
    StepUnlocks(BuildId),
    StepWaits { build: BuildId, requests: Vec<(RequestId, String)>, tell: watch::Sender<Standing> },
    StepWaitsNoMore(BuildId),
    Configure(Arc<World>),
    LookAgain,
    Look(Look),
    KeepRecords(oneshot::Sender<Commit>),
    Publish(oneshot::Sender<()>),
    Shutdown(oneshot::Sender<()>),
}

/// A claim on its way through the store.
struct Claiming {
    claim: Claim,
    row: BuildRow,
    generation: Arc<Generation>,
    /// Those that went along.
    records: Vec<Arc<Decision>>,
}

/// When something happened that the task has to handle.
type Happened = std::time::Instant;

/// What a task of ours brings back, and when.
type Ended = (Happened, Done);

/// Ended just now.
fn stamped(done: Done) -> Ended {
    (Happened::now(), done)
}

/// What woke the task.
enum Woke {
    Event((Happened, Event)),
    Task(Result<(Id, Ended), JoinError>),
    Timer,
    /// All handles are gone.
    Alone,
}

pub(super) struct Actor {
    parts: Parts,
    board: Board,
    records: Records,
    plans: Plans,
    inbox: mpsc::UnboundedReceiver<(Happened, Event)>,
    status: watch::Sender<Arc<Status>>,
    pace: Arc<Pace>,
    /// When the events happened that were taken and not yet decided upon.
    taken: Vec<Happened>,
    published: Option<Instant>,
    publish_every: Duration,
    /// The same where somebody asks for it.
    answer_every: Duration,
    unpublished: bool,
    tasks: JoinSet<Ended>,
    purposes: HashMap<Id, Purpose>,
    claiming: HashMap<StartId, Claiming>,
    /// Steps that wait for locks, by their builds.
    locking: HashMap<BuildId, watch::Sender<Standing>>,
    /// Steps that wait for requests, by their builds.
    waiting: HashMap<BuildId, watch::Sender<Standing>>,
    next_scan: Option<Timestamp>,
    /// A scan was wanted while the store was being looked at.
    scan_again: bool,
    /// How often requests were tried in earlier runs, until the board is open.
    tried: BTreeMap<RequestId, u32>,
    /// What the board wants to read, in the order in which it asked.
    wanted: VecDeque<Page>,
    stopping: Vec<oneshot::Sender<()>>,
    /// Who waits for a status with all that was told before.
    awaited: Vec<oneshot::Sender<()>>,
    stopped: bool,
}

impl Actor {
    pub(super) fn new(
        parts: Parts,
        inbox: mpsc::UnboundedReceiver<(Happened, Event)>,
        status: watch::Sender<Arc<Status>>,
        pace: Arc<Pace>,
    ) -> Actor {
        Actor {
            parts,
            board: Board::default(),
            records: Records::default(),
            plans: Plans::default(),
            inbox,
            status,
            pace,
            taken: Vec::new(),
            published: None,
            publish_every: PUBLISH_EVERY,
            answer_every: ASKED_EVERY,
            unpublished: true,
            tasks: JoinSet::new(),
            purposes: HashMap::new(),
            claiming: HashMap::new(),
            locking: HashMap::new(),
            waiting: HashMap::new(),
            next_scan: None,
            scan_again: false,
            tried: BTreeMap::new(),
            wanted: VecDeque::new(),
            stopping: Vec::new(),
            awaited: Vec::new(),
            stopped: false,
        }
    }

    pub(super) async fn run(mut self) {
        self.board.configure(rules(&self.parts.world, &*self.parts.policies));
        self.board.take_up(std::mem::take(&mut self.parts.taken_up), self.parts.clock.now());
        match suspensions::read(&self.parts.store) {
            Ok(before) => self.board.suspended_before(before, self.parts.clock.now()),
            Err(error) => tracing::error!(%error, "failed to read what the last run held against others"),
        }
        // Before any build ends anew.
        self.tried = retries::counts(&self.parts.store).unwrap_or_else(|error| {
            tracing::error!(%error, "failed to read how often requests were tried");
            BTreeMap::new()
        });
        // What has no record yet is the first number that is free.
        let next = self.parts.store.ids().next_decision();
        self.board.decided_before(DecisionId(next.0.saturating_sub(1)));
        self.board.opening();
        let store = self.parts.store.clone();
        self.look_up(Purpose::Open, move || Done::Opened(store.pending_heads(HEAD)));
        loop {
            self.decide();
            if self.stopped && self.claiming.is_empty() {
                self.publish();
                drop(self.records.go(&self.parts.store));
                for done in self.stopping.drain(..) {
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                }
                return;
            }
            let timer = self.timer();
            let woke = tokio::select! {
                event = self.inbox.recv(), if !self.stopped || !self.inbox.is_closed() => match event {
                    Some(event) => Woke::Event(event),
                    None => Woke::Alone,
                },
                Some(done) = self.tasks.join_next_with_id() => Woke::Task(done),
                () = tokio::time::sleep_until(timer) => Woke::Timer,
            };
            match woke {
                Woke::Event(event) => self.event(event),
                Woke::Task(done) => self.task(done),
                Woke::Timer => {}
                Woke::Alone => self.stop(),
            }
            self.drain();
        }
    }

    /// Takes what else has happened already, so that a burst is decided upon once.
    fn drain(&mut self) {
        for _ in 0..BURST {
            match self.inbox.try_recv() {
                Ok(event) => self.event(event),
                Err(_) => break,
            }
        }
        for _ in 0..BURST {
            match self.tasks.try_join_next_with_id() {
                Some(done) => self.task(done),
                None => break,
            }
        }
    }

    fn event(&mut self, (at, event): (Happened, Event)) {
        self.unpublished = true;
        self.taken.push(at);
        match event {
            Event::Submitted(requests) => self.board.submitted(requests),
            Event::Raised(requests) => self.board.raised(requests),
            Event::Withdrawn(builder, request) => self.board.withdrawn(&builder, request),
            Event::WorkerUp(up) => self.board.worker_up(&up.name, up.since, up.facts),
            Event::WorkerDown(name) => self.board.worker_down(&name),
            Event::WorkerLoad(name, load) => self.board.worker_load(&name, load),
            Event::BuildEnded(end) => self.build_ended(&end),
            Event::StepLocks { build, step, uses, tell } => self.lock_step(build, &step, &uses, tell),
            Event::StepUnlocks(build) => {
                self.locking.remove(&build);
                self.board.unlock_step(build);
            }
            Event::StepWaits { build, requests, tell } => {
                let may = self.board.wait_for_requests(build, requests);
                tell.send_replace(may.map_or_else(Standing::Refused, |()| Standing::Held));
                self.waiting.insert(build, tell);
            }
            Event::StepWaitsNoMore(build) => {
                self.waiting.remove(&build);
                self.board.wait_no_more(build);
            }
            Event::Configure(world) => {
                self.parts.world = world;
                self.board.configure(rules(&self.parts.world, &*self.parts.policies));
            }
            Event::LookAgain => {}
            Event::Look(look) => look.answer(&mut self.board),
            // Whoever asked may have stopped waiting.
            Event::KeepRecords(reply) => drop(reply.send(self.records.go(&self.parts.store))),
            Event::Publish(done) => self.awaited.push(done),
            Event::Shutdown(done) => {
                self.stopping.push(done);
                self.stop();
            }
        }
    }

    fn build_ended(&mut self, end: &BuildEnded) {
        match end.outcome {
            Outcome::Success | Outcome::Warnings | Outcome::Failure | Outcome::Skipped => {
                self.board.worker_proved(&end.worker);
            }
            Outcome::Retry | Outcome::Exception | Outcome::Cancelled if end.lost_at_once => {
                self.board.worker_failed(&end.worker, end.at);
            }
            Outcome::Retry | Outcome::Exception | Outcome::Cancelled => {}
        }
        self.board.build_ended(end.build, end.outcome, end.at);
    }

    fn lock_step(&mut self, build: BuildId, step: &str, uses: &[Access], tell: watch::Sender<Standing>) {
        match self.board.lock_step(build, step, uses, self.parts.clock.now()) {
            StepLocks::Held => drop(tell.send_replace(Standing::Held)),
            StepLocks::Refused(why) => drop(tell.send_replace(Standing::Refused(why))),
            StepLocks::Waits(what) => {
                tell.send_replace(Standing::Waits(what));
                self.locking.insert(build, tell);
            }
        }
    }

    fn stop(&mut self) {
        self.inbox.close();
        self.board.close();
        self.stopped = true;
    }

    fn task(&mut self, done: Result<(Id, Ended), JoinError>) {
        self.unpublished = true;
        let now = self.parts.clock.now();
        match done {
            Ok((id, (at, done))) => {
                self.taken.push(at);
                self.purposes.remove(&id);
                self.done(done, now);
            }
            Err(error) => {
                tracing::error!(%error, "a task of the dispatcher died");
                match self.purposes.remove(&error.id()) {
                    Some(Purpose::Ask(id, component)) => {
                        self.board.answered(id, broken(&component, error.to_string()), now);
                    }
                    Some(Purpose::Claim(id)) => self.claimed(id, Err(CommitError::Closed), now),
                    Some(Purpose::History(pairs)) => {
                        self.board.history(pairs.into_iter().map(|pair| (pair, None)).collect());
                    }
                    Some(Purpose::Open) => self.opened(Heads::default(), now),
                    Some(Purpose::Scan) => self.scan_ended(now),
                    Some(Purpose::Read(builders)) => {
                        builders.iter().for_each(|builder| self.board.not_loaded(builder, now));
                    }
                    None => {}
                }
            }
        }
    }

    fn done(&mut self, done: Done, now: Timestamp) {
        match done {
            Done::Replied(id, reply) => self.board.answered(id, reply, now),
            Done::Claimed(id, result) => self.claimed(id, result, now),
            Done::History(found) => self.board.history(found),
            Done::Opened(Ok(heads)) => self.opened(heads, now),
            Done::Opened(Err(error)) => {
                tracing::error!(%error, "failed to read what waits in the store");
                self.opened(Heads::default(), now);
            }
            Done::Counted(counted) => {
                match counted {
                    Ok(counts) => self.board.counted(counts),
                    Err(error) => tracing::error!(%error, "failed to count what waits in the store"),
                }
                self.scan_ended(now);
            }
            Done::Read(pages) => {
                for (page, found) in pages {
                    match found {
                        Ok(found) => self.board.loaded(&page.builder, found, page.limit),
                        Err(error) => {
                            tracing::error!(builder = page.builder, %error, "failed to read what waits for it");
                            self.board.not_loaded(&page.builder, now);
                        }
                    }
                }
            }
        }
    }

    fn decide(&mut self) {
        let now = self.parts.clock.now();
        if self.next_scan.is_some_and(|at| at <= now) && !self.stopped {
            self.scan();
        }
        let mut suspended = Vec::new();
        for effect in self.board.decide(now) {
            match effect {
                Effect::Ask(ask) => self.ask(ask),
                Effect::Claim(claim) => self.claim(claim, now),
                Effect::History(pairs) => {
                    let (store, purpose) = (self.parts.store.clone(), Purpose::History(pairs.clone()));
                    self.look_up(purpose, move || Done::History(history(&store, pairs)));
                }
                Effect::More { builder, after, limit } => {
                    self.wanted.push_back(Page { builder, after, limit });
                }
                Effect::Scan => self.scan(),
                Effect::Record(decision) => {
                    if decision.fallback.is_some() {
                        self.parts.policies.fell_back(decision.policy.digest, &decision.used_by());
                    }
                    self.records.add(decision);
                }
                Effect::Suspended { key, what } => suspended.push(suspensions::row(key, what.as_ref())),
                Effect::StepLocks { build, result } => {
                    if let Some(tell) = self.locking.remove(&build) {
                        tell.send_replace(result.map_or_else(Standing::Refused, |()| Standing::Held));
                    }
                }
                Effect::Stuck { build, circle } => {
                    if let Some(tell) = self.waiting.remove(&build) {
                        tell.send_replace(Standing::Refused(circle));
                    }
                }
                Effect::Skipped { component } => {
                    let used = used_by(None, &component.kind);
                    self.parts.policies.fell_back(component.digest, &used);
                }
            }
        }
        if !suspended.is_empty() {
            // Nobody waits for it: the order of calls is the order of commits.
            drop(self.parts.store.commit(suspended));
        }
        self.read();
        if self.records.due().is_some_and(|due| due <= Instant::now()) {
            drop(self.records.go(&self.parts.store));
        }
        self.pace.handled(self.taken.drain(..), Happened::now());
        if self.unpublished && self.publish_due().is_none_or(|due| due <= Instant::now()) {
            self.publish();
        }
    }

    /// When the status may be published again; none: it never was.
    fn publish_due(&self) -> Option<Instant> {
        let every = if self.awaited.is_empty() { self.publish_every } else { self.answer_every };
        Some(self.published? + every)
    }

    fn ask(&mut self, ask: Ask) {
        let (policies, generation) = (self.parts.policies.clone(), self.parts.world.generation.clone());
        let (id, purpose) = (ask.id, Purpose::Ask(ask.id, ask.component.clone()));
        let threads = policies.threads();
        let asked = async move { stamped(Done::Replied(id, policies.ask(generation, ask).await)) };
        let task = self.tasks.spawn_on(asked, &threads);
        self.purposes.insert(task.id(), purpose);
    }

    /// Does something beside the task.
    fn spawn(&mut self, purpose: Purpose, work: impl Future<Output = Done> + Send + 'static) {
        let task = self.tasks.spawn(async move { stamped(work.await) });
        self.purposes.insert(task.id(), purpose);
    }

    /// Asks the store beside the task.
    fn look_up(&mut self, purpose: Purpose, work: impl FnOnce() -> Done + Send + 'static) {
        let task = self.tasks.spawn_blocking(|| stamped(work()));
        self.purposes.insert(task.id(), purpose);
    }

    /// Sends the one commit of a start. The order of calls is the order of commits.
    fn claim(&mut self, claim: Claim, now: Timestamp) {
        let (ids, generation) = (self.parts.store.ids(), self.parts.world.generation.clone());
        let (plan, put_plan) = self.plans.of(&claim.builder);
        let numbers = Numbers {
            build: ids.next_build(),
            number: ids.next_build_number(&claim.builder.name),
            fence: ids.next_fence(),
            generation: generation.number,
            plugins: generation.digests(),
            plan,
        };
        let (start, row) = (claim.start, claim.row(numbers, now));
        let records = self.records.go_along(&claim.decisions, row.id);
        let mut batch = claim.batch(row.clone(), self.parts.master);
        batch.extend(put_plan);
        batch.extend(persist(&records));
        let commit = self.parts.store.commit(batch);
        let (fatal, store) = (self.parts.fatal.clone(), self.parts.store.clone());
        self.spawn(Purpose::Claim(start), async move {
            let committed = commit.await;
            if committed.as_ref().is_err_and(is_gone) {
                fatal.probe(&store).await;
            }
            Done::Claimed(start, committed)
        });
        self.claiming.insert(start, Claiming { claim, row, generation, records });
    }

    fn claimed(&mut self, id: StartId, result: Result<Committed, CommitError>, now: Timestamp) {
        let Some(Claiming { claim, row, generation, records }) = self.claiming.remove(&id) else { return };
        if result.is_err() {
            self.records.come_back(records, row.id);
        }
        match result {
            Ok(_) => {
                self.plans.kept(&claim.builder);
                self.board.claimed(id, row.id);
                let requests = claim.claimed(&row, self.parts.master);
                let buildsets = claim.requests.iter().map(|(_, set)| Buildset::clone(set)).collect();
                let builder = claim.builder;
                self.parts.start.start(BuildStart { row, builder, requests, buildsets, generation });
            }
            Err(CommitError::Refused(refusal @ Refusal::AlreadyClaimed(request))) => {
                self.board.refused(id, Some(request), &refusal.to_string(), now);
            }
            Err(error) => {
                tracing::error!(build = %row.id, %error, "failed to claim requests");
                self.board.refused(id, None, &error.to_string(), now);
            }
        }
    }

    /// Reads the next pages that the board wants, if none are being read.
    fn read(&mut self) {
        if self.wanted.is_empty() || self.purposes.values().any(|p| matches!(p, Purpose::Read(_))) {
            return;
        }
        let count = self.wanted.len().min(PAGES);
        let pages: Vec<Page> = self.wanted.drain(..count).collect();
        let builders = pages.iter().map(|page| page.builder.clone()).collect();
        let store = self.parts.store.clone();
        self.look_up(Purpose::Read(builders), move || Done::Read(read(&store, pages)));
    }

    /// The first requests of all builders are there.
    fn opened(&mut self, heads: Heads, now: Timestamp) {
        self.board.opened(heads);
        self.board.tried_before(std::mem::take(&mut self.tried), now);
        self.scan_ended(now);
    }

    /// Looks for pending requests that an event missed.
    pub(super) fn scan(&mut self) {
        if self.is_scanning() {
            // What is to be found may be newer than what is being looked at.
            self.scan_again = true;
            return;
        }
        (self.next_scan, self.scan_again) = (None, false);
        let store = self.parts.store.clone();
        self.look_up(Purpose::Scan, move || Done::Counted(store.pending_counts()));
    }

    /// Whether the store is being looked at.
    pub(super) fn is_scanning(&self) -> bool {
        self.purposes.values().any(|p| matches!(p, Purpose::Open | Purpose::Scan))
    }

    /// Waits for one of its tasks and takes what it brings.
    #[cfg(test)]
    pub(super) async fn ended(&mut self) {
        let done = self.tasks.join_next_with_id().await.expect("a task is under way");
        self.task(done);
    }

    fn scan_ended(&mut self, now: Timestamp) {
        self.next_scan = Some(now.plus_ms(self.parts.world.config.db_poll_interval_ms));
        if self.scan_again {
            self.scan();
        }
    }

    fn publish(&mut self) {
        let began = Instant::now();
        self.unpublished = false;
        self.status.send_replace(Arc::new(self.board.status(self.parts.clock.now())));
        self.published = Some(began);
        let share = began.elapsed() * PUBLISH_SHARE;
        (self.publish_every, self.answer_every) = (PUBLISH_EVERY.max(share), ASKED_EVERY.max(share));
        for reader in self.awaited.drain(..) {
            // Whoever asked may have stopped waiting.
            let _ = reader.send(());
        }
    }

    /// When the task has something to do by itself.
    fn timer(&self) -> Instant {
        let now = self.parts.clock.now();
        let board = self.board.next_tick().into_iter().chain(self.next_scan).min();
        // Nothing is due: any long time will do.
        let board = board.map_or(Duration::from_secs(3_600), |at| Duration::from_millis(at.ms_since(now)));
        let due = Instant::now() + board.max(Duration::from_millis(1));
        let due = self.records.due().map_or(due, |records| records.min(due));
        match self.publish_due().filter(|_| self.unpublished) {
            Some(publish) => due.min(publish),
            None => due,
        }
    }
}
