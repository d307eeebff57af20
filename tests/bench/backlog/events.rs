//! What an event costs, and how soon the first build begins. The store is opened anew; 1,000 workers with 4 slots
//! each connect; each builder may use those of its group and 100 that all share, or with one group all.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use windlass_core::builder::Builder;
use windlass_core::schedule::{Rules, WorkerRule};
use windlass_store::{Options, Store};

use super::driver::{Driver, Seen, now};
use super::fill::{BUILDERS, name, submission};
use super::{Failed, Spread, cpu_ms, ms, rss};

const WORKERS: u64 = 1_000;
const SLOTS: u32 = 4;
const SHARED: u64 = 100;
const EVENTS: usize = 20_000;
/// Commits under way at most.
const UNDER_WAY: usize = 64;

pub async fn run(folder: &Path, groups: u64) -> Result<(), Failed> {
    let began = Instant::now();
    let store = Store::open(folder, Options::default())?;
    let opened = began.elapsed();
    let mut driver = Driver::new(store, rules(groups), None);
    let mut chance = Chance(1);
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
        driver.seen.events.iter().max().map_or(0.0, |cost| ms(*cost))
    );
    while driver.under_way > 0 {
        driver.take().await;
    }
    let longest = driver.seen.events.iter().max().map_or(0.0, |cost| ms(*cost));
    println!(
        "{} builds run after {:.0} ms, longest decision {longest:.1} ms, {} MiB",
        driver.running.len(),
        ms(began.elapsed()),
        rss()
    );
    driver.seen = Seen::default();
    let (steady, cpu) = (Instant::now(), cpu_ms());
    while driver.seen.events.len() < EVENTS {
        happen(&mut driver, &mut chance);
        while driver.under_way > UNDER_WAY {
            driver.take().await;
        }
        driver.take_ready();
    }
    let seconds = steady.elapsed().as_secs_f64();
    let status = Instant::now();
    let pending: u64 = driver.board.status(now()).builders.iter().map(|builder| builder.pending).sum();
    let status = status.elapsed();
    let Seen { claims, events, .. } = &mut driver.seen;
    let total: f64 = events.iter().map(|cost| ms(*cost)).sum();
    let Spread { p50, p99, p999, max } = Spread::of(events);
    println!("{} events: p50 {p50} us, p99 {p99} us, p99.9 {p999} us, max {max} us", events.len());
    println!(
        "{claims} claims, {:.0} a second; all decisions took {total:.0} ms of {seconds:.1} s ({:.0} starts a second of decisions alone), CPU {:.0} ms",
        *claims as f64 / seconds,
        *claims as f64 / total * 1_000.0,
        cpu_ms() - cpu
    );
    println!("{pending} pending by the status, which took {:.2} ms; {} MiB", ms(status), rss());
    Ok(())
}

fn happen(driver: &mut Driver, chance: &mut Chance) {
    match chance.below(100) {
        0..45 if !driver.running.is_empty() => {
            let which = chance.below(driver.running.len() as u64);
            let build = driver.running.swap_remove(which as usize);
            driver.happen(|driver| driver.end(build));
        }
        0..54 => driver.happen(|driver| {
            let add = submission(&driver.store);
            driver.submit(add);
        }),
        54..96 => {
            let load = chance.below(400) as f64 / 100.0;
            let worker = name("worker", chance.below(WORKERS));
            driver.happen(|driver| driver.board.worker_load(&worker, load));
        }
        _ => {
            let worker = name("worker", chance.below(WORKERS));
            driver.happen(|driver| driver.board.worker_down(&worker));
            driver.happen(|driver| driver.board.worker_up(&worker, now(), Vec::new()));
        }
    }
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

/// Always the same numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}
