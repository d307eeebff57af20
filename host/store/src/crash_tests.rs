//! A crash at every sync of a scripted run: after it no acknowledged write is lost, none is half
//! there, and none is there twice.
//!
//! The database lies on a backend that stops being durable at the n-th sync, the log segments on real
//! files whose durable length is noted at each sync, counted in the same order. What "the machine" has
//! after the crash is the durable image of both; with the header's newest write on top, which is the
//! unkindest cut for redb's two commit slots.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use windlass_core::id::{BuildId, LogId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;

use crate::test_rows::*;
use crate::{Options, Store};

#[derive(Debug, Default)]
struct Disk {
    /// The database as the process sees it.
    live: Vec<u8>,
    /// As it is after a crash.
    durable: Vec<u8>,
    /// What was written since the last sync.
    dirty: Vec<std::ops::Range<usize>>,
    last_header: Vec<u8>,
    /// Durable lengths of log segments.
    segments: HashMap<PathBuf, u64>,
    syncs: u64,
    crash_at: Option<u64>,
}

impl Disk {
    /// Counts a sync; returns whether it still reaches the disk.
    fn sync(&mut self) -> bool {
        self.syncs += 1;
        self.crash_at.is_none_or(|crash| self.syncs < crash)
    }

    fn crashed(&self) -> bool {
        self.crash_at.is_some_and(|crash| self.syncs >= crash)
    }
}

#[derive(Clone, Debug, Default)]
struct Backend(Arc<Mutex<Disk>>);

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = self.0.lock().unwrap();
        let from = disk.live.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.lock().unwrap().live.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        if disk.sync() {
            let Disk { live, durable, dirty, .. } = &mut *disk;
            durable.resize(live.len(), 0);
            for range in dirty.drain(..).filter(|range| range.end <= live.len()) {
                durable[range.clone()].copy_from_slice(&live[range]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        let range = offset as usize..offset as usize + data.len();
        disk.live[range.clone()].copy_from_slice(data);
        disk.dirty.push(range);
        if offset == 0 && !disk.crashed() {
            disk.last_header = data.to_vec();
        }
        Ok(())
    }
}

/// Opens a store on `backend` whose log segments count their syncs there too.
fn open(backend: Backend, folder: &Path) -> Store {
    let disk = backend.0.clone();
    let make_durable = Arc::new(move |file: &File, path: &Path| {
        let length = file.metadata()?.len();
        let mut disk = disk.lock().unwrap();
        if disk.sync() {
            disk.segments.insert(path.to_owned(), length);
        }
        Ok(())
    });
    Store::open_for_crash(backend, folder, Options::default(), make_durable).unwrap()
}

/// Batches of which each leaves a trace of its own, by number.
fn script() -> Vec<Vec<Persist>> {
    let mut script = vec![vec![buildset(1, &[1, 2, 3, 4])]];
    let mut offsets = [0u64; 5];
    for build_id in 1..=4u64 {
        let fence = build_id;
        script.push(vec![claim(&[build_id], fence), build(build_id, &[build_id], fence)]);
        script.push(vec![step(build_id, build_id, 0, fence), log(build_id, build_id, false, fence)]);
        // The third log moves into a segment of its own.
        let size = if build_id == 3 { 300_000 } else { 100 };
        for _ in 0..4 {
            let offset = &mut offsets[build_id as usize];
            script.push(vec![append(build_id, build_id, fence, *offset, content(build_id, *offset, size))]);
            *offset += size;
        }
        let end = Outcome::Success;
        script.push(vec![ended(build_id, &[build_id], fence, end), complete(&[build_id], fence, end)]);
    }
    script
}

/// Bytes that tell their log and place.
fn content(log: u64, offset: u64, size: u64) -> Bytes {
    static PATTERN: LazyLock<Bytes> =
        LazyLock::new(|| (0..1_300_000u32).map(|at| (at % 251) as u8).collect());
    PATTERN.slice((log * 7 + offset) as usize..(log * 7 + offset + size) as usize)
}

/// Runs the script until the crash; returns how many batches were acknowledged before it.
async fn run(store: &Store, disk: &Arc<Mutex<Disk>>) -> usize {
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

/// How many batches of the script the store has; panics if it has anything but a beginning of it.
fn has(store: &Store) -> usize {
    let request = |id: u64| store.request(RequestId(id)).unwrap();
    let mut count = 0;
    let mut ended = false;
    let mut next = |there: bool| {
        assert!(!(there && ended), "batch {count} is missing, a later one is there");
        ended |= !there;
        count += usize::from(there);
    };
    next(request(1).is_some());
    for id in 1..=4 {
        let (row, build) = (request(id), store.build(BuildId(id)).unwrap());
        let claimed = row.as_ref().is_some_and(|row| row.claim.is_some());
        assert_eq!(claimed, build.is_some(), "a claim and its build are one batch");
        next(claimed);
        next(store.log(LogId(id)).unwrap().is_some());
        let size = if id == 3 { 300_000 } else { 100 };
        let length = store.log_len(LogId(id)).unwrap();
        assert_eq!(length % size, 0, "half an append");
        (1..=4).for_each(|n| next(length >= n * size));
        let read = store.read_log(LogId(id), 0, usize::MAX).unwrap();
        let mut end = 0;
        for piece in &read {
            assert_eq!(piece.offset, end, "log {id} has a gap or an overlap");
            end += piece.data.len() as u64;
            assert!(
                piece.data == content(id, piece.offset, piece.data.len() as u64),
                "log {id} has other bytes"
            );
        }
        assert_eq!(end, length);
        let complete = row.is_some_and(|row| row.complete.is_some());
        let build_complete = build.is_some_and(|row| row.complete.is_some());
        assert_eq!(complete, build_complete, "a request and its build end in one batch");
        next(complete);
    }
    count
}

#[tokio::test]
async fn a_crash_at_any_sync_loses_no_acknowledged_write_and_doubles_none() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::default();
    let store = open(backend.clone(), folder.path());
    let opened = backend.0.lock().unwrap().syncs;
    run(&store, &backend.0).await;
    store.close();
    let total = backend.0.lock().unwrap().syncs;
    assert!(total > opened + 60, "{opened} {total}");

    for crash in opened + 1..=total {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::default();
        let store = open(backend.clone(), folder.path());
        backend.0.lock().unwrap().crash_at = Some(crash);
        let acknowledged = run(&store, &backend.0).await;
        let (_survived, store) = after_the_crash(&backend.0.lock().unwrap(), folder.path());
        let there = has(&store);
        assert!(
            there >= acknowledged,
            "crash at {crash}: {acknowledged} were acknowledged, {there} are there"
        );
        assert!(
            there <= acknowledged + 1,
            "crash at {crash}: {there} are there, {acknowledged} were acknowledged"
        );
        // The rest of the script goes through where it was cut off, and the store ends whole.
        for batch in script().into_iter().skip(there) {
            store.commit(batch).await.unwrap();
        }
        assert_eq!(has(&store), script().len(), "crash at {crash}");
    }
}
