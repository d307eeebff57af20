//! Lists of requests: each page, in its order, whoever has them.

use windlass_core::id::RequestId;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::request::{Request, Turn};

use crate::test_rows::*;
use crate::{Options, RequestFilter, Store};

fn numbers(requests: &[Request]) -> Vec<u64> {
    requests.iter().map(|request| request.id.0).collect()
}

/// Requests 1 to 6: 4 is held, 5 is complete; of 1 and 6 the builder is `b`, of the others `a`.
async fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    for (id, builder, priority) in
        [(1, "b", 0), (2, "a", 5), (3, "a", -5), (4, "a", 0), (5, "a", 0), (6, "b", 9)]
    {
        let mut added = buildset(id, &[id]);
        if let Persist::AddBuildset { requests, .. } = &mut added {
            requests[0] = Request { builder: builder.into(), priority, ..requests[0].clone() };
        }
        store.commit(vec![added]).await.unwrap();
    }
    store.commit(vec![claim(&[4], 1), claim(&[5], 2), complete(&[5], 2, Outcome::Success)]).await.unwrap();
    (store, folder)
}

#[tokio::test]
async fn a_line_of_all_builders_comes_in_the_default_order_page_by_page() {
    let (store, _folder) = store().await;
    let line = |builder, after, limit| store.line(builder, after, limit).unwrap();
    assert_eq!(numbers(&line(None, None, 9)), [6, 2, 1, 3]);
    assert_eq!(numbers(&line(Some("a"), None, 9)), [2, 3]);
    assert_eq!((numbers(&line(Some("c"), None, 9)), numbers(&line(None, None, 0))), (vec![], vec![]));
    let (mut pages, mut after) = (Vec::new(), None);
    while let [first] = line(None, after, 1).as_slice() {
        pages.push(first.id.0);
        after = Some(Turn::of(first));
    }
    assert_eq!(pages, [6, 2, 1, 3]);
    // Whoever was last on a page may have been taken meanwhile.
    store.commit(vec![claim(&[6], 3)]).await.unwrap();
    let six = store.requests(&[RequestId(6)]).unwrap().remove(0);
    assert_eq!(numbers(&line(None, Some(Turn::of(&six)), 9)), [2, 1, 3]);
}

#[tokio::test]
async fn all_requests_are_listed_newest_first_and_those_that_somebody_holds_apart() {
    let (store, _folder) = store().await;
    let listed = |builder: Option<&str>, claimed, before: Option<u64>, limit| {
        let builder = builder.map(str::to_owned);
        let filter = RequestFilter { builder, claimed, before: before.map(RequestId), limit };
        numbers(&store.requests_listed(&filter).unwrap())
    };
    assert_eq!(listed(None, false, None, 9), [6, 5, 4, 3, 2, 1]);
    assert_eq!(listed(None, false, Some(5), 2), [4, 3]);
    assert_eq!(listed(Some("a"), false, None, 3), [5, 4, 3]);
    assert_eq!(listed(Some("a"), false, Some(4), 3), [3, 2]);
    assert_eq!((listed(None, true, None, 9), listed(Some("b"), true, None, 9)), (vec![4], vec![]));
    assert_eq!((listed(Some("a"), true, None, 9), listed(Some("a"), true, Some(4), 9)), (vec![4], vec![]));
}
