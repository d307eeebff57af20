//! Who may transfer what: tokens, workers, and those who break the rules.

use bytes::Bytes;
use windlass_core::artifact::Keep;
use windlass_core::digest::Digest;
use windlass_core::id::{BuildId, Fence, StepId};
use windlass_protocol::transfer::{PART, SentKind, WINDOW};
use windlass_store::Store;

use super::*;
use crate::clock::ManualClock;

/// What a worker hears on its link.
struct Hearing {
    line: Line,
    control: mpsc::UnboundedReceiver<ToWorker>,
    parts: mpsc::Receiver<ToWorker>,
    _held: (mpsc::UnboundedSender<ToWorker>, mpsc::Sender<ToWorker>),
}

impl Hearing {
    fn new() -> Hearing {
        let (control, heard) = mpsc::unbounded_channel();
        let (parts, bulk) = mpsc::channel(2);
        let line = Line { control: control.downgrade(), parts: parts.downgrade() };
        Hearing { line, control: heard, parts: bulk, _held: (control, parts) }
    }

    async fn over(&mut self) -> Result<u64, Failure> {
        loop {
            if let ToWorker::Over { how, .. } = self.control.recv().await.unwrap() {
                return how;
            }
        }
    }

    async fn code(&mut self) -> String {
        self.over().await.unwrap_err().code
    }
}

fn id(n: u32) -> TransferId {
    TransferId(format!("c.{n}"))
}

fn sent() -> Sent {
    Sent { kind: SentKind::File, mode: 0o644, modified_ms: None, compression: None }
}

fn data(bytes: usize) -> Part {
    Part::Data { data: Bytes::from(vec![1; bytes]) }
}

