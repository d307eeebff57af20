//! [`view::Status`], put together from what each part shows of itself.

use std::collections::BTreeMap;

use windlass_config::config;
use windlass_core::schedule;
use windlass_core::time::Timestamp;
use windlass_store::{BuildFilter, RESERVE, ReadError};

use crate::plugins;
use crate::policies;
use crate::running::Running;
use crate::view;
use crate::world::World;

/// How the master is. What cannot be read is among the problems.
pub(crate) fn status(running: &Running) -> view::Status {
    let world = running.world.load_full();
    let board = running.dispatcher.snapshot();
    let pollers = running.pollers.status();
    let now = running.clock.now();
    let policies = policies::status(running, &world, now);
    let mut problems = Problems::default();
    let builds = problems.read(running.store.running_builds());
    let builders = builders(running, &world, &board, &mut problems);
    for poller in &pollers {
        problems.0.extend(poller.error.iter().map(|error| format!("poller `{}`: {error}", poller.name)));
    }
    let reporters = running.reporters.status(&world.config);
    problems.0.extend(reporters.iter().filter_map(|reporter| untold(reporter, now)));
    problems.0.extend(policies.iter().filter_map(|policy| policies::trouble(policy, now)));
    problems.0.extend(world.config.configurators.iter().filter_map(unwritten));
    problems.0.extend(board.workers.iter().filter_map(|worker| quarantine(worker, now)));
    problems.0.extend(board.reports.iter().cloned());
    let (stats, pace) = (running.store.stats(), running.dispatcher.pace());
    if stats.waits_for_room {
        problems.0.push(format!(
            "nothing is written, and all waits: {} MiB would not be left on the disk of `{}`; free some space there",
            RESERVE >> 20,
            running.folders.state.display()
        ));
    }
    problems.0.dedup();
    view::Status {
        title: world.config.title.clone(),
        title_url: world.config.title_url.clone(),
        url: world.config.url.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation: world.generation.number,
        started: running.started,
        now,
        pid: std::process::id(),
        listen: running.address.clone(),
        config: running.config_path.clone(),
        state_dir: running.folders.state.clone(),
        workers: workers(running, &world, &board),
        pending: board.builders.iter().map(|builder| builder.pending).sum(),
        builders,
        running: builds.iter().map(view::Build::of).collect(),
        locks: board.locks.iter().cloned().map(view::Lock::from).collect(),
        policies,
        pollers,
        schedulers: running.intake.schedulers(),
        reporters,
        dispatch: view::DispatchStatus {
            events: pace.events,
            p50_us: pace.p50_us,
            p99_us: pace.p99_us,
            max_us: pace.max_us,
        },
        store: view::StoreStatus {
            batches: stats.batches,
            commits: stats.commits,
            journals: stats.journals,
            syncs: stats.syncs,
            log_bytes: stats.log_bytes,
        },
        memory: memory(),
        problems: problems.0,
    }
}

/// What a person should look at.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn read<T: Default>(&mut self, result: Result<T, ReadError>) -> T {
        result.unwrap_or_else(|error| {
            self.0.push(plugins::chain(&error));
            T::default()
        })
    }
}

/// What is said of a reporter that takes nothing.
fn untold(reporter: &view::ReporterStatus, now: Timestamp) -> Option<String> {
    let error = reporter.error.as_deref()?;
    let next = match reporter.next_try {
        Some(next) => format!("tried again in {} s", next.ms_since(now).div_ceil(1_000)),
        None => "tried again now".to_owned(),
    };
    let dropped = match reporter.dropped {
        0 => String::new(),
        dropped => format!(", {dropped} were dropped"),
    };
    let (name, waiting) = (&reporter.name, reporter.waiting);
    Some(format!("reporter `{name}`: {waiting} events wait{dropped}; {next}: {error}"))
}

/// What is said of a worker in quarantine.
fn quarantine(worker: &schedule::WorkerStatus, now: Timestamp) -> Option<String> {
    let seconds = worker.quarantine?.ms_since(now).div_ceil(1_000);
    let (name, times) = (&worker.name, worker.failures);
    let lost = if times == 1 { "once".to_owned() } else { format!("{times} times in a row") };
    Some(format!(
        "worker `{name}` gets nothing new for {seconds} s: it was lost {lost} before a build got anywhere; \
         `windlass workers release {name}` lifts that"
    ))
}

/// What is said of a configurator that failed when the master started.
fn unwritten(configurator: &config::Configurator) -> Option<String> {
    let fault = policies::shortened(configurator.fault.as_deref()?);
    Some(format!(
        "configurator {} failed when the master started: {fault}. What it wrote when it was asked the same before stands \
         in for that, until a reconfig, which takes nothing but what it writes then",
        configurator.hook
    ))
}

fn workers(running: &Running, world: &World, board: &schedule::Status) -> Vec<view::WorkerStatus> {
    let connected: BTreeMap<String, _> =
        running.links.connected().into_iter().map(|worker| (worker.name.clone(), worker)).collect();
    let on_board: BTreeMap<&str, &schedule::WorkerStatus> =
        board.workers.iter().map(|worker| (worker.name.as_str(), worker)).collect();
    let one = |worker: &windlass_config::config::Worker| {
        let link = connected.get(&worker.name);
        let shown = on_board.get(worker.name.as_str());
        view::WorkerStatus {
            name: worker.name.clone(),
            connected: link.map(|link| link.since),
            running: shown.map_or(0, |shown| shown.running),
            max_builds: worker.max_builds,
            version: link.map(|link| link.version.clone()),
            load: link.and_then(|link| link.load),
            quarantine: shown.and_then(|shown| shown.quarantine),
            failures: shown.map_or(0, |shown| shown.failures),
            facts: link
                .map(|link| link.facts.iter().map(|f| (f.name.clone(), f.value.to_json())).collect())
                .unwrap_or_default(),
        }
    };
    world.config.workers.iter().map(one).collect()
}

fn builders(
    running: &Running,
    world: &World,
    board: &schedule::Status,
    problems: &mut Problems,
) -> Vec<view::BuilderStatus> {
    let shown: BTreeMap<&str, &schedule::BuilderStatus> =
        board.builders.iter().map(|builder| (builder.name.as_str(), builder)).collect();
    let one = |builder: &windlass_core::builder::Builder| {
        let filter = BuildFilter {
            builder: Some(builder.name.clone()),
            complete: Some(true),
            limit: 1,
            ..BuildFilter::default()
        };
        let last = problems.read(running.store.builds(&filter)).into_iter().next();
        let queue = shown.get(builder.name.as_str());
        view::BuilderStatus {
            name: builder.name.clone(),
            description: builder.description.clone(),
            tags: builder.tags.clone(),
            workers: builder.workers.clone(),
            pending: queue.map_or(0, |queue| queue.pending),
            building: queue.map_or(0, |queue| queue.building),
            last: last.and_then(|row| {
                let complete = row.complete?;
                Some(view::LastBuild {
                    id: row.id.0,
                    number: row.number,
                    outcome: complete.outcome,
                    ended: complete.at,
                    summary: row.summary,
                })
            }),
            waiting: queue.and_then(|queue| queue.wait.clone()),
        }
    };
    world.config.builders.iter().map(one).collect()
}

/// Resident memory in bytes, where the system says it.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
