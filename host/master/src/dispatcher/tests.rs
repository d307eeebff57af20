//! The dispatcher over a real store, with policies and builds that are scripted as values.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use windlass_config::config;
use windlass_core::builder::{Builder, OnError, PolicyUse};
use windlass_core::decision::Decision;
use windlass_core::digest::Digest;
use windlass_core::id::{BuildId, BuildsetId, MasterId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::policy::{Answer, HookKind, Question, Usage};
use windlass_core::properties::Properties;
use windlass_core::record::Component;
use windlass_core::request::{Buildset, Request};
use windlass_core::schedule::{Ask, Reply, Status};
use windlass_core::time::Timestamp;
use windlass_runtime::registry::Generation;
use windlass_store::Store;

use super::policies::broken;
use super::*;
use crate::clock::{Clock, ManualClock};
use crate::fatal::Fatal;

mod backlog;

const MASTER: MasterId = MasterId(1);

/// Answers questions by a function; none: the call fails.
struct Scripted(Answers);

type Answers = Box<dyn Fn(&Question) -> Option<Answer> + Send + Sync>;

#[async_trait]
impl Policies for Scripted {
    fn find(&self, generation: &Generation, kind: HookKind, hook: &str) -> Result<Component, String> {
        let digest = Digest::of(&generation.number.to_be_bytes());
        Ok(Component { kind: kind.as_str().to_owned(), hook: format!("p:{hook}"), digest })
    }

    async fn ask(&self, _generation: Arc<Generation>, ask: Ask) -> Reply {
        match (self.0)(&ask.question) {
            Some(answer) => Reply { answer: Ok(answer), lookups: Vec::new(), usage: Usage::default() },
            None => broken(&ask.component, "unreachable".to_owned()),
        }
    }

    fn threads(&self) -> tokio::runtime::Handle {
        tokio::runtime::Handle::current()
    }

    fn fell_back(&self, _digest: Digest, _used: &str) {}
}

/// Hands the builds that start to the test.
struct Starts(mpsc::UnboundedSender<BuildStart>);

impl StartBuild for Starts {
    fn start(&self, build: BuildStart) {
        self.0.send(build).unwrap();
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    store: Store,
    clock: Arc<ManualClock>,
    fatal: Fatal,
    dispatcher: Dispatcher,
    starts: mpsc::UnboundedReceiver<BuildStart>,
}

fn builder(name: &str, workers: &[&str]) -> Builder {
    Builder::bare(name, workers)
}

fn policy(hook: &str) -> PolicyUse {
    PolicyUse { hook: hook.to_owned(), args: "{}".to_owned(), on_error: OnError::Default }
}

fn world(number: u64, workers: &[(&str, u32)], builders: Vec<Builder>) -> Arc<World> {
    let worker = |(name, max): &(&str, u32)| config::Worker {
        name: (*name).to_owned(),
        token_hash: None,
        max_builds: Some(*max),
        properties: Properties::default(),
        default_properties: Properties::default(),
        locks: Vec::new(),
    };
    let config = config::Master {
        title: "test".to_owned(),
        title_url: None,
        url: None,
        validation: Default::default(),
        fixed: config::Fixed {
            listen: "127.0.0.1:0".to_owned(),
            state_dir: "state".into(),
            plugins_dir: "plugins".into(),
            public_dir: "public".into(),
        },
        properties: Properties::default(),
        locks: std::collections::BTreeMap::new(),
        workers: workers.iter().map(worker).collect(),
        builders,
        prioritize_builders: None,
        codebase_generator: None,
        git_pollers: Vec::new(),
        configurators: Vec::new(),
        schedulers: Vec::new(),
        reporters: Vec::new(),
        grants: std::collections::BTreeMap::new(),
        secrets: std::collections::BTreeMap::new(),
        db_poll_interval_ms: 60_000,
        step_deadline_ms: 3_600_000,
        worker_grace_ms: 60_000,
        user_managers: Vec::new(),
        users: Default::default(),
        debug: None,
        logs: config::Logs { max_log_bytes: 1 << 20, ..config::Logs::default() },
        decisions: windlass_core::decision::Budget::default(),
        artifacts: Default::default(),
    };
    Arc::new(World { config: Arc::new(config), generation: Arc::new(Generation::new(number, Vec::new())) })
}

/// A buildset with one request for `builder`.
fn wish(store: &Store, builder: &str, now: Timestamp) -> (Buildset, Request) {
    let (set, id): (BuildsetId, RequestId) = (store.ids().next_buildset(), store.ids().next_request());
    let buildset = Buildset {
        id: set,
        reason: "test".to_owned(),
        submitter: "test".to_owned(),
        stamps: Vec::new(),
        properties: Properties::default(),
        submitted: now,
        requests: vec![id],
        complete: None,
        parent: None,
    };
    let request = Request::new(id, set, builder.to_owned(), now);
    (buildset, request)
}

/// What a dispatcher is made of, over an empty store in the folder; nobody hears of the builds that it starts.
fn parts(
    world: Arc<World>,
    policies: impl Fn(&Question) -> Option<Answer> + Send + Sync + 'static,
) -> (Parts, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let parts = Parts {
        store: Store::open(folder.path(), windlass_store::Options::default()).unwrap(),
        policies: Arc::new(Scripted(Box::new(policies))),
        start: Arc::new(Starts(mpsc::unbounded_channel().0)),
        clock: Arc::new(ManualClock::new(Timestamp(1_000))),
        master: MASTER,
        fatal: Fatal::default(),
        world,
        taken_up: Vec::new(),
    };
    (parts, folder)
}

impl Bench {
    /// All records of decisions, the oldest first.
    async fn decisions(&self) -> Vec<Decision> {
        self.dispatcher.keep_records().await;
        let mut decisions = self.store.decisions_before(None, usize::MAX).unwrap();
        decisions.reverse();
        decisions
    }

    fn new(
        world: Arc<World>,
        policies: impl Fn(&Question) -> Option<Answer> + Send + Sync + 'static,
        prepare: impl FnOnce(&Store) -> Vec<Persist>,
    ) -> Bench {
        let (made, folder) = parts(world, policies);
        let (store, fatal) = (made.store.clone(), made.fatal.clone());
        let clock = Arc::new(ManualClock::new(Timestamp(1_000)));
        let (sender, starts) = mpsc::unbounded_channel();
        let prepared = prepare(&store);
        if !prepared.is_empty() {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(store.commit(prepared)).unwrap();
            });
        }
        let dispatcher =
            Dispatcher::spawn(Parts { start: Arc::new(Starts(sender)), clock: clock.clone(), ..made });
        Bench { _folder: folder, store, clock, fatal, dispatcher, starts }
    }

    fn up(&self, worker: &str) {
        let since = self.clock.now();
        self.dispatcher.worker_up(WorkerUp { name: worker.to_owned(), since, facts: Vec::new() });
    }

    async fn submit(&self, builder: &str) -> RequestId {
        let (buildset, request) = wish(&self.store, builder, self.clock.now());
        let add = Persist::AddBuildset { buildset: buildset.clone(), requests: vec![request.clone()] };
        self.store.commit(vec![add]).await.unwrap();
        let id = request.id;
        self.dispatcher.submitted(buildset, vec![request]);
        id
    }

    async fn started(&mut self) -> BuildStart {
        tokio::time::timeout(Duration::from_secs(20), self.starts.recv())
            .await
            .expect("a build starts")
            .unwrap()
    }

    /// Ends a build as a driver does: commit first, then the word.
    async fn end(&self, build: &BuildStart, outcome: Outcome) {
        let (requests, fence, at) = (build.row.requests.clone(), build.row.fence, self.clock.now());
        let last = match outcome {
            Outcome::Retry => Persist::Unclaim { requests: requests.clone(), fence },
            outcome => Persist::Complete { requests: requests.clone(), fence, outcome, at },
        };
        self.store.commit(vec![last]).await.unwrap();
        self.dispatcher.build_ended(BuildEnded {
            build: build.row.id,
            worker: build.row.worker.clone(),
            builder: build.row.builder.clone(),
            requests,
            outcome,
            lost_at_once: false,
            at,
        });
    }

    async fn status(&self, is: impl FnMut(&Arc<Status>) -> bool) -> Arc<Status> {
        let mut watch = self.dispatcher.watch();
        let found = tokio::time::timeout(Duration::from_secs(20), watch.wait_for(is)).await;
        found.expect("the state comes").unwrap().clone()
    }
}

