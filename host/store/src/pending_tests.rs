//! What waits, in the default order, after every kind of write and a restart.

use std::collections::BTreeMap;

use windlass_core::id::{Fence, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Persist, Refusal};
use windlass_core::request::{Pending, Request, Turn};

use crate::test_rows::*;
use crate::{CommitError, Options, Store};

struct Fixture {
    store: Store,
    folder: tempfile::TempDir,
}

/// Requests by id, builder and priority, each with a buildset of its own.
async fn fixture(requests: &[(u64, &str, i32)]) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let it = Fixture { store: Store::open(folder.path(), Options::default()).unwrap(), folder };
    for (id, builder, priority) in requests {
        let mut added = buildset(*id, &[*id]);
        if let Persist::AddBuildset { requests, .. } = &mut added {
            requests[0] = Request { builder: (*builder).into(), priority: *priority, ..requests[0].clone() };
        }
        it.put([added]).await;
    }
    it
}

impl Fixture {
    async fn put(&self, batch: impl IntoIterator<Item = Persist>) {
        self.store.commit(batch.into_iter().collect()).await.unwrap();
    }

    fn order(&self, builder: &str) -> Vec<u64> {
        let pending = self.store.pending_after(builder, None, usize::MAX).unwrap();
        pending.rows.iter().map(|(request, _)| request.id.0).collect()
    }

    fn counts(&self) -> Vec<(String, u64)> {
        self.store.pending_counts().unwrap().into_iter().collect()
    }

    fn reopen(self) -> Fixture {
        let Fixture { store, folder } = self;
        drop(store);
        Fixture { store: Store::open(folder.path(), Options::default()).unwrap(), folder }
    }
}

fn owned(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(builder, count)| ((*builder).to_owned(), *count)).collect()
}

