//! Steps that wait for locks.

use windlass_core::lock::Mode;

use super::*;

const WAITS: &str = "waits for lock `db`, held by build 7 of `nightly`";

fn locking(name: &str) -> StepSpec {
    let access = Access { lock: "db".to_owned(), mode: Mode::Counting(1) };
    StepSpec { locks: vec![access], ..shell(name) }
}

impl Bench {
    /// Starts a build whose first step waits, and returns once everybody can see that.
    async fn waiting() -> (Bench, Scripted) {
        let bench = Bench::new(limits(), windlass_store::Options::default()).await;
        let (worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
        bench.standing.send_replace(Standing::Waits(WAITS.to_owned()));
        bench.start(vec![locking("first"), shell("second")]).await;
        let seen = async {
            while bench.linked.store.steps(BuildId(1)).unwrap().first().is_none_or(|s| s.summary != WAITS) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, seen).await.expect("the wait is shown in time");
        assert!(!bench.unlocked.load(Ordering::SeqCst));
        (bench, worker)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn step_runs_once_it_has_its_locks_and_gives_them_back_at_its_end() {
    let (mut bench, mut worker) = Bench::waiting().await;
    bench.standing.send_replace(Standing::Held);
    let ToWorker::Start(start) = worker.hear().await else { panic!("a start is due") };
    let step = bench.linked.store.steps(BuildId(1)).unwrap().remove(0);
    assert_eq!(step.summary, "", "it waits no more");
    assert!(!bench.unlocked.load(Ordering::SeqCst), "it has them while it runs");
    done(&mut worker, start.command, 1, &[], 0).await;
    let second = loop {
        if let ToWorker::Start(start) = worker.hear().await {
            break start;
        }
    };
    assert!(bench.unlocked.load(Ordering::SeqCst));
    done(&mut worker, second.command, 1, &[], 0).await;
    assert_eq!(bench.ended().await, Outcome::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn build_that_is_stopped_waits_for_locks_no_more() {
    let (mut bench, _worker) = Bench::waiting().await;
    assert!(bench.builds.stop(BuildId(1), "by ana").await);
    assert_eq!(bench.ended().await, Outcome::Cancelled);
    assert!(bench.unlocked.load(Ordering::SeqCst));
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    assert_eq!((steps.len(), steps[0].summary.as_str()), (1, &*format!("was stopped while it {WAITS}")));
    assert_eq!(steps[0].complete.unwrap().outcome, Outcome::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn step_that_would_wait_for_ever_fails_with_the_circle() {
    let (mut bench, _worker) = Bench::waiting().await;
    let circle = "build 1 of `unit` waits for lock `db`, held by build 1 of `unit`";
    bench.standing.send_replace(Standing::Refused(circle.to_owned()));
    assert_eq!(bench.ended().await, Outcome::Exception);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    let fault = format!("step `first` would wait for ever: {circle}");
    assert_eq!((steps.len(), steps[0].fault.clone()), (1, Some(fault)));
    assert!(bench.unlocked.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn build_that_waits_for_locks_when_the_master_goes_down_is_left_as_it_stands() {
    let (mut bench, _worker) = Bench::waiting().await;
    bench.builds.shutdown().await;
    assert!(bench.ended.try_recv().is_err());
    assert!(bench.build().complete.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn step_that_is_stopped_by_itself_waits_for_locks_no_more() {
    let (mut bench, _worker) = Bench::waiting().await;
    let stop = async |step| bench.builds.stop_step(BuildId(1), step, "by ana").await;
    assert_eq!(stop("second").await, super::super::StopStep::Elsewhere(Some("first".to_owned())));
    assert_eq!(stop("first").await, super::super::StopStep::Asked);
    assert_eq!(bench.ended().await, Outcome::Cancelled);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    assert_eq!(steps[0].summary, format!("was stopped while it {WAITS}"));
}
