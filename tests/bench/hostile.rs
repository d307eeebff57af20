//! What hostile components cost everybody else: while each row of `docs/sandbox.md` runs, 4 workers go on with
//! trivial builds.
//!
//! ```text
//! cargo build --release
//! WINDLASS_BINARY=target/release/windlass cargo run --release -p windlass-tests --example hostile [NAME ...]
//! ```
//!
//! For each row: the throughput of the others relative to undisturbed windows right before and after it, the 99th
//! percentile of the time that the dispatcher took for an event, and the peak of the master's memory. Rows in which
//! the others seem to lose are looked at again, for longer and several times: their median counts, wherever it lies.
//! At the end it says how far undisturbed windows scatter when they are measured like rows.
//!
//! Throughput needs a machine that does nothing else. Beside it stands the same per second of CPU that master, workers
//! and all that they started had: whatever else the machine does changes that little, but it knows nothing of waiting.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windlass_tests::attack::{ENDLESS, Role, config, poller, site_on, those};
use windlass_tests::hostile::component;
use windlass_tests::repository::Repository;
use windlass_tests::site::Site;
use windlass_web::client::Client;

const WORKERS: [&str; 4] = ["w1", "w2", "w3", "w4"];

/// Before anything is measured.
const WARM: Duration = Duration::from_secs(3);

/// For how long the others are looked at.
#[derive(Clone, Copy)]
struct Look {
    /// Undisturbed, before and after.
    apart: Duration,
    /// Beside a row.
    beside: Duration,
}

/// At all rows.
const FIRST: Look = Look { apart: Duration::from_millis(400), beside: Duration::from_millis(1_500) };

/// At rows where the others had less than this share of their throughput, so often; and as many times at nothing.
const AGAIN: Look = Look { apart: Duration::from_millis(1_200), beside: Duration::from_millis(3_600) };
const LESS: f64 = 92.0;
const TIMES: usize = 3;

/// Between two tries of a row: what is measured is the attack, not how quickly somebody can ask for it.
const PAUSE: Duration = Duration::from_millis(200);

/// Between two changes: each is a commit and a fetch, which are no attack.
const CHANGES: Duration = Duration::from_secs(1);

/// Builds of the innocent that wait or run: enough that no worker is ever idle.
const BACKLOG: u64 = 200;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let rows = those(|role| !matches!(role, Role::Apart | Role::Fatal));
    let rows: Vec<String> =
        rows.into_iter().filter(|row| wanted.is_empty() || wanted.contains(row)).collect();
    // A master has one of these at a time, and asks it beside every other row.
    let (of_master, rows): (Vec<String>, Vec<String>) =
        rows.into_iter().partition(|row| Role::of(row).is_of_master());
    let repository = Repository::new();
    repository.commit("file", "first", "first");
    println!("| attack | others | per CPU | p99 of a decision | peak memory |\n|---|---|---|---|---|");
    if !rows.is_empty() {
        let loaded: Vec<String> = rows.iter().filter(|row| Role::of(row) != Role::File).cloned().collect();
        measure(site_on(&WORKERS, &loaded).start(), &repository, &rows);
    }
    if !of_master.is_empty() {
        let mut site = site_on(&WORKERS, &of_master).start();
        for row in of_master {
            site.configure(&(config(&WORKERS, std::slice::from_ref(&row)) + &poller(&repository)));
            site.ok(&["reconfig", "--json"]);
            site.ok(&["poll", "--json"]);
            site = measure(site, &repository, &[row]);
        }
    }
}

