//! A message as frames and back: MessagePack maps with named fields, cut into frames of at most
//! 64 KiB. The first byte of a frame says whether it is the message's last: 0, or 1 for "more to come".

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest frame, its leading byte included.
pub const MAX_FRAME: usize = 64 * 1024;

/// The largest message that is put together from frames. The largest that either side has reason to
/// send are the arguments of a command and a hello that names many commands.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// How deep a message may nest. Ours have about ten levels; each one that a stranger sends is a recursion
/// on our stack, before anybody has looked at a token.
const MAX_DEPTH: usize = 64;

const LAST: u8 = 0;
const MORE: u8 = 1;

/// Why a message can't be sent.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum EncodeError {
    #[error("failed to put a message into MessagePack")]
    Encode(#[source] rmp_serde::encode::Error),
    #[error("a message of {len} bytes is larger than the limit of {MAX_MESSAGE}")]
    TooLarge { len: usize },
}

/// Why received frames are no message. The connection can't go on: what follows has lost its meaning.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DecodeError {
    #[error("a frame without any byte")]
    Empty,
    #[error("a frame of {len} bytes is larger than the limit of {MAX_FRAME}")]
    FrameTooLarge { len: usize },
    #[error("a frame begins with {byte}, which is neither 0 (last) nor 1 (more to come)")]
    Marker { byte: u8 },
    #[error("a message of more than {MAX_MESSAGE} bytes")]
    TooLarge,
    #[error("a message that this version does not understand")]
    Decode(#[source] rmp_serde::decode::Error),
}

/// The frames of a message, in order; nearly always one.
pub fn encode<T: Serialize>(message: &T) -> Result<Frames, EncodeError> {
    // The marker of a message that fits into one frame is there from the start: no copy.
    let mut buffer = vec![LAST];
    message
        .serialize(&mut rmp_serde::Serializer::new(&mut buffer).with_struct_map())
        .map_err(EncodeError::Encode)?;
    let len = buffer.len() - 1;
    if len > MAX_MESSAGE {
        return Err(EncodeError::TooLarge { len });
    }
    Ok(Frames { whole: buffer.into(), cut: len >= MAX_FRAME, at: 0 })
}

/// The frames of one message: an iterator, and cheap to clone for sending again.
#[derive(Clone, Debug)]
pub struct Frames {
    /// Marker and message.
    whole: Bytes,
    /// More than one frame.
    cut: bool,
    /// How many bytes of the message were handed out.
    at: usize,
}

impl Frames {
    /// The size of marker and message.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.whole.len()
    }

    /// Marker and message in one piece, for a spool.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.whole
    }

    /// What [`Frames::as_bytes`] gave; `None` if it can't be that.
    #[must_use]
    pub fn from_bytes(whole: Bytes) -> Option<Frames> {
        let fits = whole.first() == Some(&LAST) && whole.len() - 1 <= MAX_MESSAGE;
        fits.then(|| Frames { cut: whole.len() > MAX_FRAME, whole, at: 0 })
    }
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let message = self.whole.len() - 1;
        if self.at == message {
            return None;
        }
        if !self.cut {
            self.at = message;
            return Some(self.whole.clone());
        }
        let end = message.min(self.at + MAX_FRAME - 1);
        let mut frame = BytesMut::with_capacity(1 + end - self.at);
        frame.extend_from_slice(&[if end == message { LAST } else { MORE }]);
        frame.extend_from_slice(&self.whole[1 + self.at..1 + end]);
        self.at = end;
        Some(frame.freeze())
    }
}

/// Puts messages together from frames. One for each direction of a connection.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Vec<u8>,
}

impl Decoder {
    /// Takes the next frame; the message, if this was its last frame.
    pub fn push<T: DeserializeOwned>(&mut self, frame: &[u8]) -> Result<Option<T>, DecodeError> {
        if frame.len() > MAX_FRAME {
            return Err(DecodeError::FrameTooLarge { len: frame.len() });
        }
        let (&marker, part) = frame.split_first().ok_or(DecodeError::Empty)?;
        match marker {
            LAST if self.partial.is_empty() => decode(part).map(Some),
            LAST => {
                self.append(part)?;
                let whole = std::mem::take(&mut self.partial);
                decode(&whole).map(Some)
            }
            MORE => self.append(part).map(|()| None),
            byte => Err(DecodeError::Marker { byte }),
        }
    }

