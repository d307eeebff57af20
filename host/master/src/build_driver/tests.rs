//! Builds that run through the real store and the real runtime.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use windlass_config::config;
use windlass_core::builder::{Builder, StepSpec};
use windlass_core::decision::Budget;
use windlass_core::id::{BuildId, Fence, RequestId};
use windlass_core::id::{BuildsetId, MasterId};
use windlass_core::journal::{begin, chain};
use windlass_core::lock::Access;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::properties::Properties;
use windlass_core::record::BuildRow;
use windlass_core::request::{Buildset, Request};
use windlass_core::step::Flags;
use windlass_core::time::Timestamp;
use windlass_core::value::{Completion, Origin};
use windlass_protocol::message::{CommandUid, ToMaster, ToWorker, Update};
use windlass_runtime::plugin::Source;
use windlass_runtime::registry::{Candidate, prepare};
use windlass_runtime::{Options, Runtime};

use super::{BuildReport, Builds, DriverParts};
use crate::clock::SystemClock;
use crate::dispatcher::{BuildEnded, BuildStart, Standing, StartBuild, StepLocks};
use crate::events::Events;
use crate::fatal::Fatal;
use crate::worker_link::LinkLimits;
use crate::worker_link::tests::{Scripted, World as Linked, hello, limits, world_over, world_with};

mod again;
mod children;
mod locks;
mod stops;

pub(super) fn builder(steps: Vec<StepSpec>) -> Builder {
    Builder { builddir: "unit-dir".to_owned(), steps, max_retries: 2, ..Builder::bare("unit", &["w1"]) }
}

pub(crate) fn row() -> BuildRow {
    BuildRow {
        id: BuildId(1),
        number: 1,
        builder: "unit".to_owned(),
        requests: vec![RequestId(1)],
        fence: Fence(1),
        worker: "w1".to_owned(),
        stamps: Vec::new(),
        reason: "test".to_owned(),
        generation: 1,
        plugins: BTreeMap::new(),
        components: Vec::new(),
        properties: Properties::default(),
        started: Timestamp(1),
        complete: None,
        summary: String::new(),
        plan: None,
    }
}

const BOUND: Duration = Duration::from_secs(60);

/// Hears of ends and of locks that are given back, and says where each step stands that asks for some.
struct Told {
    ended: UnboundedSender<BuildEnded>,
    standing: watch::Sender<Standing>,
    unlocked: Arc<AtomicBool>,
    waits: Waits,
}

/// What was said about waits for requests: of how many, or that there is none any more.
type Waits = Arc<Mutex<Vec<Option<usize>>>>;

impl BuildReport for Told {
    fn lock_step(&self, _: BuildId, _: &str, _: &[Access]) -> StepLocks {
        let unlocked = Arc::clone(&self.unlocked);
        StepLocks::new(self.standing.subscribe(), move || unlocked.store(true, Ordering::SeqCst))
    }

    fn build_ended(&self, end: BuildEnded) {
        self.ended.send(end).unwrap();
    }

    fn submitted(&self, _: Buildset, _: Vec<Request>) {}

    fn wait_for(&self, _: BuildId, requests: Vec<(RequestId, String)>) -> StepLocks {
        self.waits.lock().unwrap().push(Some(requests.len()));
        let waits = Arc::clone(&self.waits);
        StepLocks::new(self.standing.subscribe(), move || waits.lock().unwrap().push(None))
    }

    fn withdrawn(&self, _: &str, _: RequestId) {}
}

/// A driver over the real store, runtime and link; only the worker is scripted.
struct Bench {
    linked: Linked,
    builds: Builds,
    fatal: Fatal,
    generation: Arc<windlass_runtime::registry::Generation>,
    ended: UnboundedReceiver<BuildEnded>,
    standing: watch::Sender<Standing>,
    unlocked: Arc<AtomicBool>,
    waits: Waits,
}

impl Bench {
    async fn new(limits: LinkLimits, store: windlass_store::Options) -> Bench {
        Bench::over(world_with(limits, store).await)
    }

    fn over(linked: Linked) -> Bench {
        Bench::within(linked, BOUND)
    }

