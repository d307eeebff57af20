//! The dispatcher's part, without the rest of a master: the real board over the real store, and where there are
//! policies, the real runtime.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use windlass_core::decision::Decision;
use windlass_core::digest::Digest;
use windlass_core::id::{BuildId, Fence, MasterId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::policy::Question;
use windlass_core::request::{Buildset, Pending, Request, Turn};
use windlass_core::schedule::{
    Ask, AskId, Board, Claim, Effect, HEAD, LastBuilt, Numbers, Reply, Rules, StartId,
};
use windlass_core::time::Timestamp;
use windlass_store::Store;

use super::policies::Policies;

const MASTER: MasterId = MasterId(1);

/// What the store or a policy answers.
enum Answer {
    Opened(BTreeMap<String, Pending>),
    Read(String, Pending, usize),
    History(Vec<((String, String), LastBuilt)>),
    Claimed(StartId, BuildId, Fence, Vec<RequestId>),
    Submitted(Buildset, Vec<Request>),
    Replied(AskId, Reply),
    Completed,
}

pub struct Driver {
    pub store: Store,
    pub board: Board,
    policies: Option<Policies>,
    answers: UnboundedReceiver<Answer>,
    answer: UnboundedSender<Answer>,
    pub under_way: usize,
    /// Builds whose claim is durable.
    pub running: Vec<(BuildId, Fence, Vec<RequestId>)>,
    pub seen: Seen,
    /// Decisions that go along with the next claim.
    records: Vec<Decision>,
    asked: HashMap<AskId, Instant>,
}

/// What was measured.
#[derive(Default)]
pub struct Seen {
    pub claims: usize,
    /// What each event cost.
    pub events: Vec<Duration>,
    /// From each question until its answer was judged and what follows handed over.
    pub questions: Vec<Duration>,
    /// What was offered, over all questions.
    pub candidates: usize,
}

impl Driver {
    pub fn new(store: Store, rules: Rules, policies: Option<Policies>) -> Driver {
        let (answer, answers) = unbounded_channel();
        let mut board = Board::default();
        board.configure(rules);
        board.decided_before(windlass_core::id::DecisionId(store.ids().next_decision().0.saturating_sub(1)));
        board.opening();
        let mut driver = Driver {
            store,
            board,
            policies,
            answers,
            answer,
            under_way: 0,
            running: Vec::new(),
            seen: Seen::default(),
            records: Vec::new(),
            asked: HashMap::new(),
        };
        driver.look_up(|store| Answer::Opened(store.pending_heads(HEAD).expect("heads")));
        driver
    }

    /// Something happens by itself.
    pub fn happen(&mut self, what: impl FnOnce(&mut Driver)) {
        let began = Instant::now();
        what(self);
        self.decide();
        self.seen.events.push(began.elapsed());
    }

    /// Submits a buildset.
    pub fn submit(&mut self, add: Persist) {
        let Persist::AddBuildset { buildset, requests } = add.clone() else { unreachable!() };
        self.commit(vec![add], Answer::Submitted(buildset, requests));
    }

    /// A build ends.
    pub fn end(&mut self, (build, fence, requests): (BuildId, Fence, Vec<RequestId>)) {
        let end = Persist::Complete { requests, fence, outcome: Outcome::Success, at: now() };
        self.commit(vec![end], Answer::Completed);
        self.board.build_ended(build, Outcome::Success, now());
    }

    /// Waits for an answer.
    pub async fn take(&mut self) {
        if let Some(answer) = self.answers.recv().await {
            self.answered(answer);
        }
    }

    /// Takes what has been answered already.
    pub fn take_ready(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.answered(answer);
        }
    }

    fn answered(&mut self, answer: Answer) {
        self.under_way -= 1;
        let (began, mut asked) = (Instant::now(), None);
        match answer {
            Answer::Opened(heads) => self.board.opened(heads),
            Answer::Read(builder, found, limit) => self.board.loaded(&builder, found, limit),
            Answer::History(found) => self.board.history(found),
            Answer::Claimed(start, build, fence, requests) => {
                self.board.claimed(start, build);
                self.running.push((build, fence, requests));
            }
            Answer::Submitted(buildset, requests) => {
                let buildset = Arc::new(buildset);
                self.board.submitted(requests.into_iter().map(|request| (request, buildset.clone())));
            }
            Answer::Replied(id, reply) => {
                asked = self.asked.remove(&id);
                self.board.answered(id, reply, now());
            }
            Answer::Completed => return,
        }
        self.decide();
        self.seen.events.push(began.elapsed());
        self.seen.questions.extend(asked.map(|at| at.elapsed()));
    }

    fn decide(&mut self) {
        for effect in self.board.decide(now()) {
            match effect {
                Effect::Claim(claim) => self.claim(&claim),
                Effect::More { builder, after, limit } => self.read(builder, after, limit),
                Effect::Ask(ask) => self.ask(ask),
                Effect::History(pairs) => self.look_up(|store| Answer::History(history(&store, pairs))),
                Effect::Record(decision) => {
                    assert_eq!(decision.fallback, None, "the policy answers");
                    self.records.push(decision);
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        self.seen.candidates += match &ask.question {
            Question::PrioritizeBuilders { builders } => builders.len(),
            Question::NextSlave { slaves, .. } | Question::CanStartBuild { slaves, .. } => slaves.len(),
            Question::NextBuild { requests, .. } => requests.len(),
            Question::MergeRequests { others, .. } => others.len(),
            _ => 0,
        };
        self.under_way += 1;
        self.asked.insert(ask.id, Instant::now());
        let policies = self.policies.as_ref().expect("the rules name none");
        let (id, reply, answer) = (ask.id, policies.ask(ask), self.answer.clone());
        policies.threads().spawn(async move { drop(answer.send(Answer::Replied(id, reply.await))) });
    }

    fn claim(&mut self, claim: &Claim) {
        self.seen.claims += 1;
        let ids = self.store.ids();
        let numbers = Numbers {
            plan: Digest::of(b"plan"),
            build: ids.next_build(),
            number: ids.next_build_number(&claim.builder.name),
            fence: ids.next_fence(),
            generation: 1,
            plugins: self.policies.as_ref().map(Policies::digests).unwrap_or_default(),
        };
        let row = claim.row(numbers, now());
        let done = Answer::Claimed(claim.start, row.id, row.fence, row.requests.clone());
        let records = self.records.drain(..).map(|mut record| {
            record.build = claim.decisions.contains(&record.id).then_some(row.id);
            Persist::AddDecision(Arc::new(record))
        });
        let records: Vec<Persist> = records.collect();
        let mut batch = claim.batch(row, MASTER);
        batch.extend(records);
        self.commit(batch, done);
    }

    fn read(&mut self, builder: String, after: Option<Turn>, limit: usize) {
        self.look_up(move |store| {
            let found = store.pending_after(&builder, after, limit).expect("rows");
            Answer::Read(builder, found, limit)
        });
    }

    fn look_up(&mut self, read: impl FnOnce(Store) -> Answer + Send + 'static) {
        self.under_way += 1;
        let (store, answer) = (self.store.clone(), self.answer.clone());
        tokio::task::spawn_blocking(move || drop(answer.send(read(store))));
    }

    fn commit(&mut self, batch: Vec<Persist>, done: Answer) {
        self.under_way += 1;
        let (commit, answer) = (self.store.commit(batch), self.answer.clone());
        tokio::spawn(async move {
            commit.await.expect("commit");
            drop(answer.send(done));
        });
    }
}

fn history(store: &Store, pairs: Vec<(String, String)>) -> Vec<((String, String), LastBuilt)> {
    let look_up = |(builder, worker): (String, String)| {
        let last = store.last_build(&builder, &worker).expect("a build or none");
        ((builder, worker), last)
    };
    pairs.into_iter().map(look_up).collect()
}

pub fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or_default())
}
