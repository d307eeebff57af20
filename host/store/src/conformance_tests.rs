//! Buildbot's cases for its BuildRequests connector, one by one, against ours.
//!
//! Each case has Buildbot's name for it. Where we differ on purpose, the difference stands beside it.
//! The last ones are of Buildbot 0.8, and of what its description says and its code does not.

use windlass_core::change::SourceStamp;
use windlass_core::id::{BuilderId, BuildsetId, Fence, MasterId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Committed, Persist, Refusal};
use windlass_core::request::{Claim, Completed, Request};
use windlass_core::request_record::{Claimed, Datum, Field, Filter, Operator, Record, ResultSpec, Wanted};
use windlass_core::time::Timestamp;

use crate::test_rows::ids;
use crate::{CommitError, Options, Store};

const ME: MasterId = MasterId(824);
const OTHER: MasterId = MasterId(824 + 1111);
const NOW: Timestamp = Timestamp(1_300_305_712_000);
const BEFORE: Timestamp = Timestamp(1_300_000_000_000);
/// The fences of the claims that are there at the beginning.
const MINE: Fence = Fence(5);
const OTHERS: Fence = Fence(6);
/// Of a claim that a case makes.
const NEXT: Fence = Fence(7);

/// Buildbot's name, how we differ, and what happens with us.
type Case = (&'static str, &'static str, fn());

const CASES: &[Case] = &[
    ("getBuildRequest", "results are one of seven outcomes, not any number", get_one),
    ("getBuildRequest_missing", "", get_missing),
    ("getBuildRequests_no_claimed_arg", "", || claimed_arg(None, &[50, 51, 52, 53])),
    ("getBuildRequests_claimed_mine", "", || claimed_arg(Some(Claimed::By(ME)), &[50])),
    ("getBuildRequests_claimed_true", "", || claimed_arg(Some(Claimed::Yes), &[50, 51])),
    ("getBuildRequests_unclaimed", "", || claimed_arg(Some(Claimed::No), &[52])),
    ("getBuildRequests_complete_none", "a completion always has its moment", || {
        complete_arg(None, &[70, 80, 81, 82])
    }),
    ("getBuildRequests_complete_true", "a completion always has its moment", || {
        complete_arg(Some(true), &[80, 81])
    }),
    ("getBuildRequests_complete_false", "what is not complete has no moment of it", || {
        complete_arg(Some(false), &[70, 82])
    }),
    ("getBuildRequests_bsid_arg", "", bsid_arg),
    ("getBuildRequests_combo", "", combo),
    ("getBuildRequests_branch", "", || source_arg(Some("branch_A"), None, &[70, 90])),
    ("getBuildRequests_branch_empty", "", || source_arg(Some("absent"), None, &[])),
    ("getBuildRequests_repository", "", || source_arg(None, Some("repository_A"), &[80, 90])),
    ("getBuildRequests_repository_empty", "", || source_arg(None, Some("absent"), &[])),
    ("getBuildRequests_repository_and_branch", "", || {
        source_arg(Some("branch_A"), Some("repository_A"), &[90])
    }),
    ("getBuildRequests_no_repository_nor_branch", "", || source_arg(None, None, &[70, 80, 90])),
    ("claimBuildRequests_single", "the moment is always given: the store has no clock", || claims_at(NOW)),
    ("claimBuildRequests_single_explicit_claimed_at", "", || claims_at(BEFORE)),
    ("claimBuildRequests_multiple", "", claim_multiple),
    ("claimBuildRequests_stress", "", claim_stress),
    ("claimBuildRequests_other_master_claim", "", claim_of_others),
    ("claimBuildRequests_other_master_claim_stress", "", claim_of_others_stress),
    ("claimBuildRequests_sequential", "", claim_sequential),
    ("completeBuildRequests", "the moment is always given: the store has no clock", || completes_at(NOW)),
    ("completeBuildRequests_explicit_time", "", || completes_at(BEFORE)),
    ("completeBuildRequests_multiple", "", complete_multiple),
    ("completeBuildRequests_stress", "", complete_stress),
    (
        "completeBuildRequests_multiple_notmine",
        "refused: one completes what one holds (the description; the code lets anybody)",
        complete_not_mine,
    ),
    ("completeBuildRequests_already_completed", "", complete_again),
    ("completeBuildRequests_no_such", "", complete_no_such),
    ("unclaimBuildRequests", "", unclaim),
    ("0.8 getBuildRequests_buildername_single", "", || buildername_arg(&["bbb"], &[44])),
    ("0.8 getBuildRequests_buildername_multiple", "", || buildername_arg(&["bbb", "ccc"], &[44, 45, 46])),
    ("0.8 getBuildRequests_buildername_none", "", || buildername_arg(&["none"], &[])),
    ("0.8 reclaimBuildRequests", "", renew),
    ("0.8 reclaimBuildRequests_fail", "`NotClaimed` instead of `AlreadyClaimed`", renew_fails),
    (
        "0.8 unclaimExpiredRequests",
        "by the moment before which a claim is old; who held it is refused by number",
        unclaim_expired,
    ),
    ("claim of one's own request", "", || claim_refused(44)),
    ("claim of a request twice in one call", "", claim_twice),
    ("claim of a complete request", "refused (Buildbot: goes through)", || claim_refused(53)),
    ("claim of a request that does not exist", "refused (Buildbot on SQLite: goes through)", || {
        claim_refused(99)
    }),
    ("claimed_at 0", "unclaimed (the description; the code calls it claimed)", claimed_at_zero),
    ("completeBuildRequests with RETRY", "refused (Buildbot: a failed assertion)", complete_with_retry),
    ("set_build_requests_priority", "works (Buildbot's fails); the row is a new version", set_priority),
];

