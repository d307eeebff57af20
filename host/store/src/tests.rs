//! The store as its users see it, on real files.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use windlass_core::id::{BuildId, BuildsetId, ChangeId, Fence, LogId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Committed, Persist, Refusal};
use windlass_core::record::LogPiece;
use windlass_core::request::Completed;
use windlass_core::time::Timestamp;
use windlass_core::value::Origin;

use crate::test_rows::*;
use crate::{BuildFilter, CommitError, Full, LogProgress, OpenError, Options, Store};

struct Fixture {
    store: Store,
    folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    fixture_with(Options::default())
}

fn fixture_with(options: Options) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    Fixture { store: Store::open(folder.path(), options).unwrap(), folder }
}

impl Fixture {
    fn reopen(self) -> Fixture {
        let Fixture { store, folder } = self;
        drop(store);
        Fixture { store: Store::open(folder.path(), Options::default()).unwrap(), folder }
    }

    async fn put(&self, batch: impl IntoIterator<Item = Persist>) -> Committed {
        self.store.commit(batch.into_iter().collect()).await.unwrap()
    }

    async fn refused(&self, batch: impl IntoIterator<Item = Persist>) -> Refusal {
        match self.store.commit(batch.into_iter().collect()).await {
            Err(CommitError::Refused(refusal)) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// A running build 1 of request 1 under fence 1.
    async fn running(self) -> Fixture {
        self.put([buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1)]).await;
        self
    }

    fn text(&self, log: u64) -> String {
        text(&self.store.read_log(LogId(log), 0, usize::MAX).unwrap())
    }

    fn pending(&self) -> Vec<u64> {
        self.store.pending_requests().unwrap().iter().map(|request| request.id.0).collect()
    }
}

fn text(pieces: &[LogPiece]) -> String {
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_build_goes_from_request_to_end_and_is_there_after_a_restart() {
    let it = fixture();
    assert_eq!(it.put([buildset(1, &[1, 2])]).await, Committed::default());
    it.put([claim(&[1], 1), build(1, &[1], 1)]).await;
    it.put([step(1, 1, 0, 1), log(1, 1, false, 1), append(1, 1, 1, 0, "hello\n")]).await;
    it.put([ended(1, &[1], 1, Outcome::Failure), complete(&[1], 1, Outcome::Failure)]).await;
    it.put([claim(&[2], 2), build(2, &[2], 2)]).await;

    let it = it.reopen();
    assert_eq!(it.pending(), [0; 0]);
    assert_eq!(it.store.claimed_requests(ME).unwrap(), it.store.requests(&ids(&[2])).unwrap());
    let running: Vec<_> = it.store.running_builds().unwrap().iter().map(|row| row.id).collect();
    assert_eq!(running, [BuildId(2)]);
    assert_eq!(it.store.build(BuildId(2)).unwrap(), Some(build_row(2, &[2], 2)));
    assert_eq!(it.store.steps(BuildId(1)).unwrap().len(), 1);
    assert_eq!(it.store.logs(BuildId(1)).unwrap(), [it.store.log(LogId(1)).unwrap().unwrap()]);
    assert_eq!(it.text(1), "hello\n");
    assert_eq!(it.store.last_build("check", "w1").unwrap(), Some((Timestamp(9), Outcome::Failure)));
    assert_eq!(it.store.last_build("check", "w2").unwrap(), None);
    assert_eq!(it.store.buildset(BuildsetId(1)).unwrap().unwrap().complete, None);

    let last = it.put([complete(&[2], 2, Outcome::Success)]).await;
    assert_eq!(last.buildsets, [(BuildsetId(1), Outcome::Failure)]);
    let complete = Some(Completed { outcome: Outcome::Failure, at: Timestamp(9) });
    assert_eq!(it.store.buildset(BuildsetId(1)).unwrap().unwrap().complete, complete);
}

#[tokio::test]
async fn a_buildset_without_requests_is_complete_at_once() {
    let it = fixture();
    assert_eq!(it.put([buildset(1, &[])]).await.buildsets, [(BuildsetId(1), Outcome::Success)]);
    assert!(it.store.buildset(BuildsetId(1)).unwrap().unwrap().complete.is_some());
}

#[tokio::test]
async fn a_refused_batch_leaves_nothing_and_its_neighbours_go_through() {
    let it = fixture();
    it.put([buildset(1, &[1, 2, 3])]).await;
    let put = |key: &str| Persist::PutState { owner: "o".into(), key: key.into(), value: Some(vec![1]) };
    // All three are in line before the first is answered, so they share a group or follow each other.
    let before = it.store.commit(vec![claim(&[1], 1), put("before")]);
    let refused = it.store.commit(vec![put("refused"), claim(&[2], 2), claim(&[1], 3)]);
    let after = it.store.commit(vec![claim(&[2], 4), put("after")]);
    before.await.unwrap();
    let refusal = refused.await.unwrap_err();
    assert!(matches!(refusal, CommitError::Refused(Refusal::AlreadyClaimed(RequestId(1)))), "{refusal:?}");
    after.await.unwrap();
    let keys: Vec<_> = it.store.states("o").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["after", "before"]);
    assert_eq!(it.pending(), [3]);
    assert_eq!(it.store.stats().refused, 1);
}

#[tokio::test]
async fn a_batch_sees_its_own_earlier_effects() {
    let it = fixture();
    it.put([
        buildset(1, &[1]),
        claim(&[1], 1),
        build(1, &[1], 1),
        log(1, 1, false, 1),
        append(1, 1, 1, 0, "a"),
        append(1, 1, 1, 1, "b"),
        complete(&[1], 1, Outcome::Success),
        ended(1, &[1], 1, Outcome::Success),
    ])
    .await;
    assert_eq!(it.text(1), "ab");
    assert_eq!(it.store.running_builds().unwrap(), []);
}

#[tokio::test]
async fn a_retried_request_waits_again_and_the_old_build_is_a_straggler_once_it_is_claimed() {
    let it = fixture().running().await;
    it.put([ended(1, &[1], 1, Outcome::Retry), Persist::Unclaim { requests: ids(&[1]), fence: Fence(1) }])
        .await;
    assert_eq!(it.pending(), [1]);
    it.put([step(1, 1, 0, 1)]).await;
    it.put([claim(&[1], 2), build(2, &[1], 2)]).await;
    let stale = Refusal::StaleFence { build: BuildId(1), offered: Fence(1), current: Fence(2) };
    assert_eq!(it.refused([step(2, 1, 1, 1)]).await, stale);
    assert_eq!(it.refused([ended(1, &[1], 1, Outcome::Success)]).await, stale);
    assert_eq!(it.refused([append(1, 1, 1, 0, "late")]).await, stale);
    it.refused([complete(&[1], 1, Outcome::Success)]).await;
    assert_eq!(it.store.steps(BuildId(1)).unwrap().len(), 1);
}

#[tokio::test]
async fn a_write_of_an_unknown_build_is_refused() {
    let it = fixture().running().await;
    assert_eq!(it.refused([step(1, 7, 0, 1)]).await, Refusal::UnknownBuild(BuildId(7)));
    let refused = it.refused([build(2, &[99], 3)]).await;
    assert_eq!(refused, Refusal::NotClaimed { request: RequestId(99), fence: Fence(3) });
}

#[tokio::test]
async fn numbers_go_on_after_a_restart() {
    let it = fixture().running().await;
    it.put([step(5, 1, 0, 1), log(6, 1, false, 1)]).await;
    assert_eq!(it.store.ids().next_build_number("other"), 1);
    let it = it.reopen();
    let ids = it.store.ids();
    assert_eq!(ids.next_request(), RequestId(2));
    assert_eq!(ids.next_build(), BuildId(2));
    assert_eq!((ids.next_step().0, ids.next_log().0, ids.next_fence().0), (6, 7, 2));
    assert_eq!((ids.next_change().0, ids.next_buildset().0), (1, 2));
    assert_eq!(ids.next_build_number("check"), 2);
    assert_eq!(ids.next_build_number("check"), 3);
    assert_eq!(ids.next_build_number("other"), 1, "never written");
}

#[tokio::test]
async fn builds_are_found_newest_first_by_builder_worker_and_state() {
    let it = fixture();
    for id in 1..=6 {
        let mut row = build_row(id, &[], 1);
        row.builder = if id % 2 == 0 { "even" } else { "odd" }.into();
        row.worker = if id <= 3 { "w1" } else { "w2" }.into();
        row.complete = (id < 5).then_some(Completed { outcome: Outcome::Success, at: Timestamp(id) });
        it.put([Persist::PutBuild(row)]).await;
    }
    let check = |filter: BuildFilter, expected: &[u64]| {
        let found: Vec<_> = it.store.builds(&filter).unwrap().iter().map(|row| row.id.0).collect();
        assert_eq!(found, expected, "{filter:?}");
    };
    let all = BuildFilter::default;
    check(all(), &[6, 5, 4, 3, 2, 1]);
    check(BuildFilter { limit: 2, ..all() }, &[6, 5]);
    check(BuildFilter { limit: 0, ..all() }, &[]);
    check(BuildFilter { before: Some(BuildId(3)), ..all() }, &[2, 1]);
    check(BuildFilter { builder: Some("even".into()), ..all() }, &[6, 4, 2]);
    check(BuildFilter { worker: Some("w1".into()), ..all() }, &[3, 2, 1]);
    check(BuildFilter { builder: Some("odd".into()), worker: Some("w1".into()), ..all() }, &[3, 1]);
    check(BuildFilter { complete: Some(false), ..all() }, &[6, 5]);
    check(BuildFilter { complete: Some(true), builder: Some("even".into()), ..all() }, &[4, 2]);
    check(BuildFilter { complete: Some(false), worker: Some("w1".into()), ..all() }, &[]);
    assert_eq!(it.store.last_build("odd", "w1").unwrap(), Some((Timestamp(3), Outcome::Success)));
}

#[tokio::test]
async fn changes_come_newest_first() {
    let it = fixture();
    for id in 1..=3 {
        it.put([Persist::AddChange(change(id))]).await;
    }
    let newest: Vec<_> = it.store.changes(2).unwrap().iter().map(|change| change.id.0).collect();
    assert_eq!(newest, [3, 2]);
    assert_eq!(it.store.change(ChangeId(1)).unwrap().unwrap().comments, "change 1");
}

#[tokio::test]
async fn state_is_kept_and_removed_by_owner_and_key() {
    let it = fixture();
    let put = |owner: &str, key: &str, value: Option<&[u8]>| Persist::PutState {
        owner: owner.into(),
        key: key.into(),
        value: value.map(<[u8]>::to_vec),
    };
    it.put([put("a", "k", Some(b"1")), put("a", "l", Some(b"2")), put("b", "k", Some(b"3"))]).await;
    it.put([put("a", "k", None)]).await;
    assert_eq!(it.store.state("a", "k").unwrap(), None);
    assert_eq!(it.store.states("a").unwrap(), [("l".to_owned(), b"2".to_vec())]);
    assert_eq!(it.store.state("b", "k").unwrap().unwrap(), b"3");
    it.put([put("ab", "k", Some(b"4")), put("ab", "l", Some(b"5"))]).await;
    assert_eq!(it.store.state_owners("a").unwrap(), ["a", "ab"]);
    assert_eq!(it.store.state_owners("c").unwrap(), [""; 0]);
}

#[tokio::test]
async fn an_append_that_does_not_continue_the_log_is_refused() {
    let it = fixture().running().await;
    it.put([append(1, 1, 1, 0, "abc")]).await;
    for offset in [0, 2, 4] {
        let gap = Refusal::LogGap { log: LogId(1), length: 3, offset };
        assert_eq!(it.refused([append(1, 1, 1, offset, "x")]).await, gap);
    }
    it.put([append(1, 1, 1, 3, "")]).await;
    assert_eq!(it.store.log_len(LogId(1)).unwrap(), 3);
}

#[tokio::test]
async fn a_log_reads_back_from_any_offset_with_its_streams() {
    let it = fixture().running().await;
    let mut err = append(1, 1, 1, 4, "err\n");
    if let Persist::AppendLog { origin, .. } = &mut err {
        *origin = Origin::Stderr;
    }
    it.put([append(1, 1, 1, 0, "out\n"), err, append(1, 1, 1, 8, "more\n")]).await;
    let pieces = it.store.read_log(LogId(1), 2, 7).unwrap();
    let shape: Vec<_> = pieces.iter().map(|p| (p.offset, p.origin, p.data.as_ref())).collect();
    let (out, err) = (Origin::Stdout, Origin::Stderr);
    assert_eq!(shape, [(2, out, &b"t\n"[..]), (4, err, b"err\n"), (8, out, b"m")]);
    assert_eq!(it.store.read_log(LogId(1), 13, 100).unwrap(), []);
    assert_eq!(it.store.read_log(LogId(1), 99, 100).unwrap(), []);
    assert_eq!(it.store.read_log(LogId(2), 0, 100).unwrap(), []);
}

#[tokio::test]
async fn neighbouring_appends_of_a_log_become_one_piece() {
    let it = fixture().running().await;
    it.put([append(1, 1, 1, 0, "a"), append(2, 1, 1, 0, "x"), append(1, 1, 1, 1, "b")]).await;
    assert_eq!(it.store.read_log(LogId(1), 0, 100).unwrap().len(), 1);
    it.put([append(2, 1, 1, 1, "y")]).await;
    assert_eq!(it.store.read_log(LogId(2), 0, 100).unwrap().len(), 1, "it was the last in the segment");
    assert_eq!((it.text(1), it.text(2)), ("ab".to_owned(), "xy".to_owned()));
}

#[tokio::test]
async fn a_log_above_a_mebibyte_moves_into_a_segment_of_its_own() {
    let it = fixture().running().await;
    let chunk = "0123456789abcde\n".repeat(40_000);
    let mut offset = 0;
    for _ in 0..5 {
        it.put([append(1, 1, 1, offset, chunk.clone()), append(2, 1, 1, offset / 640, "x".repeat(1000))])
            .await;
        offset += chunk.len() as u64;
    }
    let it = it.reopen();
    it.put([append(1, 1, 1, offset, "end\n")]).await;
    assert_eq!(it.text(1), chunk.repeat(5) + "end\n");
    assert_eq!(it.store.log_len(LogId(2)).unwrap(), 5000);
    let segments = std::fs::read_dir(it.folder.path().join("logs")).unwrap().count();
    assert_eq!(segments, 2);
    // Lines 39,999 to 40,001 lie on both sides of the first append's end.
    let lines = it.store.read_log_lines(LogId(1), 39_999, 3, 1 << 20).unwrap();
    assert_eq!((lines[0].offset, text(&lines)), (39_999 * 16, "0123456789abcde\n".repeat(3)));
    assert_eq!(text(&it.store.read_log_lines(LogId(1), 200_000, 9, 100).unwrap()), "end\n");
    assert_eq!(it.store.read_log_lines(LogId(1), 200_002, 9, 100).unwrap(), []);
}

#[tokio::test]
async fn lines_are_found_wherever_pieces_begin() {
    let it = fixture().running().await;
    let whole = "one\ntwo\n\nfour is longer\nfive\nno end";
    for (offset, letter) in whole.char_indices() {
        // Another log in between keeps each letter a piece of its own.
        it.put([append(1, 1, 1, offset as u64, letter.to_string()), append(2, 1, 1, offset as u64, "-")])
            .await;
    }
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    for first in 0..=lines.len() {
        for count in 0..=lines.len() - first {
            let read = it.store.read_log_lines(LogId(1), first as u64, count as u64, 1000).unwrap();
            assert_eq!(text(&read), lines[first..first + count].concat(), "{first} {count}");
        }
    }
}

#[tokio::test]
async fn a_full_log_folder_refuses_the_log_and_nothing_else() {
    let it = fixture_with(Options { max_log_bytes_total: Some(138), ..Options::default() }).running().await;
    // Each of these is a row of the index, which counts as 64 bytes.
    it.put([append(1, 1, 1, 0, "12345678")]).await;
    let full = it.store.commit(vec![step(1, 1, 0, 1), append(1, 1, 1, 8, "abc")]);
    let small = it.store.commit(vec![append(1, 1, 1, 8, "ab")]);
    let other = it.store.commit(vec![step(2, 1, 1, 1)]);
    let error = full.await.unwrap_err();
    assert!(matches!(error, CommitError::LogsFull { why: Full::Quota { limit: 138 }, .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("logs`") && message.contains("raise the limit"), "{message}");
    small.await.unwrap();
    other.await.unwrap();
    assert_eq!(it.text(1), "12345678ab");
    assert_eq!(it.store.steps(BuildId(1)).unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_that_refuses_log_bytes_fails_the_logs_and_nothing_else_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let disk = broken.clone();
    let make_durable = move |_: &File, _: &Path| match disk.load(Ordering::SeqCst) {
        true => Err(io::Error::other("broken")),
        false => Ok(()),
    };
    let backend = redb::backends::InMemoryBackend::new();
    let store =
        Store::open_for_crash(backend, folder.path(), Options::default(), Arc::new(make_durable)).unwrap();
    let it = Fixture { store, folder }.running().await;
    it.put([append(1, 1, 1, 0, "before ")]).await;
    broken.store(true, Ordering::SeqCst);
    let log = it.store.commit(vec![step(1, 1, 0, 1), append(1, 1, 1, 7, "lost ")]);
    let other = it.store.commit(vec![step(2, 1, 1, 1)]);
    let error = log.await.unwrap_err();
    assert!(matches!(error, CommitError::LogsFull { why: Full::Disk { .. }, .. }), "{error:?}");
    assert!(error.to_string().contains("free some space"), "{error}");
    other.await.unwrap();
    broken.store(false, Ordering::SeqCst);
    it.put([append(1, 1, 1, 7, "after")]).await;
    assert_eq!(it.text(1), "before after");
    assert_eq!(it.store.steps(BuildId(1)).unwrap().len(), 1);
}

#[tokio::test]
async fn one_log_may_be_bounded_by_itself() {
    let it = fixture_with(Options { max_log_bytes: Some(4), ..Options::default() }).running().await;
    it.put([append(1, 1, 1, 0, "1234"), append(2, 1, 1, 0, "1234")]).await;
    let error = it.store.commit(vec![append(1, 1, 1, 4, "5")]).await.unwrap_err();
    assert!(matches!(error, CommitError::LogsFull { why: Full::Log { log: LogId(1), .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn followers_see_how_far_a_log_is_and_when_it_ends() {
    let it = fixture().running().await;
    it.put([append(1, 1, 1, 0, "ab")]).await;
    let mut followed = it.store.watch_log(LogId(1)).unwrap();
    assert_eq!(*followed.borrow_and_update(), LogProgress { length: 2, finished: false });
    it.put([append(1, 1, 1, 2, "c")]).await;
    followed.changed().await.unwrap();
    assert_eq!(*followed.borrow_and_update(), LogProgress { length: 3, finished: false });
    let mut build = it.store.changed(BuildId(1));
    it.put([log(1, 1, true, 1)]).await;
    followed.changed().await.unwrap();
    assert!(followed.borrow_and_update().finished);
    build.changed().await.unwrap();
    assert!(it.store.watch_log(LogId(1)).unwrap().borrow().finished);
    it.store.close();
    followed.changed().await.unwrap_err();
}

#[tokio::test]
async fn followers_of_a_buildset_see_how_it_ends_even_before_it_is_there() {
    let it = fixture();
    let mut early = it.store.watch_buildset(BuildsetId(7)).unwrap();
    let mut all = it.store.ended_buildsets();
    it.put([buildset(7, &[71, 72]), claim(&[71, 72], 1), complete(&[71], 1, Outcome::Failure)]).await;
    assert_eq!(*early.borrow_and_update(), None, "one request of two");
    it.put([complete(&[72], 1, Outcome::Success)]).await;
    early.changed().await.unwrap();
    assert_eq!(*early.borrow_and_update(), Some(Outcome::Failure));
    assert_eq!(all.recv().await, Ok((BuildsetId(7), Outcome::Failure)));
    assert_eq!(*it.store.watch_buildset(BuildsetId(7)).unwrap().borrow(), Some(Outcome::Failure));
    it.store.close();
    early.changed().await.unwrap_err();
}

#[tokio::test]
async fn a_second_master_is_refused_and_told_who_is_there() {
    let it = fixture();
    let error = Store::open(it.folder.path(), Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    let folder = it.reopen().folder;
    Store::open(folder.path(), Options::default()).unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused_in_words() {
    let it = fixture();
    let Fixture { store, folder } = it;
    drop(store);
    let database = redb::Database::open(folder.path().join("store.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(crate::tables::META).unwrap().insert("format", 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Store::open(folder.path(), Options::default()).unwrap_err();
    assert!(error.to_string().ends_with("has format 99, this version knows up to 3: use a newer Windlass"));
}

#[tokio::test]
async fn a_closed_store_says_so_and_still_reads() {
    let it = fixture().running().await;
    let last = it.store.commit(vec![step(1, 1, 0, 1)]);
    it.store.close();
    last.await.unwrap();
    assert!(matches!(it.store.commit(vec![step(2, 1, 1, 1)]).await, Err(CommitError::Closed)));
    assert_eq!(it.store.steps(BuildId(1)).unwrap().len(), 1);
}

#[tokio::test]
async fn what_waits_shares_a_commit() {
    let it = fixture();
    it.put([buildset(1, &(1..=100).collect::<Vec<_>>())]).await;
    let before = it.store.stats();
    let all: Vec<_> = (1..=100).map(|id| it.store.commit(vec![claim(&[id], id)])).collect();
    for one in all {
        one.await.unwrap();
    }
    let after = it.store.stats();
    assert_eq!(after.batches - before.batches, 100);
    assert!(after.commits - before.commits < 50, "{after:?}");
    assert!(after.syncs > before.syncs);
}

/// Symptom: one row that was damaged failed whatever happened to be committed with it, so that builds of
/// others never ended. Cause: it stopped the whole group. Cure: it stops the batch that needs it.
#[tokio::test]
async fn damaged_row_stops_the_batch_that_needs_it_and_no_other() {
    let f = fixture().running().await;
    f.put([buildset(2, &[2]), claim(&[2], 2), build(2, &[2], 2)]).await;
    let transaction = crate::writer::begin(&f.store.0.database).unwrap();
    transaction.open_table(crate::tables::BUILDSET_STATES).unwrap().remove(1).unwrap();
    // The writer waits for this transaction with the first of them; the next two are one group.
    let first = f.store.commit(vec![buildset(3, &[3])]);
    let damaged = f.store.commit(vec![complete(&[1], 1, Outcome::Success)]);
    let sound = f.store.commit(vec![complete(&[2], 2, Outcome::Success)]);
    transaction.commit().unwrap();
    first.await.unwrap();
    assert!(matches!(damaged.await, Err(CommitError::Storage(_))));
    sound.await.unwrap();
}

/// Symptom: half of a batch was there. Cause: a damaged row that was met after the first write of the batch stopped the rest
/// of it, and what was written went down with the others. Cure: the group goes again, without the batch.
#[tokio::test]
async fn damaged_row_that_is_met_late_leaves_nothing_of_its_batch() {
    let f = fixture().running().await;
    f.put([artifact(1, 1, "a", 3, 1)]).await;
    let transaction = crate::writer::begin(&f.store.0.database).unwrap();
    transaction.open_table(crate::tables::ARTIFACTS).unwrap().insert((1, "a"), b"?".as_slice()).unwrap();
    // The writer waits for this transaction with the first of them; the others are one group.
    let first = f.store.commit(vec![buildset(3, &[3])]);
    let before = f.store.commit(vec![step(1, 1, 0, 1)]);
    let damaged = f.store.commit(vec![step(2, 1, 1, 1), artifact(2, 1, "a", 5, 1)]);
    let after = f.store.commit(vec![step(3, 1, 2, 1), artifact(3, 1, "b", 7, 1)]);
    transaction.commit().unwrap();
    for sound in [first, before, after] {
        sound.await.unwrap();
    }
    assert!(matches!(damaged.await, Err(CommitError::Storage(_))));
    let steps: Vec<u64> = f.store.steps(BuildId(1)).unwrap().iter().map(|step| step.id.0).collect();
    assert_eq!(steps, [1, 3]);
    assert_eq!(f.store.artifact_bytes().unwrap(), 3 + 7);
}

#[tokio::test]
async fn changes_are_read_together_and_a_damaged_one_costs_itself() {
    let f = fixture();
    f.put((1..=4).map(|id| Persist::AddChange(change(id)))).await;
    let transaction = crate::writer::begin(&f.store.0.database).unwrap();
    transaction.open_table(crate::tables::CHANGES).unwrap().insert(2, b"?".as_slice()).unwrap();
    transaction.commit().unwrap();
    let mut seen = Vec::new();
    let ids = [9, 4, 1, 2].map(ChangeId).into();
    f.store.changes_of(&ids, |read| seen.push(read.ok().map(|change| change.id.0))).unwrap();
    assert_eq!(seen, [Some(1), None, Some(4)]);
}
