//! Transfers over a link that is played here: what the other side says is said by the test.

use bytes::Bytes;
use std::thread::JoinHandle;
use windlass_core::digest::Digest;
use windlass_protocol::codec::Decoder;
use windlass_protocol::transfer::{PART, SentKind};
use windlass_runtime::port::TransferOptions;

use super::*;
use crate::beneath::Root;

fn uid() -> CommandUid {
    CommandUid("c0".into())
}

fn features() -> Vec<String> {
    vec![FEATURE.to_owned()]
}

/// A worker's side with a link, and the directory of a builder.
struct World {
    _base: tempfile::TempDir,
    root: Arc<Root>,
    outgoing: Arc<Outgoing>,
    transfers: Arc<Transfers>,
}

impl World {
    fn new() -> World {
        let (base, root) = Root::beside_a_precious_file();
        let outgoing = Arc::new(Outgoing::default());
        let transfers = Transfers::new(Arc::clone(&outgoing));
        let world = World { _base: base, root: Arc::new(root), outgoing, transfers };
        world.link(&features());
        world
    }

    fn link(&self, features: &[String]) {
        self.outgoing.set_linked(false);
        self.outgoing.set_linked(true);
        self.transfers.linked(features);
    }

    fn send(&self, options: TransferOptions) -> JoinHandle<Result<u64, Failure>> {
        let (transfers, root) = (Arc::clone(&self.transfers), Arc::clone(&self.root));
        std::thread::spawn(move || {
            transfers.send_file(&uid(), "token", &root, "data", &options, Work::undisturbed())
        })
    }

    fn receive(&self, max_bytes: Option<u64>) -> JoinHandle<Result<u64, Failure>> {
        let (transfers, root) = (Arc::clone(&self.transfers), Arc::clone(&self.root));
        std::thread::spawn(move || {
            let target = Target { path: "sub/back", mode: Some(0o640), max_bytes };
            transfers.receive_file(&uid(), "token", &root, target, &Work::undisturbed())
        })
    }

    /// The next control message, once there is one.
    fn said(&self) -> ToMaster {
        self.all_said(1).remove(0)
    }

    /// So many of them; no more come at that moment.
    fn all_said(&self, count: usize) -> Vec<ToMaster> {
        let mut said = Vec::new();
        while said.len() < count {
            said.extend(self.outgoing.take());
            std::thread::yield_now();
        }
        assert_eq!(said.len(), count, "{said:?}");
        said
    }

