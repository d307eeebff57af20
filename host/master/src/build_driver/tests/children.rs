//! Builds that wait for others, and builds that others do not want any more.

use windlass_config::config::{Scheduler, SchedulerKind};

use super::*;
use crate::withdraw::WithdrawError;
use crate::world::World;

fn triggers(args: &str) -> StepSpec {
    StepSpec { args: args.to_owned(), ..StepSpec::new("trigger", "windlass:trigger") }
}

/// The master has triggerable schedulers of these names.
fn triggerable(bench: &Bench, names: &[&str]) {
    // Those of the build that triggers have numbers of their own.
    let ids = bench.linked.store.ids();
    assert_eq!((ids.next_buildset(), ids.next_request()), (BuildsetId(1), RequestId(1)));
    let scheduler = |name: &&str| Scheduler {
        name: (*name).to_owned(),
        builders: vec![format!("of-{name}")],
        priority: 0,
        properties: Properties::default(),
        kind: SchedulerKind::Triggerable,
    };
    let config = config::Master { schedulers: names.iter().map(scheduler).collect(), ..master() };
    let world = World { config: Arc::new(config), generation: Arc::clone(&bench.generation) };
    bench.builds.configure(Arc::new(world));
}

/// Symptom: two builds that waited for each other were not found out if one of them waited for two buildsets. Cause: the
/// wait for the first of them was given back when that for both was there already, and took it along. Cure: it is given
/// back before.
#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_a_second_buildset_stands_in_the_place_of_the_first() {
    let mut bench = Bench::new(limits(), windlass_store::Options::default()).await;
    triggerable(&bench, &["a", "b"]);
    bench.standing.send_replace(Standing::Held);
    bench.start(vec![triggers(r#"{"schedulers":["a","b"],"wait_for_finish":true}"#)]).await;
    let mut submitted = bench.linked.store.changed(BuildId(1));
    while bench.linked.store.buildset(BuildsetId(3)).unwrap().is_none() {
        submitted.changed().await.unwrap();
    }
    assert_eq!(*bench.waits.lock().unwrap(), [Some(1), None, Some(2)]);
    assert!(bench.builds.stop(BuildId(1), "enough").await);
    assert_eq!(bench.ended().await, Outcome::Cancelled);
    assert_eq!(bench.waits.lock().unwrap().last(), Some(&None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_refused_leaves_that_for_the_others() {
    let mut bench = Bench::new(limits(), windlass_store::Options::default()).await;
    triggerable(&bench, &["a"]);
    bench.standing.send_replace(Standing::Refused("a circle".to_owned()));
    bench.start(vec![triggers(r#"{"schedulers":["a"],"wait_for_finish":true}"#)]).await;
    assert_eq!(bench.ended().await, Outcome::Exception);
    assert_eq!(*bench.waits.lock().unwrap(), [Some(1), None]);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    assert!(steps[0].fault.as_ref().unwrap().contains("a circle"), "{steps:?}");
}

/// Symptom: when somebody stopped a build, what it had triggered was cancelled for another build, too, whose request the
/// same build served. Cause: to cancel a request was to stop its build. Cure: the build goes on for the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_taken_out_of_the_build_that_serves_others_too() {
    let mut bench = Bench::new(limits(), windlass_store::Options::default()).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start_for(&[1, 2, 3], vec![shell("echo")]).await;
    let ToWorker::Start(start) = worker.hear().await else { panic!("a start is due") };
    bench.builds.withdraw(RequestId(1)).await.unwrap();
    bench.builds.withdraw(RequestId(3)).await.unwrap();
    let again = bench.builds.withdraw(RequestId(1)).await.unwrap_err();
    assert!(matches!(again, WithdrawError::Complete(1, Outcome::Cancelled)), "{again}");
    // The last one goes with its build.
    let last = bench.builds.withdraw(RequestId(2)).await.unwrap_err();
    assert!(matches!(last, WithdrawError::Building { request: 2, build: BuildId(1) }), "{last}");
    done(&mut worker, start.command, 1, &[], 0).await;
    assert_eq!(bench.ended().await, Outcome::Success);
    let ends: Vec<_> = [1, 2, 3]
        .map(|id| bench.linked.store.request(RequestId(id)).unwrap().unwrap().complete.unwrap().outcome)
        .to_vec();
    assert_eq!(ends, [Outcome::Cancelled, Outcome::Success, Outcome::Cancelled]);
    assert_eq!(bench.build().requests.len(), 3, "it was begun for all of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_out_of_a_build_is_not_built_again_with_it() {
    let limits = LinkLimits { grace: Duration::from_millis(20), ..limits() };
    let mut bench = Bench::new(limits, windlass_store::Options::default()).await;
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start_for(&[1, 2], vec![shell("echo")]).await;
    assert!(matches!(worker.hear().await, ToWorker::Start(_)));
    bench.builds.withdraw(RequestId(1)).await.unwrap();
    drop(worker);
    assert_eq!(bench.ended().await, Outcome::Retry);
    assert_eq!(bench.request().complete.unwrap().outcome, Outcome::Cancelled);
    let other = bench.linked.store.request(RequestId(2)).unwrap().unwrap();
    assert_eq!((other.claim, other.complete), (None, None));
    let kept = crate::build_driver::retries::Retries::load(&bench.linked.store).unwrap();
    assert_eq!((kept.of(&[RequestId(1)]), kept.of(&[RequestId(2)])), (0, 1));
}
