//! Durable claims per second, beside bare redb on the same disk in the same run.
//!
//! `cargo run --release -p windlass-store --example claims [rounds] [folder]`. Claims go one by one from 1, 8
//! and 64 concurrent callers, and in batches of 100 from one. Bare redb starts from a copy of the same
//! database and writes the same rows into the same tables, as many claims in each transaction, with the same
//! flags; it checks nothing and hands nothing from thread to thread. Both take turns, round after round.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use redb::{Database, Durability, ReadableTable, TableDefinition};
use tokio::task::JoinSet;
use windlass_core::id::{BuildsetId, MasterId, RequestId};
use windlass_core::persist::Persist;
use windlass_core::request::{Buildset, Request};
use windlass_core::time::Timestamp;
use windlass_store::{CommitError, Options, Store};

const BUILDERS: u64 = 4;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// How claims come: so many callers, so many requests in a claim, so many requests in a round.
const WAYS: [(&str, usize, u64, u64); 4] = [
    ("1 caller, one by one", 1, 1, 2_000),
    ("8 callers, one by one", 8, 1, 8_000),
    ("64 callers, one by one", 64, 1, 24_000),
    ("1 caller, batches of 100", 1, 100, 60_000),
];

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let rounds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or(temporary.path().to_owned(), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;

    // One round more than is counted.
    let requests = (rounds + 1) * WAYS.iter().map(|(.., requests)| requests).sum::<u64>();
    let store = Store::open(&folder.join("store"), Options::default())?;
    runtime.block_on(submit(&store, requests))?;
    drop(store);
    std::fs::copy(folder.join("store/store.redb"), folder.join("bare.redb"))?;
    let store = Store::open(&folder.join("store"), Options::default())?;
    let mut bare = Bare::open(&folder.join("bare.redb"))?;

    let mut took: BTreeMap<&str, Vec<Round>> = BTreeMap::new();
    let mut next = 1;
    for round in 0..=rounds {
        for (name, callers, batch, requests) in WAYS {
            let (before, cpu) = (store.stats(), cpu_us());
            let started = Instant::now();
            runtime.block_on(claim(&store, next..next + requests, callers, batch))?;
            let ours = requests as f64 / started.elapsed().as_secs_f64();
            let our_cpu = (cpu_us() - cpu) / requests as f64;
            let after = store.stats();
            let commits = after.commits - before.commits;

            let cpu = cpu_us();
            let started = Instant::now();
            bare.claim(next..next + requests, commits)?;
            let theirs = requests as f64 / started.elapsed().as_secs_f64();
            let their_cpu = (cpu_us() - cpu) / requests as f64;
            next += requests;
            if round > 0 {
                let grouped = requests as f64 / commits as f64;
                let syncs = (after.syncs - before.syncs) as f64 / commits as f64;
                took.entry(name).or_default().push(Round {
                    ours,
                    theirs,
                    grouped,
                    syncs,
                    our_cpu,
                    their_cpu,
                });
            }
        }
    }
    println!("claims per second, median of {rounds} rounds (least to greatest)");
    println!("{:26} {:>26} {:>26} {:>20} {:>10}", "", "store", "bare redb", "ratio", "in a commit");
    for (name, ..) in WAYS {
        let of = |figure: fn(&Round) -> f64| spread(took[name].iter().map(figure).collect());
        let ([ours, low, high], [theirs, least, most]) = (of(|round| round.ours), of(|round| round.theirs));
        let ([ratio, worst, best], [grouped, ..]) =
            (of(|round| round.ours / round.theirs), of(|round| round.grouped));
        println!(
            "{name:26} {:>26} {:>26} {:>20} {grouped:10.1}",
            format!("{ours:.0} ({low:.0} to {high:.0})"),
            format!("{theirs:.0} ({least:.0} to {most:.0})"),
            format!("{ratio:.2} ({worst:.2} to {best:.2})"),
        );
        let ([ours, ..], [theirs, ..]) = (of(|round| round.our_cpu), of(|round| round.their_cpu));
        println!(
            "{:26} {:>26} {:>26} {:>20.2}",
            "  us of CPU for each",
            format!("{ours:.1}"),
            format!("{theirs:.1}"),
            theirs / ours
        );
    }
    let [syncs, ..] = spread(took.values().flatten().map(|round| round.syncs).collect());
    println!("{syncs:.1} syncs in a commit");
    Ok(())
}

struct Round {
    ours: f64,
    theirs: f64,
    grouped: f64,
    syncs: f64,
    our_cpu: f64,
    their_cpu: f64,
}

/// Microseconds of CPU that this process's threads have had.
fn cpu_us() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e3
}

/// Median, least, greatest.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

fn builder(request: u64) -> String {
    format!("builder-{}", request % BUILDERS)
}

