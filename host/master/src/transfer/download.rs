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
use windlass_protocol::transfer::{PART, PART_OVERHEAD, Part, TransferId, WINDOW};

use super::Line;
use super::keep::{io_failure, open_beneath};
use crate::start::blocking;

/// Parts that are read in one go, and what they count for in the window at the most.
const BATCH: usize = 8;
const BATCH_COST: usize = BATCH * (PART + PART_OVERHEAD);

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
    let Some(Event::Opened { line, .. }) = events.recv().await else { return };
    let over = |line: &Line, failure| {
        line.say(ToWorker::Over { transfer: transfer.clone(), how: Err(failure) });
    };
    let mut reading = match blocking(move || source.open()).await {
        Ok(open) => Some(open),
        Err(failure) => return over(&line, failure),
    };
    let mut line = Some(line);
    let mut outbox = Outbox::default();
    loop {
        while let Some(mut open) = reading.take_if(|_| outbox.bytes() + BATCH_COST <= WINDOW) {
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
                From::Pieces { pieces: pieces.into_iter(), rest: Bytes::new() }
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
    Pieces {
        pieces: std::vec::IntoIter<Bytes>,
        /// Of the one that was begun.
        rest: Bytes,
    },
}

impl Open {
    /// The next parts, at most so many; the end is the last of them.
    fn next(&mut self, most: usize) -> Result<Vec<Part>, Failure> {
        let mut parts = Vec::with_capacity(most);
        while parts.len() < most {
            match self.piece()? {
                Some(data) => {
                    self.bytes += data.len() as u64;
                    self.hash.update(&data);
                    parts.push(Part::Data { data });
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

    /// What comes next, as far as it fits into a part.
    fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        match &mut self.from {
            From::Pieces { pieces, rest } => {
                while rest.is_empty() {
                    match pieces.next() {
                        Some(next) => *rest = next,
                        None => return Ok(None),
                    }
                }
                Ok(Some(rest.split_to(rest.len().min(PART))))
            }
            From::File(file) => {
                let mut piece = Vec::with_capacity(PART);
                let read = file.take(PART as u64).read_to_end(&mut piece);
                let read = read.map_err(|error| io_failure(&error))?;
                Ok((read > 0).then(|| piece.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: a download ended with "BUG of the master: it sent more than a window". Cause: a piece of a step makes
    /// several parts, and a batch was counted in pieces. Cure: a batch is so many parts, whatever they are cut from.
    #[test]
    fn a_batch_is_so_many_parts_whatever_they_are_cut_from() {
        let pieces = [2 * PART, 1, 0, 7 * PART, 3 * PART + 1].map(|bytes| Bytes::from(vec![7; bytes]));
        let mut open = Source::Bytes(Arc::new(Mutex::new(pieces.to_vec()))).open().unwrap();
        let mut parts = Vec::new();
        while !matches!(parts.last(), Some(Part::End { .. })) {
            let batch = open.next(BATCH).unwrap();
            assert!(batch.len() <= BATCH && batch.iter().map(Part::cost).sum::<usize>() <= BATCH_COST);
            parts.extend(batch);
        }
        let hash = Digest::of(&vec![7; 12 * PART + 2]);
        assert_eq!(parts.last(), Some(&Part::End { bytes: 12 * PART as u64 + 2, hash }));
    }
}
