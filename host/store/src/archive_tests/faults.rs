//! What goes wrong with one log keeps no other from its way, and what is on its way out is read by nobody.

use std::sync::atomic::Ordering;

use redb::ReadableTableMetadata;
use redb::backends::InMemoryBackend;

use super::*;
use crate::log_work::Work;
use crate::{CommitError, ReadError, TendError};

async fn try_tend(store: &Store, keeping: Keeping, at: u64) -> Result<Tended, TendError> {
    let store = store.clone();
    let tended = tokio::task::spawn_blocking(move || {
        store.tend_logs(&keeping, Timestamp(at), &AtomicBool::new(false))
    });
    tended.await.unwrap()
}

async fn scripted(folder: &Path, options: Options) -> Store {
    let store = Store::open(folder, options).unwrap();
    for batch in script() {
        store.commit(batch).await.unwrap();
    }
    store
}

fn horizon(ms: u64) -> Keeping {
    Keeping { horizon_ms: Some(ms), ..Keeping::default() }
}

/// Symptom: no log was archived any more, and none removed, until builds failed for want of room. Cause: a visit ended at
/// the first log that could not be read, and so did each later one. Cure: that log stays, is told of once, and goes when
/// it is too old.
#[tokio::test]
async fn a_log_that_cannot_be_read_keeps_no_other_from_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    let store = scripted(folder.path(), Options::default()).await;
    let segment = folder.path().join("logs/seg-000001.log");
    // All of the first log, and of the others nothing that lies there.
    File::options().write(true).open(&segment).unwrap().set_len(content(1).len() as u64).unwrap();
    let error = try_tend(&store, Keeping::default(), 10).await.unwrap_err();
    assert!(matches!(error, TendError::Read(ReadError::Segment { .. })), "{error:?}");
    assert!(is_whole(&store, 1));
    assert_eq!(files(folder.path()), ["arc-000001.log", "seg-000001.log", "seg-000002.log"]);
    assert_eq!(try_tend(&store, Keeping::default(), 11).await.unwrap(), Tended::default(), "told once");
    // What can be read goes on its way meanwhile.
    let data = content(1);
    let row = LogRow::begun(LogId(4), BuildId(1), StepId(1), "stdio".into());
    let row = LogRow { finished: true, ended: Some(Timestamp(12)), hash: Some(Digest::of(&data)), ..row };
    store
        .commit(vec![append(4, 1, 1, 0, data.clone()), Persist::PutLog { fence: Fence(1), log: row }])
        .await
        .unwrap();
    let tended = try_tend(&store, Keeping::default(), 11 + 24 * HOUR).await;
    assert!(matches!(tended, Err(TendError::Read(_))), "once a day: {tended:?}");
    assert_eq!(store.read_log(LogId(4), 0, usize::MAX).unwrap()[0].data, data);
    tend(&store, horizon(HOUR), 12 + 25 * HOUR).await;
    assert_eq!(files(folder.path()), [""; 0]);
    assert!((1..=4).all(|log| store.log(LogId(log)).unwrap().unwrap().expired));
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// The same for a row of the index that is damaged.
#[tokio::test]
async fn a_damaged_row_of_a_log_keeps_no_other_from_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    let store = scripted(folder.path(), Options::default()).await;
    let transaction = crate::writer::begin(&store.0.database).unwrap();
    transaction.open_table(crate::tables::LOG_PIECES).unwrap().insert((2, 0), b"?".as_slice()).unwrap();
    transaction.commit().unwrap();
    assert!(matches!(
        try_tend(&store, Keeping::default(), 10).await,
        Err(TendError::Read(ReadError::Row { .. }))
    ));
    assert!(is_whole(&store, 1) && is_whole(&store, 3));
    // The segment stays: the damaged row may speak of it.
    assert_eq!(files(folder.path()), ["arc-000001.log", "arc-000002.log", "seg-000001.log"]);
    tend(&store, horizon(1), 10 + HOUR).await;
    assert_eq!(files(folder.path()), [""; 0]);
}

