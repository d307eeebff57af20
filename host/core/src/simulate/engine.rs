//! The clock of a simulation, and the surroundings that a board has in the master: store, workers, policies.

use std::collections::BTreeMap;

use super::books::Books;
use super::report::{Built, Report};
use super::{Broken, Job, Run, World};
use crate::build::MAX_RETRIES;
use crate::id::{BuildId, RequestId};
use crate::lock::Access;
use crate::outcome::Outcome;
use crate::request::{Pending, Turn};
use crate::schedule::{Ask, AskId, Board, Claim, Effect, LastBuilt, Reply, StartId, StepLocks};
use crate::time::Timestamp;

pub(super) struct Engine<'w, P> {
    world: &'w World,
    policies: P,
    board: Board,
    now: Timestamp,
    queue: BTreeMap<(Timestamp, u64), Event<'w>>,
    queued: u64,
    books: Books<'w>,
    jobs: BTreeMap<RequestId, &'w Job>,
    running: BTreeMap<BuildId, Running>,
    last_built: BTreeMap<(String, String), LastBuilt>,
    report: Report,
}

/// What happens at a moment.
enum Event<'w> {
    Submit(&'w Job),
    Withdraw(RequestId),
    Up(&'w str),
    Down {
        worker: &'w str,
        loses_builds: bool,
    },
    Answer(AskId, Box<Reply>),
    Commit(Box<Claim>),
    StepEnds(BuildId, usize),
    /// What waits is to be compared.
    Scan,
    /// The store looks.
    Look(Look),
    /// What it has found arrives.
    Found(Found),
}

/// What the store is asked.
enum Look {
    Page { builder: String, after: Option<Turn>, limit: usize },
    Counts,
}

/// What it answers.
enum Found {
    Page { builder: String, found: Pending, limit: usize },
    Counts(BTreeMap<String, u64>),
}

struct Running {
    start: StartId,
    run: Run,
    /// The step that it is at.
    step: usize,
    /// Where the report has it.
    index: usize,
}

impl<'w, P: FnMut(&Ask) -> (Reply, u64)> Engine<'w, P> {
    pub(super) fn new(world: &'w World, policies: P) -> Engine<'w, P> {
        let mut engine = Engine {
            world,
            policies,
            board: Board::default(),
            now: Timestamp(0),
            queue: BTreeMap::new(),
            queued: 0,
            books: Books::new(&world.rules),
            jobs: world.jobs.iter().map(|job| (job.request.id, job)).collect(),
            running: BTreeMap::new(),
            last_built: BTreeMap::new(),
            report: Report::default(),
        };
        engine.board.configure(world.rules.clone());
        for shift in &world.shifts {
            engine.at(shift.from, Event::Up(&shift.worker));
            if let Some(until) = shift.until {
                let down = Event::Down { worker: &shift.worker, loses_builds: shift.loses_builds };
                engine.at(until, down);
            }
        }
        for job in &world.jobs {
            engine.at(job.request.submitted, Event::Submit(job));
            if let Some(at) = job.withdrawn {
                engine.at(at.max(job.request.submitted), Event::Withdraw(job.request.id));
            }
        }
        if world.scan_ms > 0 {
            engine.at(Timestamp(world.scan_ms), Event::Scan);
        }
        engine
    }

    /// Goes from event to event until nothing happens any more.
    pub(super) fn play(mut self) -> Result<Report, Broken> {
        while let Some(at) = self.next().filter(|at| *at <= self.world.until) {
            self.now = self.now.max(at);
            while let Some(next) = self.queue.first_entry().filter(|next| next.key().0 <= self.now) {
                let event = next.remove();
                self.on(event)?;
            }
            self.settle()?;
        }
        self.report.end = self.now;
        self.report.status = self.board.status(self.now);
        self.report.workers = self.books.workers(&self.report.builds, self.now);
        self.report.requests = self.books.requests();
        Ok(self.report)
    }

    /// The next moment at which something happens. What the board waits for by itself counts as long as there is
    /// something to build.
    fn next(&self) -> Option<Timestamp> {
        let event = self.queue.first_key_value().map(|((at, _), _)| *at);
        let tick = self.board.next_tick().filter(|_| self.books.anything_waits());
        event.into_iter().chain(tick).min()
    }

    fn at(&mut self, at: Timestamp, event: Event<'w>) {
        self.queued += 1;
        self.queue.insert((at, self.queued), event);
    }

    fn on(&mut self, event: Event<'w>) -> Result<(), Broken> {
        match event {
            Event::Submit(job) => {
                self.books.submitted(&job.request);
                self.board.submitted([(job.request.clone(), job.buildset.clone())]);
            }
            Event::Withdraw(request) => {
                if let Some(job) = self.jobs.get(&request).filter(|_| self.books.withdrawn(request, self.now))
                {
                    self.board.withdrawn(&job.request.builder, request);
                }
            }
            Event::Up(worker) => {
                self.books.connected(worker, self.now);
                self.board.worker_up(worker, self.now, Vec::new());
            }
            Event::Down { worker, loses_builds } => {
                self.books.disconnected(worker, self.now);
                self.board.worker_down(worker);
                if loses_builds {
                    let lost = |id: &BuildId| self.report.builds[self.running[id].index].worker == worker;
                    let lost: Vec<BuildId> = self.running.keys().copied().filter(lost).collect();
                    for build in lost {
                        self.end(build, Outcome::Retry, Some(format!("worker `{worker}` was lost")));
                    }
                }
            }
            Event::Answer(id, reply) => self.board.answered(id, *reply, self.now),
            Event::Commit(claim) => self.commit(&claim)?,
            Event::StepEnds(build, step) => {
                if self.running.get(&build).is_some_and(|running| running.step == step) {
                    self.books.release_step(build);
                    self.board.unlock_step(build);
                    self.step(build, step + 1)?;
                }
            }
            Event::Scan => {
                self.look(Look::Counts);
                // Once all is over, nothing is to be found any more.
                if self.books.anything_waits() || self.queue.len() > 1 {
                    self.at(self.now.plus_ms(self.world.scan_ms), Event::Scan);
                }
            }
            Event::Look(look) => {
                let found = match look {
                    Look::Page { builder, after, limit } => {
                        Found::Page { found: self.pending(&builder, after, limit), builder, limit }
                    }
                    Look::Counts => Found::Counts(self.counts()),
                };
                self.at(self.now.plus_ms(self.world.read_ms.div_ceil(2)), Event::Found(found));
            }
            Event::Found(Found::Page { builder, found, limit }) => self.board.loaded(&builder, found, limit),
            Event::Found(Found::Counts(counts)) => self.board.counted(counts),
        }
        Ok(())
    }

    /// Does what the board wants done until it wants nothing more.
    fn settle(&mut self) -> Result<(), Broken> {
        loop {
            let effects = self.board.decide(self.now);
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                self.effect(effect)?;
            }
        }
    }

    fn effect(&mut self, effect: Effect) -> Result<(), Broken> {
        match effect {
            Effect::Ask(ask) => {
                let (reply, ms) = (self.policies)(&ask);
                self.report.asked += 1;
                self.at(self.now.plus_ms(ms), Event::Answer(ask.id, Box::new(reply)));
            }
            Effect::Claim(claim) => {
                self.books.handed_out(&claim, self.now)?;
                self.at(self.now.plus_ms(self.world.claim_ms), Event::Commit(Box::new(claim)));
            }
            Effect::History(pairs) => {
                let found = pairs.into_iter().map(|pair| {
                    let last = self.last_built.get(&pair).copied().flatten();
                    (pair, last)
                });
                self.board.history(found.collect());
            }
            Effect::More { builder, after, limit } => {
                self.look(Look::Page { builder, after, limit });
            }
            Effect::Scan => self.look(Look::Counts),
            Effect::Record(decision) => {
                self.report.fallbacks += u64::from(decision.fallback.is_some());
                if self.world.records {
                    self.report.decisions.push(decision);
                }
            }
            Effect::Skipped { .. } => self.report.fallbacks += 1,
            // Nothing here outlives the simulation.
            Effect::Suspended { .. } => {}
            Effect::StepLocks { build, result } => match result {
                Ok(()) => self.run_step(build)?,
                Err(circle) => self.end(build, Outcome::Exception, Some(circle)),
            },
            Effect::Stuck { build, circle } => self.end(build, Outcome::Exception, Some(circle)),
        }
        Ok(())
    }

    /// Asks the store.
    fn look(&mut self, look: Look) {
        self.at(self.now.plus_ms(self.world.read_ms / 2), Event::Look(look));
    }

    /// How many wait for each builder, in the store.
    fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for id in self.books.waiting() {
            *counts.entry(self.jobs[&id].request.builder.clone()).or_default() += 1;
        }
        counts
    }

    /// What waits for a builder, in the store.
    fn pending(&self, builder: &str, after: Option<Turn>, limit: usize) -> Pending {
        let waiting = self.books.waiting().map(|id| self.jobs[&id]);
        let mut jobs: Vec<&Job> = waiting.filter(|job| job.request.builder == builder).collect();
        let count = jobs.len() as u64;
        jobs.retain(|job| after.is_none_or(|after| Turn::of(&job.request) > after));
        jobs.sort_by_key(|job| Turn::of(&job.request));
        let rows = jobs.into_iter().take(limit).map(|job| (job.request.clone(), job.buildset.clone()));
        Pending { rows: rows.collect(), count }
    }

    /// What the store says to a claim, and the beginning of the build.
    fn commit(&mut self, claim: &Claim) -> Result<(), Broken> {
        if let Some(taken) = self.books.refused(claim) {
            let why = format!("{taken} was withdrawn");
            self.board.refused(claim.start, Some(taken), &why, self.now);
            return Ok(());
        }
        let id = BuildId(self.report.builds.len() as u64 + 1);
        let requests: Vec<RequestId> = claim.requests.iter().map(|(r, _)| r.id).collect();
        let run = self.jobs[&requests[0]].run(self.books.retries(&requests[..1]));
        let decided = self.books.claimed(claim, self.now);
        self.report.builds.push(Built {
            id,
            builder: claim.builder.name.clone(),
            worker: claim.worker.clone(),
            requests,
            decided,
            started: self.now,
            ended: None,
            outcome: None,
            why: None,
        });
        let index = self.report.builds.len() - 1;
        self.running.insert(id, Running { start: claim.start, run, step: 0, index });
        self.board.claimed(claim.start, id);
        if !self.books.is_connected(&claim.worker) {
            self.end(id, Outcome::Retry, Some(format!("worker `{}` was lost", claim.worker)));
        }
        self.step(id, 0)
    }

    /// A build comes to a step, or to its end.
    fn step(&mut self, build: BuildId, step: usize) -> Result<(), Broken> {
        let Some(running) = self.running.get_mut(&build) else { return Ok(()) };
        running.step = step;
        let locks: Vec<Access> = match running.run.steps.get(step) {
            None => {
                let outcome = running.run.outcome;
                self.end(build, outcome, None);
                return Ok(());
            }
            Some(step) => step.locks.clone(),
        };
        if !locks.is_empty() {
            match self.board.lock_step(build, &format!("step {step}"), &locks, self.now) {
                StepLocks::Held => {}
                StepLocks::Waits(_) => return Ok(()),
                StepLocks::Refused(circle) => {
                    self.end(build, Outcome::Exception, Some(circle));
                    return Ok(());
                }
            }
        }
        self.run_step(build)
    }

    /// A step has its locks.
    fn run_step(&mut self, build: BuildId) -> Result<(), Broken> {
        let Some(running) = self.running.get(&build) else { return Ok(()) };
        let (at, step) = (running.step, &running.run.steps[running.step]);
        let (ends, worker) = (self.now.plus_ms(step.ms), self.report.builds[running.index].worker.clone());
        self.books.lock_step(build, &step.locks, &worker, self.now)?;
        self.at(ends, Event::StepEnds(build, at));
        Ok(())
    }

    fn end(&mut self, build: BuildId, mut outcome: Outcome, mut why: Option<String>) {
        let Some(running) = self.running.remove(&build) else { return };
        let built = &mut self.report.builds[running.index];
        let retries = self.books.retries(&built.requests);
        let most = self.world.rules.builders.get(&built.builder).map_or(MAX_RETRIES, |b| b.max_retries);
        if outcome == Outcome::Retry && retries >= most {
            outcome = Outcome::Exception;
            let last = why.unwrap_or_else(|| "to be built again".to_owned());
            why = Some(format!("given up after {} builds in a row; the last was {last}", retries + 1));
        }
        (built.ended, built.outcome, built.why) = (Some(self.now), Some(outcome), why);
        self.books.ended(running.start, build, built, self.now);
        let key = (built.builder.clone(), built.worker.clone());
        self.last_built.insert(key, Some((self.now, outcome)));
        self.board.build_ended(build, outcome, self.now);
    }
}
