//! Records of decisions: found again, and never more than their budget.

use windlass_core::decision::{Budget, Decision, Done};
use windlass_core::id::{DecisionId, RequestId};
use windlass_core::policy::Answer;

use crate::test_rows::*;
use crate::{Options, Store};

fn numbers(decisions: &[Decision]) -> Vec<u64> {
    decisions.iter().map(|decision| decision.id.0).collect()
}

fn all(store: &Store) -> Vec<u64> {
    numbers(&store.decisions_before(None, usize::MAX).unwrap())
}

fn of_request(store: &Store, id: u64) -> Vec<u64> {
    numbers(&store.decisions_of_request(RequestId(id), usize::MAX).unwrap())
}

#[tokio::test]
async fn decisions_are_found_by_number_and_by_the_requests_that_they_touched() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let joins = Decision {
        policy: windlass_core::record::Component {
            kind: "merge-requests".into(),
            ..decision(3, 2, 30).policy
        },
        answer: Some(Answer::Requests(vec![5])),
        done: Done::Joined(vec![RequestId(5)]),
        ..decision(3, 2, 30)
    };
    let rows = [decision(1, 1, 10), decision(2, 2, 20), joins, decision(4, 2, 40)];
    store.commit(rows.iter().take(2).cloned().map(decided).collect()).await.unwrap();
    store.commit(rows.iter().skip(2).cloned().map(decided).collect()).await.unwrap();
    // One that is sent twice stays as it was.
    store.commit(vec![decided(decision(1, 9, 99))]).await.unwrap();
    drop(store);

    let store = Store::open(folder.path(), Options::default()).unwrap();
    for row in &rows {
        assert_eq!(store.decision(row.id).unwrap().as_ref(), Some(row), "it reads back as it was");
    }
    assert_eq!(store.decision(DecisionId(5)).unwrap(), None);
    assert_eq!((of_request(&store, 1), of_request(&store, 2)), (vec![1], vec![2, 3, 4]));
    assert_eq!((of_request(&store, 5), of_request(&store, 9)), (vec![3], vec![]));
    assert_eq!(numbers(&store.decisions_of_request(RequestId(2), 2).unwrap()), [3, 4], "the newest ones");
    assert_eq!(numbers(&store.decisions_before(Some(DecisionId(4)), 2).unwrap()), [3, 2]);
    assert_eq!(store.ids().next_decision(), DecisionId(5), "no number is used twice");
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

#[tokio::test]
async fn the_oldest_records_go_when_there_is_no_room_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let one = crate::encode::pack_lean(&decision(1, 1, 1)).len() as u64;
    let budget = |max_bytes| Budget { max_bytes, ..Budget::default() };
    let options = Options { decisions: budget(10 * one + one / 2), ..Options::default() };
    let it = Store::open(folder.path(), options).unwrap();
    for id in 1..=25 {
        it.commit(vec![decided(decision(id, id, 1))]).await.unwrap();
    }
    let kept = all(&it);
    assert_eq!((kept.len(), kept[0]), (10, 25));
    assert_eq!((of_request(&it, 15), of_request(&it, 16)), (vec![], vec![16]), "nor are they in an index");
    assert_eq!(it.verify().unwrap(), [""; 0]);

    // A smaller budget is met by the commits that come; one record always stays.
    it.keep_decisions(budget(1));
    assert_eq!(all(&it).len(), 10);
    it.commit(vec![decided(decision(26, 1, 1))]).await.unwrap();
    assert_eq!(all(&it), [26]);
    assert_eq!(it.verify().unwrap(), [""; 0]);
}

#[tokio::test]
async fn records_go_when_they_are_too_old_a_few_with_each_commit() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { decisions: Budget { max_age_ms: 1_000, ..Budget::default() }, ..Options::default() };
    let store = Store::open(folder.path(), options).unwrap();
    store.commit((1..=100).map(|id| decided(decision(id, id, id))).collect()).await.unwrap();
    store.commit(vec![decided(decision(101, 1, 1_050))]).await.unwrap();
    assert_eq!(all(&store).last(), Some(&33), "32 of the 49 that are older than a second");
    store.commit(vec![decided(decision(102, 1, 1_050))]).await.unwrap();
    assert_eq!(all(&store).last(), Some(&50));
    store.commit(vec![decided(decision(103, 1, 1_050))]).await.unwrap();
    assert_eq!(all(&store).last(), Some(&50));
    assert_eq!(store.verify().unwrap(), [""; 0]);
}
