//! Lines of events: put by the commit that starts or ends a build, in order, bounded, and gone with their reporter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::timeout;
use windlass_core::id::Fence;
use windlass_core::master::Overdue;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::report::{Event, Kind, Line, MAX_BYTES, MAX_PROPERTIES, Mode, Reader, Taken, Wanted};
use windlass_core::time::Timestamp;
use windlass_core::value::Value;

use crate::reports::Waiting;
use crate::room::{DiskRoom, LOOK_AGAIN, RESERVE};
use crate::tables::{BUILDS, BUILDSETS, EVENTS, REPORTERS};
use crate::test_rows::*;
use crate::{Options, Store};

pub(crate) fn reader(name: &str, modes: &[Mode]) -> Reader {
    let modes = (!modes.is_empty()).then(|| modes.iter().copied().collect());
    let (builders, schedulers, branches) = (None, Vec::new(), Vec::new());
    Reader { name: name.to_owned(), wanted: Wanted { modes, starts: true, builders, schedulers, branches } }
}

fn open(folder: &tempfile::TempDir, readers: &[Reader]) -> Store {
    let store = Store::open(folder.path(), Options::default()).unwrap();
    store.report_to(readers.to_vec());
    store
}

fn take(reporter: &str, place: u64, taken: Taken) -> Persist {
    Persist::TakeEvent { reporter: reporter.to_owned(), place, taken }
}

/// Starts and ends a build of one request, under a fence of the same number.
async fn build_once(store: &Store, id: u64, outcome: Outcome) {
    store.commit(vec![buildset(id, &[id]), claim(&[id], id), build(id, &[id], id)]).await.unwrap();
    // A write in between tells nothing.
    store.commit(vec![build(id, &[id], id)]).await.unwrap();
    let end = match outcome {
        Outcome::Retry => Persist::Unclaim { requests: ids(&[id]), fence: Fence(id) },
        outcome => complete(&[id], id, outcome),
    };
    store.commit(vec![ended(id, &[id], id, outcome), end]).await.unwrap();
    // Nor does the last row once more.
    store.commit(vec![ended(id, &[id], id, outcome)]).await.unwrap();
}

/// All that waits, taken one after the other.
async fn all(store: &Store, reporter: &str) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(Waiting { place, event }) = store.next_event(reporter).unwrap() {
        store.commit(vec![take(reporter, place, Taken::Delivered)]).await.unwrap();
        events.push(event.unwrap());
    }
    events
}

fn shown(events: &[Event]) -> Vec<String> {
    let one =
        |e: &Event| format!("{} {} {:?}", e.id("s"), e.schedulers.join(","), e.before.map(Outcome::as_str));
    events.iter().map(one).collect()
}

#[tokio::test]
async fn a_build_is_told_once_when_it_starts_and_once_when_it_ends_in_the_order_of_the_commits() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, &[reader("all", &[]), reader("bad", &[Mode::Failing, Mode::Change])]);
    let told = store.told();
    for (id, outcome) in [(1, Outcome::Success), (2, Outcome::Retry), (3, Outcome::Failure)] {
        build_once(&store, id, outcome).await;
    }
    assert!(told.has_changed().unwrap());
    assert_eq!(store.reporter_line("all").unwrap().waiting, 6);
    assert!(store.verify().unwrap().is_empty());
    drop(store);

    let store = open(&folder, &[]);
    let expected = [
        "s-1-build-started force None",
        "s-1-build-finished force None",
        "s-2-build-started force None",
        "s-2-build-finished force Some(\"success\")",
        "s-3-build-started force None",
        // One that is to be done again is nobody's predecessor.
        "s-3-build-finished force Some(\"success\")",
    ];
    assert_eq!(shown(&all(&store, "all").await), expected);
    let bad: Vec<_> = all(&store, "bad").await.into_iter().map(|e| (e.build, e.kind)).collect();
    let starts = [1, 2, 3].map(|id| (id, Kind::BuildStarted));
    let ends = [2, 3].map(|id| (id, Kind::BuildFinished));
    assert_eq!(bad, [starts[0], starts[1], ends[0], starts[2], ends[1]]);
    assert_eq!(store.reporter_line("all").unwrap(), Line { last: 6, delivered: 6, ..Line::default() });
    assert!(store.verify().unwrap().is_empty());
}

#[tokio::test]
async fn builds_that_are_cut_off_by_an_expiry_are_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, &[reader("all", &[])]);
    store.commit(vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1)]).await.unwrap();
    let overdue = Overdue::Claims { before: Timestamp(50) };
    let (fence, at) = (Fence(2), Timestamp(60));
    store.commit(vec![Persist::Expire { overdue, fence, at }]).await.unwrap();
    let events = all(&store, "all").await;
    assert_eq!(events.last().unwrap().complete.unwrap().outcome, Outcome::Retry);
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn a_line_loses_its_oldest_events_and_says_how_many() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, &[reader("absent", &[])]);
    let long = Value::Text("x".repeat(MAX_PROPERTIES - 100));
    let fitting = MAX_BYTES / (MAX_PROPERTIES as u64);
    for id in 1..=fitting + 2 {
        let mut row = build_row(id, &[id], id);
        row.properties.set("long", long.clone(), "Step");
        store.commit(vec![buildset(id, &[id]), claim(&[id], id), Persist::PutBuild(row)]).await.unwrap();
    }
    let line = store.reporter_line("absent").unwrap();
    let dropped = line.dropped;
    assert!((2..5).contains(&dropped) && line.bytes <= MAX_BYTES, "{line:?}");
    assert_eq!((line.waiting, line.last), (fitting + 2 - dropped, fitting + 2));
    assert_eq!(store.next_event("absent").unwrap().unwrap().event.unwrap().build, dropped + 1);
    // One that was dropped while it was on its way is not counted twice.
    store.commit(vec![take("absent", 1, Taken::Delivered)]).await.unwrap();
    assert_eq!(store.reporter_line("absent").unwrap(), line);
    assert!(store.verify().unwrap().is_empty());
}