    /// The next part, once there is one.
    fn part(&self) -> (u64, Part) {
        loop {
            if let Some(frames) = self.transfers.next() {
                let mut decoder = Decoder::default();
                let message = frames.into_iter().find_map(|frame| decoder.push::<ToMaster>(&frame).unwrap());
                match message.unwrap() {
                    ToMaster::Part { number, part, .. } => return (number, part),
                    other => panic!("{other:?}"),
                }
            }
            std::thread::yield_now();
        }
    }
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// A new master knows of no upload that was under way: all of it is sent once more, under another name.
#[test]
fn a_file_whose_beginning_no_master_has_any_more_is_sent_again_from_its_first_byte() {
    let world = World::new();
    let data = content(3 * PART);
    std::fs::write(world.root.path().join("data"), &data).unwrap();
    let sending = world.send(TransferOptions::default());
    let ToMaster::Send { transfer, .. } = world.said() else { panic!("it opens first") };
    world.transfers.on_ready(&transfer, 0);
    assert_eq!(world.part().0, 1);
    world.transfers.on_taken(&transfer, 1);
    world.link(&features());
    assert!(matches!(world.said(), ToMaster::Send { transfer: same, .. } if same == transfer));
    world.transfers.on_ready(&transfer, 0);
    let said = world.all_said(2);
    assert!(matches!(&said[0], ToMaster::GiveUp { transfer: given_up } if *given_up == transfer));
    let ToMaster::Send { transfer: again, token, .. } = &said[1] else { panic!("{said:?}") };
    assert!(*again != transfer && token == "token");
    world.transfers.on_ready(again, 0);
    let mut received = Vec::new();
    while let (_, Part::Data { data }) = world.part() {
        received.extend_from_slice(&data);
    }
    assert!(received == data);
    world.transfers.on_over(again, Ok(1));
    assert_eq!(sending.join().unwrap().unwrap(), 1);
}

/// A master that loses its links: whatever was on its way, it wants what follows the last part that it has.
#[test]
fn a_file_arrives_once_and_in_order_over_links_that_are_cut() {
    let world = World::new();
    let data = content(5 * 1024 * 1024 + 17);
    std::fs::write(world.root.path().join("data"), &data).unwrap();
    let sending = world.send(TransferOptions { keep_times: true, ..TransferOptions::default() });
    let ToMaster::Send { transfer, token, sent } = world.said() else { panic!("it opens first") };
    assert_eq!((token.as_str(), sent.kind), ("token", SentKind::File));
    assert!(sent.modified_ms.is_some());
    world.transfers.on_ready(&transfer, 0);
    let (mut received, mut seen, mut steps) = (Vec::new(), 0, 0_u64);
    let end = loop {
        steps += 1;
        if steps % 23 == 0 {
            // Two parts are lost on their way with the link; then it asks again on a new one.
            world.link(&features());
            assert!(matches!(world.said(), ToMaster::Send { transfer: again, .. } if again == transfer));
            assert!(world.transfers.next().is_none(), "nothing is sent before the master says how far it is");
            world.transfers.on_ready(&transfer, seen);
        }
        let (number, part) = world.part();
        if number <= seen {
            continue;
        }
        assert_eq!(number, seen + 1, "no part is left out");
        seen = number;
        match part {
            Part::Data { data } => received.extend_from_slice(&data),
            Part::End { bytes, hash } => break (bytes, hash),
        }
        if steps % 7 == 0 {
            world.transfers.on_taken(&transfer, seen);
        }
    };
    assert!(received == data);
    assert_eq!(end, (data.len() as u64, Digest::of(&data)));
    world.transfers.on_over(&transfer, Ok(end.0));
    assert_eq!(sending.join().unwrap(), Ok(end.0));
    assert!(world.outgoing.take().is_empty(), "what is over is not given up");
}

#[test]
fn no_more_than_a_window_is_sent_before_it_is_taken() {
    let world = World::new();
    std::fs::write(world.root.path().join("data"), vec![7; 3 * WINDOW]).unwrap();
    let sending = world.send(TransferOptions::default());
    let ToMaster::Send { transfer, .. } = world.said() else { panic!("it opens first") };
    world.transfers.on_ready(&transfer, 0);
    let mut cost = 0;
    let one = Part::Data { data: Bytes::from(vec![0; 32 * 1024]) }.cost();
    while cost + one <= WINDOW {
        cost += world.part().1.cost();
    }
    let live = world.transfers.live(&transfer).unwrap();
    let full = || match &lock(&live.state).way {
        Way::Sending { outbox, .. } => outbox.bytes(),
        Way::Receiving { .. } => 0,
    };
    assert!(full() <= WINDOW && world.transfers.next().is_none(), "{}", full());
    let refused = Failure::new("too-large", "no");
    world.transfers.on_over(&transfer, Err(refused.clone()));
    assert_eq!(sending.join().unwrap(), Err(refused));
}

#[test]
fn what_the_master_refuses_or_does_not_understand_is_a_failure_at_once() {
    let world = World::new();
    std::fs::write(world.root.path().join("data"), b"12345").unwrap();
    let limited = TransferOptions { max_bytes: Some(4), ..TransferOptions::default() };
    assert_eq!(world.send(limited).join().unwrap().unwrap_err().code, "too-large");
    assert!(world.outgoing.take().is_empty(), "nothing of it was sent");
    let packed = TransferOptions { compression: Some("rar".into()), ..TransferOptions::default() };
    assert_eq!(world.send(packed).join().unwrap().unwrap_err().code, "bad-argument");
    let sending = world.send(TransferOptions::default());
    assert!(matches!(world.said(), ToMaster::Send { .. }));
    world.link(&[]);
    assert_eq!(sending.join().unwrap().unwrap_err().code, "unsupported");
    assert_eq!(world.send(TransferOptions::default()).join().unwrap().unwrap_err().code, "unsupported");
}

#[test]
fn a_download_is_put_in_its_place_whole_and_only_if_it_is_right() {
    let world = World::new();
    let data = content(100_000);
    let parts = |hash| {
        let end = Part::End { bytes: data.len() as u64, hash };
        let pieces = data.chunks(30_000).map(|data| Part::Data { data: Bytes::copy_from_slice(data) });
        (1..).zip(pieces.chain([end]).collect::<Vec<_>>())
    };
    let place = world.root.path().join("sub/back");
    for (hash, right) in [(Digest::of(b"other"), false), (Digest::of(&data), true)] {
        let receiving = world.receive(None);
        let said = world.all_said(2);
        let ToMaster::Receive { transfer, received: 0, .. } = &said[0] else { panic!("{said:?}") };
        for (number, part) in parts(hash) {
            world.transfers.on_part(transfer, number, part.clone());
            world.transfers.on_part(transfer, number, part);
            if number == 2 {
                world.link(&features());
                // The first one was over by the second link.
                let said = world.all_said(if right { 3 } else { 2 });
                let again = |m: &ToMaster| matches!(m, ToMaster::Receive { received: 2, .. });
                assert!(said.iter().any(again), "{said:?}");
            }
        }
        let received = receiving.join().unwrap();
        assert_eq!((received.is_ok(), place.exists()), (right, right), "{received:?}");
        world.outgoing.take();
    }
    assert!(std::fs::read(&place).unwrap() == data);
    assert_eq!(std::fs::read_dir(place.parent().unwrap()).unwrap().count(), 1, "nothing stays behind");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(place.metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_download_that_is_too_large_or_jumps_changes_nothing() {
    let world = World::new();
    let place = world.root.path().join("sub/back");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, "before").unwrap();
    let part = || Part::Data { data: Bytes::from(vec![0; 1_000]) };
    for (limit, number, code) in [(Some(999), 1, "too-large"), (None, 2, "io")] {
        let receiving = world.receive(limit);
        let said = world.all_said(2);
        let ToMaster::Receive { transfer, .. } = &said[0] else { panic!("{said:?}") };
        world.transfers.on_part(transfer, number, part());
        assert_eq!(receiving.join().unwrap().unwrap_err().code, code);
        assert!(matches!(world.said(), ToMaster::GiveUp { .. }));
    }
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "before");
    assert_eq!(std::fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
}

/// Symptom: a build whose upload met a full master failed, and was not run again. Cause: why a packer could not hand over
/// its last bytes was lost with the packer. Cure: it is asked before it goes.
#[test]
fn what_the_master_says_while_a_packed_stream_ends_is_what_is_told() {
    for compression in ["zstd", "gzip"] {
        // Sizes at which the last bytes of one or the other do not fit into the window.
        for less in [0, 16, 1_000, 20_000] {
            let world = World::new();
            let mut data = vec![0; WINDOW - less];
            blake3::Hasher::new().finalize_xof().fill(&mut data);
            std::fs::write(world.root.path().join("data"), data).unwrap();
            let options =
                TransferOptions { compression: Some(compression.into()), ..TransferOptions::default() };
            let sending = world.send(options);
            let ToMaster::Send { transfer, .. } = world.said() else { panic!("it opens first") };
            let live = world.transfers.live(&transfer).unwrap();
            let waits = || match &lock(&live.state).way {
                Way::Sending { outbox, .. } => outbox.bytes() + 32 * 1024 > WINDOW,
                Way::Receiving { .. } => false,
            };
            while !waits() && !sending.is_finished() {
                std::thread::yield_now();
            }
            let full = Failure::retryable("quota", "the master's disk is full");
            world.transfers.on_over(&transfer, Err(full.clone()));
            assert_eq!(sending.join().unwrap(), Err(full), "{compression}, {less} less");
        }
    }
}

/// Symptom: a master refused transfers, since there were eight already, where there was none. Cause: they were given up
/// while the link was down, and nobody said so again. Cure: the next link begins with that.
#[test]
fn what_was_given_up_without_a_link_is_said_to_the_next_one() {
    let world = World::new();
    std::fs::write(world.root.path().join("data"), vec![7; 3 * WINDOW]).unwrap();
    let (interrupt, heard) = tokio::sync::watch::channel(None);
    let (transfers, root) = (Arc::clone(&world.transfers), Arc::clone(&world.root));
    let sending = std::thread::spawn(move || {
        let work = Work::unhurried(Default::default(), heard);
        transfers.send_file(&uid(), "token", &root, "data", &TransferOptions::default(), work)
    });
    let ToMaster::Send { transfer, .. } = world.said() else { panic!("it opens first") };
    world.outgoing.set_linked(false);
    world.transfers.unlinked();
    interrupt.send_replace(Some("stop".to_owned()));
    assert_eq!(sending.join().unwrap().unwrap_err().code, "interrupted");
    world.link(&features());
    assert!(matches!(world.said(), ToMaster::GiveUp { transfer: said } if said == transfer));
}

#[test]
fn a_download_that_a_master_calls_over_before_its_end_has_failed() {
    let world = World::new();
    let receiving = world.receive(None);
    let said = world.all_said(2);
    let ToMaster::Receive { transfer, .. } = &said[0] else { panic!("{said:?}") };
    world.transfers.on_over(transfer, Ok(1));
    let failure = receiving.join().unwrap().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retryable), ("io", false));
}

