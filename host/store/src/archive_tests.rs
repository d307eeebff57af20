//! Logs on their way: written, finished, moved into the archive, removed; read the same at each moment, also after
//! a crash at any sync.

mod faults;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use proptest::prelude::*;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use windlass_core::digest::Digest;
use windlass_core::id::{BuildId, Fence, LogId, StepId};
use windlass_core::keeping::{Keeping, Method};
use windlass_core::lines::At;
use windlass_core::persist::Persist;
use windlass_core::record::LogRow;
use windlass_core::time::Timestamp;
use windlass_core::value::Origin;

use crate::test_disk::{Backend, Disk, open};
use crate::test_rows::*;
use crate::{Options, Store, Tended};

const HOUR: u64 = 60 * 60 * 1000;

async fn tend(store: &Store, keeping: Keeping, at: u64) -> Tended {
    let store = store.clone();
    let tended = tokio::task::spawn_blocking(move || {
        store.tend_logs(&keeping, Timestamp(at), &AtomicBool::new(false))
    })
    .await;
    tended.unwrap().unwrap()
}

fn all_bytes(store: &Store, log: u64) -> Vec<(Origin, u8)> {
    let pieces = store.read_log(LogId(log), 0, usize::MAX).unwrap();
    pieces.iter().flat_map(|piece| piece.data.iter().map(|byte| (piece.origin, *byte))).collect()
}

/// A log as a plain list.
#[derive(Clone, Debug, Default)]
struct Model {
    bytes: Vec<(Origin, u8)>,
    finished: bool,
}

impl Model {
    /// Where each line begins.
    fn lines(&self) -> Vec<usize> {
        let (mut at, mut last) = (At::default(), None);
        let mut begins = Vec::new();
        for (position, (origin, byte)) in self.bytes.iter().enumerate() {
            if last.replace(*origin).is_some_and(|last| last != *origin) {
                at = At::Begin;
            }
            if at.step(*byte) {
                begins.push(position);
            }
        }
        begins
    }

    fn hash(&self) -> Digest {
        let plain: Vec<u8> = self
            .bytes
            .iter()
            .filter(|(origin, _)| *origin != Origin::Header)
            .map(|(_, byte)| *byte)
            .collect();
        Digest::of(&plain)
    }

    fn check(&self, store: &Store, log: u64, windows: &[(usize, usize)]) {
        assert_eq!(all_bytes(store, log), self.bytes, "log {log}");
        let lines = self.lines();
        let size = store.log_size(LogId(log)).unwrap();
        assert_eq!((size.bytes, size.lines), (self.bytes.len() as u64, lines.len() as u64), "log {log}");
        for (first, count) in windows {
            let first = first % (lines.len() + 2);
            let from = lines.get(first).copied().unwrap_or(self.bytes.len());
            let to = lines.get(first + count).copied().unwrap_or(self.bytes.len()).max(from);
            let pieces = store.read_log_lines(LogId(log), first as u64, *count as u64, usize::MAX).unwrap();
            let read: Vec<_> =
                pieces.iter().flat_map(|piece| piece.data.iter().map(|byte| (piece.origin, *byte))).collect();
            assert_eq!(read, &self.bytes[from..to], "log {log}, {count} lines from {first}");
            assert!(pieces.iter().all(|piece| !piece.data.is_empty()));
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(u64, Origin, Vec<u8>),
    Finish(u64),
    Tend(Method),
    Restart,
    Look(Vec<(usize, usize)>),
}

fn op() -> impl Strategy<Value = Op> {
    let origin = prop_oneof![4 => Just(Origin::Stdout), 2 => Just(Origin::Stderr), 1 => Just(Origin::Header)];
    let part = prop_oneof![
        6 => Just(b"line\n".to_vec()),
        2 => Just(b"\r".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\x08\x08".to_vec()),
        1 => Just(b"\x1b[".to_vec()),
        1 => Just(b"2J\x1b[1;2H".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => (1usize..400_000).prop_map(|len| b"0123456789abcde\n".repeat(len / 16)),
    ];
    let data = prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat());
    let method = prop_oneof![Just(Method::None), Just(Method::Zstd), Just(Method::Gzip)];
    prop_oneof![
        10 => (1u64..4, origin, data).prop_map(|(log, origin, data)| Op::Append(log, origin, data)),
        1 => (1u64..4).prop_map(Op::Finish),
        3 => method.prop_map(Op::Tend),
        1 => Just(Op::Restart),
        3 => prop::collection::vec((0usize..100_000, 1usize..9), 1..4).prop_map(Op::Look),
    ]
}

async fn run(ops: Vec<Op>) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), Options::default()).unwrap();
    store.commit(vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1), step(1, 1, 0, 1)]).await.unwrap();
    let mut models: BTreeMap<u64, Model> = BTreeMap::new();
    let mut now = 0;
    for op in ops {
        match op {
            Op::Append(id, origin, data) => {
                let is_new = !models.contains_key(&id);
                let model = models.entry(id).or_default();
                if model.finished {
                    continue;
                }
                let mut batch = Vec::new();
                if is_new {
                    batch.push(log(id, 1, false, 1));
                }
                let (fence, build) = (Fence(1), BuildId(1));
                let offset = model.bytes.len() as u64;
                model.bytes.extend(data.iter().map(|byte| (origin, *byte)));
                batch.push(Persist::AppendLog {
                    fence,
                    build,
                    log: LogId(id),
                    offset,
                    origin,
                    data: data.into(),
                });
                store.commit(batch).await.unwrap();
            }
            Op::Finish(id) => {
                if let Some(model) = models.get_mut(&id) {
                    model.finished = true;
                    let row = LogRow::begun(LogId(id), BuildId(1), StepId(1), "stdio".into());
                    let hash = Some(model.hash());
                    let log = LogRow { finished: true, ended: Some(Timestamp(now)), hash, ..row };
                    store.commit(vec![Persist::PutLog { fence: Fence(1), log }]).await.unwrap();
                }
            }
            Op::Tend(method) => {
                now += 25 * HOUR;
                tend(&store, Keeping { method, limit: 100, ..Keeping::default() }, now).await;
                models.iter().for_each(|(log, model)| model.check(&store, *log, &[]));
            }
            Op::Restart => {
                drop(store);
                store = Store::open(folder.path(), Options::default()).unwrap();
            }
            Op::Look(windows) => models.iter().for_each(|(log, model)| model.check(&store, *log, &windows)),
        }
    }
    models.iter().for_each(|(log, model)| model.check(&store, *log, &[(0, 3), (7, 2), (50_000, 9)]));
    assert_eq!(store.verify().unwrap(), [""; 0]);
    // All that is finished is in the archive after another day, and its old bytes are gone.
    tend(&store, Keeping::default(), now + 25 * HOUR).await;
    models.iter().for_each(|(log, model)| model.check(&store, *log, &[(1, 3)]));
    let names = files(folder.path());
    let live = models.values().any(|model| !model.finished && !model.bytes.is_empty());
    assert!(live || names.iter().all(|name| name.starts_with("arc-")), "{names:?}");
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("logs")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn logs_have_the_lines_and_the_hash_of_a_plain_list(ops in prop::collection::vec(op(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(ops));
    }
}

