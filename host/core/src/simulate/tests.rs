//! What holds in every world: nothing is built twice or beyond what there is, everybody is served, and when.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::builder::{Builder, Merge, OnError, PolicyUse};
use crate::digest::Digest;
use crate::lock::{Kind, Lock, Mode};
use crate::policy::{Answer, Question};
use crate::record::Component;
use crate::request::Turn;
use crate::schedule::{Board, WorkerRule};
use crate::value::Value;

/// What a random world is made of.
#[derive(Clone, Debug)]
struct Plan {
    /// Slots of the workers; none: one of each builder.
    workers: Vec<Option<u32>>,
    /// Of each builder: which workers (a bit for each), whether it merges, which locks it holds.
    builders: Vec<(u8, bool, u8)>,
    jobs: Vec<JobPlan>,
    /// A worker leaves, for so long, with its builds or without.
    leaves: Vec<(usize, u64, u64, bool)>,
    locks: bool,
    claim_ms: u64,
    read_ms: u64,
    scan_ms: u64,
}

#[derive(Clone, Debug)]
struct JobPlan {
    builder: usize,
    at: u64,
    priority: i32,
    ms: u64,
    /// How many builds end as *retry* first.
    retries: usize,
    step_locks: u8,
    /// What it asks for; requests with the same number may be merged.
    branch: u8,
    withdrawn: Option<u64>,
}

const LOCKS: [(&str, Kind, u32); 3] =
    [("db", Kind::Master, 1), ("disk", Kind::Worker, 2), ("host", Kind::Master, 3)];

/// The locks of a mask, from the third bit on how much of them.
fn accesses(mask: u8) -> Vec<Access> {
    let mode = match mask >> 3 {
        0 => Mode::Exclusive,
        count => Mode::Counting(count.into()),
    };
    let chosen = LOCKS.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
    chosen.map(|(_, (lock, _, _))| Access { lock: (*lock).to_owned(), mode }).collect()
}

