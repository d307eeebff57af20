//! Journals of running steps: written piece by piece, read whole, and gone with the step.

use std::sync::{Arc, Mutex};

use windlass_core::id::{BuildId, Fence, StepId};
use windlass_core::journal::{After, Call, Entry, Kept, Mark};
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Persist, Refusal};
use windlass_core::request::Completed;
use windlass_core::time::Timestamp;

use crate::test_rows::*;
use crate::{CommitError, Moment, OnCommit, Options, Side, Store};

const BUILD: BuildId = BuildId(1);
const STEP: StepId = StepId(1);

fn entry(args: u64) -> Entry {
    let after = After { now: Timestamp(args), interrupted: None };
    Entry::Called { call: Call::Wait, args, answer: vec![1, 2], after }
}

fn piece(piece: u32, entries: Vec<Entry>, fence: u64) -> Persist {
    Persist::AppendJournal {
        fence: Fence(fence),
        build: BUILD,
        step: STEP,
        piece,
        entries: Arc::new(entries),
    }
}

fn mark(command: u32, number: u64) -> Persist {
    let mark = Mark { number, logged: number + 1, ..Mark::default() };
    Persist::PutMark { fence: Fence(1), build: BUILD, step: STEP, command, mark }
}

#[tokio::test]
async fn a_journal_is_read_whole_in_order_with_the_newest_marks_and_goes_with_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let begun =
        vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1), step(1, 1, 0, 1), step(2, 1, 1, 1)];
    store.commit(begun).await.unwrap();
    assert_eq!(store.journal(BUILD, STEP).unwrap(), Kept::default());

    store.commit(vec![piece(0, vec![entry(1), entry(2)], 1), mark(0, 1)]).await.unwrap();
    store.commit(vec![piece(1, vec![entry(3)], 1), mark(1, 5), mark(0, 7)]).await.unwrap();
    let kept = store.journal(BUILD, STEP).unwrap();
    assert_eq!((kept.pieces, kept.entries), (2, vec![entry(1), entry(2), entry(3)]));
    let numbers: Vec<_> =
        kept.marks.iter().map(|(command, mark)| (*command, mark.number, mark.logged)).collect();
    assert_eq!(numbers, [(0, 7, 8), (1, 5, 6)]);
    assert_eq!(store.journal(BUILD, StepId(2)).unwrap(), Kept::default());
    assert_eq!(store.verify().unwrap(), [""; 0]);

    let stale = store.commit(vec![piece(2, Vec::new(), 0)]).await.unwrap_err();
    assert!(matches!(stale, CommitError::Refused(Refusal::StaleFence { .. })), "{stale}");

    let mut over = step(1, 1, 0, 1);
    if let Persist::PutStep { step, .. } = &mut over {
        step.complete = Some(Completed { outcome: Outcome::Success, at: Timestamp(9) });
    }
    store.commit(vec![over]).await.unwrap();
    assert_eq!(store.journal(BUILD, STEP).unwrap(), Kept::default());

    store.commit(vec![piece(0, vec![entry(1)], 1)]).await.unwrap();
    let flaw = "journal has (1, 1, 0), and that step does not run";
    assert_eq!(store.verify().unwrap(), [flaw]);
}

#[tokio::test]
async fn who_wants_to_know_of_commits_is_told_on_both_sides_of_each_and_which_hold_journals() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let on_commit = {
        let seen = seen.clone();
        Some(OnCommit::new(move |moment| seen.lock().unwrap().push(moment)))
    };
    let store = Store::open(folder.path(), Options { on_commit, ..Options::default() }).unwrap();
    let begun = vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1), step(1, 1, 0, 1)];
    store.commit(begun).await.unwrap();
    store.commit(vec![piece(0, vec![entry(1)], 1)]).await.unwrap();
    // What is refused commits nothing.
    store.commit(vec![piece(1, vec![entry(2)], 0)]).await.unwrap_err();
    store.commit(vec![mark(0, 1)]).await.unwrap();
    store.commit(vec![piece(1, vec![entry(2)], 1)]).await.unwrap();
    let commits = [(1, None), (2, Some(1)), (3, None), (4, Some(2))];
    let sides = [Side::Before, Side::After];
    let told = commits.map(|(commit, journal)| sides.map(|side| Moment { side, commit, journal })).concat();
    assert_eq!(*seen.lock().unwrap(), told);
    assert_eq!((store.stats().commits, store.stats().journals), (4, 2));
}
