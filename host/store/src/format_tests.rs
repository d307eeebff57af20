//! Stores of every format that ever was, as files: each is opened, brought up to date, and found whole.
//!
//! `tests/formats/N` was written by `examples/format.rs` when N was the present format, and is never
//! written again.

use std::fs;
use std::path::Path;

use redb::ReadableTable;
use windlass_core::condition::Condition;
use windlass_core::digest::Digest;
use windlass_core::excerpt::Cut;
use windlass_core::id::{ArtifactId, BuildId, BuildsetId, ChangeId, LogId, RequestId, StepId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::request::Parent;
use windlass_core::request_record::Wanted;
use windlass_core::time::Timestamp;

use crate::test_rows::*;
use crate::{Options, Store, TestFilter};

/// A copy of the store of this format, which may be written.
fn copy_of(format: u64) -> tempfile::TempDir {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(format.to_string());
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("logs")).unwrap();
    for file in ["store.redb", "logs/seg-000001.log"] {
        fs::copy(kept.join(file), copy.path().join(file)).unwrap();
    }
    if format >= 3 {
        fs::create_dir_all(copy.path().join("artifacts/1")).unwrap();
        for file in ["logs/arc-000001.log", "artifacts/1/1"] {
            fs::copy(kept.join(file), copy.path().join(file)).unwrap();
        }
    }
    copy
}

fn finds_all(store: &Store, format: u64) {
    let places: Vec<_> = (1..=6u64)
        .map(|id| {
            let row = store.request(RequestId(id)).unwrap().unwrap();
            (
                row.builder,
                row.priority,
                row.claim.map(|claim| claim.fence.0),
                row.last_fence.0,
                row.waited_for,
            )
        })
        .collect();
    let row =
        |builder: &str, priority, fence, last, waited| (builder.to_owned(), priority, fence, last, waited);
    assert_eq!(
        places,
        [
            row("check", 0, Some(1), 1, false),
            row("docs", 5, None, 2, false),
            row("check", -3, Some(3), 3, false),
            row("check", 10, None, 0, false),
            row("check", 0, None, 0, false),
            row("docs", 0, None, 0, true),
        ]
    );
    let complete = store.request(RequestId(1)).unwrap().unwrap().complete.unwrap();
    assert_eq!((complete.outcome, complete.at.0), (Outcome::Failure, 9_000));
    let pending: Vec<_> = store.pending_requests().unwrap().iter().map(|row| row.id.0).collect();
    assert_eq!(pending, [2, 4, 5, 6]);
    assert_eq!(store.claimed_requests(ME).unwrap().len(), 1);

    let outcomes: Vec<_> = (1..=3u64)
        .map(|id| store.build(BuildId(id)).unwrap().unwrap().complete.map(|complete| complete.outcome))
        .collect();
    assert_eq!(outcomes, [Some(Outcome::Failure), Some(Outcome::Retry), None]);
    assert_eq!(store.running_builds().unwrap().len(), 1);
    assert_eq!(store.steps(BuildId(1)).unwrap()[0].complete.unwrap().outcome, Outcome::Failure);
    assert!(store.log(LogId(1)).unwrap().unwrap().finished);
    let text = |log| {
        let pieces = store.read_log(LogId(log), 0, usize::MAX).unwrap();
        String::from_utf8(pieces.iter().flat_map(|piece| piece.data.to_vec()).collect()).unwrap()
    };
    assert_eq!((text(1), text(2)), ("make\none\ntwo\n".to_owned(), "still going\n".to_owned()));

    let buildset = |id| store.buildset(BuildsetId(id)).unwrap().unwrap();
    assert_eq!(buildset(1).stamps[0].changes, [ChangeId(1)]);
    assert_eq!(buildset(1).complete, None);
    assert_eq!(buildset(4).complete.unwrap().outcome, Outcome::Success);
    assert_eq!(store.change(ChangeId(1)).unwrap().unwrap().comments, "change of old");
    assert_eq!(store.state("scheduler/ci", "last").unwrap().unwrap(), b"1");
    let in_line: Vec<_> = store.pending_heads(9).unwrap().into_iter().collect();
    let in_line: Vec<_> = in_line
        .iter()
        .map(|(builder, head)| (builder.as_str(), head.rows.iter().map(|(row, _)| row.id.0).collect()))
        .collect();
    assert_eq!(in_line, [("check", vec![4, 5]), ("docs", vec![2, 6])]);
    assert_eq!(store.pending_counts().unwrap(), [("check".into(), 2), ("docs".into(), 2)].into());
    assert_eq!(store.request_records(&Wanted::default()).unwrap().len(), 6);
    assert_eq!(store.verify().unwrap(), [""; 0]);
    if format >= 2 {
        let parent = Parent { build: BuildId(1), relationship: "rebuilt from".into() };
        assert_eq!(buildset(3).parent, Some(parent));
        assert_eq!(store.masters().unwrap()[0].name, "a");
    }
    if format >= 3 {
        finds_what_came_with_3(store);
    }
    assert_eq!((store.ids().next_fence().0, store.ids().next_build_number("check")), (4, 4));
}

