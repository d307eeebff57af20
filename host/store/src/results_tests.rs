//! Test results and figures: written with their step, read by pages.

use std::sync::Arc;

use windlass_core::id::{BuildId, Fence, RequestId, StepId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Persist, Refusal};
use windlass_core::test_result::TestResult;

use crate::test_rows::*;
use crate::{CommitError, Options, Store, TestFilter, TestPlace};

const ALL: TestFilter = TestFilter { step: None, failed: false, after: None, limit: 100, max_bytes: 1 << 20 };

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let begun =
        vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1), step(1, 1, 0, 1), step(2, 1, 1, 1)];
    store.commit(begun).await.unwrap();
    (folder, store)
}

fn names(found: &[(TestPlace, TestResult)]) -> Vec<&str> {
    found.iter().map(|(_, result)| result.name[0].as_str()).collect()
}

#[tokio::test]
async fn results_are_read_in_order_by_pages_and_by_what_they_are() {
    let (_folder, store) = store().await;
    for (step, first) in [(1, 0), (1, 3), (2, 0)] {
        store.commit(tests(step, 1, first, 1)).await.unwrap();
    }
    let build = BuildId(1);
    let all = store.test_results(build, &ALL).unwrap();
    assert_eq!(names(&all.0), ["t0", "t1", "t2", "t3", "t4", "t5", "t0", "t1", "t2"]);
    assert!(!all.1);
    // Page by page, whatever the page's size, it is the same.
    for limit in 1..=9 {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = store.test_results(build, &TestFilter { after, limit, ..ALL }).unwrap();
            assert!(page.len() <= limit);
            after = page.last().map(|(place, _)| *place);
            paged.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(paged, all.0);
    }
    let of = |filter| store.test_results(build, &filter).unwrap();
    assert_eq!(names(&of(TestFilter { step: Some(StepId(2)), ..ALL }).0), ["t0", "t1", "t2"]);
    assert_eq!(names(&of(TestFilter { failed: true, ..ALL }).0), ["t1", "t4", "t1"]);
    let (one, more) = of(TestFilter { max_bytes: 0, ..ALL });
    assert_eq!((names(&one), more), (vec!["t0"], true));
    let last = TestPlace { step: StepId(2), index: 2 };
    assert!(of(TestFilter { step: Some(StepId(1)), after: Some(last), ..ALL }).0.is_empty());
    assert!(store.test_results(BuildId(2), &ALL).unwrap().0.is_empty());
    assert_eq!(store.verify().unwrap(), [""; 0]);
}

#[tokio::test]
async fn results_that_leave_a_gap_or_come_twice_are_refused() {
    let (_folder, store) = store().await;
    store.commit(tests(1, 1, 0, 1)).await.unwrap();
    for offered in [0, 2, 4] {
        let refused = store.commit(tests(1, 1, offered, 1)).await.unwrap_err();
        let gap = Refusal::TestGap { step: StepId(1), there: 3, offered };
        assert!(matches!(refused, CommitError::Refused(refusal) if refusal == gap));
    }
    let stale = store.commit(tests(1, 1, 3, 7)).await.unwrap_err();
    assert!(matches!(stale, CommitError::Refused(Refusal::StaleFence { .. })), "{stale}");
}

#[tokio::test]
async fn figures_belong_to_their_step_and_the_last_one_stays() {
    let (_folder, store) = store().await;
    let put = |step, name: &str, value| Persist::PutStatistic {
        fence: Fence(1),
        build: BuildId(1),
        step: StepId(step),
        name: name.into(),
        value,
    };
    let batch = vec![put(2, "warnings", 4.0), put(1, "size", 1.5), put(2, "warnings", 5.0)];
    store.commit(batch).await.unwrap();
    let figures = store.statistics(BuildId(1)).unwrap();
    assert_eq!(figures, [(StepId(1), "size".to_owned(), 1.5), (StepId(2), "warnings".to_owned(), 5.0)]);
    assert!(store.statistics(BuildId(2)).unwrap().is_empty());
    assert_eq!(store.verify().unwrap(), [""; 0]);
    assert!(store.request(RequestId(1)).unwrap().is_some());
}

#[tokio::test]
async fn a_step_whose_counts_are_not_those_of_its_results_is_a_flaw() {
    let (_folder, store) = store().await;
    let mut batch = tests(1, 1, 0, 1);
    batch.truncate(1);
    store.commit(batch).await.unwrap();
    let flaws = store.verify().unwrap();
    assert_eq!(flaws, ["step-1 has 3 tests, 1 failed, 1 skipped, and its row says 0 tests"]);
}

#[test]
fn a_result_reads_back_whole() {
    let result = TestResult {
        name: vec!["größe".into(), String::new()],
        outcome: Outcome::Exception,
        text: "x\0y".into(),
        duration_ms: Some(u32::MAX),
        log: Some("stdio".into()),
    };
    let row = crate::encode::pack_lean(&vec![result.clone()]);
    let read: Vec<TestResult> = crate::encode::unpack("test_results", 1, &row).unwrap();
    assert_eq!(read, std::slice::from_ref(&result));
    let _shared = Arc::new(read);
}
