//! Writes a small store of the present format into a folder: what `tests/formats/` keeps of each one.
//!
//! `cargo run -p windlass-store --example format FOLDER`. What the rows are stands in
//! `src/format_tests.rs`, which opens the store of every format and finds them all.

#[allow(dead_code, reason = "the tests need more of them")]
#[path = "../src/test_rows.rs"]
mod rows;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use redb::Database;
use windlass_core::builder::{Builder, StepSpec};
use windlass_core::change::{Change, SourceStamp};
use windlass_core::condition::Condition;
use windlass_core::digest::Digest;
use windlass_core::excerpt::Cut;
use windlass_core::id::{
    ArtifactId, BuildId, BuildsetId, ChangeId, Fence, LogId, MasterId, RequestId, StepId,
};
use windlass_core::keeping::Keeping;
use windlass_core::master::Master;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::record::{BuildRow, Computed, LogRow, StepRow, StopRow};
use windlass_core::request::{Buildset, Completed, Parent, Request};
use windlass_core::time::Timestamp;
use windlass_core::value::{Origin, Value};
use windlass_store::{Options, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    let folder = Path::new(&folder);
    let store = Store::open(folder, Options::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    std::fs::write(store.artifact_files().unfinished(ArtifactId(1)), "abc")?;
    store.artifact_files().put(BuildId(1), ArtifactId(1))?;
    for batch in batches() {
        runtime.block_on(store.commit(batch))?;
    }
    // The first log goes into the archive; the second is still written.
    store.tend_logs(
        &Keeping { limit: 1, ..Keeping::default() },
        Timestamp(9_100),
        &AtomicBool::new(false),
    )?;
    drop(store);
    // A new database has room for much; what is kept should be small.
    Database::open(folder.join("store.redb"))?.compact()?;
    std::fs::remove_file(folder.join("store.lock"))?;
    std::fs::remove_dir_all(folder.join("cas"))?;
    std::fs::remove_dir_all(folder.join("artifacts/unfinished"))?;
    Ok(())
}

/// Request 1 is done, 2 was given back and waits, 3 is held by a running build, 4 to 6 wait.
fn batches() -> Vec<Vec<Persist>> {
    vec![
        vec![Persist::PutMaster(Master {
            id: MasterId(1),
            name: "a".into(),
            active: true,
            last_active: Timestamp(900),
        })],
        vec![Persist::AddChange(change(1)), state("scheduler/ci", "last", b"1")],
        vec![buildset(1, &[(1, "check", 0), (2, "docs", 5)]), buildset(2, &[(3, "check", -3)])],
        vec![claim(1, 1), Persist::PutBuild(build(1, 1, None)), step(1, 1, None), log(1, 1, false)],
        vec![append(1, 1, 0, Origin::Header, "make\n"), append(1, 1, 5, Origin::Stdout, "one\ntwo\n")],
        vec![tests(), rows::artifact(1, 1, "report", 3, 1), rows::decided(rows::decision(1, 2, 5_000))],
        vec![Persist::PutStatistic {
            fence: Fence(1),
            build: BuildId(1),
            step: StepId(1),
            name: "lines".into(),
            value: 2.5,
        }],
        vec![
            tested(step(1, 1, ended(Outcome::Failure))),
            whole(log(1, 1, true)),
            Persist::PutBuild(build(1, 1, ended(Outcome::Failure))),
            Persist::Complete {
                requests: vec![RequestId(1)],
                fence: Fence(1),
                outcome: Outcome::Failure,
                at: Timestamp(9_000),
            },
        ],
        vec![claim(2, 2), Persist::PutBuild(build(2, 2, None))],
        vec![
            Persist::PutBuild(build(2, 2, ended(Outcome::Retry))),
            Persist::Unclaim { requests: vec![RequestId(2)], fence: Fence(2) },
        ],
        vec![
            Persist::PutPlan { digest: plan().digest(), builder: Arc::new(plan()) },
            claim(3, 3),
            Persist::PutBuild(BuildRow { plan: Some(plan().digest()), ..build(3, 3, None) }),
            Persist::AddSteps {
                fence: Fence(3),
                build: BuildId(3),
                step: StepId(2),
                specs: vec![StepSpec {
                    do_step_if: Some(Condition::Renderer { hook: "p:h".into(), args: "{}".into() }),
                    ..StepSpec::new("more", "windlass:shell-command")
                }],
            },
            Persist::AppendJournal {
                fence: Fence(3),
                build: BuildId(3),
                step: StepId(2),
                piece: 0,
                entries: Arc::new(rows::entries()),
            },
            Persist::PutMark {
                fence: Fence(3),
                build: BuildId(3),
                step: StepId(2),
                command: 0,
                mark: rows::mark(),
            },
            Persist::PutStop {
                fence: Fence(3),
                stop: StopRow {
                    build: BuildId(3),
                    whole: true,
                    step: Some(StepId(2)),
                    reason: "enough".into(),
                },
            },
        ],
        vec![step(2, 3, None), log(2, 3, false)],
        vec![append(2, 3, 0, Origin::Stderr, "still going\n")],
        vec![buildset(3, &[(4, "check", 10), (5, "check", 0), (6, "docs", 0)]), buildset(4, &[])],
    ]
}

/// What a running build goes on with.
fn plan() -> Builder {
    Builder {
        steps: vec![StepSpec::new("make", "windlass:shell-command")],
        ..Builder::bare("check", &["w1"])
    }
}

/// Three test results of the first step.
fn tests() -> Persist {
    rows::tests(1, 1, 0, 1).swap_remove(0)
}

/// A step's row with the counts of them, and with what a component computed for it.
fn tested(step: Persist) -> Persist {
    let (Persist::PutStep { fence, mut step }, Persist::AddTests { results, .. }) = (step, tests()) else {
        unreachable!("these are what they are called")
    };
    results.iter().for_each(|result| step.tests.add(result));
    step.computed.push(Computed {
        place: "do_step_if".into(),
        hook: "p:h".into(),
        digest: Digest::of(b"p"),
        args: "{}".into(),
        value: Value::Boolean(true),
    });
    Persist::PutStep { fence, step }
}

/// The row of a finished log that says all that there is to say.
fn whole(log: Persist) -> Persist {
    let Persist::PutLog { fence, log } = log else { unreachable!("it is what it is called") };
    let cut = Some(Cut { at: 5, bytes: 7, hash: Digest::of(b"dropped") });
    let hash = Some(Digest::of(b"one\ntwo\n"));
    Persist::PutLog { fence, log: LogRow { ended: Some(Timestamp(9_000)), hash, cut, ..log } }
}

fn ended(outcome: Outcome) -> Option<Completed> {
    Some(Completed { outcome, at: Timestamp(9_000) })
}

fn change(id: u64) -> Change {
    Change {
        id: ChangeId(id),
        author: "ana".into(),
        committer: None,
        comments: "change of old".into(),
        codebase: String::new(),
        project: "p".into(),
        repository: "r".into(),
        branch: Some("main".into()),
        revision: Some("abc".into()),
        category: None,
        revlink: None,
        files: vec!["a".into()],
        when: Timestamp(900),
        properties: Default::default(),
    }
}

fn state(owner: &str, key: &str, value: &[u8]) -> Persist {
    Persist::PutState { owner: owner.into(), key: key.into(), value: Some(value.to_vec()) }
}

/// A buildset of requests: id, builder, priority.
fn buildset(id: u64, requests: &[(u64, &str, i32)]) -> Persist {
    let submitted = Timestamp(1_000 * id);
    let request = |(request, builder, priority): &(u64, &str, i32)| Request {
        priority: *priority,
        waited_for: *request == 6,
        ..Request::new(RequestId(*request), BuildsetId(id), (*builder).to_owned(), submitted)
    };
    Persist::AddBuildset {
        requests: requests.iter().map(request).collect(),
        buildset: Buildset {
            id: BuildsetId(id),
            reason: "of old".into(),
            submitter: "force".into(),
            stamps: vec![SourceStamp {
                repository: "r".into(),
                branch: Some("main".into()),
                changes: vec![ChangeId(1)],
                ..SourceStamp::default()
            }],
            properties: Default::default(),
            submitted,
            requests: requests.iter().map(|(request, ..)| RequestId(*request)).collect(),
            complete: None,
            parent: (id == 3).then(|| Parent { build: BuildId(1), relationship: "rebuilt from".into() }),
        },
    }
}

fn claim(request: u64, fence: u64) -> Persist {
    let (requests, at) = (vec![RequestId(request)], Timestamp(5_000));
    Persist::Claim { requests, master: MasterId(1), fence: Fence(fence), at }
}

/// Build, request and fence have the same number here.
fn build(id: u64, request: u64, complete: Option<Completed>) -> BuildRow {
    BuildRow {
        id: BuildId(id),
        number: id,
        builder: if request == 2 { "docs" } else { "check" }.into(),
        requests: vec![RequestId(request)],
        fence: Fence(id),
        worker: "w1".into(),
        stamps: Vec::new(),
        reason: "of old".into(),
        generation: 1,
        plugins: [("windlass".to_owned(), Digest::of(b"windlass"))].into(),
        components: Vec::new(),
        properties: Default::default(),
        started: Timestamp(5_000),
        complete,
        summary: String::new(),
        plan: None,
    }
}

fn step(id: u64, build: u64, complete: Option<Completed>) -> Persist {
    let (id, build_id, digest) = (StepId(id), BuildId(build), Digest::of(b"windlass"));
    let hook = "windlass:shell-command".into();
    let step = StepRow::begun(id, build_id, 0, "make".into(), hook, digest, Timestamp(5_100));
    let step = StepRow { complete, ..step };
    Persist::PutStep { fence: Fence(build), step }
}

fn log(id: u64, build: u64, finished: bool) -> Persist {
    let step = StepId(id);
    let log = LogRow { finished, ..LogRow::begun(LogId(id), BuildId(build), step, "stdio".into()) };
    Persist::PutLog { fence: Fence(build), log }
}

fn append(log: u64, build: u64, offset: u64, origin: Origin, data: &'static str) -> Persist {
    let (fence, build, log) = (Fence(build), BuildId(build), LogId(log));
    Persist::AppendLog { fence, build, log, offset, origin, data: data.into() }
}