/// Symptom: what a flipped bit had made of a log took its place for good. Cause: the archive moved whatever it read, though
/// the log's row has its hash. Cure: it looks before it moves.
#[tokio::test]
async fn a_log_with_another_byte_than_its_hash_says_is_not_moved() {
    let folder = tempfile::tempdir().unwrap();
    let store = scripted(folder.path(), Options::default()).await;
    let path = folder.path().join("logs/seg-000001.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = try_tend(&store, Keeping::default(), 10).await.unwrap_err();
    assert!(matches!(error, TendError::Changed { log: LogId(1) }), "{error:?}");
    assert!(is_whole(&store, 2) && is_whole(&store, 3) && !is_whole(&store, 1));
    // Whoever mends the file has the log again, and the archive takes it.
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(is_whole(&store, 1));
    assert_eq!(try_tend(&store, Keeping::default(), 10 + 24 * HOUR).await.unwrap().archived, 1);
    assert_eq!(files(folder.path()).len(), 3);
    assert!(is_whole(&store, 1));
}

/// Symptom: a disk that was full stayed full, though `log_horizon` was set. Cause: what frees room came last in a visit,
/// which had ended by then. Cure: it comes first.
#[tokio::test]
async fn what_is_too_old_goes_though_the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let disk = full.clone();
    let make_durable = move |_: &File, _: &Path| match disk.load(Ordering::SeqCst) {
        true => Err(std::io::ErrorKind::StorageFull.into()),
        false => Ok(()),
    };
    let backend = InMemoryBackend::new();
    let store =
        Store::open_for_crash(backend, folder.path(), Options::default(), Arc::new(make_durable)).unwrap();
    for batch in script() {
        store.commit(batch).await.unwrap();
    }
    tend(&store, Keeping::default(), 10).await;
    let row = LogRow::begun(LogId(4), BuildId(1), StepId(1), "stdio".into());
    let row = LogRow { finished: true, ended: Some(Timestamp(25 * HOUR)), ..row };
    let put = vec![append(4, 1, 1, 0, "later"), Persist::PutLog { fence: Fence(1), log: row }];
    store.commit(put).await.unwrap();
    full.store(true, Ordering::SeqCst);
    let error = try_tend(&store, horizon(HOUR), 25 * HOUR).await.unwrap_err();
    assert!(matches!(error, TendError::Write { .. }), "{error:?}");
    assert_eq!(files(folder.path()), ["seg-000003.log"], "the others are gone, and nothing half came");
    full.store(false, Ordering::SeqCst);
    assert_eq!(try_tend(&store, horizon(HOUR), 25 * HOUR + 1).await.unwrap().archived, 1);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// Symptom: some weeks after `windlass init`, each step that wrote something ended as an exception, for good. Cause: logs
/// reached what all of them may have, and nothing took any away. Cure: the oldest finished ones go before that.
#[tokio::test]
async fn the_oldest_logs_go_before_all_of_them_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let options = |limit| Options { max_log_bytes_total: limit, ..Options::default() };
    let store = scripted(folder.path(), options(None)).await;
    tend(&store, Keeping::default(), 10).await;
    let held = store.stats().log_bytes_held;
    drop(store);
    let store = Store::open(folder.path(), options(Some(held + held / 8))).unwrap();
    assert_eq!(tend(&store, Keeping::default(), 11).await.expired, 0);
    drop(store);
    // A little more than what is to stay free beside all of them.
    let store = Store::open(folder.path(), options(Some((held - 1) * 16 / 15))).unwrap();
    assert_eq!(tend(&store, Keeping::default(), 12).await.expired, 2, "those that ended first");
    assert!(is_whole(&store, 3));
    assert_eq!(tend(&store, Keeping::default(), 13).await.expired, 0);
}

/// A log of so many pieces: each byte is of another stream than the one before.
fn flickering(id: u64, pieces: u64, ended: u64) -> Vec<Persist> {
    let byte = |offset: u64| Persist::AppendLog {
        fence: Fence(1),
        build: BuildId(1),
        log: LogId(id),
        offset,
        origin: if offset.is_multiple_of(2) { Origin::Stdout } else { Origin::Stderr },
        data: Bytes::from(vec![b'a' + (offset % 26) as u8]),
    };
    let plain: Vec<u8> = (0..pieces).map(|offset| b'a' + (offset % 26) as u8).collect();
    let row = LogRow::begun(LogId(id), BuildId(1), StepId(1), "stdio".into());
    let hash = Some(Digest::of(&plain));
    let row = LogRow { finished: true, ended: Some(Timestamp(ended)), hash, ..row };
    (0..pieces).map(byte).chain([Persist::PutLog { fence: Fence(1), log: row }]).collect()
}