#[test]
fn every_case_of_buildbots_connector_is_met_or_its_difference_is_named() {
    assert_eq!(
        CASES.iter().filter(|(name, ..)| name.contains("BuildRequest") && !name.starts_with("0.8")).count(),
        32 + 1
    );
    for (name, differs, case) in CASES {
        let went = std::panic::catch_unwind(case);
        assert!(went.is_ok(), "{name} (difference: `{differs}`)");
    }
}

struct Bench {
    store: Store,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

fn bench(rows: &[Request]) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store =
        Store::open_with_backend(redb::backends::InMemoryBackend::new(), folder.path(), Options::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bench = Bench { store: store.unwrap(), runtime, _folder: folder };
    let mut sets: Vec<u64> = rows.iter().map(|row| row.buildset.0).collect();
    sets.sort_unstable();
    sets.dedup();
    for set in sets {
        let rows = rows.iter().filter(|row| row.buildset.0 == set).cloned().collect();
        bench.commit(with_stamps(set, rows, &[("r", None)])).unwrap();
    }
    bench
}

fn with_stamps(set: u64, requests: Vec<Request>, stamps: &[(&str, Option<&str>)]) -> Persist {
    let mut added = crate::test_rows::buildset(set, &[]);
    let Persist::AddBuildset { buildset, requests: rows } = &mut added else { unreachable!() };
    buildset.requests = requests.iter().map(|row| row.id).collect();
    let stamp = |(i, (repository, branch)): (usize, &(&str, Option<&str>))| SourceStamp {
        codebase: format!("c{i}"),
        repository: (*repository).to_owned(),
        branch: branch.map(str::to_owned),
        ..SourceStamp::default()
    };
    buildset.stamps = stamps.iter().enumerate().map(stamp).collect();
    *rows = requests;
    added
}

impl Bench {
    fn commit(&self, persist: Persist) -> Result<Committed, Refusal> {
        match self.runtime.block_on(self.store.commit(vec![persist])) {
            Ok(committed) => Ok(committed),
            Err(CommitError::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn claim(&self, requests: &[u64], fence: Fence, at: Timestamp) -> Result<Committed, Refusal> {
        self.commit(Persist::Claim { requests: ids(requests), master: ME, fence, at })
    }

    fn complete(&self, requests: &[u64], fence: Fence, at: Timestamp) -> Result<Committed, Refusal> {
        self.commit(Persist::Complete { requests: ids(requests), fence, outcome: Outcome::Failure, at })
    }

    fn record(&self, id: u64) -> Record {
        self.store.request_record(RequestId(id)).unwrap().unwrap()
    }

    fn all(&self, wanted: &Wanted) -> Vec<u64> {
        let records = self.store.request_records(wanted).unwrap();
        records.iter().map(|record| record.buildrequestid.0).collect()
    }

    fn by(&self, claimed: Claimed) -> Vec<u64> {
        self.all(&Wanted { claimed: Some(claimed), ..Wanted::default() })
    }
}

fn free(id: u64) -> Request {
    Request::new(RequestId(id), BuildsetId(440), "bbb".into(), BEFORE)
}

fn held(id: u64, master: MasterId, fence: Fence, at: Timestamp) -> Request {
    Request { claim: Some(Claim { master, fence, at }), last_fence: fence, ..free(id) }
}

fn mine(id: u64) -> Request {
    held(id, ME, MINE, BEFORE)
}

fn others(id: u64) -> Request {
    held(id, OTHER, OTHERS, BEFORE)
}

fn complete(row: Request) -> Request {
    Request { complete: Some(Completed { outcome: Outcome::Warnings, at: BEFORE }), ..row }
}

fn of(row: Request, builder: &str, buildset: u64) -> Request {
    Request { builder: builder.into(), buildset: BuildsetId(buildset), ..row }
}

fn get_one() {
    let row = Request { priority: 7, waited_for: true, ..complete(mine(44)) };
    let bench = bench(&[of(free(1), "aaa", 1), row]);
    let expected = Record {
        buildrequestid: RequestId(44),
        buildsetid: BuildsetId(440),
        builderid: BuilderId(2),
        buildername: "bbb".into(),
        priority: 7,
        claimed: true,
        claimed_at: Some(BEFORE),
        claimed_by_masterid: Some(ME),
        complete: true,
        complete_at: Some(BEFORE),
        submitted_at: BEFORE,
        results: Some(Outcome::Warnings),
        waited_for: true,
    };
    assert_eq!(bench.record(44), expected);
    assert_eq!(bench.store.builder_id("bbb").unwrap(), Some(BuilderId(2)));
    assert_eq!(bench.store.builder_id("ccc").unwrap(), None);
}

fn get_missing() {
    assert_eq!(bench(&[free(43)]).store.request_record(RequestId(44)).unwrap(), None);
}

fn claimed_arg(claimed: Option<Claimed>, expected: &[u64]) {
    let bench = bench(&[mine(50), others(51), free(52), complete(free(53))]);
    assert_eq!(bench.all(&Wanted { claimed, ..Wanted::default() }), expected);
    // With a builder another way leads there.
    let of_builder = Wanted { claimed, buildername: Some("bbb".into()), ..Wanted::default() };
    assert_eq!(bench.all(&of_builder), expected);
}

fn complete_arg(wanted: Option<bool>, expected: &[u64]) {
    let bench = bench(&[free(70), complete(mine(80)), complete(free(81)), mine(82)]);
    for buildername in [None, Some("bbb".to_owned())] {
        assert_eq!(bench.all(&Wanted { complete: wanted, buildername, ..Wanted::default() }), expected);
    }
    let values = wanted.map(Datum::Flag).into_iter().collect::<Vec<_>>();
    if !values.is_empty() {
        let filters = vec![Filter { field: Field::Complete, operator: Operator::Eq, values }];
        let spec = ResultSpec { filters, ..ResultSpec::default() };
        assert_eq!(bench.all(&Wanted { spec, ..Wanted::default() }), expected);
    }
}

fn bsid_arg() {
    let bench =
        bench(&[of(free(70), "bbb", 440), of(free(71), "bbb", 441), of(complete(free(72)), "ccc", 440)]);
    assert_eq!(bench.all(&Wanted { bsid: Some(BuildsetId(440)), ..Wanted::default() }), [70, 72]);
    assert_eq!(bench.all(&Wanted { bsid: Some(BuildsetId(9)), ..Wanted::default() }), [0; 0]);
}

fn combo() {
    let bench = bench(&[
        complete(mine(44)),
        of(complete(mine(45)), "ccc", 440),
        mine(46),
        complete(others(47)),
        of(complete(mine(48)), "bbb", 441),
        complete(free(49)),
    ]);
    let wanted = Wanted {
        buildername: Some("bbb".into()),
        claimed: Some(Claimed::By(ME)),
        complete: Some(true),
        bsid: Some(BuildsetId(440)),
        ..Wanted::default()
    };
    assert_eq!(bench.all(&wanted), [44]);
}

fn source_arg(branch: Option<&str>, repository: Option<&str>, expected: &[u64]) {
    let bench = bench(&[]);
    let (other, stamped) = (("other", Some("other")), |id, set| vec![of(free(id), "bbb", set)]);
    for persist in [
        with_stamps(1, stamped(70, 1), &[("repository_B", Some("branch_A")), other]),
        with_stamps(2, stamped(80, 2), &[("repository_A", Some("branch_B")), other]),
        with_stamps(3, stamped(90, 3), &[("repository_A", Some("branch_A")), ("third", None)]),
    ] {
        bench.commit(persist).unwrap();
    }
    let (branch, repository) = (branch.map(str::to_owned), repository.map(str::to_owned));
    assert_eq!(bench.all(&Wanted { branch, repository, ..Wanted::default() }), expected);
}

fn claims_at(at: Timestamp) {
    let bench = bench(&[free(44)]);
    bench.claim(&[44], NEXT, at).unwrap();
    let record = bench.record(44);
    assert_eq!((record.claimed, record.claimed_at, record.claimed_by_masterid), (true, Some(at), Some(ME)));
}

fn claim_multiple() {
    let bench = bench(&[free(44), free(45), free(46)]);
    bench.claim(&[44, 46], NEXT, NOW).unwrap();
    assert_eq!((bench.by(Claimed::By(ME)), bench.by(Claimed::No)), (vec![44, 46], vec![45]));
}

fn claim_stress() {
    let all: Vec<u64> = (1..1000).collect();
    let bench = bench(&all.iter().copied().map(free).collect::<Vec<_>>());
    bench.claim(&all, NEXT, NOW).unwrap();
    assert_eq!(bench.by(Claimed::By(ME)), all);
}

fn claim_of_others() {
    let bench = bench(&[others(44)]);
    let before = bench.record(44);
    assert_eq!(bench.claim(&[44], NEXT, NOW), Err(Refusal::AlreadyClaimed(RequestId(44))));
    assert_eq!(bench.record(44), before);
}

fn claim_of_others_stress() {
    let bench = bench(&(1..1000).map(free).chain([others(1000)]).collect::<Vec<_>>());
    let all: Vec<u64> = (1..=1000).collect();
    assert_eq!(bench.claim(&all, NEXT, NOW), Err(Refusal::AlreadyClaimed(RequestId(1000))));
    assert_eq!((bench.by(Claimed::By(ME)), bench.by(Claimed::No).len()), (vec![], 999));
}

fn claim_sequential() {
    let bench = bench(&[free(44), free(45)]);
    bench.claim(&[44], NEXT, NOW).unwrap();
    bench.claim(&[45], Fence(NEXT.0 + 1), NOW).unwrap();
    assert_eq!(bench.by(Claimed::By(ME)), [44, 45]);
}

fn completes_at(at: Timestamp) {
    let bench = bench(&[mine(44)]);
    let done = bench.complete(&[44], MINE, at).unwrap();
    assert_eq!(done.buildsets, [(BuildsetId(440), Outcome::Failure)]);
    let record = bench.record(44);
    assert_eq!(
        (record.complete, record.complete_at, record.results),
        (true, Some(at), Some(Outcome::Failure))
    );
}

fn complete_multiple() {
    let bench = bench(&[mine(44), mine(45), mine(46)]);
    bench.complete(&[44, 46], MINE, NOW).unwrap();
    assert_eq!(bench.all(&Wanted { complete: Some(true), ..Wanted::default() }), [44, 46]);
}

fn complete_stress() {
    let all: Vec<u64> = (1..280).collect();
    let bench = bench(&all.iter().copied().map(mine).collect::<Vec<_>>());
    bench.complete(&all, MINE, NOW).unwrap();
    assert_eq!(bench.all(&Wanted { complete: Some(true), ..Wanted::default() }), all);
}

fn complete_not_mine() {
    let bench = bench(&[free(44), others(45), mine(46)]);
    for (requests, culprit) in [(&[46, 44][..], 44), (&[46, 45], 45), (&[44, 45, 46], 44)] {
        let refusal = Refusal::NotClaimed { request: RequestId(culprit), fence: MINE };
        assert_eq!(bench.complete(requests, MINE, NOW), Err(refusal));
    }
    assert_eq!(bench.all(&Wanted { complete: Some(true), ..Wanted::default() }), [0; 0]);
}

fn complete_again() {
    let bench = bench(&[complete(mine(44))]);
    let refusal = Refusal::NotClaimed { request: RequestId(44), fence: MINE };
    assert_eq!(bench.complete(&[44], MINE, NOW), Err(refusal));
    let record = bench.record(44);
    assert_eq!((record.complete_at, record.results), (Some(BEFORE), Some(Outcome::Warnings)));
}

fn complete_no_such() {
    let bench = bench(&[mine(45)]);
    let refusal = Refusal::NotClaimed { request: RequestId(44), fence: MINE };
    assert_eq!(bench.complete(&[44], MINE, NOW), Err(refusal));
}

fn unclaim() {
    let bench = bench(&[complete(mine(44)), mine(45), others(46), free(47), mine(48), others(49)]);
    let requests = ids(&[44, 45, 46, 47, 48, 49, 50]);
    bench.commit(Persist::Unclaim { requests, fence: MINE }).unwrap();
    assert_eq!(bench.by(Claimed::No), [45, 47, 48]);
    assert_eq!(bench.by(Claimed::By(OTHER)), [46, 49]);
}

fn buildername_arg(builders: &[&str], expected: &[u64]) {
    let bench = bench(&[
        mine(44),
        of(free(45), "ccc", 440),
        of(complete(mine(46)), "ccc", 440),
        of(free(47), "ddd", 440),
    ]);
    let values = builders.iter().map(|name| Datum::Text((*name).to_owned())).collect();
    let filters = vec![Filter { field: Field::Buildername, operator: Operator::Eq, values }];
    let spec = ResultSpec { filters, ..ResultSpec::default() };
    assert_eq!(bench.all(&Wanted { spec, ..Wanted::default() }), expected);
    if let [one] = builders {
        assert_eq!(
            bench.all(&Wanted { buildername: Some((*one).to_owned()), ..Wanted::default() }),
            expected
        );
    }
}

fn renew() {
    let bench = bench(&[mine(44), mine(45)]);
    bench.commit(Persist::Renew { requests: ids(&[44]), fence: MINE, at: NOW }).unwrap();
    let at = |id| bench.record(id).claimed_at;
    assert_eq!((at(44), at(45), bench.by(Claimed::By(ME))), (Some(NOW), Some(BEFORE), vec![44, 45]));
}

fn renew_fails() {
    let bench = bench(&[mine(44), others(45), free(46), complete(mine(47))]);
    for id in [45, 46, 47, 99] {
        let refusal = Refusal::NotClaimed { request: RequestId(id), fence: MINE };
        let renewed = bench.commit(Persist::Renew { requests: ids(&[44, id]), fence: MINE, at: NOW });
        assert_eq!(renewed, Err(refusal));
    }
    assert_eq!(bench.record(44).claimed_at, Some(BEFORE), "all or nothing");
}

fn unclaim_expired() {
    let at = |id: u64, ago: u64| held(id, ME, Fence(id), Timestamp(NOW.0 - ago));
    // Half of them are old: claimed 200 before, where 100 are allowed.
    let bench =
        bench(&[complete(at(44, 50)), at(45, 50), complete(at(46, 200)), at(47, 200), free(48), at(49, 200)]);
    let overdue = windlass_core::master::Overdue::Claims { before: Timestamp(NOW.0 - 100) };
    let freed = bench.commit(Persist::Expire { overdue, fence: Fence(50), at: NOW }).unwrap().freed;
    assert_eq!(freed, ids(&[47, 49]));
    assert_eq!(bench.by(Claimed::No), [47, 48, 49]);
    assert_eq!(bench.by(Claimed::By(ME)), [44, 45, 46]);
    assert!(bench.complete(&[47], Fence(47), NOW).is_err());
}

fn claim_refused(id: u64) {
    let bench = bench(&[mine(44), free(45), complete(free(53))]);
    assert_eq!(bench.claim(&[45, id], NEXT, NOW), Err(Refusal::AlreadyClaimed(RequestId(id))));
    assert_eq!(bench.by(Claimed::No), [45]);
}

fn claim_twice() {
    let bench = bench(&[free(44)]);
    assert_eq!(bench.claim(&[44, 44], NEXT, NOW), Err(Refusal::AlreadyClaimed(RequestId(44))));
}

fn claimed_at_zero() {
    let bench = bench(&[held(44, OTHER, OTHERS, Timestamp(0))]);
    assert_eq!((bench.by(Claimed::No), bench.by(Claimed::Yes)), (vec![44], vec![]));
    let record = bench.record(44);
    assert_eq!((record.claimed, record.claimed_at, record.claimed_by_masterid), (false, None, None));
    bench.claim(&[44], NEXT, NOW).unwrap();
}

fn complete_with_retry() {
    let bench = bench(&[mine(44)]);
    let retry = Persist::Complete { requests: ids(&[44]), fence: MINE, outcome: Outcome::Retry, at: NOW };
    assert_eq!(bench.commit(retry), Err(Refusal::RetryIsNoEnd(RequestId(44))));
}

fn set_priority() {
    let bench = bench(&[mine(44), free(45), complete(mine(46))]);
    bench.commit(Persist::SetPriority { requests: ids(&[44, 45]), priority: 9 }).unwrap();
    assert_eq!([44, 45].map(|id| bench.record(id).priority), [9, 9]);
    assert_eq!(bench.store.request(RequestId(45)).unwrap().unwrap().version, 2);
    let done = bench.commit(Persist::SetPriority { requests: ids(&[45, 46]), priority: 1 });
    assert_eq!(done, Err(Refusal::NotOpen(RequestId(46))));
}

#[test]
fn records_come_in_the_order_and_the_page_that_are_asked_for_whichever_way_they_are_found() {
    let rows: Vec<Request> = (1..=60)
        .map(|id| {
            let row = match id % 4 {
                0 => free(id),
                1 => mine(id),
                2 => complete(others(id)),
                _ => complete(free(id)),
            };
            of(
                Request { priority: i32::try_from(id % 5).unwrap(), ..row },
                ["a", "b", "c"][id as usize % 3],
                id % 7,
            )
        })
        .collect();
    let bench = bench(&rows);
    let number = |row: &Request| BuilderId(bench.store.builder_id(&row.builder).unwrap().unwrap().0);
    let order = |field, descending| windlass_core::request_record::Order { field, descending };
    let names = |names: &[&str]| Filter {
        field: Field::Buildername,
        operator: Operator::Eq,
        values: names.iter().map(|name| Datum::Text((*name).to_owned())).collect(),
    };
    let orders = [
        vec![],
        vec![order(Field::Buildrequestid, true)],
        vec![order(Field::Priority, true), order(Field::Buildername, false)],
    ];
    let mut checked = 0;
    for (offset, limit) in [(0, None), (0, Some(7)), (3, Some(5)), (50, Some(50))] {
        for order in &orders {
            for filters in [vec![], vec![names(&["a", "c"])], vec![names(&["b"])]] {
                for complete in [None, Some(true), Some(false)] {
                    for claimed in [None, Some(Claimed::No), Some(Claimed::Yes), Some(Claimed::By(ME))] {
                        for bsid in [None, Some(BuildsetId(2))] {
                            let spec = ResultSpec {
                                filters: filters.clone(),
                                order: order.clone(),
                                offset,
                                limit,
                                fields: Vec::new(),
                            };
                            let wanted = Wanted { complete, claimed, bsid, spec, ..Wanted::default() };
                            // What is meant, with no index at all.
                            let all = rows.iter().map(|row| Record::of(row, number(row)));
                            let meant = wanted.spec.page(all.filter(|record| wanted.takes(record)).collect());
                            assert_eq!(bench.store.request_records(&wanted).unwrap(), meant, "{wanted:?}");
                            checked += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(checked, 4 * 3 * 3 * 3 * 4 * 2);
}