/// Prints these rows of a site, which it gives back.
fn measure(site: Site, repository: &Repository, rows: &[String]) -> Site {
    let bench = Bench {
        client: Client::new(windlass_web::socket_in(&site.path("state"))),
        master: site.pid("master"),
        submitted: AtomicU64::new(0),
        repository,
        site,
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| bench.feed(&over));
        bench.window(WARM);
        let mut before = bench.window(FIRST.apart);
        let mut seen = Vec::new();
        for row in rows {
            let (measured, after) = bench.look(Some(row), FIRST, before);
            before = after;
            seen.push((row, measured));
        }
        for (row, measured) in seen {
            let again = if measured.share.of_time < LESS {
                eprintln!("{row}: {} at first", measured.share);
                bench.look_again(Some(row))
            } else {
                Vec::new()
            };
            let Measured { share, p99, peak } = Measured::of(measured, &again);
            println!("| `{row}` | {share} | {p99:.1} ms | {peak} MiB |");
        }
        if rows.len() > 1 {
            let nothing = bench.look_again(None).into_iter();
            let nothing: Vec<String> = nothing.map(|measured| measured.share.to_string()).collect();
            eprintln!("nothing: {}", nothing.join("; "));
        }
        over.store(true, Ordering::Relaxed);
    });
    bench.site
}

/// Builds of the others: of time, and of CPU.
#[derive(Clone, Copy)]
struct Rate {
    of_time: f64,
    of_cpu: f64,
}

impl Rate {
    /// In per cent of the mean of these two.
    fn relative_to(self, before: Rate, after: Rate) -> Rate {
        let share = |what: fn(&Rate) -> f64| what(&self) * 200.0 / (what(&before) + what(&after));
        Rate { of_time: share(|rate| rate.of_time), of_cpu: share(|rate| rate.of_cpu) }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} % | {:.0} %", self.of_time, self.of_cpu)
    }
}

/// What a row cost.
#[derive(Clone, Copy)]
struct Measured {
    /// What the others did, in per cent of what they do undisturbed.
    share: Rate,
    /// Milliseconds.
    p99: f64,
    /// MiB.
    peak: u64,
}

impl Measured {
    /// Whoever was looked at again was chosen by its first share, which says nothing any more.
    fn of(first: Measured, again: &[Measured]) -> Measured {
        let median = |what: fn(&Rate) -> f64| {
            let mut shares: Vec<f64> = again.iter().map(|measured| what(&measured.share)).collect();
            shares.sort_by(f64::total_cmp);
            shares.get(shares.len() / 2).copied().unwrap_or(what(&first.share))
        };
        let all = || again.iter().chain([&first]);
        Measured {
            share: Rate { of_time: median(|rate| rate.of_time), of_cpu: median(|rate| rate.of_cpu) },
            p99: all().map(|measured| measured.p99).fold(0.0, f64::max),
            peak: all().map(|measured| measured.peak).max().unwrap_or(0),
        }
    }
}

/// Seconds of CPU that the processes of this session had so far, with those that ended and were waited for.
fn cpu() -> f64 {
    let of = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<i64> = stat
            .rsplit_once(')')?
            .1
            .split_ascii_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        // The 6th field of the line, and the 14th to 17th, counted from 1.
        Some((*fields.get(3)?, fields.get(11..15)?.iter().sum::<i64>()))
    };
    let Some((session, _)) = of("self") else { return 0.0 };
    let all = std::fs::read_dir("/proc").expect("Linux has it").filter_map(Result::ok);
    let used = all.filter_map(|entry| of(entry.file_name().to_str()?)).filter(|(s, _)| *s == session);
    // In hundredths of a second.
    used.map(|(_, ticks)| ticks as f64).sum::<f64>() / 100.0
}

struct Bench<'a> {
    site: Site,
    repository: &'a Repository,
    client: Client,
    master: u32,
    submitted: AtomicU64,
}