    fn append(&mut self, part: &[u8]) -> Result<(), DecodeError> {
        if self.partial.len() + part.len() > MAX_MESSAGE {
            return Err(DecodeError::TooLarge);
        }
        self.partial.extend_from_slice(part);
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(message);
    deserializer.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut deserializer).map_err(DecodeError::Decode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{CommandUid, Hello, Loss, Secret, SecretValue, Start, ToMaster, ToWorker, Update};
    use crate::transfer::{Compression, Part, Sent, SentKind, TransferId};
    use windlass_core::digest::Digest;
    use windlass_core::policy::Usage;
    use windlass_core::value::{Completion, Failure, Origin, Pair, Value};

    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: T) {
        let frames = encode(&message).unwrap();
        let again = Frames::from_bytes(frames.as_bytes().clone()).unwrap();
        assert_eq!(frames.clone().collect::<Vec<_>>(), again.collect::<Vec<_>>());
        let mut decoder = Decoder::default();
        let mut read = None;
        for frame in frames {
            assert!(read.is_none(), "no frame follows the last one");
            assert!(frame.len() <= MAX_FRAME);
            read = decoder.push::<T>(&frame).unwrap();
        }
        assert_eq!(read, Some(message));
    }

    fn uid() -> CommandUid {
        CommandUid("00112233445566778899aabbccddeeff".into())
    }

    fn update(update: Update) -> ToMaster {
        ToMaster::Update { command: uid(), number: u64::MAX, update }
    }

    fn start(args: String) -> ToWorker {
        ToWorker::Start(Start {
            command: uid(),
            hook: "shell".into(),
            plugin: "windlass".into(),
            digest: Digest::of(b"x"),
            args,
            builddir: "linux".into(),
            env: vec![("A".into(), "b".into())],
            grants: vec![("exec".into(), vec!["*".into()])],
            secrets: vec![Secret {
                name: "key".into(),
                placeholder: "windlass_secret_0".into(),
                value: SecretValue(b"a\xffb".as_slice().into()),
                former: vec![SecretValue(b"before".as_slice().into())],
            }],
        })
    }

    #[test]
    fn messages_to_the_master_read_back() {
        check(ToMaster::Hello(Hello {
            protocol: 1,
            contract: "0.1.0".into(),
            features: vec!["x".into()],
            name: "w".into(),
            token: "t".into(),
            instance: "i".into(),
            epoch: 3,
            lost: Some(Loss::MachineRestarted),
            lane: "control".into(),
            version: "0.1.0".into(),
            facts: vec![Pair { name: "cores".into(), value: Value::Integer(-2) }],
            commands: vec![(uid(), 7)],
        }));
        let data = Bytes::from_static(&[0, 255, 10]);
        check(update(Update::Log { log: "stdio".into(), origin: Origin::Stderr, data }));
        let values = [Value::Null, Value::Boolean(true), Value::Number(0.5), Value::Json("[1]".into())];
        let values = values.into_iter().map(|value| Pair { name: "n".into(), value }).collect::<Vec<_>>();
        check(update(Update::Values { values: values.clone() }));
        check(update(Update::Diagnostic { level: "warn".into(), message: "m".into() }));
        let log_hash = Digest::of(b"");
        check(update(Update::Done { how: Ok(Completion { rc: Some(-1), values }), log_hash, usage: None }));
        let usage = Some(Usage { cpu_us: 1, trapped: true, ..Usage::default() });
        check(update(Update::Done { how: Err(Failure::retryable("worker-lost", "m")), log_hash, usage }));
        check(ToMaster::Need { digest: log_hash });
        check(ToMaster::Pong { nonce: 1 });
        check(ToMaster::Status { load: 0.25 });
        check(ToMaster::Draining);
        let (transfer, token) = (TransferId("u.0".into()), "t".to_owned());
        let compression = Some(Compression::Zstd);
        let sent = Sent { kind: SentKind::Tree, mode: 0o755, modified_ms: Some(1), compression };
        check(ToMaster::Send { transfer: transfer.clone(), token: token.clone(), sent });
        check(ToMaster::Receive { transfer: transfer.clone(), token, received: 3 });
        let part = Part::Data { data: Bytes::from_static(b"a\xff") };
        check(ToMaster::Part { transfer: transfer.clone(), number: 1, part });
        check(ToMaster::Taken { transfer: transfer.clone(), number: 1 });
        check(ToMaster::GiveUp { transfer });
    }