fn none(_: &Question) -> Option<Answer> {
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_is_durable_with_its_claim_before_it_starts() {
    let mut bench = Bench::new(world(7, &[("w", 1)], vec![builder("b", &["w"])]), none, |_| Vec::new());
    bench.up("w");
    let request = bench.submit("b").await;
    let start = bench.started().await;
    assert_eq!((start.row.number, start.row.generation), (1, 7));
    assert_eq!(bench.store.build(start.row.id).unwrap(), Some(start.row.clone()));
    let stored = bench.store.request(request).unwrap().unwrap();
    assert_eq!(stored.claim.unwrap().fence, start.row.fence);
    assert_eq!(start.requests, [stored]);
    assert_eq!(start.row.properties.get("workername"), Some(&"w".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freed_slot_goes_to_the_next_and_a_retry_comes_back() {
    let mut bench = Bench::new(world(1, &[("w", 1)], vec![builder("b", &["w"])]), none, |_| Vec::new());
    bench.up("w");
    let (one, two) = (bench.submit("b").await, bench.submit("b").await);
    let first = bench.started().await;
    assert_eq!(first.row.requests, [one]);
    bench.end(&first, Outcome::Retry).await;
    let second = bench.started().await;
    assert_eq!(second.row.requests, [one]);
    assert!(second.row.fence > first.row.fence);
    bench.end(&second, Outcome::Success).await;
    let third = bench.started().await;
    assert_eq!((third.row.requests.as_slice(), third.row.number), ([two].as_slice(), 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_no_event_told_of_are_found_by_a_scan() {
    let prepare = |store: &Store| {
        let (buildset, request) = wish(store, "b", Timestamp(1));
        vec![Persist::AddBuildset { buildset, requests: vec![request] }]
    };
    let mut bench = Bench::new(world(1, &[("w", 9)], vec![builder("b", &["w"])]), none, prepare);
    bench.up("w");
    assert_eq!(bench.started().await.row.requests, [RequestId(1)]);
    // Another that is only in the store: the next scan is a poll interval away.
    let (buildset, request) = wish(&bench.store, "b", Timestamp(2));
    bench.store.commit(vec![Persist::AddBuildset { buildset, requests: vec![request] }]).await.unwrap();
    bench.status(|s| s.at >= Timestamp(1_000)).await;
    let found = loop {
        bench.clock.advance_ms(60_000);
        bench.dispatcher.look_again();
        let waiting = tokio::time::timeout(Duration::from_millis(200), bench.starts.recv());
        if let Ok(found) = waiting.await {
            break found.unwrap();
        }
    };
    assert_eq!(found.row.requests, [RequestId(2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_another_claims_is_dropped_and_the_next_one_starts() {
    let mut bench = Bench::new(world(1, &[("w", 1)], vec![builder("b", &["w"])]), none, |_| Vec::new());
    let (one, two) = (bench.submit("b").await, bench.submit("b").await);
    let theirs = Persist::Claim {
        requests: vec![one],
        master: MasterId(2),
        fence: bench.store.ids().next_fence(),
        at: Timestamp(1_001),
    };
    bench.store.commit(vec![theirs]).await.unwrap();
    bench.up("w");
    assert_eq!(bench.started().await.row.requests, [two]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_fail_are_counted_suspended_and_builds_go_on() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("b", &["w"]) };
    let mut bench = Bench::new(world(1, &[("w", 1)], vec![choosy.clone()]), none, |_| Vec::new());
    bench.up("w");
    for _ in 0..4 {
        bench.submit("b").await;
        let start = bench.started().await;
        assert!(start.row.components.is_empty());
        bench.end(&start, Outcome::Success).await;
    }
    let status = bench.status(|s| s.policies.first().is_some_and(|p| p.skipped == 1)).await;
    assert_eq!(status.policies[0].faults, 3);
    assert_eq!(status.policies[0].fallbacks, 4);
    let decisions = bench.decisions().await;
    assert_eq!(decisions.len(), 4);
    assert!(decisions.iter().all(|d| d.build.is_some() && d.fallback.is_some()));
    // A reload, even of the same bytes: it is asked again.
    bench.dispatcher.configure(world(1, &[("w", 1)], vec![choosy]));
    bench.submit("b").await;
    bench.started().await;
    assert_eq!(bench.decisions().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_policy_acts_on_the_next_build_and_each_names_its_digest() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("b", &["w1", "w2"]) };
    let workers = [("w1", 4), ("w2", 4)];
    let last = |question: &Question| match question {
        Question::NextSlave { slaves, .. } => {
            Some(Answer::Slave(slaves.iter().map(|s| s.name.clone()).max()))
        }
        _ => None,
    };
    let mut bench = Bench::new(world(1, &workers, vec![choosy.clone()]), last, |_| Vec::new());
    bench.up("w1");
    bench.up("w2");
    bench.submit("b").await;
    let first = bench.started().await;
    bench.dispatcher.configure(world(2, &workers, vec![choosy]));
    bench.submit("b").await;
    let second = bench.started().await;
    assert_eq!((first.row.worker.as_str(), second.row.worker.as_str()), ("w2", "w2"));
    assert_ne!(first.row.components, second.row.components);
    assert_eq!((first.generation.number, second.generation.number), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_starts_nothing_more_and_the_handle_stays_harmless() {
    let mut bench = Bench::new(world(1, &[("w", 1)], vec![builder("b", &["w"])]), none, |_| Vec::new());
    bench.dispatcher.shutdown().await;
    bench.up("w");
    bench.submit("b").await;
    assert!(bench.decisions().await.is_empty());
    assert!(bench.starts.recv().await.is_none(), "a build started");
    bench.dispatcher.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_all_build_once_each() {
    let workers = [("w1", 4), ("w2", 4), ("w3", 4), ("w4", 4)];
    let names = ["w1", "w2", "w3", "w4"];
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("b", &names) };
    let first = |question: &Question| match question {
        Question::NextSlave { slaves, .. } => Some(Answer::Slave(slaves.first().map(|s| s.name.clone()))),
        _ => None,
    };
    let mut bench = Bench::new(world(1, &workers, vec![choosy]), first, |_| Vec::new());
    for name in names {
        bench.up(name);
    }
    let mut wanted = Vec::new();
    for _ in 0..100 {
        wanted.push(bench.submit("b").await);
    }
    let mut built: Vec<RequestId> = Vec::new();
    let mut builds: Vec<BuildId> = Vec::new();
    while built.len() < wanted.len() {
        let start = bench.started().await;
        built.extend(&start.row.requests);
        builds.push(start.row.id);
        bench.end(&start, Outcome::Success).await;
    }
    built.sort();
    assert_eq!(built, wanted);
    assert_eq!(bench.store.pending_requests().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_dies_brings_the_master_down() {
    let mut bench = Bench::new(world(1, &[("w", 1)], vec![builder("b", &["w"])]), none, |_| Vec::new());
    bench.up("w");
    // Without a receiver, the start of a build panics in the dispatcher's task.
    bench.starts.close();
    bench.submit("b").await;
    tokio::time::timeout(Duration::from_secs(20), bench.fatal.told()).await.expect("it is told in time");
    let why = bench.fatal.why().unwrap();
    assert!(why.contains("the dispatcher died"), "{why}");
}
