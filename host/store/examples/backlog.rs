//! What a long backlog costs: the real board over the real store, with a thin driver in the dispatcher's place.
//!
//! `cargo run --release -p windlass-store --example backlog <pending> <folder> [groups]` fills the store in the folder
//! up to so many pending requests of 500 builders (it is kept for the next run), opens it anew, and prints the time to
//! the first durable claim, what each of 20,000 events cost (ends of builds, submissions, loads, workers that go and
//! come, what the store answers), and the memory. 1,000 workers with 4 slots each; each builder may use those of its
//! group and 100 that all share, or with one group all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use windlass_core::builder::Builder;
use windlass_core::change::SourceStamp;
use windlass_core::id::{BuildId, Fence, MasterId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::properties::Properties;
use windlass_core::request::{Buildset, Pending, Request, Turn};
use windlass_core::schedule::{Board, Claim, Effect, HEAD, Numbers, Rules, StartId, WorkerRule};
use windlass_core::time::Timestamp;
use windlass_store::{Options, Store};

const BUILDERS: u64 = 500;
const WORKERS: u64 = 1_000;
const SLOTS: u32 = 4;
const SHARED: u64 = 100;
const EVENTS: usize = 20_000;
/// Commits under way at most.
const UNDER_WAY: usize = 64;
/// Builders that one buildset asks for.
const TOGETHER: u64 = 5;
const MASTER: MasterId = MasterId(1);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(pending), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: backlog <pending> <folder> [groups]".into());
    };
    let (pending, folder): (u64, PathBuf) = (pending.parse()?, folder.into());
    let groups: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(fill(&folder, pending))?;
    runtime.block_on(run(&folder, groups))
}

/// Submits until so many requests wait.
async fn fill(folder: &Path, pending: u64) -> Result<()> {
    let store = Store::open(folder, Options::default())?;
    let mut there: u64 = store.pending_counts()?.values().sum();
    let began = Instant::now();
    while there < pending {
        let sets = (pending - there).div_ceil(TOGETHER).min(2_000);
        let batch = (0..sets).map(|_| submission(&store)).collect();
        store.commit(batch).await?;
        there += sets * TOGETHER;
    }
    println!("{there} requests wait ({:.1} s to submit what lacked)", began.elapsed().as_secs_f64());
    Ok(())
}

/// A buildset for some builders, one after the other.
fn submission(store: &Store) -> Persist {
    let id = store.ids().next_buildset();
    let submitted = Timestamp(1_700_000_000_000 + id.0 * 1_000);
    let request = |n: u64| Request {
        priority: i32::try_from(id.0 % 7 / 5).unwrap_or_default(),
        ..Request::new(
            store.ids().next_request(),
            id,
            name("builder", (id.0 * TOGETHER + n) % BUILDERS),
            submitted,
        )
    };
    let requests: Vec<Request> = (0..TOGETHER).map(request).collect();
    let stamp = SourceStamp {
        repository: "https://example.org/project.git".to_owned(),
        branch: Some("main".to_owned()),
        revision: Some(format!("{:040x}", id.0)),
        ..SourceStamp::default()
    };
    let buildset = Buildset {
        id,
        reason: "the scheduler ci saw a change".to_owned(),
        submitter: "ci".to_owned(),
        stamps: vec![stamp],
        properties: Properties::default(),
        submitted,
        requests: requests.iter().map(|request| request.id).collect(),
        complete: None,
        parent: None,
    };
    Persist::AddBuildset { buildset, requests }
}

fn name(what: &str, number: u64) -> String {
    format!("{what}-{number:04}")
}

fn rules(groups: u64) -> Rules {
    let own = (WORKERS - SHARED) / groups;
    let builder = |n: u64| {
        let group = n % groups;
        let workers: Vec<u64> = match groups {
            1 => (0..WORKERS).collect(),
            _ => (group * own..(group + 1) * own).chain(WORKERS - SHARED..WORKERS).collect(),
        };
        let workers: Vec<String> = workers.into_iter().map(|n| name("worker", n)).collect();
        let builder = Builder { workers, ..Builder::bare(&name("builder", n), &[]) };
        (builder.name.clone(), Arc::new(builder))
    };
    let worker =
        |n: u64| WorkerRule { name: name("worker", n), max_builds: Some(SLOTS), ..WorkerRule::default() };
    Rules {
        builders: (0..BUILDERS).map(builder).collect(),
        workers: (0..WORKERS).map(worker).collect(),
        ..Rules::default()
    }
}

/// What the store answers.
enum Answer {
    Opened(BTreeMap<String, Pending>),
    Read(String, Pending, usize),
    Claimed(StartId, BuildId, Fence, Vec<RequestId>),
    Submitted(Buildset, Vec<Request>),
    Completed,
}

/// The dispatcher's part.
struct Driver {
    store: Store,
    board: Board,
    answers: UnboundedReceiver<Answer>,
    answer: UnboundedSender<Answer>,
    under_way: usize,
    running: Vec<(BuildId, Fence, Vec<RequestId>)>,
    costs: Vec<Duration>,
    claims: usize,
    chance: u64,
}