fn content(log: u64) -> Bytes {
    let lines = if log == 3 { 40_000 } else { 500 };
    (0..lines).map(|line| format!("log {log}, line {line} of {lines}\n")).collect::<String>().into()
}

/// Three finished logs, the last of which is long.
fn script() -> Vec<Vec<Persist>> {
    let mut script = vec![vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1), step(1, 1, 0, 1)]];
    for id in 1..=3 {
        let data = content(id);
        let (first, second) = (data.slice(..data.len() / 3), data.slice(data.len() / 3..));
        script.push(vec![log(id, 1, false, 1), append(id, 1, 1, 0, first.clone())]);
        let row = LogRow::begun(LogId(id), BuildId(1), StepId(1), "stdio".into());
        let row = LogRow { finished: true, ended: Some(Timestamp(id)), hash: Some(Digest::of(&data)), ..row };
        let end = append(id, 1, 1, first.len() as u64, second);
        script.push(vec![end, Persist::PutLog { fence: Fence(1), log: row }]);
    }
    script
}

fn is_whole(store: &Store, log: u64) -> bool {
    let pieces = store.read_log(LogId(log), 0, usize::MAX).unwrap();
    pieces.iter().map(|piece| piece.data.to_vec()).collect::<Vec<_>>().concat() == content(log)
}

#[tokio::test]
async fn what_is_finished_is_smaller_and_the_same_and_what_is_too_old_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    for batch in script() {
        store.commit(batch).await.unwrap();
    }
    let before = store.stats().log_bytes_held;
    let tended = tend(&store, Keeping::default(), 10).await;
    assert_eq!(tended.archived, 3);
    assert_eq!(tended.bytes, before);
    assert!(tended.stored < before / 5, "{tended:?}");
    assert_eq!(store.stats().log_bytes_held, tended.stored);
    assert_eq!(files(folder.path()), ["arc-000001.log", "arc-000002.log"]);
    assert!((1..=3).all(|log| is_whole(&store, log)));
    let line = store.read_log_lines(LogId(3), 39_999, 5, 1000).unwrap();
    assert_eq!(line[0].data, "log 3, line 39999 of 40000\n");
    assert_eq!(tend(&store, Keeping::default(), 11).await, Tended::default(), "nothing is left to do");

    // The shared archive goes when its last log is too old; the row and the hash stay.
    let keeping = Keeping { horizon_ms: Some(100), ..Keeping::default() };
    assert_eq!(tend(&store, keeping, 101).await.expired, 0);
    assert_eq!(tend(&store, keeping, 102).await.expired, 2);
    assert_eq!(files(folder.path()), ["arc-000001.log"]);
    let row = store.log(LogId(2)).unwrap().unwrap();
    assert!(row.expired && row.hash.is_some());
    assert_eq!(store.read_log(LogId(2), 0, 100).unwrap(), []);
    assert!(is_whole(&store, 3));
    assert_eq!(tend(&store, keeping, 103).await.expired, 1);
    assert_eq!(files(folder.path()), [""; 0]);
    assert_eq!(store.stats().log_bytes_held, 0);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

