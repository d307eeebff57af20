//! Rows for tests: small, complete, and each told apart by its number.

use std::sync::Arc;

use bytes::Bytes;
use windlass_core::artifact::{ArtifactKind, ArtifactRow};
use windlass_core::builder::{Builder, Merge, OnError, PolicyUse, StepSpec};
use windlass_core::cel::Expression;
use windlass_core::change::{Change, SourceStamp};
use windlass_core::condition::Condition;
use windlass_core::decision::{Decision, Done, Seen};
use windlass_core::digest::Digest;
use windlass_core::id::{
    ArtifactId, BuildId, BuildsetId, ChangeId, DecisionId, Fence, LogId, MasterId, RequestId, StepId, TokenId,
};
use windlass_core::journal::{After, Begun, Call, Entry, Mark, begin, chain};
use windlass_core::lock::{Access, Mode};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::policy::{Answer, Lookup, SlaveInfo, Usage};
use windlass_core::record::{BuildRow, Component, LogRow, StepRow, StopRow};
use windlass_core::request::{Buildset, Completed, Request};
use windlass_core::step::SummaryPolicy;
use windlass_core::test_result::TestResult;
use windlass_core::time::Timestamp;
use windlass_core::value::{Origin, Value};
use windlass_core::worker_token::WorkerToken;

pub(crate) const ME: MasterId = MasterId(1);

pub(crate) fn buildset(id: u64, requests: &[u64]) -> Persist {
    let submitted = Timestamp(1);
    let row = |request: &u64| Request::new(RequestId(*request), BuildsetId(id), "check".into(), submitted);
    Persist::AddBuildset {
        requests: requests.iter().map(row).collect(),
        buildset: Buildset {
            id: BuildsetId(id),
            reason: "test".into(),
            submitter: "force".into(),
            stamps: vec![SourceStamp { repository: "r".into(), ..SourceStamp::default() }],
            properties: Default::default(),
            submitted,
            requests: requests.iter().copied().map(RequestId).collect(),
            complete: None,
            parent: None,
        },
    }
}

/// A record of a choice of a worker for a request, made at a moment.
pub(crate) fn decision(id: u64, request: u64, at: u64) -> Decision {
    Decision {
        id: DecisionId(id),
        at: Timestamp(at),
        asked: Timestamp(at),
        policy: Component {
            kind: "next-slave".into(),
            hook: "windlass:least-loaded".into(),
            digest: Digest::of(b"windlass"),
        },
        args: "{}".into(),
        builder: Some("check".into()),
        requests: vec![Seen { id: RequestId(request), version: 1, priority: -3 }],
        workers: vec![SlaveInfo {
            name: "w1".into(),
            running: 1,
            max_builds: Some(2),
            connected_since: Timestamp(1),
            last_built: Some(Timestamp(2)),
            last_outcome: Some(Outcome::Success),
            load: Some(0.25),
            properties: Vec::new(),
        }],
        builders: Vec::new(),
        lookups: vec![Lookup { question: "slave-property w1 os".into(), answer: Some("linux".into()) }],
        answer: Some(Answer::Slave(Some("w1".into()))),
        done: Done::Placed("w1".into()),
        ignored: Vec::new(),
        fallback: None,
        usage: Usage::default(),
        build: None,
    }
}

/// A token of `w1`.
pub(crate) fn token(number: u64) -> Persist {
    Persist::AddToken(WorkerToken {
        number: TokenId(number),
        worker: "w1".into(),
        hash: Digest::of(&number.to_le_bytes()),
        made: Timestamp(number),
        used: None,
    })
}

/// Keeps a record.
pub(crate) fn decided(decision: Decision) -> Persist {
    Persist::AddDecision(Arc::new(decision))
}

pub(crate) fn ids(requests: &[u64]) -> Vec<RequestId> {
    requests.iter().copied().map(RequestId).collect()
}

pub(crate) fn claim(requests: &[u64], fence: u64) -> Persist {
    Persist::Claim { requests: ids(requests), master: ME, fence: Fence(fence), at: Timestamp(2) }
}

pub(crate) fn complete(requests: &[u64], fence: u64, outcome: Outcome) -> Persist {
    Persist::Complete { requests: ids(requests), fence: Fence(fence), outcome, at: Timestamp(9) }
}

pub(crate) fn build_row(id: u64, requests: &[u64], fence: u64) -> BuildRow {
    BuildRow {
        id: BuildId(id),
        number: id,
        builder: "check".into(),
        requests: ids(requests),
        fence: Fence(fence),
        worker: "w1".into(),
        stamps: Vec::new(),
        reason: "test".into(),
        generation: 1,
        plugins: [("windlass".to_owned(), Digest::of(b"windlass"))].into(),
        components: Vec::new(),
        properties: Default::default(),
        started: Timestamp(3),
        complete: None,
        summary: String::new(),
        plan: None,
    }
}

pub(crate) fn build(id: u64, requests: &[u64], fence: u64) -> Persist {
    Persist::PutBuild(build_row(id, requests, fence))
}

pub(crate) fn ended(id: u64, requests: &[u64], fence: u64, outcome: Outcome) -> Persist {
    let complete = Some(Completed { outcome, at: Timestamp(9) });
    Persist::PutBuild(BuildRow { complete, ..build_row(id, requests, fence) })
}

