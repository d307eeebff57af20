//! A crash at every sync of a scripted run: after it no acknowledged write is lost, none is half
//! there, and none is there twice.
//!
//! The database lies on a backend that stops being durable at the n-th sync, the log segments on real
//! files whose durable length is noted at each sync, counted in the same order. What "the machine" has
//! after the crash is the durable image of both; with the header's newest write on top, which is the
//! unkindest cut for redb's two commit slots. What is opened again must be, row by row, what a healthy
//! store was after the last acknowledged batch, or after the one that was on its way.

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use windlass_core::id::{ArtifactId, BuildId, Fence, LogId, MasterId, RequestId, StepId, TokenId};
use windlass_core::master::{Master, Overdue};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::report::{Mode, Reader, Taken};
use windlass_core::time::Timestamp;

use crate::reports_tests::reader;
use crate::test_disk::{Backend, Disk, open};
use crate::test_rows::*;
use crate::{Options, Store};

/// Every kind of write, a batch each.
fn script() -> Vec<Vec<Persist>> {
    let mut script = builds();
    script.extend(masters());
    script
}

/// Builds from request to end, with logs.
fn builds() -> Vec<Vec<Persist>> {
    let mut script = vec![vec![buildset(1, &[1, 2, 3, 4])]];
    for build_id in 1..=4u64 {
        let fence = build_id;
        // The third goes by the plan of the first.
        let plan = plan(["one", "two", "one", "four"][build_id as usize - 1]);
        let row = build_by(build_id, &[build_id], fence, &plan);
        script.push(vec![claim(&[build_id], fence), put_plan(&plan), row]);
        script.push(vec![step(build_id, build_id, 0, fence), log(build_id, build_id, false, fence)]);
        script.push(vec![added(build_id, build_id, fence), stop(build_id, false, None, "a step", fence)]);
        script.push(vec![stop(build_id, true, Some(build_id), "all of it", fence)]);
        // The third log moves into a segment of its own.
        let size = if build_id == 3 { 300_000 } else { 100 };
        for offset in [0, size, 2 * size, 3 * size] {
            script.push(vec![append(build_id, build_id, fence, offset, content(build_id, offset, size))]);
        }
        // The third has the name of the first.
        for name in ["a", "b", "a"] {
            let id = script.len() as u64;
            script.push(vec![artifact(id, build_id, name, 10 * id, fence)]);
        }
        script.push(tests(build_id, build_id, 0, fence));
        let (build, step) = (BuildId(build_id), StepId(build_id));
        let figure = Persist::PutStatistic { fence: Fence(fence), build, step, name: "n".into(), value: 0.5 };
        script.push([tests(build_id, build_id, 3, fence), vec![figure]].concat());
        let end = Outcome::Success;
        script.push(vec![ended(build_id, &[build_id], fence, end), complete(&[build_id], fence, end)]);
        if build_id == 3 {
            script.push(vec![Persist::TrimPlans]);
        }
    }
    script
}

