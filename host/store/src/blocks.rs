//! Where the bytes of a log are found: the frames of what is archived, then the pieces of the rest.

use std::io;

use bytes::Bytes;
use redb::ReadableTable;
use windlass_core::digest::Digest;
use windlass_core::id::LogId;
use windlass_core::lines::At;
use windlass_core::value::Origin;

use crate::encode::{self, Piece};
use crate::fault::ReadError;
use crate::frames::{self, Frame};
use crate::segments::{Files, Name};
use crate::tables::{Snapshot, Tables};

/// A run of a log that is found by one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Its first byte in the log.
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// Where its first byte stands within a line.
    pub(crate) at: At,
    /// The line of its first byte.
    pub(crate) first_line: u64,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Piece(Piece),
    Frame(Frame),
}

type Rows<'t> = (&'t dyn Find, &'t dyn Find);

/// A table of blocks: of a transaction that writes, or of a snapshot.
trait Find {
    fn last_until(&self, log: LogId, offset: u64) -> Result<Option<(u64, Vec<u8>)>, ReadError>;
}

impl<T: ReadableTable<(u64, u64), &'static [u8]>> Find for T {
    fn last_until(&self, log: LogId, offset: u64) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
        let Some(row) = self.range((log.0, 0)..=(log.0, offset))?.next_back() else { return Ok(None) };
        let (key, bytes) = row?;
        Ok(Some((key.value().1, bytes.value().to_vec())))
    }
}

/// The block that holds the byte at `offset`, or the last one before it.
fn before((frames, pieces): Rows<'_>, log: LogId, offset: u64) -> Result<Option<Block>, ReadError> {
    // What is still in pieces lies behind what is in frames.
    if let Some((start, bytes)) = pieces.last_until(log, offset)? {
        return Ok(Some(of_piece(start, encode::to_piece((log.0, start), &bytes)?)));
    }
    match frames.last_until(log, offset)? {
        Some((start, bytes)) => Ok(Some(of_frame(start, frames::decode((log.0, start), &bytes)?))),
        None => Ok(None),
    }
}

fn of_piece(offset: u64, piece: Piece) -> Block {
    let (length, at, first_line) = (u64::from(piece.length), piece.at, piece.first_line);
    Block { offset, length, at, first_line, place: Place::Piece(piece) }
}

fn of_frame(offset: u64, frame: Frame) -> Block {
    let (length, at, first_line) = (u64::from(frame.length), frame.at, frame.first_line);
    Block { offset, length, at, first_line, place: Place::Frame(frame) }
}

/// The block that holds the byte at `offset`.
pub(crate) fn at(snapshot: &Snapshot, log: LogId, offset: u64) -> Result<Option<Block>, ReadError> {
    let found = before((&snapshot.log_frames()?, &snapshot.log_pieces()?), log, offset)?;
    Ok(found.filter(|block| offset < block.end()))
}

/// The last block of a log.
pub(crate) fn last(snapshot: &Snapshot, log: LogId) -> Result<Option<Block>, ReadError> {
    before((&snapshot.log_frames()?, &snapshot.log_pieces()?), log, u64::MAX)
}

/// The same, within a transaction that writes.
pub(crate) fn last_written(tables: &Tables<'_>, log: LogId) -> Result<Option<Block>, ReadError> {
    before((tables.log_frames.read()?, tables.log_pieces.read()?), log, u64::MAX)
}

impl Block {
    /// Where the next one begins.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// The piece, if it is one.
    pub(crate) fn piece(&self) -> Option<Piece> {
        match self.place {
            Place::Piece(piece) => Some(piece),
            Place::Frame(_) => None,
        }
    }

