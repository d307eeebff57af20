//! Claims by example, and by random order beside a plain model.

use proptest::prelude::*;

use super::*;
use crate::id::BuildsetId;

const NOW: Timestamp = Timestamp(1_000);
const ME: MasterId = MasterId(1);
const OTHER: MasterId = MasterId(1112);

fn request(id: u64) -> Request {
    Request::new(RequestId(id), BuildsetId(1), "b".into(), Timestamp(1))
}

fn rows(ids: impl IntoIterator<Item = u64>) -> Rows {
    ids.into_iter().map(|id| (RequestId(id), request(id))).collect()
}

fn ids(ids: &[u64]) -> Vec<RequestId> {
    ids.iter().copied().map(RequestId).collect()
}

fn pending(rows: &Rows) -> Vec<u64> {
    rows.values().filter(|row| is_pending(row)).map(|row| row.id.0).collect()
}

fn done(outcome: Outcome) -> Option<Completed> {
    Some(Completed { outcome, at: NOW })
}

#[test]
fn claim_sets_master_fence_and_time_of_its_requests_alone() {
    let mut rows = rows([44, 45, 46]);
    claim(&mut rows, &ids(&[44, 46]), ME, Fence(7), NOW).unwrap();
    assert_eq!(rows[&RequestId(44)].claim, Some(Claim { master: ME, fence: Fence(7), at: NOW }));
    assert_eq!(pending(&rows), [45]);
    claim(&mut rows, &ids(&[45]), ME, Fence(8), NOW).unwrap();
    assert_eq!(pending(&rows), [0; 0]);
}

#[test]
fn one_taken_request_refuses_the_whole_claim() {
    let mut rows = rows(1..=1000);
    claim(&mut rows, &ids(&[1000]), OTHER, Fence(1), NOW).unwrap();
    let before = rows.clone();
    let all: Vec<_> = (1..=1000).map(RequestId).collect();
    let refused = claim(&mut rows, &all, ME, Fence(2), NOW);
    assert_eq!(refused, Err(Refusal::AlreadyClaimed(RequestId(1000))));
    assert_eq!(rows, before);
}

#[test]
fn own_completed_nonexistent_and_doubled_requests_are_not_claimed() {
    let mut rows = rows([1, 2, 3]);
    rows.get_mut(&RequestId(2)).unwrap().complete = done(Outcome::Success);
    claim(&mut rows, &ids(&[1]), ME, Fence(1), NOW).unwrap();
    for (list, culprit) in [(&[1][..], 1), (&[2], 2), (&[9], 9), (&[3, 3], 3)] {
        let refused = claim(&mut rows, &ids(list), ME, Fence(2), NOW);
        assert_eq!(refused, Err(Refusal::AlreadyClaimed(RequestId(culprit))), "{list:?}");
    }
    assert_eq!(pending(&rows), [3]);
}

#[test]
fn a_claim_since_moment_zero_counts_as_none() {
    let mut rows = rows([1]);
    claim(&mut rows, &ids(&[1]), OTHER, Fence(1), Timestamp(0)).unwrap();
    claim(&mut rows, &ids(&[1]), ME, Fence(2), NOW).unwrap();
}

#[test]
fn a_fence_is_not_used_twice_even_after_the_claim_was_given_back() {
    let mut rows = rows([1]);
    claim(&mut rows, &ids(&[1]), ME, Fence(5), NOW).unwrap();
    assert_eq!(unclaim(&mut rows, &ids(&[1]), Fence(5)), ids(&[1]));
    let refused = claim(&mut rows, &ids(&[1]), OTHER, Fence(5), NOW);
    let (request, offered, newest) = (RequestId(1), Fence(5), Fence(5));
    assert_eq!(refused, Err(Refusal::OldFence { request, offered, newest }));
}

#[test]
fn unclaim_frees_what_is_its_own_and_never_fails() {
    let mut rows = rows(44..=49);
    claim(&mut rows, &ids(&[44, 45, 48]), ME, Fence(1), NOW).unwrap();
    claim(&mut rows, &ids(&[46, 49]), OTHER, Fence(2), NOW).unwrap();
    complete(&mut rows, &ids(&[44]), Fence(1), Outcome::Success, NOW).unwrap();
    let all = ids(&[44, 45, 46, 47, 48, 49, 50]);
    assert_eq!(unclaim(&mut rows, &all, Fence(1)), ids(&[45, 48]));
    assert_eq!(pending(&rows), [45, 47, 48]);
}

#[test]
fn complete_refuses_what_is_not_held_under_the_fence() {
    let mut rows = rows([44, 45, 46, 47]);
    claim(&mut rows, &ids(&[45]), OTHER, Fence(1), NOW).unwrap();
    claim(&mut rows, &ids(&[46, 47]), ME, Fence(2), NOW).unwrap();
    complete(&mut rows, &ids(&[47]), Fence(2), Outcome::Failure, NOW).unwrap();
    for (list, culprit) in [(&[46, 44][..], 44), (&[46, 45], 45), (&[47], 47), (&[46, 46], 46), (&[99], 99)] {
        let refused = complete(&mut rows, &ids(list), Fence(2), Outcome::Success, NOW.plus_ms(1));
        let request = RequestId(culprit);
        assert_eq!(refused, Err(Refusal::NotClaimed { request, fence: Fence(2) }), "{list:?}");
    }
    assert_eq!(rows[&RequestId(46)].complete, None);
    assert_eq!(rows[&RequestId(47)].complete, done(Outcome::Failure));
}