fn job() -> impl Strategy<Value = JobPlan> {
    let times = (0..200_000_u64, 0..60_000_u64, prop::option::weighted(0.1, 0..300_000_u64));
    let kind = (0..4_usize, -1..3_i32, prop::option::weighted(0.2, 1..8_usize), 0..3_u8, 0..16_u8);
    (kind, times).prop_map(|((builder, priority, retries, branch, step_locks), (at, ms, withdrawn))| {
        JobPlan { builder, at, priority, ms, retries: retries.unwrap_or(0), step_locks, branch, withdrawn }
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let workers = prop::collection::vec(prop::option::of(1..4_u32), 1..4);
    let builders = prop::collection::vec((1..8_u8, any::<bool>(), 0..32_u8), 4);
    let leave = (0..3_usize, 0..200_000_u64, 1..50_000_u64, any::<bool>());
    let leaves = prop::collection::vec(leave, 0..3);
    let jobs = prop::collection::vec(job(), 1..40);
    let store = (0..20_u64, 0..20_u64, prop_oneof![Just(0), 500..30_000_u64]);
    (workers, builders, jobs, leaves, any::<bool>(), store).prop_map(
        |(workers, builders, jobs, leaves, locks, (claim_ms, read_ms, scan_ms))| Plan {
            workers,
            builders,
            jobs,
            leaves,
            locks,
            claim_ms,
            read_ms,
            scan_ms,
        },
    )
}

impl Plan {
    /// Without what makes requests wait beyond their turn: locks, retries, workers that leave.
    fn plain(mut self) -> Plan {
        self.locks = false;
        self.leaves.clear();
        self.jobs.iter_mut().for_each(|job| job.retries = 0);
        self
    }

    fn world(&self) -> World {
        let names: Vec<String> = (0..self.workers.len()).map(|n| format!("w{n}")).collect();
        let uses = |mask: u8| if self.locks { accesses(mask) } else { Vec::new() };
        let builder = |(n, (workers, merges, locks)): (usize, &(u8, bool, u8))| {
            let name = format!("b{n}");
            let on = |(bit, worker): (usize, &String)| (workers & (1 << bit) != 0).then(|| worker.clone());
            let mut on: Vec<String> = names.iter().enumerate().filter_map(on).collect();
            if on.is_empty() {
                on.push(names[0].clone());
            }
            let builder = Builder {
                workers: on,
                merge_requests: if *merges { Merge::Compatible } else { Merge::Never },
                locks: uses(*locks),
                ..Builder::bare(&name, &[])
            };
            (name, Arc::new(builder))
        };
        let worker = |(name, slots): (&String, &Option<u32>)| WorkerRule {
            name: name.clone(),
            max_builds: *slots,
            ..WorkerRule::default()
        };
        let lock = |(name, kind, max): &(&str, Kind, u32)| {
            ((*name).to_owned(), Lock { kind: *kind, max: *max, max_for_worker: BTreeMap::new() })
        };
        World {
            rules: Rules {
                builders: self.builders.iter().enumerate().map(builder).collect(),
                workers: names.iter().zip(&self.workers).map(worker).collect(),
                locks: LOCKS.iter().map(lock).collect(),
                window: 5,
                loaded: 3,
                ..Rules::default()
            },
            shifts: self.shifts(&names),
            jobs: self.jobs.iter().enumerate().map(|(n, job)| job.job(n as u64 + 1, &uses)).collect(),
            claim_ms: self.claim_ms,
            read_ms: self.read_ms,
            scan_ms: self.scan_ms,
            ..World::default()
        }
    }

    /// A worker is there from the beginning, but for the first time that it leaves.
    fn shifts(&self, names: &[String]) -> Vec<Shift> {
        let mut shifts = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let leave = self.leaves.iter().find(|leave| leave.0 == n);
            let until = leave.map(|(_, at, _, _)| Timestamp(*at));
            let loses_builds = leave.is_some_and(|leave| leave.3);
            shifts.push(Shift { until, loses_builds, ..Shift::always(name) });
            if let Some((_, at, away, _)) = leave {
                shifts.push(Shift { from: Timestamp(at + away), ..Shift::always(name) });
            }
        }
        shifts
    }
}

impl JobPlan {
    fn job(&self, id: u64, uses: &impl Fn(u8) -> Vec<Access>) -> Job {
        let run = |outcome| Run {
            steps: vec![
                RunStep { ms: self.ms, locks: uses(self.step_locks) },
                RunStep { ms: 1, locks: vec![] },
            ],
            outcome,
        };
        let mut job = Job::of(id, &format!("b{}", self.builder), Timestamp(self.at));
        job.request.priority = self.priority;
        let mut buildset = Buildset::clone(&job.buildset);
        buildset.properties.set("branch", Value::Integer(self.branch.into()), "Scheduler");
        job.buildset = Arc::new(buildset);
        job.runs = vec![run(Outcome::Retry); self.retries];
        job.runs.push(run(Outcome::Success));
        job.withdrawn = self.withdrawn.map(|after| Timestamp(self.at + after));
        job
    }
}

/// Kinds of policies that a builder uses; the order of builders is the fifth.
#[derive(Clone, Copy, Debug)]
struct Advised {
    /// A bit for each.
    kinds: u8,
    on_error: OnError,
    /// Whether the gate takes part: one that fails is a closed one.
    gate: bool,
    /// Whether policies answer sensibly in between.
    sensible: bool,
    seed: u64,
}

fn advised() -> impl Strategy<Value = Advised> {
    let on_error = prop_oneof![Just(OnError::Default), Just(OnError::Hold)];
    (any::<u8>(), on_error, any::<bool>(), any::<bool>(), any::<u64>())
        .prop_map(|(kinds, on_error, gate, sensible, seed)| Advised { kinds, on_error, gate, sensible, seed })
}

impl Advised {
    fn advise(self, world: &mut World) {
        let policy = |bit: u8, hook: &str| {
            let policy = PolicyUse { hook: hook.to_owned(), args: "{}".to_owned(), on_error: self.on_error };
            (self.kinds & (1 << bit) != 0).then_some(policy)
        };
        for builder in world.rules.builders.values_mut() {
            let builder = Arc::make_mut(builder);
            builder.next_slave = policy(0, "place");
            builder.next_build = policy(1, "pick");
            builder.can_start_build = policy(2, "gate").filter(|_| self.gate);
            if let Some(policy) = policy(3, "join") {
                builder.merge_requests = Merge::Policy(policy);
            }
        }
        world.rules.prioritize_builders = policy(4, "order");
        for (kind, hook) in Board::uses(&world.rules) {
            let component = Component {
                kind: kind.as_str().to_owned(),
                hook: format!("p:{hook}"),
                digest: Digest::of(hook.as_bytes()),
            };
            world.rules.components.insert((kind, hook), component);
        }
    }

    /// A reply that is nonsense, late, none, a trap, or sometimes something sensible.
    fn reply(self, asked: u64, ask: &Ask) -> (Reply, u64) {
        // A number for each question, without order.
        let random = (asked ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let pick = usize::try_from(random >> 40).unwrap_or(0);
        let fault = |kind| Fault { kind, ..nobody(ask).0.answer.unwrap_err() };
        let names = || ask.question.names().map(str::to_owned).collect::<Vec<_>>();
        let ids: Vec<u64> = match &ask.question {
            Question::NextBuild { requests, .. } => requests.iter().map(|r| r.id).collect(),
            Question::MergeRequests { others, .. } => others.iter().map(|r| r.id).collect(),
            _ => Vec::new(),
        };
        let sensible = match &ask.question {
            Question::NextSlave { .. } => Answer::Slave(names().get(pick % names().len()).cloned()),
            Question::NextBuild { .. } => Answer::Request(ids.get(pick % ids.len()).copied()),
            Question::MergeRequests { .. } => {
                Answer::Requests(ids.iter().copied().filter(|id| (id ^ random) & 1 == 0).collect())
            }
            _ => Answer::Names(names().into_iter().rev().collect()),
        };
        let none = match &ask.question {
            Question::NextSlave { .. } => Answer::Slave(None),
            Question::NextBuild { .. } => Answer::Request(None),
            Question::MergeRequests { .. } => Answer::Requests(Vec::new()),
            _ => Answer::Names(Vec::new()),
        };
        let answer = match random % if self.sensible { 9 } else { 5 } {
            0 => Err(fault(FaultKind::Trap("unreachable".to_owned()))),
            1 => Err(fault(FaultKind::Wall(250))),
            2 => Ok(Answer::Codebase("another question".to_owned())),
            3 => Ok(Answer::Slave(Some("ghost".to_owned()))),
            4 => Ok(Answer::Requests(vec![1, 1, 9_999])),
            5 => Ok(none),
            _ => Ok(sensible),
        };
        let ms = [0, 1, 250, 3_000][usize::try_from(random >> 8).unwrap_or(0) % 4];
        (Reply { answer, lookups: Vec::new(), usage: Usage::default() }, ms)
    }

    fn play(self, world: &World) -> Result<Report, Broken> {
        let mut asked = 0;
        run(world, |ask| {
            asked += 1;
            self.reply(asked, ask)
        })
    }
}

/// All that arrived has ended.
fn all_ended(report: &Report) -> Result<(), TestCaseError> {
    let open: Vec<_> = report.requests.iter().filter(|served| served.ended.is_none()).collect();
    prop_assert!(open.is_empty(), "{open:?} {:#?}", report.status);
    prop_assert!(report.builds.iter().all(|built| built.ended.is_some()));
    prop_assert!(report.status.builders.iter().all(|b| b.pending == 0), "{:#?}", report.status);
    Ok(())
}

/// Under the default rules, while a request waits, a worker that it could use builds nothing that comes after it
/// in the default order. So it starts at the latest when all has ended on one of its workers that ran there
/// when it came or comes before it.
fn in_turn(world: &World, report: &Report) -> Result<(), TestCaseError> {
    let turns: BTreeMap<RequestId, Turn> =
        world.jobs.iter().map(|job| (job.request.id, Turn::of(&job.request))).collect();
    for served in &report.requests {
        // One that is withdrawn while its claim is made was not waiting any more.
        let Some(first) = report.builds.iter().find(|built| built.requests.contains(&served.id)) else {
            continue;
        };
        let builder = &world.rules.builders[&served.builder];
        let mut latest = u64::MAX;
        for worker in &builder.workers {
            let slots = world.rules.workers.iter().find(|rule| rule.name == *worker).unwrap().max_builds;
            // Where a worker takes one build of each builder, only those of the same builder are in the way.
            let in_the_way = |built: &&Built| {
                built.worker == *worker && (slots.is_some() || built.builder == served.builder)
            };
            let mut free = served.submitted.0;
            for built in report.builds.iter().filter(in_the_way).filter(|b| b.decided < first.decided) {
                let before = turns[&built.requests[0]] < turns[&served.id];
                let ran = built.decided <= served.submitted;
                prop_assert!(before || ran, "{built:?} passed {served:?}");
                free = free.max(built.ended.unwrap().0);
            }
            latest = latest.min(free);
        }
        prop_assert!(first.decided.0 <= latest, "{served:?} could start at {latest}: {first:?}");
    }
    Ok(())
}

/// Whenever something waits that could be built, something is built: all is over at the latest when all builds, one
/// after the other, would be, counted from the last arrival, or from when the last worker came back; *retry* adds
/// its waits, and each build may wait until its request has been read.
fn never_idle(plan: &Plan, report: &Report) -> Result<(), TestCaseError> {
    let arrivals = plan.jobs.iter().map(|job| job.at);
    let back = plan.leaves.iter().map(|(_, at, away, _)| at + away);
    let built: u64 = report.builds.iter().map(|b| b.ended.unwrap().ms_since(b.decided)).sum();
    let waits: u64 = report.requests.iter().map(|served| 60_000 * u64::from(served.retries)).sum();
    let reads = 2 * plan.read_ms * (report.builds.len() as u64 + 1);
    let bound = arrivals.chain(back).max().unwrap_or(0) + built + waits + reads;
    prop_assert!(report.totals().end.0 <= bound, "{} > {bound}", report.totals().end.0);
    Ok(())
}

proptest! {
    // 64 cases, or a quarter of what PROPTEST_CASES says.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 4,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn without_policies_every_request_ends_and_the_master_is_never_idle(plan in plan()) {
        let report = run(&plan.world(), nobody)?;
        all_ended(&report)?;
        never_idle(&plan, &report)?;
    }

    #[test]
    fn nobody_is_passed_by_what_comes_after_it(plan in plan()) {
        let world = plan.plain().world();
        in_turn(&world, &run(&world, nobody)?)?;
    }

    #[test]
    fn whatever_policies_say_nothing_is_built_twice_or_beyond_what_there_is(plan in plan(), advised in advised()) {
        let mut world = plan.world();
        advised.advise(&mut world);
        world.until = Timestamp(3_600_000);
        advised.play(&world)?;
    }

    #[test]
    fn policies_that_fail_keep_nobody_from_being_served(plan in plan(), advised in advised()) {
        // A gate that fails is a closed one, and what holds upon an error waits for its policy.
        let advised = Advised { on_error: OnError::Default, gate: false, ..advised };
        let mut world = plan.world();
        advised.advise(&mut world);
        // Those that answer now and then choose nobody; then the next moment is another one, maybe days later.
        world.scan_ms = 0;
        world.until = Timestamp(100 * 24 * 3_600_000);
        all_ended(&advised.play(&world)?)?;
    }

    #[test]
    fn the_same_world_gives_the_same_report(plan in plan(), advised in advised()) {
        let mut world = plan.world();
        advised.advise(&mut world);
        world.until = Timestamp(3_600_000);
        prop_assert_eq!(advised.play(&world)?, advised.play(&world)?);
    }
}

fn small(builders: Vec<Builder>, workers: &[(&str, u32)], jobs: Vec<Job>) -> World {
    let worker = |(name, slots): &(&str, u32)| WorkerRule {
        name: (*name).to_owned(),
        max_builds: Some(*slots),
        ..WorkerRule::default()
    };
    World {
        rules: Rules {
            builders: builders.into_iter().map(|b| (b.name.clone(), Arc::new(b))).collect(),
            workers: workers.iter().map(worker).collect(),
            ..Rules::default()
        },
        shifts: workers.iter().map(|(name, _)| Shift::always(name)).collect(),
        jobs,
        ..World::default()
    }
}

/// What was built: by which worker, for which requests, from when to when, and how it ended.
fn timeline(report: &Report) -> Vec<String> {
    let line = |built: &Built| {
        let ids: Vec<u64> = built.requests.iter().map(|id| id.0).collect();
        let (from, to) = (built.started.0, built.ended.unwrap().0);
        format!("{} {ids:?} {from}..{to} {}", built.worker, built.outcome.unwrap())
    };
    report.builds.iter().map(line).collect()
}

#[test]
fn builds_of_a_lost_worker_are_built_again_elsewhere() {
    let jobs = vec![Job::of(1, "a", Timestamp(0)).built_in(100), Job::of(2, "a", Timestamp(0)).built_in(10)];
    let mut world = small(vec![Builder::bare("a", &["w1", "w2"])], &[("w1", 1), ("w2", 1)], jobs);
    world.shifts[0] = Shift { until: Some(Timestamp(50)), loses_builds: true, ..Shift::always("w1") };
    let report = run(&world, nobody).unwrap();
    assert_eq!(timeline(&report), ["w1 [1] 0..50 retry", "w2 [2] 0..10 success", "w2 [1] 50..150 success"]);
    assert_eq!(
        report.workers.iter().map(|w| (w.busy_ms, w.connected_ms)).collect::<Vec<_>>(),
        [(50, 50), (110, 150)]
    );
}

#[test]
fn a_request_whose_builds_keep_ending_as_retry_is_given_up() {
    let job = Job { runs: vec![Run::of(10, Outcome::Retry)], ..Job::of(1, "a", Timestamp(0)) };
    let builder = Builder { max_retries: 2, ..Builder::bare("a", &["w"]) };
    let world = small(vec![builder], &[("w", 1)], vec![job]);
    let report = run(&world, nobody).unwrap();
    assert_eq!(timeline(&report), ["w [1] 0..10 retry", "w [1] 10..20 retry", "w [1] 1020..1030 exception"]);
    let why = "given up after 3 builds in a row; the last was to be built again";
    assert_eq!(report.builds[2].why.as_deref(), Some(why));
}

#[test]
fn steps_wait_for_locks_and_requests_that_merge_are_built_together() {
    let db = |count| vec![Access { lock: "db".to_owned(), mode: Mode::Counting(count) }];
    let job = |id, builder| {
        let steps = vec![RunStep { ms: 10, locks: Vec::new() }, RunStep { ms: 100, locks: db(1) }];
        Job { runs: vec![Run { steps, outcome: Outcome::Success }], ..Job::of(id, builder, Timestamp(0)) }
    };
    let merging = Builder { merge_requests: Merge::Compatible, ..Builder::bare("b", &["w"]) };
    let jobs = vec![job(1, "a"), job(2, "b"), job(3, "b")];
    let mut world = small(vec![Builder::bare("a", &["w"]), merging], &[("w", 9)], jobs);
    let lock = Lock { kind: Kind::Master, max: 1, max_for_worker: BTreeMap::new() };
    world.rules.locks.insert("db".to_owned(), lock);
    let report = run(&world, nobody).unwrap();
    assert_eq!(timeline(&report), ["w [1] 0..110 success", "w [2, 3] 0..210 success"]);
    let totals = report.totals();
    assert_eq!((totals.builds, totals.ended, totals.merged, totals.makespan_ms), (2, 3, 1, 210));
}