    /// Its bytes from `skip` on, at most `max`, by stream.
    pub(crate) fn read(
        &self,
        files: &mut Files<'_>,
        skip: u64,
        max: u64,
    ) -> Result<Vec<(Origin, Bytes)>, ReadError> {
        let take = max.min(self.length - skip);
        match self.place {
            Place::Piece(piece) => {
                let data = files.read(Name::Segment(piece.segment), piece.position + skip, take as usize)?;
                Ok(vec![(piece.origin, data)])
            }
            Place::Frame(frame) => {
                let mut runs = read_frame(files, &frame)?;
                let (mut skip, mut take) = (skip as usize, take as usize);
                runs.retain_mut(|(_, data)| {
                    let skipped = skip.min(data.len());
                    *data = data.slice(skipped..data.len().min(skipped + take));
                    (skip, take) = (skip - skipped, take - data.len());
                    !data.is_empty()
                });
                Ok(runs)
            }
        }
    }

    /// How far the log is behind this block: how many lines have begun, where the next byte stands, and of which
    /// stream the last one was.
    pub(crate) fn scan(&self, files: &mut Files<'_>) -> Result<(u64, At, Origin), ReadError> {
        let (mut begun, mut at, mut last) = (self.first_line + 1, self.at, None);
        for (origin, data) in self.read(files, 0, self.length)? {
            match last.replace(origin) {
                // The line of the first byte is counted.
                None => {
                    at.count(&data[..1]);
                    begun += at.count(&data[1..]);
                }
                Some(before) => {
                    if before != origin {
                        at = At::Begin;
                    }
                    begun += at.count(&data);
                }
            }
        }
        Ok((begun, at, last.unwrap_or(Origin::Stdout)))
    }

    /// Where in the block line number `line` begins, if it begins behind its first byte.
    pub(crate) fn find(&self, files: &mut Files<'_>, line: u64) -> Result<Option<u64>, ReadError> {
        let Some(mut left) = line.checked_sub(self.first_line + 1) else { return Ok(None) };
        let (mut at, mut start, mut before) = (self.at, 0, None);
        for (origin, data) in self.read(files, 0, self.length)? {
            let first = before.is_none();
            if before.replace(origin).is_some_and(|before| before != origin) {
                at = At::Begin;
            }
            let skipped = usize::from(first);
            at.count(&data[..skipped]);
            match at.find(&data[skipped..], left) {
                Ok(found) => return Ok(Some(start + (skipped + found) as u64)),
                Err(begun) => left -= begun,
            }
            start += data.len() as u64;
        }
        Ok(None)
    }
}

fn read_frame(files: &mut Files<'_>, frame: &Frame) -> Result<Vec<(Origin, Bytes)>, ReadError> {
    let name = Name::Archive(frame.archive);
    let packed = files.read(name, frame.position, frame.stored as usize)?;
    let runs = frames::unpack(packed, frame.method).and_then(|runs| {
        let length: usize = runs.iter().map(|(_, data)| data.len()).sum();
        let whole = length == frame.length as usize && runs.iter().all(|(_, data)| !data.is_empty());
        if whole { Ok(runs) } else { Err(io::Error::other("a frame has other bytes than its row says")) }
    });
    runs.map_err(|source| files.unreadable(name, source))
}

/// The hash of all bytes of a log but those of headers; what is not there is left out.
pub(crate) fn hash(snapshot: &Snapshot, files: &mut Files<'_>, log: LogId) -> Result<Digest, ReadError> {
    let (mut hash, mut offset) = (blake3::Hasher::new(), 0);
    while let Some(block) = at(snapshot, log, offset)? {
        for (origin, data) in block.read(files, 0, block.length)? {
            if origin != Origin::Header {
                hash.update(&data);
            }
        }
        offset = block.end();
    }
    Ok(Digest::from_bytes(*hash.finalize().as_bytes()))
}

/// The last frame of a log.
pub(crate) fn last_frame(snapshot: &Snapshot, log: LogId) -> Result<Option<Frame>, ReadError> {
    match snapshot.log_frames()?.last_until(log, u64::MAX)? {
        Some((start, bytes)) => frames::decode((log.0, start), &bytes).map(Some),
        None => Ok(None),
    }
}
