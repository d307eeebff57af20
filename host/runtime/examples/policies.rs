//! What asking a policy costs on its whole way, from the board that decides to the guest and back, beside a bare
//! loop that makes an instance and calls it: `tests/bench/policies.py` makes the components and runs this.
//!
//! ```sh
//! cargo run --release -p windlass-runtime --example policies -- rust=v1.wasm:placement c=c-all.wasm:last
//! ```
//!
//! Both in one run and in turns, so that whatever else the machine does falls on both: same component, same
//! candidates, same arguments, same settings of the engine. The bare loop knows no limits, no meters and no
//! threads; its arguments are ready before the clock starts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use windlass_core::builder::{Builder, OnError, PolicyUse};
use windlass_core::digest::Digest;
use windlass_core::id::{BuildId, BuildsetId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::policy::HookKind;
use windlass_core::properties::Properties;
use windlass_core::record;
use windlass_core::request::{Buildset, Request};
use windlass_core::schedule::{Ask, Board, Effect, Reply, Rules, WorkerRule};
use windlass_core::time::Timestamp;
use windlass_runtime::plugin::Source;
use windlass_runtime::registry::Generation;
use windlass_runtime::{Options, Runtime};

#[path = "bare/bare.rs"]
mod bare;
use bare::{Bare, Failed, Question, worker};

/// Turns of each kind for each figure, after some that do not count.
const TURNS: usize = 300;
const WARM_UP: usize = 20;

fn main() -> Result<(), Failed> {
    // As the master has it: the dispatcher is a task among others.
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    threads.block_on(async { tokio::spawn(measure()).await? })
}

async fn measure() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let runtime = Runtime::new(Options::new(dir.path().join("cache")))?;
    println!(
        "{:8} {:>10} {:>22} {:>22} {:>8}",
        "guest", "candidates", "bare p50 (p90)", "whole way p50 (p90)", "ratio"
    );
    for arg in std::env::args().skip(1).collect::<Vec<_>>() {
        let (name, rest) = arg.split_once('=').ok_or("NAME=FILE:HOOK")?;
        let (file, hook) = rest.rsplit_once(':').ok_or("NAME=FILE:HOOK")?;
        let bytes = Bytes::from(std::fs::read(file)?);
        let bare = Bare::new(&bytes)?;
        let plugin = runtime.load(name, Source::File(file.into()), bytes)?;
        let generation = Arc::new(Generation::new(1, vec![plugin]));
        for candidates in [10, 100, 1_000] {
            let mut way = Way::new(&runtime, &generation, &format!("{name}:{hook}"), candidates);
            let question = Question::of(candidates);
            let (mut alone, mut whole) = (Vec::new(), Vec::new());
            for turn in 0..WARM_UP + TURNS {
                let began = Instant::now();
                drop(bare.ask(hook, &question).await?);
                let (a, b) = (began.elapsed(), way.ask().await?);
                if turn >= WARM_UP {
                    alone.push(a);
                    whole.push(b);
                }
            }
            let (alone, whole) = (Spread::of(alone), Spread::of(whole));
            let ratio = whole.p50.as_secs_f64() / alone.p50.as_secs_f64();
            println!("{name:8} {candidates:>10} {alone:>22} {whole:>22} {ratio:>8.2}");
        }
    }
    Ok(())
}

struct Spread {
    p50: Duration,
    p90: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Spread {
        times.sort();
        Spread { p50: times[times.len() / 2], p90: times[times.len() * 9 / 10] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.0?} ({:.0?})", self.p50, self.p90))
    }
}

/// The way that a question takes in the master: the board drafts it, a task asks, the board judges the answer and
/// hands out the claim.
struct Way {
    runtime: Runtime,
    generation: Arc<Generation>,
    board: Board,
    tasks: JoinSet<(windlass_core::schedule::AskId, Reply)>,
    requests: u64,
}