#[tokio::test]
async fn the_line_of_a_reporter_that_is_gone_goes_and_a_new_one_begins_with_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, &[reader("one", &[]), reader("two", &[])]);
    build_once(&store, 1, Outcome::Success).await;
    store.report_to(vec![reader("two", &[]), reader("three", &[])]);
    store.commit(vec![Persist::KeepReporters]).await.unwrap();
    assert_eq!(store.reporter_lines().unwrap(), ["two".to_owned()].into());
    // A task of it that ends late brings nothing back.
    store.commit(vec![take("one", 1, Taken::Lost)]).await.unwrap();
    assert!(store.next_event("one").unwrap().is_none());
    build_once(&store, 2, Outcome::Success).await;
    let line = |name| store.reporter_line(name).unwrap().waiting;
    assert_eq!((line("one"), line("two"), line("three")), (0, 4, 2));
    assert!(store.verify().unwrap().is_empty());
}

/// Symptom: a line that was damaged had one event too few from then on. Cause: it was counted anew when the event that
/// left had left.
#[tokio::test]
async fn a_damaged_line_is_counted_with_the_event_that_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, &[reader("all", &[])]);
    build_once(&store, 1, Outcome::Success).await;
    drop(store);
    {
        let database = redb::Database::open(folder.path().join("store.redb")).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(REPORTERS).unwrap().insert("all", b"damaged".as_slice()).unwrap();
        write.commit().unwrap();
    }
    let store = open(&folder, &[reader("all", &[])]);
    store.commit(vec![take("all", 1, Taken::Delivered)]).await.unwrap();
    let line = store.reporter_line("all").unwrap();
    assert_eq!((line.waiting, line.last, line.delivered), (1, 2, 1));
    assert!(store.verify().unwrap().is_empty());
}

/// Symptom: a disk with little room got full. Cause: what a commit puts into the lines of reporters did not count when it was
/// looked whether there is room for it. Cure: it counts, for each reporter that may want it.
#[tokio::test]
async fn a_commit_waits_for_the_room_that_its_events_need() {
    let folder = tempfile::tempdir().unwrap();
    let left = Arc::new(AtomicU64::new(u64::MAX));
    let room = {
        let left = Arc::clone(&left);
        DiskRoom::new(move |_, _| Ok(left.load(Ordering::SeqCst)))
    };
    let store = Store::open(folder.path(), Options { room, ..Options::default() }).unwrap();
    let no_starts =
        Reader { wanted: Wanted { starts: false, ..reader("ends", &[]).wanted }, name: "ends".into() };
    let start = |id: u64| {
        let mut row = build_row(id, &[id], id);
        row.properties.set("long", Value::Text("x".repeat(MAX_PROPERTIES - 100)), "Step");
        store.commit(vec![buildset(id, &[id]), claim(&[id], id), Persist::PutBuild(row)])
    };
    let lines = MAX_PROPERTIES as u64;
    left.store(RESERVE + 3 * lines / 2, Ordering::SeqCst);
    // Those who do not want it take nothing.
    store.report_to(vec![reader("one", &[]), no_starts]);
    start(1).await.unwrap();
    store.report_to(vec![reader("one", &[]), reader("two", &[])]);
    let mut waits = Box::pin(start(2));
    assert!(timeout(2 * LOOK_AGAIN, &mut waits).await.is_err() && store.stats().waits_for_room);
    left.store(RESERVE + 3 * lines, Ordering::SeqCst);
    waits.await.unwrap();
    assert_eq!(
        (store.reporter_line("one").unwrap().waiting, store.reporter_line("two").unwrap().waiting),
        (2, 1)
    );
}

/// Symptom of what it prevents: a build could not end since the row of an older one was damaged.
#[tokio::test]
async fn damaged_rows_cost_what_they_would_have_told_and_no_build() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, &[reader("all", &[])]);
    build_once(&store, 1, Outcome::Success).await;
    store.commit(vec![buildset(2, &[2]), claim(&[2], 2), build(2, &[2], 2)]).await.unwrap();
    drop(store);
    {
        let database = redb::Database::open(folder.path().join("store.redb")).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(BUILDS).unwrap().insert(1, b"damaged".as_slice()).unwrap();
        write.open_table(BUILDSETS).unwrap().insert(2, b"damaged".as_slice()).unwrap();
        write.open_table(REPORTERS).unwrap().insert("all", b"damaged".as_slice()).unwrap();
        write.open_table(EVENTS).unwrap().insert(("all", 1), b"damaged".as_slice()).unwrap();
        write.commit().unwrap();
    }
    let store = open(&folder, &[reader("all", &[])]);
    store.commit(vec![ended(2, &[2], 2, Outcome::Failure)]).await.unwrap();
    assert!(store.next_event("all").unwrap().unwrap().event.is_err());
    store.commit(vec![take("all", 1, Taken::Lost)]).await.unwrap();
    let events = all(&store, "all").await;
    let told: Vec<_> = events.iter().map(|e| (e.build, e.kind, e.before, e.schedulers.len())).collect();
    let (start, end) = (Kind::BuildStarted, Kind::BuildFinished);
    assert_eq!(told, [(1, end, None, 1), (2, start, None, 1), (2, end, None, 0)]);
    let expected = Line { last: 4, lost: 1, delivered: 3, ..Line::default() };
    assert_eq!(store.reporter_line("all").unwrap(), expected);
}
