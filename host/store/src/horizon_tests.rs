//! Builds beyond the horizon: gone with all that belongs to them, and nothing else is.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use windlass_core::horizon::Horizons;
use windlass_core::id::{ArtifactId, BuildId, ChangeId, LogId};
use windlass_core::keeping::Keeping;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::scheduler_state::{Key, OWNER};
use windlass_core::time::Timestamp;

use crate::test_rows::*;
use crate::{OnCommit, Options, Side, Store, Tended, TestFilter};

const LATER: u64 = 60 * 60 * 1000;

async fn tend(store: &Store, horizons: Horizons, at: u64) -> Tended {
    let (store, keeping) = (store.clone(), Keeping { horizons, ..Keeping::default() });
    let tended = tokio::task::spawn_blocking(move || {
        store.tend_logs(&keeping, Timestamp(at), &AtomicBool::new(false))
    });
    tended.await.unwrap().unwrap()
}

/// Builds 1 to 5 with a step, test results, a log and an artifact each; 6 runs.
async fn store(folder: &std::path::Path) -> Store {
    let store = Store::open(folder, Options::default()).unwrap();
    for id in 1..=6 {
        store.commit(vec![buildset(id, &[id])]).await.unwrap();
        store.commit(vec![claim(&[id], id), build(id, &[id], id)]).await.unwrap();
        let mut rows = tests(id, id, 0, id);
        rows.swap(0, 1);
        store.commit(rows).await.unwrap();
        store.commit(vec![log(id, id, false, id), append(id, id, id, 0, "hello\n")]).await.unwrap();
        fs::write(store.artifact_files().unfinished(ArtifactId(id)), "bytes").unwrap();
        store.artifact_files().put(BuildId(id), ArtifactId(id)).unwrap();
        store.commit(vec![artifact(id, id, "app", 5, id)]).await.unwrap();
        if id < 6 {
            store.commit(vec![log(id, id, true, id), complete(&[id], id, Outcome::Success)]).await.unwrap();
            store.commit(vec![ended(id, &[id], id, Outcome::Success)]).await.unwrap();
        }
    }
    store
}

/// Builds 1 and 2 have ended; the first has so many rows of results.
async fn ended_with_results(store: &Store, rows: u64) {
    for id in [1, 2] {
        store.commit(vec![buildset(id, &[id])]).await.unwrap();
        store.commit(vec![claim(&[id], id), build(id, &[id], id)]).await.unwrap();
    }
    let results = (0..rows).flat_map(|row| tests(1, 1, 3 * row, 1).into_iter().take(1));
    let step = tests(1, 1, 3 * (rows - 1), 1).pop().unwrap();
    store.commit(std::iter::once(step).chain(results).collect()).await.unwrap();
    for id in [1, 2] {
        store.commit(vec![complete(&[id], id, Outcome::Success)]).await.unwrap();
        store.commit(vec![ended(id, &[id], id, Outcome::Success)]).await.unwrap();
    }
}

fn builds(store: &Store) -> Vec<u64> {
    (1..=6).filter(|id| store.build(BuildId(*id)).unwrap().is_some()).collect()
}

#[tokio::test]
async fn the_newest_builds_stay_and_the_others_go_with_all_that_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let horizons = Horizons { builds: Some(2), logs: None, changes: None };
    assert_eq!(tend(&store, horizons, 20).await.builds, 0, "they ended just now");
    assert_eq!(tend(&store, horizons, LATER).await.builds, 3);
    assert_eq!(builds(&store), [4, 5, 6]);
    assert!(store.log(LogId(3)).unwrap().is_none() && store.log(LogId(4)).unwrap().is_some());
    assert_eq!(store.artifacts(BuildId(3)).unwrap(), []);
    assert!(!folder.path().join("artifacts/3").exists() && folder.path().join("artifacts/4").exists());
    assert_eq!(store.verify().unwrap(), [""; 0]);
    assert_eq!(tend(&store, horizons, 3 * LATER).await.builds, 0);
    drop(store);
    let store = Store::open(folder.path(), Options::default()).unwrap();
    assert_eq!((builds(&store), store.verify().unwrap()), (vec![4, 5, 6], Vec::new()));
}

