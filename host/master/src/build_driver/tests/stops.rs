//! Steps that are stopped by themselves, and steps that have had their time.

use super::*;
use crate::build_driver::StopStep;

fn always(name: &str) -> StepSpec {
    StepSpec { flags: Flags { always_run: true, ..Flags::default() }, ..shell(name) }
}

fn brief(name: &str) -> StepSpec {
    StepSpec { deadline_ms: Some(50), ..shell(name) }
}

/// A build whose first command has started.
async fn begun(steps: Vec<StepSpec>) -> (Bench, Scripted, CommandUid) {
    begun_within(BOUND, steps).await
}

/// The same where steps may take so long to stop.
async fn begun_within(stop_grace: Duration, steps: Vec<StepSpec>) -> (Bench, Scripted, CommandUid) {
    let bench = Bench::within(world_with(limits(), windlass_store::Options::default()).await, stop_grace);
    let (mut worker, _) = Scripted::join(&bench.linked, hello("w1")).await;
    bench.start(steps).await;
    let ToWorker::Start(start) = worker.hear().await else { panic!("a start is due") };
    (bench, worker, start.command)
}

/// Hears of an interrupt.
async fn interrupted(worker: &mut Scripted) -> (CommandUid, String) {
    loop {
        if let ToWorker::Interrupt { command, reason } = worker.hear().await {
            return (command, reason);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_stopped_by_its_name_or_its_place_and_no_other_is() {
    let (mut bench, mut worker, first) = begun(vec![shell("test"), shell("more"), always("clean")]).await;
    let stop = async |bench: &Bench, step: &str| bench.builds.stop_step(BuildId(1), step, "by ana").await;
    assert_eq!(stop(&bench, "more").await, StopStep::Elsewhere(Some("test".to_owned())));
    assert_eq!(stop(&bench, "test").await, StopStep::Asked);
    assert_eq!(interrupted(&mut worker).await, (first.clone(), "by ana".to_owned()));
    done(&mut worker, first, 1, &[], -1).await;
    // What always runs does so, and can be stopped in its turn.
    let clean = loop {
        if let ToWorker::Start(start) = worker.hear().await {
            break start.command;
        }
    };
    assert_eq!(stop(&bench, "0").await, StopStep::Elsewhere(Some("clean".to_owned())));
    assert_eq!(stop(&bench, "1").await, StopStep::Asked);
    assert_eq!(interrupted(&mut worker).await.0, clean);
    done(&mut worker, clean, 1, &[], -1).await;
    assert_eq!(bench.ended().await, Outcome::Cancelled);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    let ends: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.complete.unwrap().outcome)).collect();
    assert_eq!(ends, [("test", Outcome::Cancelled), ("clean", Outcome::Cancelled)]);
    assert_eq!(stop(&bench, "test").await, StopStep::NoBuild);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_deadline_passes_is_told_and_has_failed_and_its_build_goes_on() {
    let (mut bench, mut worker, first) = begun(vec![brief("test"), shell("more")]).await;
    let (command, reason) = interrupted(&mut worker).await;
    assert_eq!((command, reason.as_str()), (first.clone(), "its deadline of 0.05 s has passed"));
    done(&mut worker, first, 1, &[], -1).await;
    let more = loop {
        if let ToWorker::Start(start) = worker.hear().await {
            break start.command;
        }
    };
    done(&mut worker, more, 1, &[], 0).await;
    assert_eq!(bench.ended().await, Outcome::Failure);
    assert_eq!(bench.build().summary, "test: failure: its deadline of 0.05 s has passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_does_not_heed_its_deadline_is_ended_by_the_host() {
    let steps = vec![brief("test"), shell("more")];
    let (mut bench, mut worker, _) = begun_within(Duration::from_secs(2), steps).await;
    // Its command goes on for ever.
    interrupted(&mut worker).await;
    assert_eq!(bench.ended().await, Outcome::Exception);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    let fault = steps[0].fault.clone().unwrap();
    assert!(steps.len() == 1 && fault.contains("did not stop at its deadline"), "{fault}");
}

/// Symptom: of a build that was stopped, the steps that always run were cancelled, too, however they ended. Cause: the
/// order was told to the build again at the end of each step. Cure: it is told once.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_always_runs_is_let_alone_by_the_stop_before_it() {
    let (mut bench, mut worker, first) = begun(vec![shell("test"), always("clean")]).await;
    assert!(bench.builds.stop(BuildId(1), "by ana").await);
    assert_eq!(interrupted(&mut worker).await.0, first);
    done(&mut worker, first, 1, &[], -1).await;
    let clean = loop {
        if let ToWorker::Start(start) = worker.hear().await {
            break start.command;
        }
    };
    done(&mut worker, clean, 1, &[], 0).await;
    assert_eq!(bench.ended().await, Outcome::Cancelled);
    let steps = bench.linked.store.steps(BuildId(1)).unwrap();
    let ends: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.complete.unwrap().outcome)).collect();
    assert_eq!(ends, [("test", Outcome::Cancelled), ("clean", Outcome::Success)]);
}
