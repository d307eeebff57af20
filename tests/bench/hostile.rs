//! What hostile components cost everybody else: while each row of `docs/sandbox.md` runs, 4 workers go on with
//! trivial builds.
//!
//! ```text
//! cargo build --release
//! WINDLASS_BINARY=target/release/windlass cargo run --release -p windlass-tests --example hostile [NAME ...]
//! ```
//!
//! For each row: the throughput of the others relative to undisturbed windows right before and after it, the 99th
//! percentile of the time that the dispatcher took for an event, and the peak of the master's memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windlass_tests::attack::{ENDLESS, Role, site_on, those};
use windlass_tests::hostile::component;
use windlass_tests::site::Site;
use windlass_web::client::Client;

const WORKERS: [&str; 4] = ["w1", "w2", "w3", "w4"];

/// Undisturbed, and with a row.
const WINDOWS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(1_600));

/// Between two tries of a row: what is measured is the attack, not how quickly somebody can ask for it.
const PAUSE: Duration = Duration::from_millis(200);

/// Builds of the innocent that wait or run: enough that no worker is ever idle.
const BACKLOG: u64 = 200;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let rows = those(|role| role != Role::Apart);
    let rows: Vec<String> =
        rows.into_iter().filter(|row| wanted.is_empty() || wanted.contains(row)).collect();
    // What is asked at every decision of the master would be beside every other row.
    let (global, rows): (Vec<String>, Vec<String>) =
        rows.into_iter().partition(|row| Role::of(row) == Role::Policy("prioritize_builders"));
    println!("| attack | others | p99 of a decision | peak memory |\n|---|---|---|---|");
    for rows in [rows, global] {
        if !rows.is_empty() {
            measure(&rows);
        }
    }
}

fn measure(rows: &[String]) {
    let loaded: Vec<String> = rows.iter().filter(|row| Role::of(row) != Role::File).cloned().collect();
    let site = site_on(&WORKERS, &loaded).start();
    let bench = Bench {
        client: Client::new(windlass_web::socket_in(&site.path("state"))),
        master: site.pid("master"),
        submitted: AtomicU64::new(0),
        site,
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| bench.feed(&over));
        bench.window(Duration::from_secs(5));
        let mut before = bench.window(WINDOWS.0);
        for row in rows {
            let (during, p99, peak) = bench.row(row);
            let after = bench.window(WINDOWS.0);
            let share = during * 200.0 / (before + after);
            println!("| `{row}` | {share:.0} % | {p99:.1} ms | {peak} MiB |");
            before = after;
        }
        over.store(true, Ordering::Relaxed);
    });
}

struct Bench {
    site: Site,
    client: Client,
    master: u32,
    submitted: AtomicU64,
}

impl Bench {
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

    /// Builds of the innocent per second, over a while.
    fn window(&self, time: Duration) -> f64 {
        self.during(|| std::thread::sleep(time))
    }

    fn during(&self, what: impl FnOnce()) -> f64 {
        let done = || self.submitted.load(Ordering::Relaxed) as f64 - self.remaining() as f64;
        let (began, first) = (Instant::now(), done());
        what();
        (done() - first) / began.elapsed().as_secs_f64()
    }

    /// Builds per second of the others, milliseconds, MiB.
    fn row(&self, row: &str) -> (f64, f64, u64) {
        // Forgets the peak so far.
        std::fs::write(format!("/proc/{}/clear_refs", self.master), "5").expect("our own child");
        let throughput = self.during(|| self.attack(row));
        let p99 = self.get("/api/v1/status")["dispatch"]["p99_us"].as_f64().unwrap_or(f64::NAN) / 1_000.0;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.master)).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        (throughput, p99, peak / 1024)
    }

    /// Again and again until the time is over.
    fn attack(&self, row: &str) {
        let end = Instant::now() + WINDOWS.1;
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
            Role::Policy("prioritize_builders") | Role::Apart => std::thread::sleep(WINDOWS.1),
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
