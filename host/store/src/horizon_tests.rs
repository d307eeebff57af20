//! Builds beyond the horizon: gone with all that belongs to them, and nothing else is.

use std::fs;
use std::sync::atomic::AtomicBool;

use windlass_core::horizon::Horizons;
use windlass_core::id::{ArtifactId, BuildId, LogId};
use windlass_core::keeping::Keeping;
use windlass_core::outcome::Outcome;
use windlass_core::time::Timestamp;

use crate::test_rows::*;
use crate::{Options, Store, Tended};

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

fn builds(store: &Store) -> Vec<u64> {
    (1..=6).filter(|id| store.build(BuildId(*id)).unwrap().is_some()).collect()
}

#[tokio::test]
async fn the_newest_builds_stay_and_the_others_go_with_all_that_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let horizons = Horizons { builds: Some(2), logs: None };
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
    let horizons = Horizons { builds: None, logs: Some(1) };
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
    let horizons = Horizons { builds: Some(1), logs: None };
    assert_eq!(tend(&store, horizons, 49 * LATER).await.builds, 4);
    assert_eq!(builds(&store), [5, 6]);
    assert_ne!(store.read_log(LogId(5), 0, 100).unwrap(), []);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}