#[tokio::test]
async fn logs_go_before_their_builds_and_leave_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let horizons = Horizons { builds: None, logs: Some(1), changes: None };
    assert_eq!(tend(&store, horizons, LATER).await.expired, 4);
    assert_eq!(builds(&store), [1, 2, 3, 4, 5, 6]);
    assert!(store.log(LogId(4)).unwrap().unwrap().expired);
    assert_eq!(store.read_log(LogId(4), 0, 100).unwrap(), []);
    assert_ne!(store.read_log(LogId(5), 0, 100).unwrap(), []);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// What lies in the archive goes as well, and an archive in which nothing is left.
#[tokio::test]
async fn what_is_in_the_archive_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let all = Horizons::default();
    tend(&store, all, LATER).await;
    tend(&store, all, 48 * LATER).await;
    let horizons = Horizons { builds: Some(1), logs: None, changes: None };
    assert_eq!(tend(&store, horizons, 49 * LATER).await.builds, 4);
    assert_eq!(builds(&store), [5, 6]);
    assert_ne!(store.read_log(LogId(5), 0, 100).unwrap(), []);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// Symptom: a build kept its logs for ever, whatever the horizon said. Cause: it ran while newer ones lost theirs, and what
/// is older than those was not looked at again. Cure: what was passed over is remembered.
#[tokio::test]
async fn a_build_that_ran_while_newer_ones_lost_their_logs_loses_its_own_once_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    for id in [7, 8] {
        store.commit(vec![buildset(id, &[id])]).await.unwrap();
        store.commit(vec![claim(&[id], id), build(id, &[id], id)]).await.unwrap();
        store.commit(vec![log(id, id, false, id), append(id, id, id, 0, "hello\n")]).await.unwrap();
        store.commit(vec![log(id, id, true, id), complete(&[id], id, Outcome::Success)]).await.unwrap();
        store.commit(vec![ended(id, &[id], id, Outcome::Success)]).await.unwrap();
    }
    let horizons = Horizons { builds: None, logs: Some(1), changes: None };
    assert_eq!(tend(&store, horizons, LATER).await.expired, 6);
    assert_ne!(store.read_log(LogId(6), 0, 100).unwrap(), [], "it runs");
    store.commit(vec![log(6, 6, true, 6), complete(&[6], 6, Outcome::Success)]).await.unwrap();
    store.commit(vec![ended(6, &[6], 6, Outcome::Success)]).await.unwrap();
    assert_eq!(tend(&store, horizons, 2 * LATER).await.expired, 1);
    assert!(store.log(LogId(6)).unwrap().unwrap().expired);
    assert_eq!(tend(&store, horizons, 3 * LATER).await.expired, 0);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// Symptom: nobody else got a word in while a build with very many results was removed. Cause: all of it went in one commit.
/// Cure: they go in parts, and what is left is whole after each.
#[tokio::test]
async fn a_build_with_very_many_results_goes_in_parts_and_what_a_kill_leaves_is_whole() {
    const ROWS: u64 = 2_500;
    let folder = tempfile::tempdir().unwrap();
    let (stop, at_most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(u64::MAX)));
    let on_commit = {
        let (stop, at_most) = (Arc::clone(&stop), Arc::clone(&at_most));
        OnCommit::new(move |moment| {
            let left = moment.side == Side::Before || at_most.fetch_sub(1, Ordering::SeqCst) > 1;
            stop.fetch_or(!left, Ordering::SeqCst);
        })
    };
    let store =
        Store::open(folder.path(), Options { on_commit: Some(on_commit), ..Options::default() }).unwrap();
    ended_with_results(&store, ROWS).await;
    assert_eq!(store.verify().unwrap(), [""; 0]);
    let results = |store: &Store| {
        let filter =
            TestFilter { step: None, failed: false, after: None, limit: usize::MAX, max_bytes: usize::MAX };
        store.test_results(BuildId(1), &filter).unwrap().0.len()
    };
    let keeping =
        Keeping { horizons: Horizons { builds: Some(1), logs: None, changes: None }, ..Keeping::default() };
    for (part, left) in [(1, 4_428), (2, 1_356)] {
        // As many commits, and somebody stops it.
        at_most.store(1, Ordering::SeqCst);
        stop.store(false, Ordering::SeqCst);
        let (store_, keeping, stop) = (store.clone(), keeping, Arc::clone(&stop));
        let tend = move || store_.tend_logs(&keeping, Timestamp(part * LATER), &stop);
        assert_eq!(tokio::task::spawn_blocking(tend).await.unwrap().unwrap().builds, 0);
        assert_eq!(results(&store), left);
        assert!(store.build(BuildId(1)).unwrap().is_some());
        assert_eq!(store.verify().unwrap(), [""; 0]);
    }
    assert_eq!(tend(&store, keeping.horizons, 3 * LATER).await.builds, 1);
    assert_eq!((results(&store), store.build(BuildId(1)).unwrap()), (0, None));
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// A buildset of one change.
fn of_change(id: u64, change: u64) -> Persist {
    let Persist::AddBuildset { mut buildset, requests } = buildset(id, &[id]) else { unreachable!() };
    buildset.stamps[0].changes = vec![ChangeId(change)];
    Persist::AddBuildset { buildset, requests }
}

