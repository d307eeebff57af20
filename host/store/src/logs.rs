//! Reading logs: by offset, and by line.

use windlass_core::id::LogId;
use windlass_core::record::LogPiece;

use crate::appends::last_piece;
use crate::encode::{self, Piece};
use crate::fault::ReadError;
use crate::tables::Snapshot;
use crate::{Store, segments};

impl Store {
    /// Returns the length of a log in bytes; 0 for one that has none.
    pub fn log_len(&self, id: LogId) -> Result<u64, ReadError> {
        let last = last_piece(&self.snapshot()?.log_pieces()?, id)?;
        Ok(last.map_or(0, |(offset, piece)| offset + u64::from(piece.length)))
    }

    /// Returns pieces of a log from `offset`, at most `max_bytes` of them together. None: that is the
    /// end so far.
    pub fn read_log(&self, id: LogId, offset: u64, max_bytes: usize) -> Result<Vec<LogPiece>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut left = max_bytes;
        let mut pieces = Vec::new();
        let Some((first, _)) = piece_at(&snapshot, id, offset)? else { return Ok(pieces) };
        for row in snapshot.log_pieces()?.range((id.0, first)..=(id.0, u64::MAX))? {
            let (key, bytes) = row?;
            let (start, piece) = (key.value().1, encode::to_piece(key.value(), bytes.value())?);
            let skip = offset.saturating_sub(start);
            let length = (u64::from(piece.length) - skip).min(left as u64) as usize;
            if length == 0 {
                break;
            }
            left -= length;
            let data = segments::read(&self.0.logs, piece.segment, piece.position + skip, length)?;
            pieces.push(LogPiece { offset: start + skip, origin: piece.origin, data });
            if left == 0 {
                break;
            }
        }
        Ok(pieces)
    }

    /// Returns pieces of a log from the beginning of line `first_line` (from 0): at most `max_lines`
    /// lines, and at most `max_bytes` bytes of them. A line ends with a newline, whatever its stream.
    pub fn read_log_lines(
        &self,
        id: LogId,
        first_line: u64,
        max_lines: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogPiece>, ReadError> {
        if max_lines == 0 {
            return Ok(Vec::new());
        }
        let snapshot = self.snapshot()?;
        let Some(start) = self.line_start(&snapshot, id, first_line)? else { return Ok(Vec::new()) };
        let mut pieces = self.read_log(id, start, max_bytes)?;
        let mut lines = 0;
        for i in 0..pieces.len() {
            let data = &mut pieces[i].data;
            let end = data.iter().position(|byte| {
                lines += u64::from(*byte == b'\n');
                lines == max_lines
            });
            if let Some(end) = end {
                data.truncate(end + 1);
                pieces.truncate(i + 1);
                break;
            }
        }
        Ok(pieces)
    }

    /// Returns the offset at which a line begins; none if the log is shorter.
    fn line_start(&self, snapshot: &Snapshot, id: LogId, line: u64) -> Result<Option<u64>, ReadError> {
        if line == 0 {
            return Ok(Some(0));
        }
        let Some((mut high, last)) = last_piece(&snapshot.log_pieces()?, id)? else { return Ok(None) };
        if last.first_line + u64::from(last.lines) < line {
            return Ok(None);
        }
        // The line begins after newline number `line`: find the last piece that begins before it.
        let before = |piece: &Piece| piece.first_line < line;
        let mut found = (high, last);
        if !before(&last) {
            let mut low = 0;
            while low < high {
                let middle = low + (high - low) / 2;
                let Some((start, piece)) = piece_at(snapshot, id, middle)? else { break };
                if before(&piece) {
                    found = (start, piece);
                    low = start + u64::from(piece.length);
                } else {
                    high = start;
                }
            }
        }
        let (start, piece) = found;
        let data = segments::read(&self.0.logs, piece.segment, piece.position, piece.length as usize)?;
        let mut newlines = data.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let newline = newlines.nth((line - piece.first_line - 1) as usize);
        Ok(newline.map(|(at, _)| start + at as u64 + 1))
    }
}

/// Returns the piece that holds the byte at `offset`, with its own offset.
fn piece_at(snapshot: &Snapshot, id: LogId, offset: u64) -> Result<Option<(u64, Piece)>, ReadError> {
    match snapshot.log_pieces()?.range((id.0, 0)..=(id.0, offset))?.next_back() {
        None => Ok(None),
        Some(row) => {
            let (key, bytes) = row?;
            let piece = encode::to_piece(key.value(), bytes.value())?;
            let start = key.value().1;
            Ok((offset < start + u64::from(piece.length)).then_some((start, piece)))
        }
    }
}