#[tokio::test]
async fn pending_requests_come_by_priority_then_age_then_id_and_builder_by_builder() {
    let requests = [(1, "a", 0), (2, "a", 5), (3, "a", -5), (4, "a", 0), (5, "ab", 9), (6, "b", 0)];
    let it = fixture(&requests).await.reopen();
    assert_eq!(it.order("a"), [2, 1, 4, 3]);
    assert_eq!(it.order("none"), [0; 0]);
    assert_eq!(it.counts(), owned(&[("a", 4), ("ab", 1), ("b", 1)]));

    let first = it.store.pending_after("a", None, 2).unwrap();
    assert_eq!(first.count, 4, "all that wait");
    let last = Turn::of(&first.rows[1].0);
    let rest = it.store.pending_after("a", Some(last), 9).unwrap().rows;
    assert_eq!(rest.iter().map(|(request, _)| request.id.0).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(rest[0].1.requests, [RequestId(4)], "each comes with its buildset");
    // What `after` names need not be there any more.
    it.put([claim(&[1], 1)]).await;
    let next = it.store.pending_after("a", Some(last), 1).unwrap();
    assert_eq!((next.rows[0].0.id, next.count), (RequestId(4), 3));

    let heads = it.store.pending_heads(1).unwrap();
    let first = |head: &Pending| (head.rows[0].0.id.0, head.count);
    let heads: BTreeMap<_, _> = heads.iter().map(|(builder, head)| (builder.as_str(), first(head))).collect();
    assert_eq!(heads, [("a", (2, 3)), ("ab", (5, 1)), ("b", (6, 1))].into());

    let found = it.store.pending(&ids(&[4, 1, 99, 6])).unwrap();
    let found: Vec<_> = found.iter().map(|(request, set)| (request.id.0, set.id.0)).collect();
    assert_eq!(found, [(4, 4), (6, 6)], "what is claimed or unknown does not wait");
}

#[tokio::test]
async fn a_request_is_in_line_exactly_while_it_waits() {
    let it = fixture(&[(1, "a", 0), (2, "a", 0)]).await;
    it.put([claim(&[1], 1)]).await;
    assert_eq!((it.order("a"), it.counts()), (vec![2], owned(&[("a", 1)])));
    it.put([Persist::Unclaim { requests: ids(&[1]), fence: Fence(1) }]).await;
    assert_eq!((it.order("a"), it.counts()), (vec![1, 2], owned(&[("a", 2)])));
    it.put([claim(&[1, 2], 2), complete(&[1], 2, Outcome::Success)]).await;
    assert_eq!((it.order("a"), it.counts()), (vec![], vec![]));
    let it = it.reopen();
    it.put([complete(&[2], 2, Outcome::Success)]).await;
    assert_eq!((it.order("a"), it.counts()), (vec![], vec![]));
}

#[tokio::test]
async fn another_priority_is_a_new_version_in_another_place() {
    let it = fixture(&[(1, "a", 0), (2, "a", 0), (3, "a", 0)]).await;
    it.put([claim(&[2], 1)]).await;
    it.put([Persist::SetPriority { requests: ids(&[2, 3]), priority: 4 }]).await;
    assert_eq!((it.order("a"), it.counts()), (vec![3, 1], owned(&[("a", 2)])));
    let versions = |ids: &[u64]| -> Vec<_> {
        let row = |id: &u64| it.store.request(RequestId(*id)).unwrap().unwrap();
        ids.iter().map(row).map(|row| (row.priority, row.version)).collect()
    };
    assert_eq!(versions(&[1, 2, 3]), [(0, 1), (4, 2), (4, 2)]);
    it.put([Persist::SetPriority { requests: ids(&[3]), priority: 4 }]).await;
    assert_eq!(versions(&[3]), [(4, 2)], "nothing changed");
    it.put([Persist::Unclaim { requests: ids(&[2]), fence: Fence(1) }]).await;
    assert_eq!(it.order("a"), [2, 3, 1]);

    it.put([claim(&[1], 2), complete(&[1], 2, Outcome::Success)]).await;
    for id in [1, 99] {
        let set = Persist::SetPriority { requests: ids(&[2, id]), priority: 7 };
        let refused = it.store.commit(vec![set]).await.unwrap_err();
        assert!(matches!(refused, CommitError::Refused(Refusal::NotOpen(RequestId(n))) if n == id));
    }
    assert_eq!(versions(&[2]), [(4, 2)], "none of them, then");
}

#[tokio::test]
async fn a_number_that_is_taken_is_refused() {
    let it = fixture(&[(1, "a", 0), (2, "a", 0)]).await;
    let again = it.store.commit(vec![buildset(3, &[1])]).await.unwrap_err();
    assert!(matches!(again, CommitError::Refused(Refusal::Exists(RequestId(1)))), "{again:?}");
    let again = it.store.commit(vec![buildset(1, &[3])]).await.unwrap_err();
    assert!(matches!(again, CommitError::Refused(Refusal::BuildsetExists(_))), "{again:?}");
    assert_eq!(it.order("a"), [1, 2]);
}

/// Symptom: after a start nothing was built, of any builder. Cause: one damaged row among all that waited, with which the
/// whole read failed. Cure: what does not read is left out, and said.
#[tokio::test]
async fn a_damaged_row_keeps_no_other_request_waiting() {
    let it = fixture(&[(1, "a", 0), (2, "a", 0), (3, "a", 0), (4, "b", 0), (5, "b", 0)]).await;
    let transaction = crate::writer::begin(&it.store.0.database).unwrap();
    transaction.open_table(crate::tables::WAITING).unwrap().insert(1, b"?".as_slice()).unwrap();
    transaction.open_table(crate::tables::BUILDSETS).unwrap().remove(5).unwrap();
    transaction.commit().unwrap();
    assert_eq!((it.order("a"), it.order("b")), (vec![2, 3], vec![4]));
    let heads = it.store.pending_heads(2).unwrap();
    let ids = |name: &str| heads[name].rows.iter().map(|(request, _)| request.id.0).collect::<Vec<_>>();
    assert_eq!((ids("a"), ids("b")), (vec![2, 3], vec![4]));
    assert!(it.store.verify().is_err(), "and they are flaws");
}
