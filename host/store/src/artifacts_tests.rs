//! Artifacts: what has a row has its bytes, and what has none goes.

use std::fs;

use windlass_core::artifact::{ArtifactKind, ArtifactRow, Keep};
use windlass_core::digest::Digest;
use windlass_core::id::{ArtifactId, BuildId, StepId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::time::Timestamp;

use crate::test_rows::*;
use crate::{CommitError, Options, Store};

/// Makes the bytes of an artifact and puts its row.
async fn put(store: &Store, id: u64, build: u64, name: &str, content: &str) -> Vec<(BuildId, ArtifactId)> {
    let files = store.artifact_files();
    fs::write(files.unfinished(ArtifactId(id)), content).unwrap();
    files.put(BuildId(build), ArtifactId(id)).unwrap();
    let put = artifact(id, build, name, content.len() as u64, build);
    store.commit(vec![put]).await.unwrap().dropped
}

async fn with_two_builds(folder: &std::path::Path) -> Store {
    let store = Store::open(folder, Options::default()).unwrap();
    store.commit(vec![buildset(1, &[1, 2])]).await.unwrap();
    for id in [1, 2] {
        store.commit(vec![claim(&[id], id), build(id, &[id], id)]).await.unwrap();
    }
    store
}

fn names(store: &Store, build: u64) -> Vec<String> {
    store.artifacts(BuildId(build)).unwrap().into_iter().map(|row| row.name).collect()
}

#[tokio::test]
async fn an_artifact_is_found_by_build_and_name_and_one_that_comes_again_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_two_builds(folder.path()).await;
    assert!(put(&store, 1, 1, "b", "bbb").await.is_empty());
    assert!(put(&store, 2, 1, "a/x", "a").await.is_empty());
    assert!(put(&store, 3, 2, "b", "other").await.is_empty());
    assert_eq!((names(&store, 1), names(&store, 2)), (vec!["a/x".into(), "b".into()], vec!["b".into()]));
    assert_eq!(store.artifact_bytes().unwrap(), 9);
    let dropped = put(&store, 4, 1, "b", "longer").await;
    assert_eq!(dropped, [(BuildId(1), ArtifactId(1))]);
    assert_eq!(store.artifact_bytes().unwrap(), 12);
    let row = store.artifact(BuildId(1), "b").unwrap().unwrap();
    assert_eq!((row.id, row.size), (ArtifactId(4), 6));
    assert_eq!(store.artifact(BuildId(1), "c").unwrap(), None);
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

#[tokio::test]
async fn what_has_no_row_is_gone_after_a_start_and_what_has_one_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_two_builds(folder.path()).await;
    put(&store, 1, 1, "kept", "kept").await;
    let files = store.artifact_files().clone();
    // What a crash leaves: half a file; a whole one and a tree without their rows.
    fs::write(files.unfinished(ArtifactId(2)), "hal").unwrap();
    fs::write(files.unfinished(ArtifactId(3)), "whole").unwrap();
    files.put(BuildId(1), ArtifactId(3)).unwrap();
    fs::create_dir_all(files.unfinished(ArtifactId(4)).join("d")).unwrap();
    files.put(BuildId(2), ArtifactId(4)).unwrap();
    store.close();
    drop(store);
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let files = store.artifact_files();
    assert_eq!(fs::read_to_string(files.path(BuildId(1), ArtifactId(1))).unwrap(), "kept");
    for gone in [
        files.unfinished(ArtifactId(2)),
        files.path(BuildId(1), ArtifactId(3)),
        files.path(BuildId(2), ArtifactId(4)),
    ] {
        assert!(!gone.exists(), "{}", gone.display());
    }
    assert_eq!(store.ids().next_artifact(), ArtifactId(2), "a number without a row is free again");
}