/// Two masters, one of which dies with a build of two requests; priorities, renewals, claims given back.
fn masters() -> Vec<Vec<Persist>> {
    let other = MasterId(2);
    let master = |id: MasterId, name: &str| {
        Persist::PutMaster(Master { id, name: name.into(), active: true, last_active: Timestamp(1) })
    };
    let claim_by = |master, requests: &[u64], fence| Persist::Claim {
        requests: ids(requests),
        master,
        fence: Fence(fence),
        at: Timestamp(2),
    };
    let expire = |overdue, fence| vec![Persist::Expire { overdue, fence: Fence(fence), at: Timestamp(90) }];
    let put = |value: Option<Vec<u8>>| Persist::PutState { owner: "o".into(), key: "k".into(), value };
    let unclaim = |requests: &[u64], fence| Persist::Unclaim { requests: ids(requests), fence: Fence(fence) };
    let take = |place, taken| Persist::TakeEvent { reporter: "all".into(), place, taken };
    vec![
        vec![master(ME, "a"), master(other, "b")],
        vec![Persist::AddChange(change(1))],
        vec![Persist::AddChange(change(2)), Persist::AddChange(change(3))],
        vec![buildset(2, &[5, 6, 7, 8, 9]), put(Some(vec![1]))],
        vec![Persist::SetPriority { requests: ids(&[6, 9]), priority: 5 }],
        vec![claim_by(other, &[5, 6], 5), build(5, &[5, 6], 5)],
        vec![step(5, 5, 0, 5), log(5, 5, false, 5), added(5, 5, 5), stop(5, true, Some(5), "by ana", 5)],
        vec![append(5, 5, 5, 0, content(5, 0, 100))],
        vec![claim_by(ME, &[7], 6), build(6, &[7], 6), step(6, 6, 0, 6)],
        vec![Persist::Heartbeat { master: ME, at: Timestamp(60) }],
        vec![Persist::Renew { requests: ids(&[7]), fence: Fence(6), at: Timestamp(60) }],
        vec![Persist::SetPriority { requests: ids(&[5, 8]), priority: -3 }],
        expire(Overdue::Master { master: other, silent_since: Timestamp(50) }, 7),
        vec![claim(&[6, 9], 8), build(7, &[6, 9], 8), put(None), decided(decision(1, 6, 60))],
        vec![decided(decision(2, 9, 61)), decided(decision(3, 9, 62))],
        vec![unclaim(&[6, 9], 8), ended(7, &[6, 9], 8, Outcome::Retry)],
        vec![Persist::DropArtifacts((1..20).map(ArtifactId).collect())],
        vec![claim(&[5, 9], 9), build(8, &[5, 9], 9)],
        vec![ended(8, &[5, 9], 9, Outcome::Failure), complete(&[5, 9], 9, Outcome::Failure)],
        vec![claim(&[8], 10), build(9, &[8], 10)],
        vec![take(1, Taken::Delivered), take(2, Taken::Lost)],
        vec![Persist::KeepReporters],
        expire(Overdue::Claims { before: Timestamp(70) }, 11),
        vec![token(1), token(2)],
        vec![Persist::UseToken { worker: "w1".into(), token: TokenId(2), at: Timestamp(80) }],
        vec![Persist::DropTokens(vec![("w1".into(), TokenId(1))]), token(3)],
    ]
}

fn readers() -> Vec<Reader> {
    vec![reader("all", &[]), reader("bad", &[Mode::Problem]), reader("gone", &[])]
}

/// Bytes that tell their log and place.
fn content(log: u64, offset: u64, size: u64) -> Bytes {
    static PATTERN: LazyLock<Bytes> =
        LazyLock::new(|| (0..1_300_000u32).map(|at| (at % 251) as u8).collect());
    PATTERN.slice((log * 7 + offset) as usize..(log * 7 + offset + size) as usize)
}

/// Runs the script until the crash; returns how many batches were acknowledged before it.
async fn run(store: &Store, disk: &Arc<Mutex<Disk>>) -> usize {
    store.report_to(readers());
    let mut acknowledged = 0;
    for batch in script() {
        store.commit(batch).await.unwrap();
        if disk.lock().unwrap().crashed() {
            break;
        }
        acknowledged += 1;
    }
    acknowledged
}

