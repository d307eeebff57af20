//! Several masters through one handle: who is there, and what becomes of the work of one that is gone.

use windlass_core::id::{BuildId, Fence, LogId, MasterId, RequestId};
use windlass_core::master::{Master, Overdue};
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Committed, Persist, Refusal};
use windlass_core::request_record::{Claimed, Wanted};
use windlass_core::time::Timestamp;

use crate::test_rows::*;
use crate::{CommitError, Options, Store};

const OTHER: MasterId = MasterId(2);

struct Bench {
    store: Store,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn put(&self, batch: impl IntoIterator<Item = Persist>) -> Committed {
        self.store.commit(batch.into_iter().collect()).await.unwrap()
    }

    async fn refused(&self, batch: impl IntoIterator<Item = Persist>) -> Refusal {
        match self.store.commit(batch.into_iter().collect()).await {
            Err(CommitError::Refused(refusal)) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn held_by(&self, master: MasterId) -> Vec<u64> {
        let wanted =
            Wanted { claimed: Some(Claimed::By(master)), complete: Some(false), ..Wanted::default() };
        let records = self.store.request_records(&wanted).unwrap();
        records.iter().map(|record| record.buildrequestid.0).collect()
    }

    fn ended(&self, build: u64) -> Option<Outcome> {
        self.store.build(BuildId(build)).unwrap().unwrap().complete.map(|complete| complete.outcome)
    }
}

fn master(id: MasterId, name: &str, last_active: u64) -> Master {
    Master { id, name: name.into(), active: true, last_active: Timestamp(last_active) }
}

fn claim_by(master: MasterId, requests: &[u64], fence: u64) -> Persist {
    Persist::Claim { requests: ids(requests), master, fence: Fence(fence), at: Timestamp(2) }
}

fn expire(master: MasterId, silent_since: u64, fence: u64) -> Persist {
    let overdue = Overdue::Master { master, silent_since: Timestamp(silent_since) };
    Persist::Expire { overdue, fence: Fence(fence), at: Timestamp(1_000) }
}

/// Master 1 builds request 1; master 2 builds 2 and 3 together, holds 4, and has completed 5. Number 6 waits.
async fn two_masters() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let backend = redb::backends::InMemoryBackend::new();
    let store = Store::open_with_backend(backend, folder.path(), Options::default()).unwrap();
    let bench = Bench { store, _folder: folder };
    bench.put([master(ME, "a", 900), master(OTHER, "b", 100)].map(Persist::PutMaster)).await;
    bench.put([buildset(1, &[1, 2, 3, 4, 5, 6])]).await;
    bench.put([claim_by(ME, &[1], 1), build(1, &[1], 1), step(1, 1, 0, 1)]).await;
    bench
        .put([claim_by(OTHER, &[2, 3], 2), build(2, &[2, 3], 2), step(2, 2, 0, 2), log(2, 2, false, 2)])
        .await;
    bench.put([claim_by(OTHER, &[4], 3)]).await;
    bench.put([claim_by(OTHER, &[5], 4), build(3, &[5], 4)]).await;
    bench.put([ended(3, &[5], 4, Outcome::Success), complete(&[5], 4, Outcome::Success)]).await;
    bench
}

/// Symptom (Buildbot): the claims of a dead master stay until that master itself starts again. Cause: the
/// survivor that cleans up gives back what *it* holds. Here whose claims expire is an argument.
#[tokio::test]
async fn a_survivor_frees_what_a_dead_master_held_and_keeps_its_own() {
    let bench = two_masters().await;
    let done = bench.put([expire(OTHER, 400, 5)]).await;
    assert_eq!((done.freed, done.cut_off), (ids(&[2, 3, 4]), vec![BuildId(2)]));
    assert_eq!((bench.held_by(ME), bench.held_by(OTHER)), (vec![1], vec![]));
    assert_eq!(
        [1, 2, 3].map(|build| bench.ended(build)),
        [None, Some(Outcome::Retry), Some(Outcome::Success)]
    );
    let waits = bench.store.pending_after("check", None, 9).unwrap().rows;
    assert_eq!(waits.iter().map(|(row, _)| row.id.0).collect::<Vec<_>>(), [2, 3, 4, 6]);

    let cut_off = bench.store.build(BuildId(2)).unwrap().unwrap();
    assert_eq!(cut_off.summary, "the master `b` is gone; it is built again");
    let step = &bench.store.steps(BuildId(2)).unwrap()[0];
    assert_eq!(step.complete.unwrap().outcome, Outcome::Retry);
    assert!(bench.store.log(LogId(2)).unwrap().unwrap().finished);
    assert!(bench.store.steps(BuildId(1)).unwrap()[0].complete.is_none());
    let masters = bench.store.masters().unwrap();
    assert_eq!(masters, [master(ME, "a", 900), Master { active: false, ..master(OTHER, "b", 100) }]);
    assert_eq!(bench.store.verify().unwrap(), [""; 0]);

    bench.put([claim_by(ME, &[2], 6), build(4, &[2], 6)]).await;
    // Once more is nothing.
    assert_eq!(bench.put([expire(OTHER, 400, 7)]).await, Committed::default());
    assert_eq!((bench.held_by(ME), bench.ended(4)), (vec![1, 2], None));
}

#[tokio::test]
async fn a_master_that_comes_back_from_the_dead_is_refused_whatever_it_writes_for_its_builds() {
    let bench = two_masters().await;
    bench.put([expire(OTHER, 400, 5)]).await;
    // Nobody has claimed the requests anew.
    let stale = Refusal::StaleFence { build: BuildId(2), offered: Fence(2), current: Fence(5) };
    for write in [
        step(2, 2, 0, 2),
        log(2, 2, true, 2),
        append(2, 2, 2, 0, "late"),
        build(2, &[2, 3], 2),
        ended(2, &[2, 3], 2, Outcome::Success),
    ] {
        assert_eq!(bench.refused([write]).await, stale);
    }
    let not_held = Refusal::NotClaimed { request: RequestId(2), fence: Fence(2) };
    let renew = Persist::Renew { requests: ids(&[2, 3]), fence: Fence(2), at: Timestamp(2_000) };
    assert_eq!(bench.refused([renew]).await, not_held);
    assert_eq!(bench.refused([complete(&[2, 3], 2, Outcome::Success)]).await, not_held);
    let old = Refusal::OldFence { request: RequestId(2), offered: Fence(5), newest: Fence(5) };
    assert_eq!(bench.refused([claim_by(OTHER, &[2], 5)]).await, old);
    // To give back is never an error, and changes nothing.
    bench.put([claim_by(ME, &[2], 6)]).await;
    bench.put([Persist::Unclaim { requests: ids(&[2, 3]), fence: Fence(2) }]).await;
    assert_eq!((bench.held_by(ME), bench.ended(2)), (vec![1, 2], Some(Outcome::Retry)));
    // Alive again, it may claim like everybody else.
    bench.put([Persist::Heartbeat { master: OTHER, at: Timestamp(2_000) }]).await;
    assert!(bench.store.master(OTHER).unwrap().unwrap().active);
    bench.put([claim_by(OTHER, &[3], 7), build(5, &[3], 7)]).await;
}

#[tokio::test]
async fn a_master_that_was_heard_keeps_its_claims() {
    let bench = two_masters().await;
    bench.put([Persist::Heartbeat { master: OTHER, at: Timestamp(500) }]).await;
    let alive = Refusal::MasterAlive { master: OTHER, last_active: 500 };
    assert_eq!(bench.refused([expire(OTHER, 499, 5)]).await, alive);
    assert_eq!(bench.held_by(OTHER), [2, 3, 4]);
    bench.put([Persist::Heartbeat { master: OTHER, at: Timestamp(450) }]).await;
    assert_eq!(bench.refused([expire(OTHER, 499, 5)]).await, alive, "a word that came late");
    let unknown = Refusal::UnknownMaster(MasterId(9));
    assert_eq!(bench.refused([expire(MasterId(9), 499, 5)]).await, unknown);
    assert_eq!(bench.refused([Persist::Heartbeat { master: MasterId(9), at: Timestamp(1) }]).await, unknown);
}

#[tokio::test]
async fn claims_that_nobody_renewed_expire_with_all_of_their_build_and_renewed_ones_stay() {
    let bench = two_masters().await;
    let renew = |requests: &[u64], fence| Persist::Renew {
        requests: ids(requests),
        fence: Fence(fence),
        at: Timestamp(600),
    };
    bench.put([renew(&[1], 1), renew(&[3], 2)]).await;
    let overdue = Overdue::Claims { before: Timestamp(500) };
    let done = bench.put([Persist::Expire { overdue, fence: Fence(5), at: Timestamp(1_000) }]).await;
    // Request 3 goes with 2: one build served both.
    assert_eq!((done.freed, done.cut_off), (ids(&[2, 3, 4]), vec![BuildId(2)]));
    assert_eq!((bench.held_by(ME), bench.ended(1)), (vec![1], None));
}

#[tokio::test]
async fn an_expiry_needs_a_fence_of_its_own_and_comes_first() {
    let bench = two_masters().await;
    let old = Refusal::OldFence { request: RequestId(4), offered: Fence(3), newest: Fence(3) };
    assert_eq!(bench.refused([expire(OTHER, 400, 3)]).await, old);
    let put = Persist::PutState { owner: "o".into(), key: "k".into(), value: None };
    assert_eq!(bench.refused([put, expire(OTHER, 400, 5)]).await, Refusal::ExpiryNotFirst);
    assert_eq!(bench.held_by(OTHER), [2, 3, 4]);
}

#[tokio::test]
async fn two_masters_have_two_names() {
    let bench = two_masters().await;
    let taken = Refusal::NameTaken { master: MasterId(3), name: "a".into(), by: ME };
    assert_eq!(bench.refused([Persist::PutMaster(master(MasterId(3), "a", 1))]).await, taken);
    bench
        .put([Persist::PutMaster(master(ME, "c", 901)), Persist::PutMaster(master(MasterId(3), "a", 1))])
        .await;
    let names: Vec<_> = bench.store.masters().unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["c", "b", "a"]);
}