async fn submit(store: &Store, requests: u64) -> Result<(), CommitError> {
    let all: Vec<u64> = (1..=requests).collect();
    for (set, ids) in all.chunks(1_000).enumerate() {
        let id = BuildsetId(set as u64 + 1);
        let request = |request: &u64| Request::new(RequestId(*request), id, builder(*request), NOW);
        let buildset = Buildset {
            id,
            reason: "benchmark".into(),
            submitter: "force".into(),
            stamps: Vec::new(),
            properties: Default::default(),
            submitted: NOW,
            requests: ids.iter().copied().map(RequestId).collect(),
            complete: None,
            parent: None,
        };
        let requests = ids.iter().map(request).collect();
        store.commit(vec![Persist::AddBuildset { buildset, requests }]).await?;
    }
    Ok(())
}

/// Claims all of `requests`, `batch` in each claim, from so many callers at once.
async fn claim(
    store: &Store,
    requests: std::ops::Range<u64>,
    callers: usize,
    batch: u64,
) -> Result<(), Failed> {
    let next = Arc::new(AtomicU64::new(requests.start));
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (store, next, end) = (store.clone(), next.clone(), requests.end);
        tasks.spawn(async move {
            loop {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                if first >= end {
                    return Ok::<_, CommitError>(());
                }
                let requests = (first..end.min(first + batch)).map(RequestId).collect();
                let fence = store.ids().next_fence();
                store.commit(vec![Persist::Claim { requests, master: MasterId(1), fence, at: NOW }]).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

const WAITING: TableDefinition<u64, &[u8]> = TableDefinition::new("waiting");
const HELD: TableDefinition<u64, &[u8]> = TableDefinition::new("held");
const PENDING: TableDefinition<(&str, u32, u64, u64), ()> = TableDefinition::new("pending");
const PENDING_COUNTS: TableDefinition<&str, u64> = TableDefinition::new("pending_counts");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");

/// The same database without anything of ours around it.
struct Bare {
    database: Database,
    fence: u64,
    /// How many wait of each builder.
    waiting: Vec<(String, u64)>,
}

impl Bare {
    fn open(path: &Path) -> Result<Bare, Failed> {
        let cache = Options::default().cache_bytes;
        let database = Database::builder().set_cache_size(cache).create(path)?;
        let begun = database.begin_write()?;
        let counts = begun.open_table(PENDING_COUNTS)?;
        let mut waiting = Vec::new();
        for i in 0..BUILDERS {
            let count = counts.get(builder(i).as_str())?.map_or(0, |count| count.value());
            waiting.push((builder(i), count));
        }
        drop(counts);
        begun.abort()?;
        Ok(Bare { database, fence: 0, waiting })
    }

    /// Writes the rows of these claims in so many transactions.
    fn claim(&mut self, requests: std::ops::Range<u64>, transactions: u64) -> Result<(), Failed> {
        let (first, all) = (requests.start, requests.end - requests.start);
        for i in 0..transactions {
            let mut write = self.database.begin_write()?;
            write.set_durability(Durability::Immediate)?;
            write.set_quick_repair(true);
            let mut waiting = write.open_table(WAITING)?;
            let mut held = write.open_table(HELD)?;
            let mut pending = write.open_table(PENDING)?;
            let mut touched = [false; BUILDERS as usize];
            for id in first + all * i / transactions..first + all * (i + 1) / transactions {
                self.fence += 1;
                let builder = (id % BUILDERS) as usize;
                let (name, count) = &mut self.waiting[builder];
                let row = waiting.remove(id)?.ok_or("a request is missing")?;
                // Flags, last fence and claim are what is new in a row.
                let row = row.value();
                let mut new = Vec::with_capacity(row.len() + 24);
                new.extend_from_slice(&[row[0], 2]);
                new.extend_from_slice(&row[2..26]);
                for number in [self.fence, 1, self.fence, NOW.0] {
                    new.extend_from_slice(&number.to_le_bytes());
                }
                new.extend_from_slice(&row[34..]);
                held.insert(id, new.as_slice())?;
                pending.remove((name.as_str(), !(1 << 31), NOW.0, id))?.ok_or("a turn is missing")?;
                *count -= 1;
                touched[builder] = true;
            }
            let mut counts = write.open_table(PENDING_COUNTS)?;
            for ((name, count), _) in self.waiting.iter().zip(touched).filter(|(_, touched)| *touched) {
                match count {
                    0 => drop(counts.remove(name.as_str())?),
                    count => drop(counts.insert(name.as_str(), *count)?),
                }
            }
            let mut counters = write.open_table(COUNTERS)?;
            counters.insert("fence", self.fence)?;
            drop((waiting, held, pending, counts, counters));
            write.commit()?;
        }
        Ok(())
    }
}