/// A start looks at the builds that ran, and a sweep at all: it finds what lost its row before a crash, and leaves alone
/// what is on its way to one.
#[tokio::test]
async fn what_lost_its_row_is_gone_after_a_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_two_builds(folder.path()).await;
    put(&store, 1, 1, "kept", "kept").await;
    put(&store, 2, 2, "dropped", "dropped").await;
    put(&store, 3, 1, "dropped", "dropped").await;
    for build in [1, 2] {
        let end = Outcome::Success;
        store.commit(vec![ended(build, &[build], build, end), complete(&[build], build, end)]).await.unwrap();
    }
    store.commit(vec![Persist::DropArtifacts(vec![ArtifactId(2), ArtifactId(3)])]).await.unwrap();
    drop(store);
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let files = store.artifact_files();
    let is_there = |build, id| files.path(BuildId(build), ArtifactId(id)).exists();
    assert!(is_there(2, 2) && is_there(1, 3), "nobody looked yet");
    let coming = store.ids().next_artifact();
    fs::write(files.unfinished(coming), "x").unwrap();
    files.put(BuildId(2), coming).unwrap();
    assert_eq!(store.sweep_artifacts().unwrap(), 2);
    assert!(is_there(1, 1) && is_there(2, coming.0));
    assert!(!is_there(2, 2) && !is_there(1, 3));
    assert_eq!(store.sweep_artifacts().unwrap(), 0);
}

#[tokio::test]
async fn the_oldest_go_first_and_those_of_running_builds_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_two_builds(folder.path()).await;
    put(&store, 1, 1, "a", "aaaa").await;
    put(&store, 2, 2, "b", "bbbb").await;
    put(&store, 3, 2, "c", "cccc").await;
    let end = Outcome::Success;
    store.commit(vec![ended(2, &[2], 2, end), complete(&[2], 2, end)]).await.unwrap();
    let overdue = |keep, now, limit| -> Vec<u64> {
        let rows = store.overdue_artifacts(keep, Timestamp(now), limit).unwrap();
        rows.into_iter().map(|row| row.id.0).collect()
    };
    let by_size = |most| Keep { max_bytes: Some(most), ..Keep::default() };
    assert_eq!(overdue(by_size(12), 0, 9), [0; 0]);
    assert_eq!(overdue(by_size(11), 0, 9), [2], "that of the running build stays");
    assert_eq!(overdue(by_size(0), 0, 9), [2, 3]);
    assert_eq!(overdue(by_size(0), 0, 1), [2]);
    // Each was stored at a moment that is its number.
    let by_age = Keep { max_age_ms: Some(5), ..Keep::default() };
    assert_eq!(overdue(by_age, 8, 9), [2]);
    let ids = vec![ArtifactId(2), ArtifactId(77)];
    let dropped = store.commit(vec![Persist::DropArtifacts(ids)]).await.unwrap().dropped;
    assert_eq!(dropped, [(BuildId(2), ArtifactId(2))]);
    store.artifact_files().remove(BuildId(2), ArtifactId(2)).unwrap();
    assert!(!store.artifact_files().path(BuildId(2), ArtifactId(2)).exists());
    assert_eq!((names(&store, 2), store.artifact_bytes().unwrap()), (vec!["c".to_owned()], 8));
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

/// Makes rows of artifacts unreadable.
fn spoil(store: &Store, keys: &[(u64, &str)]) {
    let transaction = crate::writer::begin(&store.0.database).unwrap();
    {
        let mut table = transaction.open_table(crate::tables::ARTIFACTS).unwrap();
        for key in keys {
            assert!(table.insert(key, b"?".as_slice()).unwrap().is_some(), "{key:?}");
        }
    }
    transaction.commit().unwrap();
}