    /// One whose steps may take so long to stop, and their commands thereafter.
    fn within(linked: Linked, stop_grace: Duration) -> Bench {
        let options = Options { guest_threads: 1, ..Options::new(linked.dir.path().join("cache")) };
        let runtime = Runtime::new(options).unwrap();
        let bundled = windlass_plugins::bundled()
            .iter()
            .filter(|bundled| ["commands", "steps"].contains(&bundled.name));
        let candidates = bundled
            .map(|bundled| Candidate {
                name: bundled.name.to_owned(),
                source: Source::Bundled,
                bytes: Bytes::from_static(bundled.bytes),
            })
            .collect();
        let generation = Arc::new(prepare(&runtime, None, candidates).unwrap());
        let world = crate::world::World { config: Arc::new(master()), generation: Arc::clone(&generation) };
        let fatal = Fatal::default();
        let builds = Builds::new(DriverParts {
            store: linked.store.clone(),
            runtime,
            links: linked.links.clone(),
            clock: Arc::new(SystemClock::new()),
            events: Events::default(),
            fatal: fatal.clone(),
            world: Arc::new(world),
            stop_grace,
            seal: windlass_core::secret::Seal::new([7; 32]),
        })
        .unwrap();
        let (tell, ended) = unbounded_channel();
        let (standing, unlocked) = (watch::Sender::default(), Arc::<AtomicBool>::default());
        let waits = Waits::default();
        let told = Told {
            ended: tell,
            standing: standing.clone(),
            unlocked: Arc::clone(&unlocked),
            waits: Arc::clone(&waits),
        };
        builds.report_to(Arc::new(told));
        Bench { linked, builds, fatal, generation, ended, standing, unlocked, waits }
    }

    /// Claims the one request, and starts its build with these steps.
    async fn start(&self, steps: Vec<StepSpec>) {
        self.start_for(&[1], steps).await;
    }

    /// The same with these requests.
    async fn start_for(&self, requests: &[u64], steps: Vec<StepSpec>) {
        let ids: Vec<RequestId> = requests.iter().copied().map(RequestId).collect();
        let row = BuildRow { requests: ids.clone(), ..row() };
        let request = |id: &RequestId| Request::new(*id, BuildsetId(1), row.builder.clone(), Timestamp(0));
        let requests: Vec<Request> = ids.iter().map(request).collect();
        let buildset = Buildset {
            id: BuildsetId(1),
            reason: "test".to_owned(),
            submitter: "force".to_owned(),
            stamps: Vec::new(),
            properties: Properties::default(),
            submitted: Timestamp(0),
            requests: ids.clone(),
            complete: None,
            parent: None,
        };
        let claim = Persist::Claim { requests: ids, master: MasterId(1), fence: Fence(1), at: Timestamp(1) };
        let add = Persist::AddBuildset { buildset: buildset.clone(), requests: requests.clone() };
        self.linked.store.commit(vec![add, claim, Persist::PutBuild(row.clone())]).await.unwrap();
        self.builds.start(BuildStart {
            row,
            builder: Arc::new(builder(steps)),
            requests,
            buildsets: vec![buildset],
            generation: Arc::clone(&self.generation),
        });
    }

    async fn ended(&mut self) -> Outcome {
        tokio::time::timeout(BOUND, self.ended.recv()).await.expect("the build ends in time").unwrap().outcome
    }

    fn build(&self) -> BuildRow {
        self.linked.store.build(BuildId(1)).unwrap().unwrap()
    }

    fn request(&self) -> Request {
        self.linked.store.request(RequestId(1)).unwrap().unwrap()
    }
}

fn master() -> config::Master {
    config::Master {
        title: "test".to_owned(),
        title_url: None,
        url: None,
        validation: Default::default(),
        fixed: config::Fixed {
            listen: String::new(),
            state_dir: "s".into(),
            plugins_dir: "p".into(),
            public_dir: "f".into(),
        },
        properties: Properties::default(),
        locks: BTreeMap::new(),
        workers: Vec::new(),
        builders: Vec::new(),
        prioritize_builders: None,
        codebase_generator: None,
        git_pollers: Vec::new(),
        configurators: Vec::new(),
        schedulers: Vec::new(),
        reporters: Vec::new(),
        grants: BTreeMap::new(),
        secrets: BTreeMap::new(),
        db_poll_interval_ms: 60_000,
        step_deadline_ms: 3_600_000,
        worker_grace_ms: 60_000,
        user_managers: Vec::new(),
        users: Default::default(),
        debug: None,
        logs: config::Logs { max_log_bytes: 1 << 20, ..config::Logs::default() },
        decisions: Budget::default(),
        artifacts: Default::default(),
    }
}

fn shell(name: &str) -> StepSpec {
    let args = r#"{"command":["echo","%(prop:buildername)s"]}"#.to_owned();
    StepSpec { args, ..StepSpec::new(name, "windlass:shell-command") }
}