impl Bench<'_> {
    /// Keeps the innocent busy.
    fn feed(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            for _ in self.remaining()..BACKLOG {
                self.submitted.fetch_add(1, Ordering::Relaxed);
                self.force("innocent");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn remaining(&self) -> u64 {
        let status = self.get("/api/v1/status");
        let builders = status["builders"].as_array().expect("a list");
        let innocent =
            builders.iter().find(|builder| builder["name"] == "innocent").expect("it is configured");
        innocent["pending"].as_u64().unwrap_or(0) + innocent["building"].as_u64().unwrap_or(0)
    }

    /// Builds of the innocent over a while.
    fn window(&self, time: Duration) -> Rate {
        self.during(|| std::thread::sleep(time))
    }

    fn during(&self, what: impl FnOnce()) -> Rate {
        let done = || self.submitted.load(Ordering::Relaxed) as f64 - self.remaining() as f64;
        let (began, used, first) = (Instant::now(), cpu(), done());
        what();
        let builds = done() - first;
        Rate { of_time: builds / began.elapsed().as_secs_f64(), of_cpu: builds / (cpu() - used).max(0.01) }
    }

    fn look_again(&self, row: Option<&str>) -> Vec<Measured> {
        let mut before = self.window(AGAIN.apart);
        let look = |_| {
            let (measured, after) = self.look(row, AGAIN, before);
            before = after;
            measured
        };
        (0..TIMES).map(look).collect()
    }

    /// Measures a row, or nothing in its place; answers the undisturbed throughput after it, too.
    fn look(&self, row: Option<&str>, look: Look, before: Rate) -> (Measured, Rate) {
        // Forgets the peak so far.
        std::fs::write(format!("/proc/{}/clear_refs", self.master), "5").expect("our own child");
        let throughput = match row {
            Some(row) => self.during(|| self.attack(row, look.beside)),
            None => self.window(look.beside),
        };
        let p99 = self.get("/api/v1/status")["dispatch"]["p99_us"].as_f64().unwrap_or(f64::NAN) / 1_000.0;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.master)).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        let after = self.window(look.apart);
        (Measured { share: throughput.relative_to(before, after), p99, peak: peak / 1024 }, after)
    }

    /// Again and again until the time is over.
    fn attack(&self, row: &str, time: Duration) {
        let end = Instant::now() + time;
        let builder = format!("b-{row}");
        match Role::of(row) {
            Role::File => {
                self.site.plugin(row, &component(row));
                while Instant::now() < end {
                    // Refused, as it should be.
                    drop(self.post("/api/v1/reconfig", &json!({ "plan": false })));
                    std::thread::sleep(PAUSE);
                }
                std::fs::remove_file(self.site.path(&format!("plugins/{row}.wasm"))).expect("just written");
            }
            Role::Policy("prioritize_builders") | Role::Apart | Role::Fatal => std::thread::sleep(time),
            Role::Policy("codebase_generator") => {
                while Instant::now() < end {
                    self.repository.git(&["commit", "--quiet", "--allow-empty", "--message", "again"]);
                    drop(self.post("/api/v1/poll", &json!({})));
                    std::thread::sleep(CHANGES);
                }
            }
            Role::Policy(_) => {
                while Instant::now() < end {
                    let asked: Vec<u64> = (0..3).map(|_| self.force(&builder)).collect();
                    asked.into_iter().for_each(|buildset| self.wait(buildset, end));
                    std::thread::sleep(PAUSE);
                }
            }
            Role::Step | Role::Command => {
                while Instant::now() < end {
                    let buildset = self.force(&builder);
                    if row == "step-spins-in-cleanup" {
                        self.wait(buildset, Instant::now() + Duration::from_millis(500));
                        self.stop(&builder);
                    }
                    self.wait(buildset, end);
                    std::thread::sleep(PAUSE);
                }
                if ENDLESS.contains(&row) {
                    self.stop(&builder);
                }
            }
        }
    }

    fn stop(&self, builder: &str) {
        let status = self.get("/api/v1/status");
        for build in status["running"].as_array().expect("a list").iter().filter(|b| b["builder"] == builder)
        {
            drop(self.post(&format!("/api/v1/builds/{}/stop", build["id"]), &json!({ "reason": "enough" })));
        }
    }

    fn wait(&self, buildset: u64, end: Instant) {
        while Instant::now() < end && self.get(&format!("/api/v1/buildsets/{buildset}"))["outcome"].is_null()
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn force(&self, builder: &str) -> u64 {
        let forced = self.post("/api/v1/force", &json!({ "builder": builder, "properties": {} }));
        forced
            .and_then(|forced| forced["buildset"].as_u64())
            .unwrap_or_else(|| panic!("{builder} cannot be forced"))
    }

    fn get(&self, path: &str) -> Value {
        block_on(self.client.get(path))
            .unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.site.said("master")))
    }

    fn post(&self, path: &str, body: &Value) -> Option<Value> {
        block_on(self.client.post(path, body)).ok()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}
