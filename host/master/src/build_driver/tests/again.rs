//! Builds of the last run that go on, from rows as a killed master leaves them.

use windlass_core::lock::Mode;
use windlass_core::record::{LogRow, StepRow, StopRow};
use windlass_core::request::Completed;

use super::*;
use crate::clock::Clock as _;
use crate::recovery::{Recovered, TakeUp, recover};
use windlass_core::digest::Digest;
use windlass_core::id::{LogId, StepId};
use windlass_core::journal::{After, Call, Entry, Given};
use windlass_protocol::message::Hello;

/// A step of the build that has ended like this, or runs, since `started`.
fn step(id: u64, name: &str, outcome: Option<Outcome>, started: Timestamp) -> Persist {
    let (hook, digest) = ("windlass:shell-command".to_owned(), Digest::of(b"windlass"));
    let position = u32::try_from(id - 1).unwrap();
    let row = StepRow::begun(StepId(id), BuildId(1), position, name.to_owned(), hook, digest, started);
    let complete = outcome.map(|outcome| Completed { outcome, at: started });
    Persist::PutStep { fence: Fence(1), step: StepRow { complete, ..row } }
}

impl Bench {
    /// The build as it was left, with `more` in its store, is taken up. Answers how it stands.
    async fn take_up(&self, steps: Vec<StepSpec>, more: Vec<Persist>) -> (usize, usize) {
        let builder = Arc::new(builder(steps));
        let mut properties = Properties::default();
        properties.set("buildername", "unit".into(), "Build");
        let row = BuildRow {
            properties,
            plan: Some(builder.digest()),
            plugins: self.generation.digests(),
            ..row()
        };
        let put = Persist::PutPlan { digest: builder.digest(), builder };
        let (add, claim) = (self.requested(), self.claimed());
        self.linked.store.commit(vec![add, claim, put, Persist::PutBuild(row)]).await.unwrap();
        for _ in more.iter().filter(|row| matches!(row, Persist::PutStep { .. })) {
            self.linked.store.ids().next_step();
        }
        self.linked.store.commit(more).await.unwrap();
        let parts = &self.builds.0.parts;
        let recovered =
            recover(&parts.store, &parts.runtime, &self.generation, MasterId(1), parts.clock.now()).await;
        let Recovered { taken_up, closed, .. } = recovered.unwrap();
        let count = taken_up.len();
        assert!(taken_up.iter().map(TakeUp::on_board).all(|taken| taken.requests.len() == 1));
        self.builds.take_up(taken_up);
        (count, closed)
    }

    fn requested(&self) -> Persist {
        let request = Request::new(RequestId(1), BuildsetId(1), "unit".to_owned(), Timestamp(0));
        let buildset = Buildset {
            id: BuildsetId(1),
            reason: "test".to_owned(),
            submitter: "force".to_owned(),
            stamps: Vec::new(),
            properties: Properties::default(),
            submitted: Timestamp(0),
            requests: vec![RequestId(1)],
            complete: None,
            parent: None,
        };
        Persist::AddBuildset { buildset, requests: vec![request] }
    }

    fn claimed(&self) -> Persist {
        let requests = vec![RequestId(1)];
        Persist::Claim { requests, master: MasterId(1), fence: Fence(1), at: Timestamp(1) }
    }

    fn ends(&self) -> Vec<(String, Option<Outcome>)> {
        let steps = self.linked.store.steps(BuildId(1)).unwrap();
        steps.into_iter().map(|step| (step.name, step.complete.map(|complete| complete.outcome))).collect()
    }
}

fn ends(ends: &[(&str, Outcome)]) -> Vec<(String, Option<Outcome>)> {
    ends.iter().map(|(name, outcome)| ((*name).to_owned(), Some(*outcome))).collect()
}

/// Ends commands when they are to stop. Whether a step hears that it is to stop before its command begins or after is its
/// own affair.
async fn obey(worker: &mut Scripted) {
    loop {
        if let ToWorker::Interrupt { command, .. } = worker.hear().await {
            done(worker, command, 1, &[], -1).await;
        }
    }
}

/// Hears of the next start, and answers as `super::answer` does.
async fn answers(worker: &mut Scripted, text: &'static str, rc: i32) {
    let start = loop {
        if let ToWorker::Start(start) = worker.hear().await {
            break start;
        }
    };
    worker.log(&start.command.0, 1, text).await;
    done(worker, start.command, 2, &[text], rc).await;
}

