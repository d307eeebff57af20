//! What one group appends to logs: gathered while its batches are checked, written as one run for each
//! log, and indexed as few pieces.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytes::Bytes;
use redb::ReadableTable;
use windlass_core::id::LogId;
use windlass_core::lines::At;
use windlass_core::value::Origin;

use crate::blocks;
use crate::encode::{self, Piece};
use crate::fault::ReadError;
use crate::segments::{Files, Home, OWN_ABOVE, Placed, Run};
use crate::tables::Tables;

/// The longest piece: the most that is read to find a line.
const MAX_PIECE: usize = 256 << 10;

/// What the index takes up for each piece, as far as room is concerned.
pub(crate) const ROW: u64 = 64;

/// A log's last piece, with its offset in the log.
type Last = (u64, Piece);

/// The end of a log, as the transaction sees it.
#[derive(Clone, Debug, Default)]
struct Tail {
    length: u64,
    last: Option<Last>,
    lines: Lines,
}

/// How far a log is in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    /// So many have begun.
    begun: u64,
    at: At,
    /// The stream of the last byte; none: there is none.
    last: Option<Origin>,
}

/// The ends of logs that were written lately, so that nothing is read to write on. A log that is not among them is
/// looked at again.
#[derive(Debug, Default)]
pub(crate) struct Known(HashMap<LogId, (u64, Lines)>);

/// So many logs are remembered; of more, none is.
const MAX_KNOWN: usize = 10_000;

impl Known {
    /// The appends of a group went through.
    pub(crate) fn learn(&mut self, appends: &Appends, finished: &[LogId]) {
        if self.0.len() > MAX_KNOWN {
            self.0.clear();
        }
        for (log, append) in appends.grown() {
            self.0.insert(*log, (append.tail.length, append.tail.lines));
        }
        for log in finished {
            self.0.remove(log);
        }
    }

    fn of(&self, log: LogId, length: u64) -> Option<Lines> {
        self.0.get(&log).filter(|(known, _)| *known == length).map(|(_, lines)| *lines)
    }
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
    /// How many there are: each may become a piece.
    pub(crate) count: u64,
}

impl Appends {
    /// Returns the log's length with what this group has added so far. How far it is in lines is looked up, too: if
    /// its last bytes cannot be read, nobody can write behind them.
    pub(crate) fn length(
        &mut self,
        tables: &Tables<'_>,
        known: &Known,
        folder: &Path,
        log: LogId,
    ) -> Result<u64, ReadError> {
        if let Some(append) = self.logs.get(&log) {
            return Ok(append.tail.length + append.added);
        }
        let last = blocks::last_written(tables, log)?;
        let length = last.map_or(0, |block| block.end());
        let lines = match &last {
            None => Lines::default(),
            Some(block) => match known.of(log, length) {
                Some(lines) => lines,
                None => {
                    let (begun, at, last) = block.scan(&mut Files::new(folder))?;
                    Lines { begun, at, last: Some(last) }
                }
            },
        };
        let last = last.and_then(|block| block.piece().map(|piece| (block.offset, piece)));
        let tail = Tail { length, last, lines };
        self.logs.insert(log, Append { tail, added: 0, data: Vec::new() });
        Ok(length)
    }

    /// Adds to a log whose length was asked before.
    pub(crate) fn push(&mut self, log: LogId, origin: Origin, data: Bytes) {
        let append = self.logs.get_mut(&log).expect("BUG: the log's length was not checked");
        append.added += data.len() as u64;
        self.bytes += data.len() as u64;
        self.count += 1;
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
    pub(crate) fn index(&mut self, tables: &mut Tables<'_>, placed: &[Placed]) -> Result<(), ReadError> {
        let grown = self.logs.iter_mut().filter(|(_, append)| append.added > 0);
        for ((log, append), placed) in grown.zip(placed) {
            let Tail { length, last, lines } = &mut append.tail;
            let mut position = placed.position;
            let mut changed = false;
            for (origin, data) in &append.data {
                for chunk in data.chunks(MAX_PIECE) {
                    let (at, first_line) = lines.take(*origin, chunk);
                    let new = Piece {
                        segment: placed.segment,
                        position,
                        length: chunk.len() as u32,
                        origin: *origin,
                        at,
                        first_line,
                        lines: 0,
                    };
                    let (offset, mut piece) = match *last {
                        Some((offset, last)) if continues(&last, &new) => {
                            (offset, Piece { length: last.length + new.length, ..last })
                        }
                        before => {
                            if changed {
                                put(tables, *log, before)?;
                            }
                            (*length, new)
                        }
                    };
                    piece.lines = (lines.next() - piece.first_line) as u32;
                    *last = Some((offset, piece));
                    changed = true;
                    *length += u64::from(new.length);
                    position += u64::from(new.length);
                }
            }
            put(tables, *log, *last)?;
        }
        Ok(())
    }

    /// The logs that got bytes, with their lengths after [`Appends::index`].
    pub(crate) fn lengths(&self) -> impl Iterator<Item = (LogId, u64)> {
        self.grown().map(|(log, append)| (*log, append.tail.length))
    }

    fn grown(&self) -> impl Iterator<Item = (&LogId, &Append)> {
        self.logs.iter().filter(|(_, append)| append.added > 0)
    }
}

impl Lines {
    /// Goes over a chunk; answers where its first byte stands, and in which line.
    fn take(&mut self, origin: Origin, chunk: &[u8]) -> (At, u64) {
        if self.last.replace(origin).is_some_and(|last| last != origin) {
            self.at = At::Begin;
        }
        let at = self.at;
        self.begun += self.at.count(&chunk[..1]);
        let first_line = self.begun - 1;
        self.begun += self.at.count(&chunk[1..]);
        (at, first_line)
    }

    /// The line of the next byte, as far as it can be told.
    fn next(&self) -> u64 {
        self.begun - u64::from(self.at != At::Begin)
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

/// Returns the segment and its committed end, if the log has it for itself.
fn owned_segment(tables: &Tables<'_>, log: LogId, segment: u64) -> Result<Option<(u64, u64)>, ReadError> {
    let row = tables.segments.read()?.get(segment)?.map(|row| row.value());
    Ok(row.filter(|(_, owner)| *owner == log.0).map(|(end, _)| (segment, end)))
}