struct World {
    _folder: tempfile::TempDir,
    store: Store,
    transfers: Transfers,
    closed: CancellationToken,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), windlass_store::Options::default()).unwrap();
        let transfers = Transfers::new(TaskTracker::new());
        World { _folder: folder, store, transfers, closed: CancellationToken::new() }
    }

    fn accept(&self, token: &str) {
        let accept = Arc::new(Accept {
            store: self.store.clone(),
            clock: Arc::new(ManualClock::default()),
            build: BuildId(1),
            fence: Fence(1),
            step: StepId(1),
            name: "a".into(),
            limit: Keep::default().limit(1_000_000),
            keep_free: 0,
            stored: Arc::default(),
        });
        self.grant(token, Grant::Accept(accept));
    }

    fn grant(&self, token: &str, grant: Grant) {
        self.transfers.grant(token.into(), "w".into(), grant, self.closed.clone());
    }

    fn offer(&self, token: &str, bytes: Vec<u8>) {
        self.grant(token, Grant::Offer(Source::Bytes(Arc::new(Mutex::new(vec![bytes.into()])))));
    }

    fn unfinished(&self) -> usize {
        let path = self.store.artifact_files().unfinished(windlass_core::id::ArtifactId(1));
        std::fs::read_dir(path.parent().unwrap()).unwrap().count()
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_worker_its_kind_and_one_upload() {
    let world = World::new();
    let mut hearing = Hearing::new();
    let line = || hearing.line.clone();
    world.accept("up");
    world.offer("down", b"x".to_vec());
    for (n, worker, token) in [(1, "other", "up"), (2, "w", "unknown"), (3, "w", "down")] {
        world.transfers.on_send(worker, line(), id(n), token, &sent());
    }
    world.transfers.on_receive("w", line(), id(4), "up", 0);
    world.transfers.on_receive("other", line(), id(5), "down", 0);
    world.transfers.on_send("w", line(), id(6), "up", &sent());
    world.transfers.on_send("w", line(), id(7), "up", &sent());
    for _ in 0..6 {
        assert_eq!(hearing.code().await, "denied");
    }
    world.transfers.revoke(&["up".into()]);
    world.transfers.on_send("w", hearing.line.clone(), id(8), "up", &sent());
    assert_eq!(hearing.code().await, "denied");
}

#[tokio::test]
async fn who_shows_a_token_that_is_expected_waits_until_it_is_granted_or_taken_back() {
    let world = World::new();
    let mut hearing = Hearing::new();
    let expect = |token: &str| world.transfers.expect(token.into(), "w".into(), world.closed.clone());
    expect("up");
    expect("never");
    world.transfers.on_send("w", hearing.line.clone(), id(1), "up", &sent());
    world.transfers.on_send("w", hearing.line.clone(), id(2), "never", &sent());
    assert!(hearing.control.try_recv().is_err());
    world.accept("up");
    let ready = ToWorker::Ready { transfer: id(1), received: 0 };
    assert_eq!(hearing.control.recv().await, Some(ready));
    world.transfers.revoke(&["never".into()]);
    assert_eq!(hearing.code().await, "denied");
}

/// The worker's program died in the middle of an upload, and its next start does the same again.
#[tokio::test]
async fn an_upload_of_an_earlier_link_makes_room_for_another_under_its_token() {
    let world = World::new();
    let (mut hearing, next) = (Hearing::new(), Hearing::new());
    world.accept("up");
    world.transfers.on_send("w", hearing.line.clone(), id(1), "up", &sent());
    world.transfers.on_send("w", hearing.line.clone(), id(2), "up", &sent());
    assert_eq!(hearing.code().await, "denied");
    world.transfers.on_link("w");
    let mut next = next;
    world.transfers.on_send("w", next.line.clone(), id(3), "up", &sent());
    let ready = ToWorker::Ready { transfer: id(3), received: 0 };
    assert_eq!(next.control.recv().await, Some(ready));
}

#[tokio::test]
async fn a_download_that_is_not_known_any_more_begins_again() {
    let world = World::new();
    let mut hearing = Hearing::new();
    world.offer("down", b"x".to_vec());
    world.transfers.on_receive("w", hearing.line.clone(), id(1), "down", 5);
    assert_eq!(hearing.code().await, BEGIN_AGAIN);
}

#[tokio::test]
async fn a_worker_that_leaves_parts_out_or_floods_loses_its_link() {
    let world = World::new();
    let hearing = Hearing::new();
    world.accept("a");
    world.accept("b");
    world.transfers.on_send("w", hearing.line.clone(), id(1), "a", &sent());
    world.transfers.on_send("w", hearing.line.clone(), id(2), "b", &sent());
    assert!(world.transfers.on_part("w", id(1), 2, data(1)).is_err());
    // Nothing is written meanwhile: the task had no turn yet.
    let flood = (1..).map(|number| world.transfers.on_part("w", id(2), number, data(PART)));
    let taken = flood.take_while(Result::is_ok).count();
    assert!(taken <= WINDOW / PART, "{taken}");
    assert_eq!(world.transfers.on_part("w", id(9), 7, data(1)), Ok(()), "of one that is over");
}

#[tokio::test]
async fn what_is_given_up_or_whose_step_ends_leaves_nothing() {
    let world = World::new();
    for end in ["give up", "revoke"] {
        let hearing = Hearing::new();
        world.accept("t");
        world.transfers.on_send("w", hearing.line.clone(), id(1), "t", &sent());
        world.transfers.on_part("w", id(1), 1, data(PART)).unwrap();
        while world.unfinished() == 0 {
            tokio::task::yield_now().await;
        }
        match end {
            "give up" => world.transfers.on_give_up("w", id(1)),
            _ => world.transfers.revoke(&["t".into()]),
        }
        while world.unfinished() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn what_came_is_compared_with_what_was_sent() {
    let world = World::new();
    let mut hearing = Hearing::new();
    world.accept("t");
    world.transfers.on_send("w", hearing.line.clone(), id(1), "t", &sent());
    world.transfers.on_part("w", id(1), 1, data(10)).unwrap();
    let end = Part::End { bytes: 10, hash: Digest::of(b"something else") };
    world.transfers.on_part("w", id(1), 2, end).unwrap();
    let failure = hearing.over().await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retryable), ("io", true));
    world.accept("large");
    world.transfers.on_send("w", hearing.line.clone(), id(2), "large", &sent());
    for number in 1..=40 {
        world.transfers.on_part("w", id(2), number, data(PART)).unwrap();
    }
    assert_eq!(hearing.code().await, "too-large");
    while world.unfinished() > 0 {
        tokio::task::yield_now().await;
    }
    // The word may be lost with the link: it is said again on the next one.
    let mut next = Hearing::new();
    world.transfers.on_send("w", next.line.clone(), id(2), "large", &sent());
    assert_eq!(next.code().await, "too-large");
}

#[tokio::test]
async fn a_download_goes_on_with_the_next_link_from_where_it_was() {
    let world = World::new();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    world.offer("t", bytes.clone());
    let mut hearing = Hearing::new();
    world.transfers.on_receive("w", hearing.line.clone(), id(1), "t", 0);
    let (mut received, mut seen) = (Vec::new(), 0);
    let end = loop {
        if seen % 11 == 10 {
            // A part is lost with the link.
            hearing.parts.recv().await.unwrap();
            hearing = Hearing::new();
            world.transfers.on_receive("w", hearing.line.clone(), id(1), "t", seen);
        }
        let ToWorker::Part { number, part, .. } = hearing.parts.recv().await.unwrap() else {
            panic!("a part")
        };
        if number <= seen {
            continue;
        }
        assert_eq!(number, seen + 1);
        seen = number;
        world.transfers.on_taken("w", id(1), seen);
        match part {
            Part::Data { data } => received.extend_from_slice(&data),
            Part::End { bytes, hash } => break (bytes, hash),
        }
    };
    assert!(received == bytes);
    assert_eq!(end, (bytes.len() as u64, Digest::of(&bytes)));
}

#[tokio::test]
async fn a_worker_has_a_few_transfers_at_a_time() {
    let world = World::new();
    let mut hearing = Hearing::new();
    world.offer("t", vec![0; 5_000_000]);
    let most = u32::try_from(MOST_OF_A_WORKER).unwrap();
    for n in 0..=most {
        world.transfers.on_receive("w", hearing.line.clone(), id(n), "t", 0);
    }
    let failure = hearing.over().await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retryable), ("quota", true));
}

/// Symptom: a worker had "8 transfers under way already" for as long as a step ran. Cause: what it had given up without
/// a link to say so counted. Cure: what it does not take up on a new link does not count, and goes after some.
#[tokio::test]
async fn what_a_worker_takes_up_no_more_does_not_crowd_it_out() {
    let world = World::new();
    let mut hearing = Hearing::new();
    world.offer("t", vec![0; 5_000_000]);
    let most = u32::try_from(MOST_OF_A_WORKER).unwrap();
    let receive = |hearing: &Hearing, n| world.transfers.on_receive("w", hearing.line.clone(), id(n), "t", 0);
    (0..most).for_each(|n| receive(&hearing, n));
    receive(&hearing, 90);
    assert_eq!(hearing.code().await, "quota");
    // On the next link there is one of them only.
    let mut next = Hearing::new();
    world.transfers.on_link("w");
    receive(&next, 0);
    (91..90 + most).for_each(|n| receive(&next, n));
    receive(&next, 99);
    assert_eq!(next.code().await, "quota");
    for _ in 0..=MISSED {
        world.transfers.on_link("w");
    }
    assert!(world.transfers.desk().workers["w"].downloads.is_empty());
}
