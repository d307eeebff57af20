//! A master that is started on a disk without room: it makes some out of what is too old, and of nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use windlass_core::artifact::{ArtifactKind, ArtifactRow};
use windlass_core::digest::Digest;
use windlass_core::id::{ArtifactId, BuildId, Fence, LogId, MasterId, RequestId, StepId};
use windlass_core::keeping::Keeping;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::record::{BuildRow, LogRow, StepRow};
use windlass_core::request::Completed;
use windlass_core::time::{Reading, Timestamp};
use windlass_core::value::Origin;
use windlass_master::clock::Clock;
use windlass_master::{DiskRoom, Options};
use windlass_store::Store;

use crate::place::{Place, config, force, open, stop};
use crate::restart::build_row;

const MASTER: MasterId = MasterId(1);
const FENCE: Fence = Fence(1_000);
const BUILD: BuildId = BuildId(1);
const STEP: StepId = StepId(1);

/// A master's state with a build that ended long ago, as a killed master leaves it.
async fn left(place: &Place) -> (PathBuf, Store) {
    let master = place.start().await;
    let forced = master.force(force("b1")).await.unwrap();
    let state = master.state_dir().to_owned();
    stop(master).await;
    let request = RequestId(forced.requests[0]);
    let hook = "windlass:shell-command".to_owned();
    let running = StepRow::begun(STEP, BUILD, 0, "true".to_owned(), hook, Digest::of(b""), Timestamp(1));
    let store = open(&state).await;
    let batch = vec![
        Persist::Claim { requests: vec![request], master: MASTER, fence: FENCE, at: Timestamp(1) },
        Persist::PutBuild(build_row(request, FENCE)),
        Persist::PutStep { fence: FENCE, step: running },
    ];
    store.commit(batch).await.unwrap();
    (state, store)
}

/// A log in an archive of its own, which ended at this moment.
async fn archived(store: &Store, id: u64, ended: u64) {
    let log = LogRow::begun(LogId(id), BUILD, STEP, format!("log {id}"));
    let ended = LogRow { finished: true, ended: Some(Timestamp(ended)), ..log.clone() };
    let (log_id, origin, data) = (LogId(id), Origin::Stdout, "a log".into());
    let batch = vec![
        Persist::PutLog { fence: FENCE, log },
        Persist::AppendLog { fence: FENCE, build: BUILD, log: log_id, offset: 0, origin, data },
        Persist::PutLog { fence: FENCE, log: ended },
    ];
    store.commit(batch).await.unwrap();
    let store = store.clone();
    // A day later each: what shares a segment shares an archive.
    let at = Timestamp(id << 40);
    let tended = move || store.tend_logs(&Keeping::default(), at, &AtomicBool::new(false));
    assert_eq!(tokio::task::spawn_blocking(tended).await.unwrap().unwrap().archived, 1);
}

/// Starts a master on a disk that has room once this path is gone.
async fn start_without_room(in_the_way: &Path, options: Options) {
    let path = in_the_way.to_owned();
    assert!(path.exists());
    let room = DiskRoom::new(move |_, _| Ok(if path.exists() { 0 } else { u64::MAX }));
    let started = windlass_master::start(Options { room, ..options });
    let master = tokio::time::timeout(Duration::from_secs(60), started).await.expect("it waits").unwrap();
    assert!(!in_the_way.exists());
    master.handle().shutdown().await;
}

/// Symptom: a master that was started on a full disk never got ready, though it had logs that were too old. Cause: its first
/// write waited for room, and the archive was tended by masters that are ready. Cure: it is tended meanwhile.
#[tokio::test]
async fn logs_that_are_too_old_go() {
    let place = Place::new(&config("[logs]\nlog_horizon = '1s'\n"));
    let (state, store) = left(&place).await;
    archived(&store, 1, 1).await;
    store.close();
    drop(store);
    let archive = state.join("logs/arc-000001.log");
    start_without_room(&archive, Options::new(place.path("master.toml"))).await;
}

/// The same for artifacts.
#[tokio::test]
async fn artifacts_that_are_too_old_go() {
    let place = Place::new(&config("[artifacts]\nmax_age = '1s'\n"));
    let (state, store) = left(&place).await;
    std::fs::write(store.artifact_files().unfinished(ArtifactId(1)), "bytes").unwrap();
    store.artifact_files().put(BUILD, ArtifactId(1)).unwrap();
    let artifact = ArtifactRow {
        id: ArtifactId(1),
        build: BUILD,
        step: STEP,
        name: "app".to_owned(),
        kind: ArtifactKind::File,
        size: 5,
        entries: 1,
        hash: Digest::of(b"bytes"),
        mode: 0o644,
        modified_ms: None,
        stored: Timestamp(1),
    };
    let row = store.build(BUILD).unwrap().unwrap();
    let ended = Completed { outcome: Outcome::Success, at: Timestamp(2) };
    let batch = vec![
        Persist::PutArtifact { fence: FENCE, artifact },
        Persist::PutBuild(BuildRow { complete: Some(ended), ..row.clone() }),
        Persist::Complete {
            requests: row.requests,
            fence: FENCE,
            outcome: Outcome::Success,
            at: Timestamp(2),
        },
    ];
    store.commit(batch).await.unwrap();
    store.close();
    drop(store);
    let artifact = state.join("artifacts/1");
    start_without_room(&artifact, Options::new(place.path("master.toml"))).await;
}

/// A clock that is wrong by far until it goes on from an earlier reading.
struct Wrong(AtomicU64);

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn go_on_from(&self, last: &Reading) {
        self.0.store(last.at.0, Ordering::SeqCst);
    }
}

/// Symptom: logs of yesterday went when a master was started on a full disk after somebody had set the clock. Cause: room
/// was made by a clock that had not gone on from the time of the last run. Cure: it goes on from there first.
#[tokio::test]
async fn nothing_goes_by_a_clock_that_somebody_set() {
    const NOW: u64 = 1 << 42;
    const HOUR: u64 = 60 * 60 * 1_000;
    let place = Place::new(&config("[logs]\nlog_horizon = '2h'\n"));
    let (state, store) = left(&place).await;
    archived(&store, 1, 1).await;
    archived(&store, 2, NOW - HOUR).await;
    let reading = Reading { at: Timestamp(NOW), counter_ms: 1, boot: "b".to_owned() };
    let value = Some(serde_json::to_vec(&reading).unwrap());
    let put = Persist::PutState { owner: "clock".to_owned(), key: MASTER.0.to_string(), value };
    store.commit(vec![put]).await.unwrap();
    store.close();
    drop(store);
    let [old, young] = [1, 2].map(|number| state.join(format!("logs/arc-{number:06}.log")));
    let clock = Arc::new(Wrong(AtomicU64::new(1 << 60)));
    let options = Options { clock, ..Options::new(place.path("master.toml")) };
    start_without_room(&old, options).await;
    assert!(young.exists());
}