fn finds_what_came_with_3(store: &Store) {
    let log = store.log(LogId(1)).unwrap().unwrap();
    assert_eq!((log.ended, log.hash), (Some(Timestamp(9_000)), Some(Digest::of(b"one\ntwo\n"))));
    assert_eq!(log.cut, Some(Cut { at: 5, bytes: 7, hash: Digest::of(b"dropped") }));
    let snapshot = store.snapshot().unwrap();
    let logs = |rows: Vec<(u64, u64)>| rows.into_iter().map(|(log, _)| log).collect::<Vec<_>>();
    let frames = snapshot.log_frames().unwrap();
    let frames = frames.iter().unwrap().map(|row| row.unwrap().0.value()).collect();
    let pieces = snapshot.log_pieces().unwrap();
    let pieces = pieces.iter().unwrap().map(|row| row.unwrap().0.value()).collect();
    assert_eq!((logs(frames), logs(pieces)), (vec![1], vec![2]), "the first log is in the archive");

    let [Persist::AddTests { results, .. }, _] = &tests(1, 1, 0, 1)[..] else { panic!() };
    let all = TestFilter { step: None, failed: false, after: None, limit: 9, max_bytes: 9_999 };
    let (found, _) = store.test_results(BuildId(1), &all).unwrap();
    assert_eq!(&found.into_iter().map(|(_, result)| result).collect::<Vec<_>>(), &**results);
    let row = &store.steps(BuildId(1)).unwrap()[0];
    assert_eq!((row.tests.total, row.computed[0].place.as_str()), (3, "do_step_if"));
    assert_eq!(store.statistics(BuildId(1)).unwrap(), [(StepId(1), "lines".to_owned(), 2.5)]);
    let Persist::PutArtifact { artifact, .. } = artifact(1, 1, "report", 3, 1) else { panic!() };
    assert_eq!(store.artifacts(BuildId(1)).unwrap(), [artifact]);
    let path = store.artifact_files().path(BuildId(1), ArtifactId(1));
    assert_eq!(fs::read_to_string(path).unwrap(), "abc");
    assert_eq!(store.decisions_of_request(RequestId(2), 9).unwrap(), [decision(1, 2, 5_000)]);

    let plan = store.build(BuildId(3)).unwrap().unwrap().plan.unwrap();
    assert_eq!(store.plan(&plan).unwrap().unwrap().steps[0].name, "make");
    let added = store.added_steps(BuildId(3)).unwrap();
    let renderer = Condition::Renderer { hook: "p:h".into(), args: "{}".into() };
    assert_eq!(added[&StepId(2)][0].do_step_if, Some(renderer));
    assert_eq!(store.stop_order(BuildId(3)).unwrap().unwrap().reason, "enough");
    let kept = store.journal(BuildId(3), StepId(2)).unwrap();
    assert_eq!((kept.entries, kept.marks), (entries(), [(0, mark())].into()));
}

#[tokio::test]
async fn a_store_of_every_format_opens_with_all_that_it_had_and_goes_on() {
    for format in 1..=crate::tables::FORMAT {
        let folder = copy_of(format);
        let store = Store::open(folder.path(), Options::default()).unwrap();
        finds_all(&store, format);
        drop(store);
        let store = Store::open(folder.path(), Options::default()).unwrap();
        finds_all(&store, format);
        store.commit(vec![claim(&[4], 9), build(9, &[4], 9)]).await.unwrap();
        assert_eq!(store.running_builds().unwrap().len(), 2, "format {format}");
    }
}
