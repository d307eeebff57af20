//! The ways in which a command may end without an answer of its own, each with its own words; and updates that come
//! twice or too late.

use super::*;

/// How a feed ends that gets no more updates.
async fn lost(feed: &mut CommandFeed) -> String {
    match tokio::time::timeout(BOUND, feed.recv()).await.expect("an event comes in time") {
        Some(CommandEvent::Lost(failure)) => {
            assert_eq!((failure.code.as_str(), failure.retryable), ("worker-lost", true));
            failure.message
        }
        other => panic!("{other:?}"),
    }
}

fn short_grace() -> LinkLimits {
    LinkLimits { grace: Duration::from_millis(50), ..limits() }
}

#[tokio::test]
async fn worker_that_was_never_there_is_not_connected() {
    let world = world(limits()).await;
    let refused = world.links.start_command("w1", start("u1")).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.retryable), ("worker-lost", true));
    assert_eq!(refused.message, "worker `w1` is not connected");
}

#[tokio::test]
async fn worker_that_is_lost_before_the_start() {
    let world = world(LinkLimits { grace: Duration::from_millis(500), ..limits() }).await;
    let mut told = told(&world).await;
    let (worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    drop(worker);
    told("down w1").await;
    // It may still come back.
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    let message = lost(&mut feed).await;
    assert!(message.starts_with("worker `w1` was lost before the command was sent to it: "), "{message}");
}

#[tokio::test]
async fn worker_that_does_not_answer_the_start() {
    let world = world(LinkLimits { keepalive: Duration::from_millis(50), ..short_grace() }).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    // It hears the start, and is silent from then on, to pings as well.
    while !matches!(worker.hear().await, ToWorker::Start(_)) {}
    let message = lost(&mut feed).await;
    let expected = "worker `w1` was lost before it answered the start of the command: ";
    assert!(message.starts_with(expected), "{message}");
}

#[tokio::test]
async fn worker_that_is_lost_while_the_command_runs() {
    let world = world(short_grace()).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    worker.hear().await;
    worker.log("u1", 1, "begun").await;
    assert_eq!(next(&mut feed).await, "1 begun");
    drop(worker);
    let message = lost(&mut feed).await;
    assert!(message.starts_with("worker `w1` was lost while the command ran: "), "{message}");
}

#[tokio::test]
async fn update_that_comes_twice_counts_once_and_one_after_the_end_never() {
    let world = world(limits()).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    worker.hear().await;
    worker.log("u1", 1, "one").await;
    worker.log("u1", 1, "one again").await;
    worker.log("u1", 2, "two").await;
    worker.done("u1", 3).await;
    worker.done("u1", 3).await;
    for expected in ["1 one", "2 two", "3 done"] {
        assert_eq!(next(&mut feed).await, expected);
    }
    let uid = CommandUid("u1".to_owned());
    world.links.ack("w1", &uid, 3);
    assert_eq!(worker.hear().await, ToWorker::Ack { command: uid.clone(), number: 3 });
    assert_eq!(next(&mut feed).await, "end");
    // The master does not know the command any more: the worker may forget it, too.
    worker.log("u1", 4, "too late").await;
    assert!(matches!(worker.hear().await, ToWorker::Interrupt { command, .. } if command == uid));
    assert_eq!(worker.hear().await, ToWorker::Ack { command: uid, number: 4 });
}
