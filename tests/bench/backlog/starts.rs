//! Starts as fast as they can be decided and made durable, each build over at once.
//!
//! What a policy is offered comes from two places, hence two shapes. Requests and builders come from the backlog: 16
//! workers with 4 slots each serve all 500 builders, so that 64 starts are under way. Workers are candidates only
//! while they are free, which beside a backlog none is: the backlog's builders have no worker connected, and a
//! builder of its own has as many as wanted, and 64 requests at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use windlass_core::builder::Builder;
use windlass_core::policy::HookKind;
use windlass_core::schedule::{LOADED, Rules, WorkerRule};
use windlass_store::{Options, Store};

use super::driver::{Driver, Seen, now};
use super::fill::{BUILDERS, name, order};
use super::policies::Policies;
use super::{Failed, Spread, cpu_ms, rss};

/// Starts that are under way at once.
const TOGETHER: u64 = 64;
const STARTS: usize = 3_000;
/// Before the clock starts.
const WARM_UP: usize = 300;
/// The builder that has workers of its own.
const OWN: &str = "own";

/// Which kind is asked, over so many candidates; `None`: the default rule.
pub async fn run(
    folder: &std::path::Path,
    kind: Option<HookKind>,
    over_workers: bool,
    candidates: usize,
) -> Result<(), Failed> {
    let store = Store::open(folder, Options::default())?;
    let policies = kind.map(|_| Policies::load()).transpose()?;
    let mut rules = if over_workers { workers(candidates) } else { backlog() };
    rules.window = candidates;
    rules.loaded = LOADED.max(candidates + LOADED);
    if let (Some(kind), Some(policies)) = (kind, &policies) {
        policies.put_into(&mut rules, kind, |builder| !over_workers || builder == OWN);
    }
    let names: Vec<String> = rules.workers.iter().map(|worker| worker.name.clone()).collect();
    let mut driver = Driver::new(store, rules, policies);
    driver.happen(|driver| names.iter().for_each(|worker| driver.board.worker_up(worker, now(), Vec::new())));
    go_on(&mut driver, over_workers, WARM_UP).await;
    driver.seen = Seen::default();
    let (began, cpu) = (Instant::now(), cpu_ms());
    go_on(&mut driver, over_workers, STARTS).await;
    let (seconds, cpu, seen) = (began.elapsed().as_secs_f64(), cpu_ms() - cpu, &mut driver.seen);
    let asked = seen.questions.len();
    let (events, questions) = (Spread::of(&mut seen.events), Spread::of(&mut seen.questions));
    println!(
        "{}",
        serde_json::json!({
            "starts/s": seen.claims as f64 / seconds,
            "CPU us/start": cpu * 1_000.0 / seen.claims as f64,
            "event p50 us": events.p50, "event p99 us": events.p99,
            "questions/s": asked as f64 / seconds,
            "question p50 us": questions.p50, "question p99 us": questions.p99,
            "candidates": seen.candidates as f64 / asked.max(1) as f64,
            "MiB": rss(),
        })
    );
    Ok(())
}

async fn go_on(driver: &mut Driver, over_workers: bool, starts: usize) {
    while driver.seen.claims < starts {
        if over_workers && driver.under_way == 0 {
            for _ in 0..TOGETHER {
                let id = driver.store.ids().next_buildset();
                driver.submit(order(&driver.store, id, vec![OWN.to_owned()]));
            }
        }
        driver.take().await;
        for build in std::mem::take(&mut driver.running) {
            driver.happen(|driver| driver.end(build));
        }
    }
}

/// All builders of the backlog on a few workers.
fn backlog() -> Rules {
    let workers: Vec<String> = (0..TOGETHER / 4).map(|n| name("worker", n)).collect();
    Rules { builders: builders(&workers), workers: rules_of(&workers, 4), ..Rules::default() }
}

/// A builder with so many workers, and those of the backlog without any.
fn workers(count: usize) -> Rules {
    let workers: Vec<String> = (0..count as u64).map(|n| name("worker", n)).collect();
    let own = Builder { workers: workers.clone(), ..Builder::bare(OWN, &[]) };
    let mut builders = builders(&["absent".to_owned()]);
    builders.insert(own.name.clone(), Arc::new(own));
    // Free even where all of them begin on one.
    let slots = u32::try_from(2 * TOGETHER).unwrap_or_default();
    Rules { builders, workers: rules_of(&workers, slots), ..Rules::default() }
}

fn builders(workers: &[String]) -> BTreeMap<String, Arc<Builder>> {
    let builder = |n| {
        let builder = Builder { workers: workers.to_vec(), ..Builder::bare(&name("builder", n), &[]) };
        (builder.name.clone(), Arc::new(builder))
    };
    (0..BUILDERS).map(builder).collect()
}

fn rules_of(workers: &[String], slots: u32) -> Vec<WorkerRule> {
    let rule =
        |name: &String| WorkerRule { name: name.clone(), max_builds: Some(slots), ..WorkerRule::default() };
    workers.iter().map(rule).collect()
}