#[tokio::test]
async fn another_byte_on_the_disk_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    for batch in script() {
        store.commit(batch).await.unwrap();
    }
    let path = folder.path().join("logs/seg-000001.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(store.verify().unwrap(), ["log 1 has other bytes than its hash says"]);
}

#[tokio::test]
async fn a_log_that_is_still_written_keeps_its_segment_and_the_others_move() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    for batch in script() {
        store.commit(batch).await.unwrap();
    }
    store.commit(vec![log(4, 1, false, 1), append(4, 1, 1, 0, "still ")]).await.unwrap();
    assert_eq!(tend(&store, Keeping::default(), 10).await.archived, 3);
    assert_eq!(files(folder.path()), ["arc-000001.log", "arc-000002.log", "seg-000001.log"]);
    store.commit(vec![append(4, 1, 1, 6, "going\n"), log(4, 1, true, 1)]).await.unwrap();
    assert_eq!(tend(&store, Keeping::default(), 11 + 24 * HOUR).await.archived, 1);
    let text = store.read_log(LogId(4), 0, 100).unwrap();
    assert_eq!(text.iter().map(|piece| piece.data.as_ref()).collect::<Vec<_>>().concat(), b"still going\n");
    assert_eq!(files(folder.path()).len(), 3, "both segments of it are gone");
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// What the machine has after the crash: the folder as it was then, as far as it was durable.
fn after_the_crash(disk: &Disk) -> (tempfile::TempDir, Store) {
    let survived = tempfile::tempdir().unwrap();
    fs::create_dir(survived.path().join("logs")).unwrap();
    for (path, bytes) in &disk.files {
        let durable = disk.segments.get(path).copied().unwrap_or(0).min(bytes.len() as u64);
        fs::write(survived.path().join("logs").join(path.file_name().unwrap()), &bytes[..durable as usize])
            .unwrap();
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

#[tokio::test]
async fn a_crash_at_any_sync_of_the_archive_loses_no_byte_and_keeps_none_for_nothing() {
    let expiring = Keeping { horizon_ms: Some(2), ..Keeping::default() };
    let scripted = async |backend: &Backend, folder: &Path, crash: Option<u64>| {
        let store = open(backend.clone(), folder);
        for batch in script() {
            store.commit(batch).await.unwrap();
        }
        let written = backend.0.lock().unwrap().syncs;
        backend.0.lock().unwrap().stop_at(crash, folder);
        tend(&store, Keeping::default(), 4).await;
        let archived = backend.0.lock().unwrap().syncs;
        // Logs 1 and 2 are too old, 3 is not.
        tend(&store, expiring, 4).await;
        store.close();
        let ended = backend.0.lock().unwrap().syncs;
        (written, archived, ended)
    };
    let folder = tempfile::tempdir().unwrap();
    let (written, archived, ended) = scripted(&Backend::default(), folder.path(), None).await;
    assert!(archived >= written + 12 && ended >= archived + 4, "{written} {archived} {ended}");
    for crash in written + 1..=ended {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::default();
        scripted(&backend, folder.path(), Some(crash)).await;
        let (survived, store) = after_the_crash(&backend.0.lock().unwrap());
        assert_eq!(store.verify().unwrap(), [""; 0], "crash at {crash}");
        for log in 1..=3 {
            let gone = crash > archived && log < 3 && store.log(LogId(log)).unwrap().unwrap().expired;
            assert!(gone || is_whole(&store, log), "crash at {crash}: log {log}");
        }
        // The archive goes on where it was cut off.
        tend(&store, Keeping::default(), 4).await;
        assert!(files(survived.path()).iter().all(|name| name.starts_with("arc-")), "crash at {crash}");
        tend(&store, expiring, 4).await;
        assert!(is_whole(&store, 3), "crash at {crash}");
        assert_eq!(files(survived.path()).len(), 1, "crash at {crash}: {:?}", files(survived.path()));
        assert_eq!(store.verify().unwrap(), [""; 0], "crash at {crash}");
    }
}
