//! What the store costs a trivial build: 16 tasks write what 16 slots would, as fast as they can.
//!
//! `cargo run --release -p windlass-store --example commits [builds] [folder]` prints builds per second,
//! commits, syncs and CPU per build; beside it what bare redb does with as many rows of the same size
//! in as many transactions, with the same flags.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use redb::{Database, TableDefinition};
use windlass_core::change::SourceStamp;
use windlass_core::digest::Digest;
use windlass_core::id::MasterId;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::record::{BuildRow, Component, LogRow, StepRow};
use windlass_core::request::{Buildset, Completed, Request};
use windlass_core::time::Timestamp;
use windlass_core::value::Origin;
use windlass_store::{Options, Stats, Store};

const TASKS: usize = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let builds: u64 = arguments.next().map_or(Ok(3_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or(temporary.path().to_owned(), PathBuf::from);
    let store = Store::open(&folder.join("store"), Options::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;

    let submitted = runtime.block_on(submit(&store, builds))?;
    let (before, cpu, started) = (store.stats(), cpu_ms(), Instant::now());
    runtime.block_on(async {
        let queue = Arc::new(AtomicU64::new(0));
        let submitted = Arc::new(submitted);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..TASKS {
            let (store, queue, submitted) = (store.clone(), queue.clone(), submitted.clone());
            tasks.spawn(async move {
                while let Some(request) = submitted.get(queue.fetch_add(1, Ordering::Relaxed) as usize) {
                    trivial_build(&store, request).await?;
                }
                Ok::<_, windlass_store::CommitError>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a task panicked")?;
        }
        Ok::<_, windlass_store::CommitError>(())
    })?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_ms() - cpu);
    let done = minus(store.stats(), before);
    println!("windlass-store: {builds} builds by {TASKS} tasks");
    print(builds, seconds, cpu, &done);

    let started = Instant::now();
    let cpu = cpu_ms();
    bare_redb(&folder.join("bare.redb"), done.commits, 12 * builds / done.commits)?;
    println!("bare redb: {} transactions of {} rows", done.commits, 12 * builds / done.commits);
    print(builds, started.elapsed().as_secs_f64(), cpu_ms() - cpu, &Stats::default());
    Ok(())
}

fn print(builds: u64, seconds: f64, cpu: f64, stats: &Stats) {
    let each = |n: u64| n as f64 / builds as f64;
    println!("  {:8.0} builds/s", builds as f64 / seconds);
    println!(
        "  {:8.3} ms CPU per build (user and system, writers of the batches included)",
        cpu / builds as f64
    );
    if stats.commits > 0 {
        println!(
            "  {:8} commits, {:.1} batches in each",
            stats.commits,
            stats.batches as f64 / stats.commits as f64
        );
        println!(
            "  {:8} syncs, {:.1} for each commit, {:.2} for each build",
            stats.syncs,
            stats.syncs as f64 / stats.commits as f64,
            each(stats.syncs)
        );
        println!("  {:8.1} KB written to the database for each build", each(stats.database_bytes) / 1e3);
    }
}

fn minus(after: Stats, before: Stats) -> Stats {
    Stats {
        commits: after.commits - before.commits,
        journals: after.journals - before.journals,
        batches: after.batches - before.batches,
        refused: after.refused - before.refused,
        syncs: after.syncs - before.syncs,
        database_bytes: after.database_bytes - before.database_bytes,
        log_bytes: after.log_bytes - before.log_bytes,
        log_bytes_held: after.log_bytes_held,
        waits_for_room: after.waits_for_room,
    }
}

/// User and system time of this process so far.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) * 10.0
}

fn stamps() -> Vec<SourceStamp> {
    vec![SourceStamp {
        repository: "https://git.example.org/project.git".into(),
        branch: Some("main".into()),
        revision: Some("0123456789abcdef0123456789abcdef01234567".into()),
        ..SourceStamp::default()
    }]
}

async fn submit(store: &Store, builds: u64) -> Result<Vec<Request>, windlass_store::CommitError> {
    let mut all = Vec::new();
    for _ in 0..builds {
        let id = store.ids().next_buildset();
        let request = Request {
            id: store.ids().next_request(),
            buildset: id,
            builder: format!("builder-{}", id.0 % 4),
            priority: 0,
            version: 1,
            submitted: Timestamp(1),
            waited_for: false,
            claim: None,
            last_fence: Default::default(),
            complete: None,
        };
        let buildset = Buildset {
            id,
            reason: "benchmark".into(),
            submitter: "force".into(),
            stamps: stamps(),
            properties: Default::default(),
            submitted: Timestamp(1),
            requests: vec![request.id],
            complete: None,
            parent: None,
        };
        all.push((buildset, request));
    }
    let rows = |(buildset, request): &(Buildset, Request)| Persist::AddBuildset {
        buildset: buildset.clone(),
        requests: vec![request.clone()],
    };
    store.commit(all.iter().map(rows).collect()).await?;
    Ok(all.into_iter().map(|(_, request)| request).collect())
}

/// The writes of one build: its start, its step's start, its log, its end.
async fn trivial_build(store: &Store, request: &Request) -> Result<(), windlass_store::CommitError> {
    let ids = store.ids();
    let (fence, at) = (ids.next_fence(), Timestamp(1_700_000_000_000));
    let digest = Digest::of(b"component");
    let plugin = |i: u32| (format!("plugin-{i}"), digest);
    let mut row = BuildRow {
        id: ids.next_build(),
        number: ids.next_build_number(&request.builder),
        builder: request.builder.clone(),
        requests: vec![request.id],
        fence,
        worker: format!("worker-{}", request.id.0 % 4),
        stamps: stamps(),
        reason: "benchmark".into(),
        generation: 1,
        plugins: (0..3).map(plugin).collect(),
        components: vec![Component {
            kind: "next-slave".into(),
            hook: "windlass:least-loaded".into(),
            digest,
        }],
        properties: Default::default(),
        started: at,
        complete: None,
        summary: String::new(),
        plan: None,
    };
    let requests = row.requests.clone();
    let claim = Persist::Claim { requests: requests.clone(), master: MasterId(1), fence, at };
    store.commit(vec![claim, Persist::PutBuild(row.clone())]).await?;

    let hook = "windlass:shell-command".into();
    let mut step = StepRow::begun(ids.next_step(), row.id, 0, "true".into(), hook, digest, at);
    step.summary = "running".into();
    store.commit(vec![Persist::PutStep { fence, step: step.clone() }]).await?;

    let mut log = LogRow::begun(ids.next_log(), row.id, step.id, "stdio".into());
    let append = Persist::AppendLog {
        fence,
        build: row.id,
        log: log.id,
        offset: 0,
        origin: Origin::Header,
        data: "true\n in directory build\nexit code 0, 1 ms\n".into(),
    };
    store.commit(vec![Persist::PutLog { fence, log: log.clone() }, append]).await?;

    let (outcome, complete) = (Outcome::Success, Some(Completed { outcome: Outcome::Success, at }));
    (step.complete, row.complete, log.finished) = (complete, complete, true);
    store
        .commit(vec![
            Persist::PutStep { fence, step },
            Persist::PutLog { fence, log },
            Persist::PutBuild(row),
            Persist::Complete { requests, fence, outcome, at },
        ])
        .await?;
    Ok(())
}

fn bare_redb(path: &std::path::Path, transactions: u64, rows: u64) -> Result<(), redb::Error> {
    const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");
    let database = Database::create(path)?;
    let row = [7u8; 300];
    for transaction in 0..transactions {
        let mut write = database.begin_write()?;
        write.set_quick_repair(true);
        let mut table = write.open_table(TABLE)?;
        for i in 0..rows {
            table.insert(transaction * rows + i, row.as_slice())?;
        }
        drop(table);
        write.commit()?;
    }
    Ok(())
}
