//! What running builds go on with: kept once, for as long as it is of use.

use std::sync::Arc;

use windlass_core::builder::Builder;
use windlass_core::id::{BuildId, StepId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;

use crate::test_rows::*;
use crate::{Options, Store};

async fn with(batches: impl IntoIterator<Item = Vec<Persist>>) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    store.commit(vec![buildset(1, &[1, 2, 3])]).await.unwrap();
    for batch in batches {
        store.commit(batch).await.unwrap();
    }
    (folder, store)
}

#[tokio::test]
async fn a_plan_reads_back_whole_and_stays_as_long_as_a_build_runs_by_it() {
    let (one, two) = (plan("one"), plan("two"));
    let other = Arc::new(Builder { max_retries: 9, ..Builder::clone(&one) });
    assert_ne!(one.digest(), other.digest());
    let (_folder, store) = with([
        vec![claim(&[1], 1), put_plan(&one), build_by(1, &[1], 1, &one)],
        vec![claim(&[2], 2), put_plan(&two), put_plan(&other), build_by(2, &[2], 2, &two)],
    ])
    .await;
    assert_eq!(store.plan(&one.digest()).unwrap().as_ref(), Some(&*one));
    assert!(store.plan(&other.digest()).unwrap().is_some());
    let end = Outcome::Success;
    store.commit(vec![ended(2, &[2], 2, end), complete(&[2], 2, end)]).await.unwrap();
    assert!(store.plan(&two.digest()).unwrap().is_some(), "the end of a build has nothing to do with plans");
    store.commit(vec![Persist::TrimPlans]).await.unwrap();
    let kept = [&one, &two, &other].map(|plan| store.plan(&plan.digest()).unwrap().is_some());
    assert_eq!((kept, store.verify().unwrap().len()), ([true, false, false], 0));
}

#[tokio::test]
async fn what_joined_a_build_and_the_order_to_stop_it_go_with_its_end_also_after_a_restart() {
    let (folder, store) = with([
        vec![claim(&[1], 1), build(1, &[1], 1), step(1, 1, 0, 1), step(2, 1, 1, 1)],
        vec![added(1, 1, 1), added(1, 2, 1)],
        vec![stop(1, false, Some(1), "the step", 1)],
    ])
    .await;
    let stopped = |store: &Store| {
        store.stop_order(BuildId(1)).unwrap().map(|stop| (stop.whole, stop.step, stop.reason))
    };
    assert_eq!(stopped(&store), Some((false, Some(StepId(1)), "the step".to_owned())));
    store.commit(vec![stop(1, true, None, "by ana", 1)]).await.unwrap();
    store.commit(vec![stop(1, true, Some(2), "by bob", 1)]).await.unwrap();
    assert_eq!(stopped(&store), Some((true, Some(StepId(2)), "by ana".to_owned())));
    let joined = store.added_steps(BuildId(1)).unwrap();
    let joined: Vec<_> = joined.iter().map(|(step, specs)| (step.0, specs[0].name.as_str())).collect();
    assert_eq!(joined, [(1, "joined 1"), (2, "joined 2")]);
    drop(store);

    let store = Store::open(folder.path(), Options::default()).unwrap();
    assert_eq!(store.verify().unwrap(), [""; 0]);
    let end = Outcome::Success;
    store.commit(vec![ended(1, &[1], 1, end), complete(&[1], 1, end)]).await.unwrap();
    assert!(stopped(&store).is_none() && store.added_steps(BuildId(1)).unwrap().is_empty());
    // What comes too late is forgotten.
    store.commit(vec![stop(1, true, None, "by cyd", 1), added(1, 2, 1)]).await.unwrap();
    assert!(stopped(&store).is_none() && store.added_steps(BuildId(1)).unwrap().is_empty());
    assert_eq!(store.verify().unwrap(), [""; 0]);
}
