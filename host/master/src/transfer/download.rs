//! Sending what a token stands for to the worker that asks: read off the async threads, a window ahead at the
//! most, and kept until the worker has written it.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use windlass_core::digest::Digest;
use windlass_core::value::Failure;
use windlass_protocol::message::ToWorker;
use windlass_protocol::session::Outbox;
use windlass_protocol::transfer::{PART, Part, TransferId, WINDOW};

use super::Line;
use super::keep::{io_failure, open_beneath};
use crate::start::blocking;

/// Parts that are read in one go.
const BATCH: usize = 8;

/// What a token stands for. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A file below a folder.
    File {
        /// The folder.
        folder: PathBuf,
        /// The path in it.
        path: String,
    },
    /// What a step said, piece by piece.
    Bytes(Arc<Mutex<Vec<Bytes>>>),
}

/// What happens to a download.
pub(super) enum Event {
    /// The worker asks, on this link, for what follows a part.
    Opened { line: Line, received: u64 },
    /// It has written all parts up to a number.
    Taken(u64),
}

/// Sends until the worker has all of it. Safe to drop.
pub(super) async fn run(source: Source, transfer: TransferId, mut events: mpsc::UnboundedReceiver<Event>) {
    let Some(Event::Opened { line, received }) = events.recv().await else { return };
    let over = |line: &Line, failure| {
        line.say(ToWorker::Over { transfer: transfer.clone(), how: Err(failure) });
    };
    if received > 0 {
        let message = "the master does not know the beginning of this download any more";
        return over(&line, Failure::retryable("io", message));
    }
    let mut reading = match blocking(move || source.open()).await {
        Ok(open) => Some(open),
        Err(failure) => return over(&line, failure),
    };
    let mut line = Some(line);
    let mut outbox = Outbox::default();
    loop {
        while let Some(mut open) = reading.take_if(|_| outbox.bytes() + BATCH * PART < WINDOW) {
            let batch;
            (open, batch) = blocking(move || {
                let batch = open.next(BATCH);
                (open, batch)
            })
            .await;
            let batch = match batch {
                Ok(batch) => batch,
                Err(failure) => {
                    if let Some(line) = &line {
                        over(line, failure);
                    }
                    return;
                }
            };
            let ended = matches!(batch.last(), Some(Part::End { .. }));
            for part in batch {
                let cost = part.cost();
                outbox.push(part, cost);
            }
            if ended {
                break;
            }
            reading = Some(open);
        }
        if reading.is_none() && outbox.acked() == outbox.last() {
            return;
        }
        let room = async {
            let parts = line.as_ref().and_then(|line| line.parts.upgrade());
            match parts {
                Some(parts) => parts.reserve_owned().await.ok(),
                None => None,
            }
        };
        let turn = tokio::select! {
            event = events.recv() => Turn::Event(event),
            room = room, if line.is_some() && outbox.has_unsent() => Turn::Room(room),
        };
        match turn {
            // The worker gave it up.
            Turn::Event(None) => return,
            Turn::Event(Some(Event::Opened { line: new, received })) => {
                if outbox.resume(received).is_err() {
                    return over(&new, Failure::new("io", "BUG of the worker: it has what was never sent"));
                }
                line = Some(new);
            }
            // A number that was never sent does not move anything.
            Turn::Event(Some(Event::Taken(number))) => drop(outbox.ack(number)),
            Turn::Room(Some(room)) => {
                if let Some((number, part)) = outbox.next_unsent() {
                    room.send(ToWorker::Part { transfer: transfer.clone(), number, part: part.clone() });
                }
            }
            Turn::Room(None) => line = None,
        }
    }
}

enum Turn {
    Event(Option<Event>),
    Room(Option<mpsc::OwnedPermit<ToWorker>>),
}

impl Source {
    fn open(self) -> Result<Open, Failure> {
        let from = match self {
            Source::File { folder, path } => match open_beneath(&folder, &path) {
                Ok(Some(file)) => From::File(file),
                Ok(None) => return Err(not_found(&path)),
                Err(error) => return Err(io_failure(&error)),
            },
            Source::Bytes(pieces) => {
                let pieces = pieces.lock().unwrap_or_else(PoisonError::into_inner).clone();
                From::Pieces(pieces.into_iter())
            }
        };
        Ok(Open { from, hash: blake3::Hasher::new(), bytes: 0 })
    }
}

/// There is no file that could be downloaded.
pub(crate) fn not_found(path: &str) -> Failure {
    Failure::new("not-found", format!("there is no file `{path}` in the master's public folder"))
}

/// A source that is read.
struct Open {
    from: From,
    hash: blake3::Hasher,
    bytes: u64,
}

enum From {
    File(File),
    Pieces(std::vec::IntoIter<Bytes>),
}

impl Open {
    /// The next parts, at most so many; the end is the last of them.
    fn next(&mut self, most: usize) -> Result<Vec<Part>, Failure> {
        let mut parts = Vec::with_capacity(most);
        while parts.len() < most {
            match self.piece()? {
                Some(piece) => {
                    self.bytes += piece.len() as u64;
                    self.hash.update(&piece);
                    for start in (0..piece.len()).step_by(PART) {
                        let data = piece.slice(start..piece.len().min(start + PART));
                        parts.push(Part::Data { data });
                    }
                }
                None => {
                    let hash = Digest::from_bytes(*self.hash.finalize().as_bytes());
                    parts.push(Part::End { bytes: self.bytes, hash });
                    break;
                }
            }
        }
        Ok(parts)
    }

    fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        match &mut self.from {
            From::Pieces(pieces) => Ok(pieces.next()),
            From::File(file) => {
                let mut piece = Vec::with_capacity(PART);
                let read = file.take(PART as u64).read_to_end(&mut piece);
                let read = read.map_err(|error| io_failure(&error))?;
                Ok((read > 0).then(|| piece.into()))
            }
        }
    }
}