/// Symptom: nothing was dropped any more, however old. Cause: the damaged row of one artifact, older than all others. Cure:
/// that one stays. The same kept a store from being opened, where its build ran.
#[tokio::test]
async fn a_damaged_artifact_stays_and_keeps_no_other_from_going() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_two_builds(folder.path()).await;
    put(&store, 1, 1, "of one that runs", "aaaa").await;
    for id in 2..=4 {
        put(&store, id, 2, &format!("{id}"), "bbbb").await;
    }
    let end = Outcome::Success;
    store.commit(vec![ended(2, &[2], 2, end), complete(&[2], 2, end)]).await.unwrap();
    spoil(&store, &[(1, "of one that runs"), (2, "2")]);
    drop(store);
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let overdue = || {
        let rows = store.overdue_artifacts(Keep { max_age_ms: Some(5), ..Keep::default() }, Timestamp(99), 9);
        rows.unwrap().into_iter().map(|row| row.id.0).collect::<Vec<_>>()
    };
    assert_eq!(overdue(), [3, 4]);
    assert_eq!(overdue(), [3, 4]);
    assert_eq!(store.sweep_artifacts().unwrap(), 0);
    let files = store.artifact_files();
    assert!(files.path(BuildId(1), ArtifactId(1)).exists() && files.path(BuildId(2), ArtifactId(2)).exists());
}

/// Symptom: all good artifacts went, one after the other, though they were few. Cause: the bytes of damaged ones, which stay,
/// counted as much as theirs. Cure: those take nothing from the others, also where they come behind them.
#[tokio::test]
async fn the_bytes_of_a_damaged_artifact_do_not_count_against_the_good_ones() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_two_builds(folder.path()).await;
    let contents = ["damaged, and long", "aaaa", "bbbb", "damaged, and longer", "cc"];
    for (id, content) in (1..).zip(contents) {
        put(&store, id, 2, &format!("{id}"), content).await;
    }
    let end = Outcome::Success;
    store.commit(vec![ended(2, &[2], 2, end), complete(&[2], 2, end)]).await.unwrap();
    let overdue = |most| {
        let keep = Keep { max_bytes: Some(most), ..Keep::default() };
        let rows = store.overdue_artifacts(keep, Timestamp(0), 9).unwrap();
        rows.into_iter().map(|row| row.id.0).collect::<Vec<_>>()
    };
    spoil(&store, &[(2, "1"), (2, "4")]);
    assert_eq!((overdue(10), overdue(9)), (vec![], vec![2]));
    store.commit(vec![Persist::DropArtifacts(vec![ArtifactId(2)])]).await.unwrap();
    assert_eq!((overdue(6), overdue(5)), (vec![], vec![3]));
    // The next one is damaged while the store is open.
    spoil(&store, &[(2, "3")]);
    assert_eq!((overdue(5), overdue(1)), (vec![], vec![5]));
}

#[tokio::test]
async fn a_straggler_leaves_no_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_two_builds(folder.path()).await;
    let row = ArtifactRow {
        id: ArtifactId(1),
        build: BuildId(1),
        step: StepId(1),
        name: "a".into(),
        kind: ArtifactKind::File,
        size: 1,
        entries: 1,
        hash: Digest::of(b"a"),
        mode: 0o644,
        modified_ms: None,
        stored: Timestamp(1),
    };
    let stale = Persist::PutArtifact { fence: windlass_core::id::Fence(9), artifact: row };
    assert!(matches!(store.commit(vec![stale]).await, Err(CommitError::Refused(_))));
    assert_eq!(names(&store, 1), [""; 0]);
}

/// Symptom: an upload failed, or lost its bytes with the power. Cause: one that made the folder of its build was still to
/// make that durable when the next one found it there; or the last one was removed, and the folder with it, in between.
/// Cure: whoever puts something makes all durable that leads to it, and nobody takes the folder away meanwhile.
#[test]
fn what_comes_and_what_goes_in_one_build_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let files = store.artifact_files();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                for n in 0..300 {
                    let id = ArtifactId(2 * n + thread);
                    fs::write(files.unfinished(id), "x").unwrap();
                    files.put(BuildId(1), id).unwrap();
                    assert!(files.path(BuildId(1), id).exists());
                    files.remove(BuildId(1), id).unwrap();
                }
            });
        }
    });
}