async fn run(folder: &Path, groups: u64) -> Result<()> {
    let began = Instant::now();
    let store = Store::open(folder, Options::default())?;
    let opened = began.elapsed();
    let (answer, answers) = unbounded_channel();
    let mut driver = Driver {
        store,
        board: Board::default(),
        answers,
        answer,
        under_way: 0,
        running: Vec::new(),
        costs: Vec::new(),
        claims: 0,
        chance: 1,
    };
    driver.board.configure(rules(groups));
    driver.board.opening();
    driver.ask(|store| Answer::Opened(store.pending_heads(HEAD).expect("heads")));
    for n in 0..WORKERS {
        driver.board.worker_up(&name("worker", n), now(), Vec::new());
    }
    while driver.running.is_empty() {
        driver.take().await;
    }
    println!(
        "opened after {:.0} ms, first claim durable after {:.0} ms; the longest decision so far {:.1} ms",
        ms(opened),
        ms(began.elapsed()),
        driver.costs.iter().max().map_or(0.0, |cost| ms(*cost))
    );
    while driver.under_way > 0 {
        driver.take().await;
    }
    let longest = driver.costs.iter().max().map_or(0.0, |cost| ms(*cost));
    println!(
        "{} builds run after {:.0} ms, longest decision {longest:.1} ms, {} MiB",
        driver.running.len(),
        ms(began.elapsed()),
        rss()
    );
    driver.costs.clear();
    let (claims, steady, cpu) = (driver.claims, Instant::now(), cpu_ms());
    while driver.costs.len() < EVENTS {
        driver.happen();
        while driver.under_way > UNDER_WAY {
            driver.take().await;
        }
        while let Ok(answer) = driver.answers.try_recv() {
            driver.answered(answer);
        }
    }
    let seconds = steady.elapsed().as_secs_f64();
    let status = Instant::now();
    let pending: u64 = driver.board.status(now()).builders.iter().map(|builder| builder.pending).sum();
    let status = status.elapsed();
    driver.costs.sort();
    let at = |share: usize| {
        driver.costs[(driver.costs.len() * share / 1_000).min(driver.costs.len() - 1)].as_micros()
    };
    println!(
        "{} events: p50 {} us, p99 {} us, p99.9 {} us, max {} us",
        driver.costs.len(),
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
    let total: f64 = driver.costs.iter().map(|cost| ms(*cost)).sum();
    println!(
        "{} claims, {:.0} a second; all decisions took {total:.0} ms of {seconds:.1} s ({:.0} starts a second of decisions alone), CPU {:.0} ms",
        driver.claims - claims,
        (driver.claims - claims) as f64 / seconds,
        (driver.claims - claims) as f64 / total * 1_000.0,
        cpu_ms() - cpu
    );
    println!("{pending} pending by the status, which took {:.2} ms; {} MiB", ms(status), rss());
    Ok(())
}

impl Driver {
    /// Something happens by itself.
    fn happen(&mut self) {
        let began = Instant::now();
        match self.random(100) {
            0..45 if !self.running.is_empty() => {
                let which = self.random(self.running.len() as u64);
                let (build, fence, requests) = self.running.swap_remove(which as usize);
                let end = Persist::Complete { requests, fence, outcome: Outcome::Success, at: now() };
                self.commit(vec![end], Answer::Completed);
                self.board.build_ended(build, Outcome::Success, now());
            }
            0..54 => {
                let add = submission(&self.store);
                let Persist::AddBuildset { buildset, requests } = add.clone() else { unreachable!() };
                self.commit(vec![add], Answer::Submitted(buildset, requests));
            }
            54..96 => {
                let load = self.random(400) as f64 / 100.0;
                let worker = name("worker", self.random(WORKERS));
                self.board.worker_load(&worker, load);
            }
            _ => {
                let worker = name("worker", self.random(WORKERS));
                self.board.worker_down(&worker);
                self.decide();
                self.board.worker_up(&worker, now(), Vec::new());
            }
        }
        self.decide();
        self.costs.push(began.elapsed());
    }

    /// Waits for the store.
    async fn take(&mut self) {
        if let Some(answer) = self.answers.recv().await {
            self.answered(answer);
        }
    }

    fn answered(&mut self, answer: Answer) {
        self.under_way -= 1;
        let began = Instant::now();
        match answer {
            Answer::Opened(heads) => self.board.opened(heads),
            Answer::Read(builder, found, limit) => self.board.loaded(&builder, found, limit),
            Answer::Claimed(start, build, fence, requests) => {
                self.board.claimed(start, build);
                self.running.push((build, fence, requests));
            }
            Answer::Submitted(buildset, requests) => {
                let buildset = Arc::new(buildset);
                self.board.submitted(requests.into_iter().map(|request| (request, buildset.clone())));
            }
            Answer::Completed => return,
        }
        self.decide();
        self.costs.push(began.elapsed());
    }

    fn decide(&mut self) {
        for effect in self.board.decide(now()) {
            match effect {
                Effect::Claim(claim) => self.claim(&claim),
                Effect::More { builder, after, limit } => self.read(builder, after, limit),
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }

    fn claim(&mut self, claim: &Claim) {
        self.claims += 1;
        let ids = self.store.ids();
        let numbers = Numbers {
            build: ids.next_build(),
            number: ids.next_build_number(&claim.builder.name),
            fence: ids.next_fence(),
            generation: 1,
            plugins: BTreeMap::new(),
        };
        let row = claim.row(numbers, now());
        let done = Answer::Claimed(claim.start, row.id, row.fence, row.requests.clone());
        self.commit(claim.batch(row, MASTER), done);
    }

    fn read(&mut self, builder: String, after: Option<Turn>, limit: usize) {
        self.ask(move |store| {
            let found = store.pending_after(&builder, after, limit).expect("rows");
            Answer::Read(builder, found, limit)
        });
    }

    fn ask(&mut self, read: impl FnOnce(Store) -> Answer + Send + 'static) {
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

    /// A number below `n`, always the same ones.
    fn random(&mut self, n: u64) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % n
    }
}

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or_default())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Resident memory in MiB.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1_024
}

/// CPU of this process in milliseconds.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) * 10.0
}