/// Symptom: claims waited for the archive. Cause: a frame was counted by the bytes of its log alone, so that a log of
/// pieces of one byte was moved in commits of 262,144 rows. Cure: a frame ends after some number of pieces, too.
///
/// And: what was archived by two visits lies in two archives. The first one that goes takes its own frames, and the log's
/// row says that the rest means nothing any more.
#[tokio::test]
async fn a_log_of_very_many_pieces_moves_in_small_commits_and_goes_with_each_of_its_archives() {
    let folder = tempfile::tempdir().unwrap();
    let syncs = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (counted, stops) = (syncs.clone(), stop.clone());
    let make_durable = move |_: &File, path: &Path| {
        let is_archive = path.to_string_lossy().contains("arc-");
        // The second commit of the archive does not come any more.
        if is_archive && counted.fetch_add(1, Ordering::SeqCst) == 1 {
            stops.store(true, Ordering::SeqCst);
        }
        Ok(())
    };
    let backend = InMemoryBackend::new();
    let store =
        Store::open_for_crash(backend, folder.path(), Options::default(), Arc::new(make_durable)).unwrap();
    store.commit(vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1), step(1, 1, 0, 1)]).await.unwrap();
    store.commit(flickering(1, 3_000, 1)).await.unwrap();
    store.commit(flickering(2, 10, 100)).await.unwrap();
    let before = (all_bytes(&store, 1), all_bytes(&store, 2));
    assert_eq!(before.0.len(), 3_000);
    {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::task::spawn_blocking(move || store.tend_logs(&Keeping::default(), Timestamp(200), &stop))
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(store.snapshot().unwrap().log_frames().unwrap().len().unwrap(), 1);
    assert_eq!(store.snapshot().unwrap().log_pieces().unwrap().len().unwrap(), 3_010 - 1_024);
    assert_eq!((all_bytes(&store, 1), all_bytes(&store, 2)), before);
    tend(&store, Keeping::default(), 201 + HOUR).await;
    assert_eq!((all_bytes(&store, 1), all_bytes(&store, 2)), before);
    assert_eq!(files(folder.path()), ["arc-000001.log", "arc-000002.log"]);
    assert_eq!(store.verify().unwrap(), [""; 0]);

    tend(&store, horizon(HOUR), HOUR + 1).await;
    assert_eq!(files(folder.path()), ["arc-000002.log"]);
    assert_eq!((all_bytes(&store, 1), all_bytes(&store, 2)), (Vec::new(), before.1));
    assert_eq!(store.verify().unwrap(), [""; 0]);
    tend(&store, horizon(HOUR), HOUR + 100).await;
    assert_eq!(files(folder.path()), [""; 0]);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// Symptom: while a long log was being removed, its beginning was empty and its length was the old one. Cause: its row said
/// `expired` with the last of its frames. Cure: with the first.
#[tokio::test]
async fn a_log_that_is_being_removed_has_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = scripted(folder.path(), Options::default()).await;
    tend(&store, Keeping::default(), 10).await;
    let work = async |work| store.0.queue.push_work(work).await.unwrap().unwrap();
    let look = || {
        let lines = store.read_log_lines(LogId(3), 39_000, 5, 1000).unwrap();
        (
            store.log_size(LogId(3)).unwrap(),
            store.log_len(LogId(3)).unwrap(),
            all_bytes(&store, 3).len(),
            lines,
        )
    };
    assert!(look().2 > 1 << 20);
    work(Work::Mark(vec![LogId(3)])).await;
    let gone = (crate::LogSize::default(), 0, 0, Vec::new());
    assert_eq!(look(), gone);
    work(Work::Expire { archive: 1, frames: vec![(3, 0)], logs: Vec::new() }).await;
    assert_eq!(look(), gone);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// Symptom: the master ended itself because one log could not be continued. Cause: the last bytes of a log that nobody
/// remembered were read after all batches of a group had been checked, so that the error was of all. Cure: they are
/// read while the batch is checked that writes behind them.
#[tokio::test]
async fn a_log_whose_end_cannot_be_read_stops_the_batch_that_writes_behind_it_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = scripted(folder.path(), Options::default()).await;
    store.commit(vec![log(4, 1, false, 1), append(4, 1, 1, 0, "begun ")]).await.unwrap();
    drop(store);
    let store = Store::open(folder.path(), Options::default()).unwrap();
    fs::remove_file(folder.path().join("logs/seg-000001.log")).unwrap();
    let transaction = crate::writer::begin(&store.0.database).unwrap();
    let first = store.commit(vec![step(2, 1, 1, 1)]);
    let behind = store.commit(vec![step(3, 1, 2, 1), append(4, 1, 1, 6, "and lost")]);
    let other = store.commit(vec![step(4, 1, 3, 1)]);
    transaction.commit().unwrap();
    first.await.unwrap();
    assert!(matches!(behind.await, Err(CommitError::Storage(ReadError::Segment { .. }))));
    other.await.unwrap();
    let steps: Vec<u64> = store.steps(BuildId(1)).unwrap().iter().map(|step| step.id.0).collect();
    assert_eq!(steps, [1, 2, 4]);
}