/// Symptom: a small file of one build waited for hours. Cause: another build sent four large ones at once. Cure: each
/// builder's directory has one turn.
#[tokio::test]
async fn a_builder_has_one_turn_for_its_files() {
    let world = World::new();
    let (one, other) = (std::path::Path::new("/one"), std::path::Path::new("/other"));
    let first = world.transfers.turn(one).await;
    let second = world.transfers.turn(one);
    tokio::pin!(second);
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(world.transfers.turn(other).await);
    drop(first);
    second.await;
}

/// Symptom: after a worker was killed half files stood beside their places, and went along with the next upload. Cause:
/// each had a name from its beginning. Cure: it gets one when it is whole.
#[test]
fn half_a_file_has_no_name() {
    let world = World::new();
    let receiving = world.receive(None);
    let said = world.all_said(2);
    let ToMaster::Receive { transfer, .. } = &said[0] else { panic!("{said:?}") };
    let sub = || std::fs::read_dir(world.root.path().join("sub")).unwrap().count();
    // Where the file system has no files without a name, this says nothing.
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::TMPFILE;
    if rustix::fs::open(world.root.path(), flags, rustix::fs::Mode::RUSR).is_ok() {
        assert_eq!(sub(), 0);
    }
    let data = Bytes::from_static(b"whole");
    world.transfers.on_part(transfer, 1, Part::Data { data: data.clone() });
    world.transfers.on_part(transfer, 2, Part::End { bytes: 5, hash: Digest::of(&data) });
    assert_eq!(receiving.join().unwrap(), Ok(5));
    assert_eq!(sub(), 1);
}