/// A builder with something in each place where rows can differ.
pub(crate) fn plan(name: &str) -> Arc<Builder> {
    let locks = vec![Access { lock: "db".into(), mode: Mode::Counting(2) }];
    let hook = PolicyUse { hook: "p:h".into(), args: "{}".into(), on_error: OnError::Hold };
    let renderer = Condition::Renderer { hook: "m:h".into(), args: "{}".into() };
    let spec = StepSpec {
        deadline_ms: Some(7),
        locks: locks.clone(),
        summary_policy: SummaryPolicy::Only(vec![Outcome::Failure]),
        do_step_if: Some(Condition::Cel(Expression::parse("1 < 2", &[]).expect("it is right"))),
        hide_step_if: Some(renderer),
        ..StepSpec::new("compile", "windlass:compile")
    };
    Arc::new(Builder {
        env: [("A".to_owned(), [("renderer", vec![0.5, -1.0])].into_iter().collect())].into(),
        steps: vec![spec.clone(), spec],
        locks: vec![Access { lock: "host".into(), mode: Mode::Exclusive }],
        merge_requests: Merge::Policy(hook.clone()),
        next_build: Some(hook),
        ..Builder::bare(name, &["w1", "w2"])
    })
}

pub(crate) fn put_plan(builder: &Arc<Builder>) -> Persist {
    Persist::PutPlan { digest: builder.digest(), builder: Arc::clone(builder) }
}

/// A build that goes by a plan, which must be there.
pub(crate) fn build_by(id: u64, requests: &[u64], fence: u64, plan: &Builder) -> Persist {
    Persist::PutBuild(BuildRow { plan: Some(plan.digest()), ..build_row(id, requests, fence) })
}

/// A step of a build adds another one.
pub(crate) fn added(build: u64, step: u64, fence: u64) -> Persist {
    let specs = vec![StepSpec::new(&format!("joined {step}"), "windlass:test")];
    Persist::AddSteps { fence: Fence(fence), build: BuildId(build), step: StepId(step), specs }
}

pub(crate) fn stop(build: u64, whole: bool, step: Option<u64>, reason: &str, fence: u64) -> Persist {
    let (build, step) = (BuildId(build), step.map(StepId));
    Persist::PutStop { fence: Fence(fence), stop: StopRow { build, whole, step, reason: reason.into() } }
}

pub(crate) fn step(id: u64, build: u64, position: u32, fence: u64) -> Persist {
    let (name, hook) = (format!("step {id}"), "windlass:shell-command".into());
    let digest = Digest::of(b"windlass");
    let step = StepRow::begun(StepId(id), BuildId(build), position, name, hook, digest, Timestamp(3));
    Persist::PutStep { fence: Fence(fence), step }
}

/// Three test results of a step that has `first` already, and its row with the counts of all: `[AddTests, PutStep]`.
pub(crate) fn tests(id: u64, build: u64, first: u64, fence: u64) -> Vec<Persist> {
    let result = |index: u64| TestResult {
        name: vec![format!("t{index}")],
        outcome: [Outcome::Success, Outcome::Failure, Outcome::Skipped][(index % 3) as usize],
        text: String::new(),
        duration_ms: Some(1),
        log: None,
    };
    let results = Arc::new((first..first + 3).map(result).collect());
    let mut row = step(id, build, 0, fence);
    if let Persist::PutStep { step, .. } = &mut row {
        (0..first + 3).for_each(|index| step.tests.add(&result(index)));
    }
    let (build, step) = (BuildId(build), StepId(id));
    vec![Persist::AddTests { fence: Fence(fence), build, step, first, results }, row]
}

/// One entry of a journal of each kind.
pub(crate) fn entries() -> Vec<Entry> {
    let after = After { now: Timestamp(7), interrupted: Some("why".into()) };
    vec![
        Entry::Called { call: Call::NextEvent, args: 1, answer: vec![1, 2], after },
        Entry::Logged { calls: 2, args: 3 },
        Entry::Set { args: 4, name: "p".into(), before: Some((Value::Integer(5), "Build".into())) },
        Entry::Volatile("it wrote an artifact".into()),
        Entry::Replayed,
    ]
}

/// How far a command is whose observed log has begun a line.
pub(crate) fn mark() -> Mark {
    let begun = Begun { partial: [b"ab".to_vec(), Vec::new(), Vec::new()], next: 9 };
    Mark {
        number: 2,
        logged: 3,
        taken: 1,
        hash: chain(begin(), b"x"),
        lines: vec![("stdio".into(), begun)],
        ends: vec![],
    }
}

pub(crate) fn log(id: u64, build: u64, finished: bool, fence: u64) -> Persist {
    let log = LogRow { finished, ..LogRow::begun(LogId(id), BuildId(build), StepId(1), "stdio".into()) };
    Persist::PutLog { fence: Fence(fence), log }
}

pub(crate) fn append(log: u64, build: u64, fence: u64, offset: u64, data: impl Into<Bytes>) -> Persist {
    Persist::AppendLog {
        fence: Fence(fence),
        build: BuildId(build),
        log: LogId(log),
        offset,
        origin: Origin::Stdout,
        data: data.into(),
    }
}

pub(crate) fn artifact(id: u64, build: u64, name: &str, size: u64, fence: u64) -> Persist {
    let artifact = ArtifactRow {
        id: ArtifactId(id),
        build: BuildId(build),
        step: StepId(1),
        name: name.into(),
        kind: ArtifactKind::File,
        size,
        entries: 1,
        hash: Digest::of(name.as_bytes()),
        mode: 0o644,
        modified_ms: None,
        stored: Timestamp(id),
    };
    Persist::PutArtifact { fence: Fence(fence), artifact }
}

/// A change of one file.
pub(crate) fn change(id: u64) -> Change {
    Change {
        id: ChangeId(id),
        author: "ana".into(),
        committer: None,
        comments: format!("change {id}"),
        codebase: String::new(),
        project: String::new(),
        repository: "r".into(),
        branch: Some("main".into()),
        revision: Some("abc".into()),
        category: None,
        revlink: None,
        files: vec!["a".into()],
        when: Timestamp(id),
        properties: Default::default(),
    }
}
