//! What waits in the store, and how the dispatcher comes to know of it.

use windlass_core::master::{Master, SILENT_MS};

use super::*;
use crate::dispatcher::actor::Actor;
use crate::dispatcher::pace::Pace;
use crate::masters;

/// So many requests for builder `b`, in one batch; the later ones more urgent.
fn wishes(store: &Store, count: u64) -> Vec<Persist> {
    let one = |n| {
        let (buildset, request) = wish(store, "b", Timestamp(n));
        let priority = i32::try_from(n * 3 / count).unwrap();
        Persist::AddBuildset { buildset, requests: vec![Request { priority, ..request }] }
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_are_loaded_at_once_are_built_in_their_order_once_each() {
    let count = 2 * windlass_core::schedule::LOADED as u64 + 100;
    let world = world(1, &[("w", 1)], vec![builder("b", &["w"])]);
    let mut bench = Bench::new(world, none, |store| wishes(store, count));
    let waiting = bench.store.pending_after("b", None, usize::MAX).unwrap();
    let mut expected: Vec<RequestId> = waiting.rows.iter().map(|(request, _)| request.id).collect();
    assert_eq!((expected.len() as u64, waiting.count), (count, count));
    bench.up("w");
    let mut built: Vec<RequestId> = Vec::new();
    for n in 0..count {
        let start = bench.started().await;
        built.extend(&start.row.requests);
        if n == 100 {
            // One goes that is still in the store, and one comes that is more urgent than all.
            let gone = expected.remove(600);
            let (requests, fence, at) = (vec![gone], bench.store.ids().next_fence(), Timestamp(5));
            let claim = Persist::Claim { requests: requests.clone(), master: MASTER, fence, at };
            let over = Persist::Complete { requests, fence, outcome: Outcome::Cancelled, at };
            bench.store.commit(vec![claim, over]).await.unwrap();
            bench.dispatcher.withdrawn("b", gone);
            let (buildset, request) = wish(&bench.store, "b", Timestamp(9_999));
            let request = Request { priority: 9, ..request };
            expected.insert(101, request.id);
            let add = Persist::AddBuildset { buildset: buildset.clone(), requests: vec![request.clone()] };
            bench.store.commit(vec![add]).await.unwrap();
            bench.dispatcher.submitted(buildset, vec![request]);
        }
        bench.end(&start, Outcome::Success).await;
    }
    assert_eq!(built, expected);
    assert_eq!(bench.store.pending_requests().unwrap(), []);
    bench.status(|status| status.builders[0].pending == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_master_held_is_built_without_a_scan() {
    let prepare = |store: &Store| {
        let (buildset, request) = wish(store, "b", Timestamp(1));
        let other = Master { id: MasterId(2), name: "gone".into(), active: true, last_active: Timestamp(1) };
        let me = Master { id: MASTER, name: "me".into(), ..other.clone() };
        let requests = vec![request.id];
        let fence = store.ids().next_fence();
        vec![
            Persist::AddBuildset { buildset, requests: vec![request] },
            Persist::PutMaster(me),
            Persist::PutMaster(other),
            Persist::Claim { requests, master: MasterId(2), fence, at: Timestamp(1) },
        ]
    };
    let mut bench = Bench::new(world(1, &[("w", 1)], vec![builder("b", &["w"])]), none, prepare);
    bench.up("w");
    bench
        .status(|status| status.workers.first().is_some_and(|worker| worker.connected_since.is_some()))
        .await;
    masters::beat(&bench.store, &bench.dispatcher, MASTER, Timestamp(2 * SILENT_MS)).await.unwrap();
    assert_eq!(bench.started().await.row.requests, [RequestId(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_raised_is_next() {
    let world = world(1, &[("w", 1)], vec![builder("b", &["w"])]);
    let mut bench = Bench::new(world, none, |store| wishes(store, 600));
    bench.up("w");
    let first = bench.started().await;
    let last = vec![RequestId(200)];
    bench.store.commit(vec![Persist::SetPriority { requests: last.clone(), priority: 9 }]).await.unwrap();
    bench.dispatcher.raised(bench.store.pending(&last).unwrap());
    bench.end(&first, Outcome::Success).await;
    assert_eq!(bench.started().await.row.requests, last);
}

/// Symptom: what a scan was asked for was found a poll interval later. Cause: it was asked for while another one was
/// under way, whose look into the store may be older. Cure: it is done after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_that_is_wanted_during_another_follows_it() {
    let (parts, _folder) = parts(world(1, &[], Vec::new()), none);
    let (_inbox, events) = mpsc::unbounded_channel();
    let mut actor =
        Actor::new(parts, events, tokio::sync::watch::channel(Arc::default()).0, Arc::<Pace>::default());
    actor.scan();
    actor.scan();
    actor.scan();
    actor.ended().await;
    assert!(actor.is_scanning(), "the first may have missed what the second is for");
    actor.ended().await;
    assert!(!actor.is_scanning(), "the third wanted nothing that the second did not find");
}

/// Symptom: a dashboard and some clients that wait had the dispatcher publish all day. Cause: each reader had its own
/// snapshot made. Cure: those who ask within a moment get the same one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_the_status_do_not_have_it_made_for_each_of_them() {
    let bench = Bench::new(world(1, &[("w", 1)], vec![builder("b", &["w"])]), none, |_| Vec::new());
    let mut snapshots = bench.dispatcher.watch();
    let began = std::time::Instant::now();
    let counting = tokio::spawn(async move {
        let mut count = 0;
        while snapshots.changed().await.is_ok() {
            count += 1;
        }
        count
    });
    for _ in 0..20 {
        let readers = (0..20).map(|_| bench.dispatcher.publish());
        futures_util::future::join_all(readers).await;
    }
    let elapsed = began.elapsed();
    bench.dispatcher.shutdown().await;
    let made = counting.await.unwrap();
    assert!(made <= elapsed.as_millis() / 10 + 3, "{made} in {elapsed:?}");
}