#[tokio::test]
async fn the_newest_changes_stay_and_those_that_something_to_come_needs() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    store.commit((1..=20).map(|id| Persist::AddChange(change(id))).collect()).await.unwrap();
    // A request that waits, one that is built, and one that is done.
    store.commit((1..=3).map(|id| of_change(id, id)).collect()).await.unwrap();
    store.commit(vec![claim(&[2], 2), build(2, &[2], 2)]).await.unwrap();
    store.commit(vec![claim(&[3], 3), build(3, &[3], 3)]).await.unwrap();
    store
        .commit(vec![complete(&[3], 3, Outcome::Success), ended(3, &[3], 3, Outcome::Success)])
        .await
        .unwrap();
    // One that a scheduler waits with, and a buildset that was done before a scheduler could follow it.
    store.commit(vec![of_change(4, 4), claim(&[4], 4), build(4, &[4], 4)]).await.unwrap();
    store
        .commit(vec![complete(&[4], 4, Outcome::Success), ended(4, &[4], 4, Outcome::Success)])
        .await
        .unwrap();
    let note = |key: Key, there: bool| Persist::PutState {
        owner: format!("{OWNER}s"),
        key: key.to_string(),
        value: there.then(|| b"9".to_vec()),
    };
    let upstream = windlass_core::id::BuildsetId(4);
    store
        .commit(vec![note(Key::Waits(ChangeId(5)), true), note(Key::Upstream(upstream), true)])
        .await
        .unwrap();

    let horizons = Horizons { builds: None, logs: None, changes: Some(10) };
    let kept = || (1..=20).filter(|id| store.change(ChangeId(*id)).unwrap().is_some()).collect::<Vec<u64>>();
    assert_eq!(tend(&store, Horizons::default(), LATER).await.changes, 0);
    assert_eq!(tend(&store, horizons, LATER).await.changes, 6);
    assert_eq!(kept(), [1, 2, 4, 5, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
    store.commit(vec![note(Key::Waits(ChangeId(5)), false)]).await.unwrap();
    assert_eq!(tend(&store, horizons, LATER + 60_000).await.changes, 0, "it looks once an hour");
    assert_eq!(tend(&store, horizons, 2 * LATER).await.changes, 1);
    let fewer = Horizons { changes: Some(1), ..horizons };
    assert_eq!(tend(&store, fewer, 2 * LATER).await.changes, 9, "or at once where the horizon is another");
    assert_eq!(kept(), [1, 2, 4, 20]);
    assert_eq!(store.verify().unwrap(), [""; 0]);
    drop(store);
    let store = Store::open(folder.path(), Options::default()).unwrap();
    store.commit(vec![Persist::AddChange(change(21))]).await.unwrap();
    assert_eq!(store.changes(2).unwrap().iter().map(|change| change.id.0).collect::<Vec<_>>(), [21, 20]);
}

/// Symptom: no change was removed any more, and each hour there was an error. Cause: a damaged row, which may need any of
/// them. Cure: what came before it was found out stays, what came later goes, and the row is told of once.
#[tokio::test]
async fn a_damaged_row_keeps_the_changes_that_it_may_need_and_no_later_ones() {
    for (table, key) in [("waiting", 2), ("buildsets", 3)] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let add = |ids: std::ops::RangeInclusive<u64>| {
            store.commit(ids.map(|id| Persist::AddChange(change(id))).collect())
        };
        add(1..=20).await.unwrap();
        store.commit((1..=3).map(|id| of_change(id, id)).collect()).await.unwrap();
        let transaction = crate::writer::begin(&store.0.database).unwrap();
        {
            use crate::tables::{BUILDSETS, WAITING};
            let definition = if table == "waiting" { WAITING } else { BUILDSETS };
            transaction.open_table(definition).unwrap().insert(key, b"?".as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        let horizons = Horizons { builds: None, logs: None, changes: Some(5) };
        let try_tend = |at| {
            let (store, keeping) = (store.clone(), Keeping { horizons, ..Keeping::default() });
            let tend = move || store.tend_logs(&keeping, Timestamp(at), &AtomicBool::new(false));
            async move { tokio::task::spawn_blocking(tend).await.unwrap() }
        };
        let said = windlass_core::text::chain(&try_tend(LATER).await.unwrap_err());
        assert!(said.contains(&format!("the row {key} of table `{table}` is damaged")), "{said}");
        add(21..=40).await.unwrap();
        assert_eq!(try_tend(2 * LATER).await.unwrap().changes, 15, "{table}");
        let kept = (1..=40).filter(|id| store.change(ChangeId(*id)).unwrap().is_some()).collect::<Vec<u64>>();
        assert_eq!(kept, (1..=20).chain(36..=40).collect::<Vec<_>>(), "{table}");
    }
}

/// Symptom: nothing was removed or packed any more, until the disk was full. Cause: a visit ended at a damaged row of a build
/// that was to go, and so did each later one. Cure: that build stays and is told of once a day; all others go their way.
#[tokio::test]
async fn a_build_with_a_damaged_row_keeps_no_other_from_going() {
    for damaged in ["its own", "of a log", "of an artifact"] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let transaction = crate::writer::begin(&store.0.database).unwrap();
        {
            let rubbish = b"?".as_slice();
            use crate::tables::{ARTIFACTS, BUILDS, LOGS};
            match damaged {
                "its own" => drop(transaction.open_table(BUILDS).unwrap().insert(2, rubbish).unwrap()),
                "of a log" => drop(transaction.open_table(LOGS).unwrap().insert(2, rubbish).unwrap()),
                _ => {
                    drop(transaction.open_table(ARTIFACTS).unwrap().insert((2, "app"), rubbish).unwrap());
                }
            }
        }
        transaction.commit().unwrap();
        let horizons = Horizons { builds: Some(2), ..Horizons::default() };
        let try_tend = |at| {
            let (store, keeping) = (store.clone(), Keeping { horizons, ..Keeping::default() });
            let tend = move || store.tend_logs(&keeping, Timestamp(at), &AtomicBool::new(false));
            async move { tokio::task::spawn_blocking(tend).await.unwrap() }
        };
        let error = try_tend(LATER).await.unwrap_err();
        let said = windlass_core::text::chain(&error);
        assert!(said.contains("is damaged"), "{damaged}: {said}");
        for gone in [1, 3] {
            assert!(store.build(BuildId(gone)).unwrap().is_none(), "{damaged}: {gone}");
        }
        assert!(store.build(BuildId(4)).unwrap().is_some(), "{damaged}");
        // The rest of the visit was done, too.
        assert!(folder.path().join("logs/arc-000001.log").exists(), "{damaged}");
        let again = try_tend(2 * LATER).await;
        assert!(again.is_ok(), "{damaged}: told once: {again:?}");
        assert!(try_tend(LATER + 25 * LATER).await.is_err(), "{damaged}: and the next day again");
    }
}

/// The same where results of a step are damaged, which go in any case.
#[tokio::test]
async fn damaged_results_go_with_their_build() {
    const ROWS: u64 = 1_200;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    ended_with_results(&store, ROWS).await;
    let transaction = crate::writer::begin(&store.0.database).unwrap();
    let last = (1, 1, 3 * (ROWS - 1));
    let table = crate::tables::TEST_RESULTS;
    transaction.open_table(table).unwrap().insert(last, b"?".as_slice()).unwrap();
    transaction.commit().unwrap();
    assert_eq!(tend(&store, Horizons { builds: Some(1), ..Horizons::default() }, LATER).await.builds, 1);
    assert_eq!(store.build(BuildId(1)).unwrap(), None);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}
