//! What a master finds when it starts, and what it refuses.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use windlass_core::digest::Digest;
use windlass_core::id::{BuildId, Fence, LogId, MasterId, RequestId, StepId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::properties::Properties;
use windlass_core::record::{BuildRow, LogRow, StepRow};
use windlass_core::time::Timestamp;
use windlass_master::StartError;

use crate::place::{Place, builder, config, force, open, stop};

#[tokio::test]
async fn requests_and_the_generation_survive_a_restart() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    let forced = master.force(force("b1")).await.unwrap();
    let mode = std::fs::metadata(master.state_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    stop(master).await;

    let master = place.start().await;
    let status = master.status();
    assert_eq!(status.generation, 1, "the same plugins are the same generation");
    assert_eq!(status.problems, [""; 0]);
    assert!(!master.buildset(forced.buildset).unwrap().unwrap().requests[0].claimed);
    stop(master).await;

    place.drop_plugin("mine", "sticky");
    let master = place.start().await;
    assert_eq!(master.status().generation, 2, "other plugins are another generation");
    stop(master).await;
}

#[tokio::test]
async fn a_build_that_was_cut_off_ends_as_retry_and_its_request_waits_again() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    let forced = master.force(force("b1")).await.unwrap();
    let state = master.state_dir().to_owned();
    stop(master).await;

    // As a killed master leaves it.
    let (request, fence, build, step) = (RequestId(forced.requests[0]), Fence(1_000), BuildId(1), StepId(1));
    let store = open(&state).await;
    let row = build_row(request, fence);
    let hook = "windlass:shell-command".to_owned();
    let running = StepRow::begun(step, build, 0, "true".to_owned(), hook, Digest::of(b""), Timestamp(1));
    let log = LogRow::begun(LogId(1), build, step, "stdio".to_owned());
    let batch = vec![
        Persist::Claim { requests: vec![request], master: MasterId(1), fence, at: Timestamp(1) },
        Persist::PutBuild(row),
        Persist::PutStep { fence, step: running },
        Persist::PutLog { fence, log },
    ];
    store.commit(batch).await.unwrap();
    store.close();
    drop(store);

    let master = place.start().await;
    let detail = master.build(1).unwrap().unwrap();
    assert_eq!(detail.build.outcome, Some(Outcome::Retry));
    assert!(detail.build.summary.contains("restarted"), "{}", detail.build.summary);
    assert_eq!(detail.steps[0].outcome, Some(Outcome::Retry));
    assert!(detail.steps[0].logs[0].finished);
    let request = &master.buildset(forced.buildset).unwrap().unwrap().requests[0];
    assert!(!request.claimed && request.outcome.is_none(), "{request:?}");
    assert!(master.status().running.is_empty());
    let chunk = master.follow_log(1, "true", "stdio", 0, 100).await.unwrap();
    assert!(chunk.finished && chunk.pieces.is_empty());
    let error = master.read_log(1, "0", "nope", 0, 100).unwrap_err();
    assert_eq!(error.to_string(), "step `true` of build 1 has no log `nope`; it has `stdio`");
    master.shutdown().await;
}

/// The row of build 1, which runs.
pub fn build_row(request: RequestId, fence: Fence) -> BuildRow {
    BuildRow {
        id: BuildId(1),
        number: 1,
        builder: "b1".to_owned(),
        requests: vec![request],
        fence,
        worker: "w1".to_owned(),
        stamps: Vec::new(),
        reason: "force".to_owned(),
        generation: 1,
        plugins: BTreeMap::new(),
        components: Vec::new(),
        properties: Properties::default(),
        started: Timestamp(1),
        complete: None,
        summary: String::new(),
        plan: None,
    }
}

#[tokio::test]
async fn a_second_master_in_the_same_state_is_refused() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    let error = place.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::Open(_)) && !error.is_invalid(), "{error:?}");
    assert_eq!(master.status().generation, 1);
    master.shutdown().await;
}

#[tokio::test]
async fn a_master_that_cannot_start_says_everything_that_is_wrong() {
    let place =
        Place::new(&(config("") + &builder("b1", "nex_slave = 'x'") + &builder("b3", "next_slave = 'nope'")));
    let error = place.try_start().await.unwrap_err();
    let text = error.details().concat();
    assert!(error.is_invalid(), "{error:?}");
    assert!(text.contains("nex_slave") && text.contains("nope") && text.contains("b1"), "{text}");

    place.write(&config(""));
    std::fs::write(place.path("plugins/broken.wasm"), b"no").unwrap();
    let error = place.try_start().await.unwrap_err();
    assert!(error.is_invalid() && error.details()[0].contains("broken"), "{error:?}");
    std::fs::remove_file(place.path("plugins/broken.wasm")).unwrap();

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.write(&config("").replace("127.0.0.1:0", &address));
    let error = place.try_start().await.unwrap_err();
    let expected = format!("failed to listen for workers on `{address}`, which `listen` in [master] says");
    assert_eq!(error.to_string(), expected);
    drop(taken);
    place.start().await.shutdown().await;
}