async fn bench() -> Bench {
    Bench::new(limits(), windlass_store::Options::default()).await
}

fn now() -> Timestamp {
    SystemClock::new().now()
}

const DONE: Option<Outcome> = Some(Outcome::Success);

#[tokio::test(flavor = "multi_thread")]
async fn a_build_between_two_steps_goes_on_with_the_next_one_when_its_worker_comes() {
    let mut bench = bench().await;
    let added = Persist::AddSteps {
        fence: Fence(1),
        build: BuildId(1),
        step: StepId(1),
        specs: vec![shell("added")],
    };
    let left = vec![step(1, "first", DONE, now()), added];
    assert_eq!(bench.take_up(vec![shell("first"), shell("last")], left).await, (1, 0));
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    answers(&mut worker, "added\n", 0).await;
    answers(&mut worker, "last\n", 1).await;
    assert_eq!(bench.ended().await, Outcome::Failure);
    let success = Outcome::Success;
    assert_eq!(bench.ends(), ends(&[("first", success), ("added", success), ("last", Outcome::Failure)]));
    assert!(bench.linked.store.added_steps(BuildId(1)).unwrap().is_empty());
    assert_eq!(bench.linked.store.verify().unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_had_done_nothing_yet_runs_under_its_row_and_a_build_without_steps_begins() {
    let mut one = bench().await;
    let started = now();
    one.take_up(vec![shell("first")], vec![step(1, "first", None, started)]).await;
    let (mut worker, _) = Scripted::join(&one.linked, hello("w1")).await;
    answers(&mut worker, "done\n", 0).await;
    assert_eq!(one.ended().await, Outcome::Success);
    let steps = one.linked.store.steps(BuildId(1)).unwrap();
    assert_eq!((steps.len(), steps[0].id, steps[0].started), (1, StepId(1), started));

    let mut other = bench().await;
    other.take_up(vec![shell("first")], Vec::new()).await;
    let (mut worker, _) = Scripted::join(&other.linked, hello("w1")).await;
    answers(&mut worker, "done\n", 0).await;
    assert_eq!(other.ended().await, Outcome::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_step_went_on_while_there_was_no_master() {
    let mut bench = bench().await;
    let spec = StepSpec { deadline_ms: Some(60_000), ..shell("first") };
    bench.take_up(vec![spec], vec![step(1, "first", None, Timestamp(1))]).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    let ended = tokio::select! {
        ended = bench.ended() => ended,
        () = obey(&mut worker) => unreachable!("it goes on for ever"),
    };
    assert_eq!(ended, Outcome::Failure);
    assert_eq!(bench.build().summary, "first: failure: its deadline of 60 s has passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_worker_does_not_come_back_is_built_again() {
    let limits = LinkLimits { grace: Duration::from_millis(20), ..limits() };
    for runs in [false, true] {
        let mut bench = Bench::new(limits, windlass_store::Options::default()).await;
        let log = LogRow::begun(LogId(1), BuildId(1), StepId(2), "stdio".to_owned());
        let mut left = vec![step(1, "first", DONE, now())];
        if runs {
            left.extend([step(2, "last", None, now()), Persist::PutLog { fence: Fence(1), log }]);
        }
        bench.take_up(vec![shell("first"), shell("last")], left).await;
        assert_eq!(bench.ended().await, Outcome::Retry);
        let why = "to be built again: worker `w1` did not come back within 0.02 s";
        assert_eq!(bench.build().summary, why);
        assert_eq!(bench.request().claim, None);
        let logs = bench.linked.store.logs(BuildId(1)).unwrap();
        assert_eq!((bench.ends().len(), logs.iter().all(|log| log.finished)), (1 + usize::from(runs), true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_stop_is_not_forgotten() {
    let order = |whole, step| {
        let stop =
            StopRow { build: BuildId(1), whole, step: Some(StepId(step)), reason: "by ana".to_owned() };
        Persist::PutStop { fence: Fence(1), stop }
    };
    let cleanup = StepSpec { flags: Flags { always_run: true, ..Flags::default() }, ..shell("last") };
    let steps = || vec![shell("first"), shell("more"), cleanup.clone()];
    let (success, cancelled) = (Outcome::Success, Outcome::Cancelled);

    // All of it, while the first step ran, which has not heard of it.
    let mut heard = bench().await;
    heard.take_up(steps(), vec![step(1, "first", None, now()), order(true, 1)]).await;
    let (mut worker, _) = Scripted::join(&heard.linked, hello("w1")).await;
    let cleanup = loop {
        match worker.hear().await {
            ToWorker::Start(start) if heard.ends().len() == 2 => break start.command,
            ToWorker::Interrupt { command, .. } => done(&mut worker, command, 1, &[], -1).await,
            _ => {}
        }
    };
    done(&mut worker, cleanup, 1, &[], 0).await;
    assert_eq!(heard.ended().await, cancelled);
    assert_eq!(heard.build().summary, "stopped: by ana");
    assert_eq!(heard.ends(), ends(&[("first", cancelled), ("last", success)]));

    // The step that always runs began after it: it is let alone.
    let mut alone = bench().await;
    let left = vec![step(1, "first", Some(cancelled), now()), step(2, "last", None, now()), order(true, 1)];
    alone.take_up(steps(), left).await;
    let (mut worker, _) = Scripted::join(&alone.linked, hello("w1")).await;
    answers(&mut worker, "clean\n", 0).await;
    assert_eq!(alone.ended().await, cancelled);
    assert_eq!(alone.ends(), ends(&[("first", cancelled), ("last", success)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_has_begun_is_given_what_it_was_given_then() {
    let mut bench = bench().await;
    let args = r#"{"command":["echo","as it was unit"]}"#.to_owned();
    let given = Given { args, env: BTreeMap::new(), worker: Properties::default() };
    let journal = Persist::AppendJournal {
        fence: Fence(1),
        build: BuildId(1),
        step: StepId(1),
        piece: 0,
        entries: vec![Entry::Given(given)].into(),
    };
    bench.take_up(vec![shell("first")], vec![step(1, "first", None, now()), journal]).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    let start = loop {
        if let ToWorker::Start(start) = worker.hear().await {
            break start;
        }
    };
    assert!(start.args.contains("as it was"), "{}", start.args);
    done(&mut worker, start.command, 1, &[], 0).await;
    assert_eq!(bench.ended().await, Outcome::Success);
}

/// What the journal of the first step has: it was given arguments, and started a command.
fn started(uid: &str) -> Persist {
    let given = Given { args: "{}".to_owned(), env: BTreeMap::new(), worker: Properties::default() };
    let after = After { now: Timestamp(1), interrupted: None };
    let answer = crate::step_port::started(0, uid, "instance-1", 1);
    let entries =
        vec![Entry::Given(given), Entry::Called { call: Call::StartCommand, args: 1, answer, after }];
    let (fence, build, step) = (Fence(1), BuildId(1), StepId(1));
    Persist::AppendJournal { fence, build, step, piece: 0, entries: entries.into() }
}

/// Symptom: a command was stopped, forgotten by its worker and begun once more. Cause: a master that went down before a
/// step had come to its command again dropped what it heard of it, as one does whom nobody waits for. Cure: it parts.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_before_a_step_comes_to_its_command_again_lets_that_run() {
    for waits in [false, true] {
        let mut bench = bench().await;
        let lock = Access { lock: "db".to_owned(), mode: Mode::Counting(1) };
        let locks = if waits { vec![lock] } else { Vec::new() };
        let spec = StepSpec { locks, ..shell("first") };
        bench.take_up(vec![spec], vec![step(1, "first", None, now()), started("u1")]).await;
        let knows = Hello { commands: vec![(CommandUid("u1".to_owned()), 0)], ..hello("w1") };
        let mut worker = None;
        if waits {
            // It is there, and the step stands in line.
            worker = Some(Scripted::join(&bench.linked, knows.clone()).await.0);
            bench.standing.send_replace(Standing::Waits("waits".to_owned()));
            let seen = async {
                while bench.linked.store.steps(BuildId(1)).unwrap()[0].summary != "waits" {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(BOUND, seen).await.expect("the wait is shown in time");
        }
        bench.builds.shutdown().await;
        let mut worker = match worker {
            Some(worker) => worker,
            None => Scripted::join(&bench.linked, knows).await.0,
        };
        let bye = async { assert!(matches!(worker.hear().await, ToWorker::Bye { .. })) };
        tokio::join!(bench.linked.links.shutdown(), bye);
        assert!(bench.ended.try_recv().is_err());
        let left = bench.linked.store.journal(BuildId(1), StepId(1)).unwrap();
        assert_eq!(left.entries.last(), Some(&Entry::Left));
    }
}