    #[test]
    fn messages_to_the_worker_read_back() {
        check(ToWorker::Welcome {
            protocol: 1,
            features: vec![],
            commands: vec![(uid(), 0)],
            keepalive_ms: 10_000,
        });
        check(ToWorker::Refused { code: "bad-token".into(), message: "m".into(), retry: false });
        check(start("{}".into()));
        check(ToWorker::Interrupt { command: uid(), reason: "why".into() });
        check(ToWorker::Ack { command: uid(), number: 1 });
        let data = Bytes::from(vec![7; 32 * 1024]);
        check(ToWorker::Component { digest: Digest::of(b"x"), offset: 0, total: 1 << 20, data });
        check(ToWorker::NoComponent { digest: Digest::of(b"x") });
        check(ToWorker::Ping { nonce: 9 });
        check(ToWorker::Bye { reason: "shutdown".into() });
        let transfer = TransferId("u.0".into());
        check(ToWorker::Ready { transfer: transfer.clone(), received: 4 });
        let part = Part::End { bytes: 9, hash: Digest::of(b"") };
        check(ToWorker::Part { transfer: transfer.clone(), number: 5, part });
        check(ToWorker::Taken { transfer: transfer.clone(), number: 5 });
        check(ToWorker::Over { transfer: transfer.clone(), how: Ok(9) });
        check(ToWorker::Over { transfer, how: Err(Failure::new("too-large", "m")) });
    }

    #[test]
    fn a_message_of_any_size_up_to_the_limit_is_cut_and_put_together() {
        for around in [MAX_FRAME, 2 * MAX_FRAME, 1 << 20] {
            // The rest of the message takes some 300 bytes: this crosses the border of a frame.
            for len in (around - 320..around + 8).step_by(7) {
                check(start("x".repeat(len)));
            }
        }
        let error = encode(&start("x".repeat(MAX_MESSAGE))).unwrap_err();
        assert!(matches!(error, EncodeError::TooLarge { .. }));
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_messages_are_an_error() {
        #[derive(Serialize)]
        struct Later<'a> {
            r#type: &'a str,
            nonce: u64,
            mood: &'a str,
        }
        let read = |r#type| {
            let frame = encode(&Later { r#type, nonce: 4, mood: "good" }).unwrap().next().unwrap();
            Decoder::default().push::<ToWorker>(&frame)
        };
        assert_eq!(read("ping").unwrap(), Some(ToWorker::Ping { nonce: 4 }));
        assert!(matches!(read("sing"), Err(DecodeError::Decode(_))));
    }

    /// Symptom: one small message of a stranger took the whole process down. Cause: what is unknown in a
    /// message is read all the same, with a recursion for each level. Cure: a bound.
    #[test]
    fn a_deep_message_is_refused_before_it_fills_a_stack() {
        let read = |depth: usize| {
            let mut frame = b"\x00\x83\xa4type\xa4ping\xa5nonce\x04\xa4deep".to_vec();
            frame.extend(std::iter::repeat_n(0x91, depth));
            frame.push(0xc0);
            Decoder::default().push::<ToWorker>(&frame)
        };
        assert_eq!(read(30).unwrap(), Some(ToWorker::Ping { nonce: 4 }));
        assert!(matches!(read(1_000), Err(DecodeError::Decode(_))));
        assert!(matches!(read(60_000), Err(DecodeError::Decode(_))));
    }

    #[test]
    fn frames_that_break_the_rules_are_refused() {
        let push = |frame: &[u8]| Decoder::default().push::<ToWorker>(frame).unwrap_err();
        assert!(matches!(push(&[]), DecodeError::Empty));
        assert!(matches!(push(&[2, 0]), DecodeError::Marker { byte: 2 }));
        assert!(matches!(push(&[0, 0xc1]), DecodeError::Decode(_)));
        assert!(matches!(push(&vec![1; MAX_FRAME + 1]), DecodeError::FrameTooLarge { .. }));
        let mut decoder = Decoder::default();
        let frame = vec![1; MAX_FRAME];
        let error = (0..=MAX_MESSAGE / MAX_FRAME + 1).find_map(|_| decoder.push::<ToWorker>(&frame).err());
        assert!(matches!(error, Some(DecodeError::TooLarge)));
    }
}