/// Hears of a start and answers with this output and exit code.
async fn answer(worker: &mut Scripted, text: &'static str, rc: i32) {
    let ToWorker::Start(start) = worker.hear().await else { panic!("a start is due") };
    assert!(start.args.contains("unit"), "arguments are rendered: {}", start.args);
    assert_eq!((start.builddir.as_str(), start.plugin.as_str()), ("unit-dir", "windlass"));
    worker.log(&start.command.0, 1, text).await;
    done(worker, start.command, 2, &[text], rc).await;
}

/// `said`: the data of each update before, of which the worker tells the hash.
async fn done(worker: &mut Scripted, command: CommandUid, number: u64, said: &[&str], rc: i32) {
    let how = Ok(Completion { rc: Some(rc), values: Vec::new() });
    let log_hash = said.iter().fold(begin(), |before, text| chain(before, text.as_bytes()));
    worker
        .say(ToMaster::Update { command, number, update: Update::Done { how, log_hash, usage: None } })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trivial_build_is_recorded_whole_in_three_batches() {
    let mut bench = Bench::new(limits(), windlass_store::Options::default()).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo")]).await;
    answer(&mut worker, "unit\n", 0).await;
    assert_eq!(bench.ended().await, Outcome::Success);

    let build = bench.build();
    assert_eq!(build.complete.unwrap().outcome, Outcome::Success);
    let used: Vec<_> = build.components.iter().map(|used| (used.kind.as_str(), used.hook.as_str())).collect();
    assert_eq!(used, [("build-step", "windlass:shell-command"), ("slave-command", "windlass:shell")]);
    assert_eq!(bench.request().complete.unwrap().outcome, Outcome::Success);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    assert_eq!(steps[0].complete.unwrap().outcome, Outcome::Success, "{steps:?}");
    let logs = bench.linked.store.logs(BuildId(1)).unwrap();
    assert_eq!((logs.len(), logs[0].name.as_str(), logs[0].finished), (1, "stdio", true));
    let pieces = bench.linked.store.read_log(logs[0].id, 0, 1000).unwrap();
    assert_eq!((pieces[0].origin, &*pieces[0].data), (Origin::Stdout, &b"unit\n"[..]));
    // Claim and row; the step's begin, before its command is sent; all of the end. A machine that is
    // held up for longer than a batch waits makes it four.
    assert!((3..=4).contains(&bench.linked.store.stats().batches));
    // All is acknowledged in the end, at once unless the machine was held up.
    while !matches!(worker.hear().await, ToWorker::Ack { number: 2, .. }) {}
    assert_eq!(bench.builds.running(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_worker_gives_the_request_back() {
    let limits = LinkLimits { grace: Duration::from_millis(20), ..limits() };
    let mut bench = Bench::new(limits, windlass_store::Options::default()).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo"), shell("more")]).await;
    assert!(matches!(worker.hear().await, ToWorker::Start(_)));
    let mut changes = bench.linked.store.changed(BuildId(1));
    drop(worker);
    while bench.build().complete.is_none() {
        changes.changed().await.unwrap();
    }
    // A restart of the master counts on: what says that it ended says that it was tried.
    let kept = super::retries::Retries::load(&bench.linked.store).unwrap();
    assert_eq!(kept.of(&[RequestId(1)]), 1);
    assert_eq!(bench.ended().await, Outcome::Retry);
    let request = bench.request();
    assert_eq!((request.claim, request.complete), (None, None));
    assert_eq!(bench.linked.store.steps(BuildId(1)).unwrap().len(), 1);
    assert_eq!(bench.builds.0.retries.of(&[RequestId(1)]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_build_interrupts_its_command_and_is_cancelled() {
    let mut bench = Bench::new(limits(), windlass_store::Options::default()).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo"), shell("more")]).await;
    let ToWorker::Start(start) = worker.hear().await else { panic!("a start is due") };
    assert!(bench.builds.stop(BuildId(1), "by ana").await);
    let ToWorker::Interrupt { command, .. } = worker.hear().await else { panic!("an interrupt is due") };
    assert_eq!(command, start.command);
    done(&mut worker, command, 1, &[], -1).await;
    assert_eq!(bench.ended().await, Outcome::Cancelled);
    assert_eq!(bench.build().summary, "stopped: by ana");
    assert_eq!(bench.request().complete.unwrap().outcome, Outcome::Cancelled);
    assert!(!bench.builds.stop(BuildId(1), "again").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_log_folder_ends_the_step_as_an_exception_that_says_so() {
    let options =
        windlass_store::Options { max_log_bytes_total: Some(10), ..windlass_store::Options::default() };
    let mut bench = Bench::new(limits(), options).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo")]).await;
    answer(&mut worker, "more than ten bytes of output\n", 0).await;
    assert_eq!(bench.ended().await, Outcome::Exception);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    let fault = steps[0].fault.clone().unwrap();
    assert!(fault.contains("no room for a log"), "{fault}");
    assert_eq!(bench.request().complete.unwrap().outcome, Outcome::Exception);
}

#[tokio::test(flavor = "multi_thread")]
async fn step_whose_hook_is_gone_is_an_exception_of_its_build() {
    let mut bench = Bench::new(limits(), windlass_store::Options::default()).await;
    let gone = StepSpec { hook: "vanished:step".to_owned(), ..shell("gone") };
    bench.start(vec![gone, shell("more")]).await;
    assert_eq!(bench.ended().await, Outcome::Exception);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    assert!(steps[0].fault.clone().unwrap().contains("vanished"), "{steps:?}");
}

/// Symptom: a step whose end waited for its command when the master went down was built again. Cause: nobody told that
/// wait, and the end of the links ended the command. Cure: the step is left, as one that runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_leaves_a_step_that_waits_for_its_command_to_stop() {
    let linked = world_with(limits(), windlass_store::Options::default()).await;
    let mut bench = Bench::within(linked, Duration::from_secs(3));
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo")]).await;
    assert!(matches!(worker.hear().await, ToWorker::Start(_)));
    assert!(bench.builds.stop(BuildId(1), "by ana").await);
    loop {
        match worker.hear().await {
            ToWorker::Interrupt { reason, .. } if reason == "its step has ended" => break,
            ToWorker::Interrupt { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    bench.builds.shutdown().await;
    let bye = async { assert!(matches!(worker.hear().await, ToWorker::Bye { .. })) };
    tokio::join!(bench.linked.links.shutdown(), bye);
    assert!(bench.ended.try_recv().is_err());
    assert_eq!(bench.linked.store.steps(BuildId(1)).unwrap()[0].complete, None);
    assert!(bench.build().complete.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_leaves_a_build_as_it_runs_and_its_worker_hears_goodbye_and_nothing_else() {
    let mut bench = Bench::new(limits(), windlass_store::Options::default()).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo")]).await;
    let ToWorker::Start(start) = worker.hear().await else { panic!("a start is due") };
    bench.builds.shutdown().await;
    // What the command says now, the next master is told.
    worker.log(&start.command.0, 1, "still there\n").await;
    let bye = async { assert!(matches!(worker.hear().await, ToWorker::Bye { .. })) };
    tokio::join!(bench.linked.links.shutdown(), bye);
    assert!(bench.ended.try_recv().is_err());
    assert!(bench.build().complete.is_none() && bench.request().claim.is_some());
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    assert_eq!((steps.len(), steps[0].complete), (1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn step_that_does_not_heed_an_interrupt_is_ended_after_a_while() {
    let linked = world_with(limits(), windlass_store::Options::default()).await;
    let mut bench = Bench::within(linked, Duration::from_millis(100));
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo"), shell("more")]).await;
    assert!(matches!(worker.hear().await, ToWorker::Start(_)));
    assert!(bench.builds.stop(BuildId(1), "by ana").await);
    // The worker hears of it, and its command goes on for ever: so does the step that waits for it.
    assert!(matches!(worker.hear().await, ToWorker::Interrupt { .. }));
    assert_eq!(bench.ended().await, Outcome::Cancelled);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    assert_eq!(steps.len(), 1);
    let fault = steps[0].fault.clone().unwrap();
    assert!(fault.contains("did not stop when it was asked to"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_into_a_log_is_stopped_and_the_step_says_which() {
    let mut bench = Bench::new(limits(), windlass_store::Options::default()).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo")]).await;
    let ToWorker::Start(start) = worker.hear().await else { panic!("a start is due") };
    let text: &str = Box::leak("x".repeat(60_000).into_boxed_str());
    let pieces = 200;
    for number in 1..=pieces {
        worker.log(&start.command.0, number, text).await;
    }
    while !matches!(worker.hear().await, ToWorker::Interrupt { .. }) {}
    let all = vec![text; usize::try_from(pieces).unwrap()];
    done(&mut worker, start.command, pieces + 1, &all, -1).await;
    assert_eq!(bench.ended().await, Outcome::Exception);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    let fault = steps[0].fault.clone().unwrap();
    assert!(fault.contains("`stdio` is more than 10 times as long"), "{fault}");
    // Its beginning and its end are there, with a note of what is between them.
    let log = &bench.linked.store.logs(BuildId(1)).unwrap()[0];
    let len = bench.linked.store.log_len(log.id).unwrap();
    let fits = (1 << 20) + (256 << 10);
    assert!(log.finished && len > fits && len < fits + 1_000, "{len}");
}

/// A disk that fails once it is told to.
#[derive(Debug, Default)]
struct Disk(redb::backends::InMemoryBackend, Arc<AtomicBool>);

impl Disk {
    fn check(&self) -> std::io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(std::io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.check()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check()?;
        self.0.write(offset, data)
    }
}

/// Symptom: after a disk failed, the worker was told to forget the end of a build that no row had, and
/// the slot went to the next. Cause: a failed last commit was only logged. Cure: it is tried again, and
/// then the master goes down.
#[tokio::test(flavor = "multi_thread")]
async fn end_that_cannot_be_written_is_neither_acknowledged_nor_told_and_brings_the_master_down() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let broken = Arc::clone(&disk.1);
    let options = windlass_store::Options::default();
    let store = windlass_store::Store::open_with_backend(disk, dir.path(), options).unwrap();
    let mut bench = Bench::over(world_over(limits(), dir, store).await);
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo")]).await;
    let ToWorker::Start(start) = worker.hear().await else { panic!("a start is due") };
    broken.store(true, Ordering::SeqCst);
    done(&mut worker, start.command, 1, &[], 0).await;
    tokio::time::timeout(BOUND, bench.fatal.told()).await.expect("it is told in time");
    let why = bench.fatal.why().unwrap();
    assert!(why.contains("the store takes nothing any more"), "{why}");
    // The build's task ends without a word; what the worker hears next is the end of the link.
    tokio::time::timeout(BOUND, bench.builds.shutdown()).await.expect("the build's task ends");
    assert!(bench.ended.try_recv().is_err());
    let bye = async { assert!(matches!(worker.hear().await, ToWorker::Bye { .. })) };
    tokio::join!(bench.linked.links.shutdown(), bye);
}

/// Symptom: a cleanup step that hung could not be stopped. Cause: a build that was stopped already heard
/// of no second stop. Cure: it does, and the step that runs then is interrupted.
#[tokio::test(flavor = "multi_thread")]
async fn second_stop_interrupts_a_step_that_always_runs() {
    let mut bench = Bench::new(limits(), windlass_store::Options::default()).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    let cleanup = StepSpec { flags: Flags { always_run: true, ..Flags::default() }, ..shell("cleanup") };
    bench.start(vec![shell("echo"), cleanup]).await;
    for reason in ["by ana", "by bob"] {
        let started = async |worker: &mut Scripted| loop {
            if let ToWorker::Start(start) = worker.hear().await {
                return start.command;
            }
        };
        let running = started(&mut worker).await;
        assert!(bench.builds.stop(BuildId(1), reason).await);
        let ToWorker::Interrupt { command, .. } = worker.hear().await else { panic!("an interrupt is due") };
        assert_eq!(command, running);
        done(&mut worker, command, 1, &[], -1).await;
    }
    assert_eq!(bench.ended().await, Outcome::Cancelled);
    assert_eq!(bench.build().summary, "stopped: by ana");
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_too_many_in_a_row_is_an_exception_and_completes_the_request() {
    let limits = LinkLimits { grace: Duration::from_millis(20), ..limits() };
    let mut bench = Bench::new(limits, windlass_store::Options::default()).await;
    for _ in 0..2 {
        let rows = bench.builds.0.retries.rows(&[RequestId(1)], Outcome::Retry);
        bench.linked.store.commit(rows).await.unwrap();
        bench.builds.0.retries.note(&[RequestId(1)], Outcome::Retry);
    }
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(vec![shell("echo")]).await;
    assert!(matches!(worker.hear().await, ToWorker::Start(_)));
    drop(worker);
    assert_eq!(bench.ended().await, Outcome::Exception);
    let summary = bench.build().summary;
    assert!(summary.starts_with("given up after 3 builds in a row"), "{summary}");
    assert_eq!(bench.request().complete.unwrap().outcome, Outcome::Exception);
    assert_eq!(bench.builds.0.retries.of(&[RequestId(1)]), 0);
    assert_eq!(bench.linked.store.states("retries").unwrap(), []);
}