#[test]
fn retry_does_not_complete_a_request() {
    let mut rows = rows([1]);
    claim(&mut rows, &ids(&[1]), ME, Fence(1), NOW).unwrap();
    let refused = complete(&mut rows, &ids(&[1]), Fence(1), Outcome::Retry, NOW);
    assert_eq!(refused, Err(Refusal::RetryIsNoEnd(RequestId(1))));
}

#[test]
fn straggler_of_a_passed_claim_is_refused_by_number() {
    let mut rows = rows([1, 2]);
    let both = ids(&[1, 2]);
    let write = |rows: &Rows, fence| may_write(rows, BuildId(9), &both, Fence(fence));
    assert_eq!(write(&rows, 1), Err(Refusal::NotClaimed { request: RequestId(1), fence: Fence(1) }));
    claim(&mut rows, &both, ME, Fence(1), NOW).unwrap();
    assert_eq!(write(&rows, 1), Ok(()));
    unclaim(&mut rows, &both, Fence(1));
    assert_eq!(write(&rows, 1), Ok(()), "its last row may still come");
    claim(&mut rows, &ids(&[2]), OTHER, Fence(2), NOW).unwrap();
    let stale = Refusal::StaleFence { build: BuildId(9), offered: Fence(1), current: Fence(2) };
    assert_eq!(write(&rows, 1), Err(stale));
}

#[test]
fn a_buildset_ends_with_its_last_request_and_the_worst_outcome() {
    let mut progress = Progress::new(3);
    progress.add(Outcome::Skipped);
    progress.add(Outcome::Failure);
    assert_eq!(progress.outcome(), None);
    progress.add(Outcome::Warnings);
    assert_eq!(progress.outcome(), Some(Outcome::Failure));
    assert_eq!(Progress::new(0).outcome(), Some(Outcome::Success));
}

/// The model: for each request who holds it, whether it is complete, and its largest fence, by the
/// most literal reading of the rules.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    holder: Option<u64>,
    complete: bool,
    last: u64,
}

#[derive(Clone, Debug)]
enum Op {
    Claim(Vec<u64>, u64),
    Unclaim(Vec<u64>, u64),
    Complete(Vec<u64>, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let batch = || prop::collection::vec(1..7u64, 0..4);
    prop_oneof![
        (batch(), 1..12u64).prop_map(|(ids, fence)| Op::Claim(ids, fence)),
        (batch(), 1..12u64).prop_map(|(ids, fence)| Op::Unclaim(ids, fence)),
        (batch(), 1..12u64).prop_map(|(ids, fence)| Op::Complete(ids, fence)),
    ]
}

fn unique(ids: &[u64]) -> bool {
    ids.iter().collect::<std::collections::BTreeSet<_>>().len() == ids.len()
}

proptest! {
    #[test]
    fn rows_go_where_the_plain_model_goes(ops in prop::collection::vec(op(), 0..60)) {
        // Request 6 does not exist.
        let mut rows = rows(1..=5);
        let fresh = Plain { holder: None, complete: false, last: 0 };
        let mut model: BTreeMap<u64, Plain> = (1..=5).map(|id| (id, fresh.clone())).collect();
        for op in ops {
            let (agreed, went) = match &op {
                Op::Claim(list, fence) => {
                    let free = |id| model.get(id).is_some_and(|p| p.holder.is_none() && !p.complete && p.last < *fence);
                    let allowed = unique(list) && list.iter().all(free);
                    if allowed {
                        for id in list {
                            let row = model.get_mut(id).unwrap();
                            (row.holder, row.last) = (Some(*fence), *fence);
                        }
                    }
                    (allowed, claim(&mut rows, &ids(list), ME, Fence(*fence), NOW).is_ok())
                }
                Op::Unclaim(list, fence) => {
                    for id in list {
                        if let Some(row) = model.get_mut(id)
                            && row.holder == Some(*fence) && !row.complete
                        {
                            row.holder = None;
                        }
                    }
                    unclaim(&mut rows, &ids(list), Fence(*fence));
                    (true, true)
                }
                Op::Complete(list, fence) => {
                    let held = |id| model.get(id).is_some_and(|p| p.holder == Some(*fence) && !p.complete);
                    let allowed = unique(list) && list.iter().all(held);
                    if allowed {
                        list.iter().for_each(|id| model.get_mut(id).unwrap().complete = true);
                    }
                    (allowed, complete(&mut rows, &ids(list), Fence(*fence), Outcome::Success, NOW).is_ok())
                }
            };
            prop_assert_eq!(agreed, went, "{:?}", op);
            let seen: BTreeMap<u64, Plain> = rows.values().map(|row| {
                let holder = row.claim.map(|claim| claim.fence.0);
                (row.id.0, Plain { holder, complete: row.complete.is_some(), last: row.last_fence.0 })
            }).collect();
            prop_assert_eq!(&seen, &model);
        }
    }
}