impl Way {
    fn new(runtime: &Runtime, generation: &Arc<Generation>, hook: &str, candidates: usize) -> Way {
        let mut board = Board::default();
        let digest = generation.plugins().next().map_or(Digest::of(b""), |plugin| plugin.digest);
        let kind = HookKind::NextSlave;
        let component = record::Component { kind: kind.as_str().to_owned(), hook: hook.to_owned(), digest };
        let workers = (0..candidates).map(|n| WorkerRule {
            name: worker(n),
            max_builds: Some(4),
            properties: Properties::default(),
            locks: Vec::new(),
        });
        board.configure(Rules {
            builders: [("linux".to_owned(), Arc::new(builder(hook, candidates)))].into(),
            workers: workers.collect(),
            components: [((kind, hook.to_owned()), component)].into(),
            window: candidates,
            ..Rules::default()
        });
        (0..candidates).for_each(|n| board.worker_up(&worker(n), Timestamp(1_000), Vec::new()));
        for effect in board.decide(Timestamp(1_000)) {
            if let Effect::History(pairs) = effect {
                board.history(pairs.into_iter().map(|pair| (pair, None)).collect());
            }
        }
        let (runtime, generation) = (runtime.clone(), Arc::clone(generation));
        Way { runtime, generation, board, tasks: JoinSet::new(), requests: 0 }
    }

    async fn ask(&mut self) -> Result<Duration, Failed> {
        self.requests += 1;
        let (request, buildset) = order(self.requests);
        let now = Timestamp(2_000 + self.requests);
        let began = Instant::now();
        self.board.submitted([(request, Arc::new(buildset))]);
        let mut effects = VecDeque::from(self.board.decide(now));
        while let Some(effect) = effects.pop_front() {
            match effect {
                // Once for each pair, in a turn that does not count.
                Effect::History(pairs) => {
                    self.board.history(pairs.into_iter().map(|pair| (pair, None)).collect());
                    effects.extend(self.board.decide(now));
                }
                Effect::Ask(ask) => {
                    let answer = answer(self.runtime.clone(), Arc::clone(&self.generation), ask);
                    self.tasks.spawn_on(answer, self.runtime.policy_threads());
                }
                other => return Err(format!("{other:?} where a question was due").into()),
            }
        }
        let (id, reply) = self.tasks.join_next().await.ok_or("a question was asked")??;
        self.board.answered(id, reply, now);
        let effects = self.board.decide(now);
        let took = began.elapsed();
        for effect in effects {
            match effect {
                Effect::Record(decision) if decision.fallback.is_none() => {}
                Effect::Claim(claim) => self.board.claimed(claim.start, BuildId(self.requests)),
                other => return Err(format!("{other:?} where a claim was due").into()),
            }
        }
        self.board.build_ended(BuildId(self.requests), Outcome::Success, now);
        Ok(took)
    }
}

/// As the master's dispatcher asks.
async fn answer(
    runtime: Runtime,
    generation: Arc<Generation>,
    ask: Ask,
) -> (windlass_core::schedule::AskId, Reply) {
    let found = generation.resolve(ask.question.kind(), &ask.policy.hook).expect("it is the only plugin");
    let reply = runtime.ask(&found.plugin, &found.hook, &ask.policy.args, ask.question, ask.lookups).await;
    (ask.id, Reply { answer: reply.answer, lookups: reply.lookups, usage: reply.usage })
}

fn builder(hook: &str, workers: usize) -> Builder {
    let next_slave = PolicyUse { hook: hook.to_owned(), args: "{}".to_owned(), on_error: OnError::Default };
    Builder {
        tags: vec!["ci".to_owned()],
        workers: (0..workers).map(worker).collect(),
        next_slave: Some(next_slave),
        ..Builder::bare("linux", &[])
    }
}

fn order(id: u64) -> (Request, Buildset) {
    let request = Request::new(RequestId(id), BuildsetId(id), "linux".to_owned(), Timestamp(1_000));
    let buildset = Buildset {
        id: BuildsetId(id),
        reason: "force".to_owned(),
        submitter: "bench".to_owned(),
        stamps: Vec::new(),
        properties: Properties::default(),
        submitted: Timestamp(1_000),
        requests: vec![RequestId(id)],
        complete: None,
        parent: None,
    };
    (request, buildset)
}
