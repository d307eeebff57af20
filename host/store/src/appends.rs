//! What one group appends to logs: gathered while its batches are checked, written as one run for each
//! log, and indexed as few pieces.

use std::collections::BTreeMap;

use bytes::Bytes;
use redb::ReadableTable;
use windlass_core::id::LogId;
use windlass_core::value::Origin;

use crate::encode::{self, Piece};
use crate::fault::ReadError;
use crate::segments::{Home, OWN_ABOVE, Placed, Run};
use crate::tables::Tables;

/// The longest piece: the most that is read to find a line.
const MAX_PIECE: usize = 256 << 10;

/// A log's last piece, with its offset in the log.
type Last = (u64, Piece);

/// The end of a log, as the transaction sees it.
#[derive(Clone, Debug, Default)]
struct Tail {
    length: u64,
    last: Option<Last>,
}

#[derive(Debug)]
struct Append {
    tail: Tail,
    added: u64,
    data: Vec<(Origin, Bytes)>,
}

/// The appends of one group.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    logs: BTreeMap<LogId, Append>,
    /// All of them together.
    pub(crate) bytes: u64,
}

impl Appends {
    /// Returns the log's length with what this group has added so far.
    pub(crate) fn length(&mut self, tables: &Tables<'_>, log: LogId) -> Result<u64, ReadError> {
        if let Some(append) = self.logs.get(&log) {
            return Ok(append.tail.length + append.added);
        }
        let last = last_piece(tables.log_pieces.read()?, log)?;
        let length = last.map_or(0, |(offset, piece)| offset + u64::from(piece.length));
        let tail = Tail { length, last };
        self.logs.insert(log, Append { tail, added: 0, data: Vec::new() });
        Ok(length)
    }

    /// Adds to a log whose length was asked before.
    pub(crate) fn push(&mut self, log: LogId, origin: Origin, data: Bytes) {
        let append = self.logs.get_mut(&log).expect("BUG: the log's length was not checked");
        append.added += data.len() as u64;
        self.bytes += data.len() as u64;
        append.data.push((origin, data));
    }

    /// Returns one run for each log that got bytes, in the order that [`Appends::index`] takes.
    pub(crate) fn runs(&self, tables: &Tables<'_>) -> Result<Vec<Run>, ReadError> {
        let mut runs = Vec::new();
        for (log, append) in self.grown() {
            let own = match append.tail.last {
                Some((_, piece)) => owned_segment(tables, *log, piece.segment)?,
                None => None,
            };
            let home = match own {
                Some((segment, end)) => Home::Own { log: *log, segment, end },
                None if append.tail.length + append.added > OWN_ABOVE => Home::NewOwn(*log),
                None => Home::Shared,
            };
            runs.push(Run { home, data: append.data.iter().map(|(_, data)| data.clone()).collect() });
        }
        Ok(runs)
    }

    /// Writes the index rows of runs that lie at `placed`.
    pub(crate) fn index(&self, tables: &mut Tables<'_>, placed: &[Placed]) -> Result<(), ReadError> {
        for ((log, append), placed) in self.grown().zip(placed) {
            let Tail { mut length, mut last } = append.tail;
            let mut position = placed.position;
            let mut changed = false;
            for (origin, data) in &append.data {
                for chunk in data.chunks(MAX_PIECE) {
                    let new = Piece {
                        segment: placed.segment,
                        position,
                        length: chunk.len() as u32,
                        origin: *origin,
                        first_line: last.map_or(0, |(_, last)| last.first_line + u64::from(last.lines)),
                        lines: chunk.iter().filter(|byte| **byte == b'\n').count() as u32,
                    };
                    last = Some(match last {
                        Some((offset, last)) if continues(&last, &new) => (
                            offset,
                            Piece { length: last.length + new.length, lines: last.lines + new.lines, ..last },
                        ),
                        Some(_) | None => {
                            if changed {
                                put(tables, *log, last)?;
                            }
                            (length, new)
                        }
                    });
                    changed = true;
                    length += u64::from(new.length);
                    position += u64::from(new.length);
                }
            }
            put(tables, *log, last)?;
        }
        Ok(())
    }

    /// The logs that got bytes, with their lengths.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = (LogId, u64)> {
        self.grown().map(|(log, append)| (*log, append.tail.length + append.added))
    }

    fn grown(&self) -> impl Iterator<Item = (&LogId, &Append)> {
        self.logs.iter().filter(|(_, append)| append.added > 0)
    }
}

/// Whether `new` only lengthens `last`.
fn continues(last: &Piece, new: &Piece) -> bool {
    last.segment == new.segment
        && last.origin == new.origin
        && last.position + u64::from(last.length) == new.position
        && last.length as usize + new.length as usize <= MAX_PIECE
}

fn put(tables: &mut Tables<'_>, log: LogId, last: Option<Last>) -> Result<(), ReadError> {
    if let Some((offset, piece)) = last {
        tables.log_pieces.write()?.insert((log.0, offset), encode::piece(&piece).as_slice())?;
    }
    Ok(())
}

/// Returns the last piece of a log with its offset.
pub(crate) fn last_piece(
    pieces: &impl ReadableTable<(u64, u64), &'static [u8]>,
    log: LogId,
) -> Result<Option<Last>, ReadError> {
    match pieces.range((log.0, 0)..=(log.0, u64::MAX))?.next_back() {
        None => Ok(None),
        Some(row) => {
            let (key, bytes) = row?;
            Ok(Some((key.value().1, encode::to_piece(key.value(), bytes.value())?)))
        }
    }
}

/// Returns the segment and its committed end, if the log has it for itself.
fn owned_segment(tables: &Tables<'_>, log: LogId, segment: u64) -> Result<Option<(u64, u64)>, ReadError> {
    let row = tables.segments.read()?.get(segment)?.map(|row| row.value());
    Ok(row.filter(|(_, owner)| *owner == log.0).map(|(end, _)| (segment, end)))
}