/// Puts the machine's durable state into a new folder and opens it.
fn after_the_crash(disk: &Disk, folder: &Path) -> (tempfile::TempDir, Store) {
    let survived = tempfile::tempdir().unwrap();
    fs::create_dir(survived.path().join("logs")).unwrap();
    for entry in fs::read_dir(folder.join("logs")).unwrap() {
        let path = entry.unwrap().path();
        // A file of which nothing was synced may be there all the same, empty.
        let durable = disk.segments.get(&path).copied().unwrap_or(0);
        let bytes = fs::read(&path).unwrap();
        let to = survived.path().join("logs").join(path.file_name().unwrap());
        fs::write(to, &bytes[..durable as usize]).unwrap();
    }
    let mut image = disk.durable.clone();
    if image.len() >= disk.last_header.len() {
        image[..disk.last_header.len()].copy_from_slice(&disk.last_header);
    }
    let backend = InMemoryBackend::new();
    backend.set_len(image.len() as u64).unwrap();
    backend.write(0, &image).unwrap();
    let make_durable = Arc::new(|_: &File, _: &Path| Ok(()));
    let store = Store::open_for_crash(backend, survived.path(), Options::default(), make_durable).unwrap();
    (survived, store)
}

/// All that the store has, as text: the rows of all tables, changes and decisions as they are read, and the bytes of
/// logs.
fn all(store: &Store) -> Vec<String> {
    let mut all = store.snapshot().unwrap().dump();
    all.extend(store.changes(usize::MAX).unwrap().iter().map(|change| format!("{change:?}")));
    let decisions = store.decisions_before(None, usize::MAX).unwrap();
    all.extend(decisions.iter().map(|decision| format!("{decision:?}")));
    for log in 1..=5 {
        let mut end = 0;
        for piece in store.read_log(LogId(log), 0, usize::MAX).unwrap() {
            assert_eq!(piece.offset, end, "log {log} has a gap or an overlap");
            end += piece.data.len() as u64;
            let right = piece.data == content(log, piece.offset, piece.data.len() as u64);
            assert!(right, "log {log} has other bytes");
        }
        all.push(format!("log {log} has {end} bytes"));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_sync_loses_no_acknowledged_write_and_doubles_none() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::default();
    let store = open(backend.clone(), folder.path());
    let opened = backend.0.lock().unwrap().syncs;
    // After each batch, what a store has that nothing happened to.
    let mut healthy = vec![all(&store)];
    store.report_to(readers());
    for batch in script() {
        store.commit(batch).await.unwrap();
        healthy.push(all(&store));
        assert_eq!(store.verify().unwrap(), [""; 0]);
    }
    store.close();
    let total = backend.0.lock().unwrap().syncs;
    assert!(total > opened + 90, "{opened} {total}");
    assert!(store.request(RequestId(8)).unwrap().unwrap().claim.is_none(), "the script came to its end");

    // Each by itself, and so by all cores.
    let crashes = Arc::new(Mutex::new(opened + 1..=total));
    let healthy = Arc::new(healthy);
    let mut players = tokio::task::JoinSet::new();
    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        let (crashes, healthy) = (Arc::clone(&crashes), Arc::clone(&healthy));
        players.spawn(async move {
            let next = || crashes.lock().unwrap().next();
            while let Some(crash) = next() {
                crashed_at(crash, &healthy).await;
            }
        });
    }
    while let Some(played) = players.join_next().await {
        played.unwrap();
    }
}

/// Plays the script to a crash at this sync; then what is left of it. `healthy`: what should be there after each batch.
async fn crashed_at(crash: u64, healthy: &[Vec<String>]) {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::default();
    let store = open(backend.clone(), folder.path());
    backend.0.lock().unwrap().crash_at = Some(crash);
    let acknowledged = run(&store, &backend.0).await;
    let (_survived, store) = after_the_crash(&backend.0.lock().unwrap(), folder.path());
    let there = all(&store);
    let there = (acknowledged..=acknowledged + 1).find(|done| healthy.get(*done) == Some(&there));
    let there = there.unwrap_or_else(|| panic!("crash at {crash}: not what {acknowledged} batches leave"));
    assert_eq!(store.verify().unwrap(), [""; 0], "crash at {crash}");
    store.report_to(readers());
    // The rest of the script goes through where it was cut off, and the store ends whole.
    for batch in script().into_iter().skip(there) {
        store.commit(batch).await.unwrap();
    }
    assert!(Some(&all(&store)) == healthy.last(), "crash at {crash}");
}
