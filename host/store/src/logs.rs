//! Reading logs: by offset, and by line. What is read costs what is read, however long the log is, and whether it
//! is being written or lies in the archive.

use std::io;

use windlass_core::id::LogId;
use windlass_core::lines::At;
use windlass_core::record::{LogPiece, LogRow};

use crate::Store;
use crate::blocks::{self, Block};
use crate::encode;
use crate::fault::ReadError;
use crate::segments::Files;
use crate::tables::Snapshot;

/// So often is looked anew for what was moved into the archive between a look and a read.
const TRIES: usize = 5;

/// How long a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Bytes.
    pub bytes: u64,
    /// Lines that have begun.
    pub lines: u64,
}

impl Store {
    /// Returns the length of a log in bytes; 0 for one that has none.
    pub fn log_len(&self, id: LogId) -> Result<u64, ReadError> {
        let snapshot = self.snapshot()?;
        match is_gone(&snapshot, id)? {
            true => Ok(0),
            false => Ok(blocks::last(&snapshot, id)?.map_or(0, |block| block.end())),
        }
    }

    /// Returns the length of a log in bytes and in lines.
    pub fn log_size(&self, id: LogId) -> Result<LogSize, ReadError> {
        self.looking(id, |snapshot, gone| {
            let last = blocks::last(snapshot, id)?;
            let Some(last) = last.filter(|_| !gone) else { return Ok(LogSize::default()) };
            let (lines, ..) = last.scan(&mut self.files())?;
            Ok(LogSize { bytes: last.end(), lines })
        })
    }

    /// Returns pieces of a log from `offset`, at most `max_bytes` of them together. None: that is the
    /// end so far.
    pub fn read_log(&self, id: LogId, offset: u64, max_bytes: usize) -> Result<Vec<LogPiece>, ReadError> {
        self.looking(id, |snapshot, gone| match gone {
            true => Ok(Vec::new()),
            false => self.read_from(snapshot, id, offset, max_bytes),
        })
    }

    /// Returns pieces of a log from the beginning of line `first_line` (from 0): at most `max_lines`
    /// lines, and at most `max_bytes` bytes of them. `core::lines` says what a line is.
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
        let mut pieces = self.looking(id, |snapshot, gone| {
            let start = if gone { None } else { self.line_start(snapshot, id, first_line)? };
            start.map_or_else(|| Ok(Vec::new()), |start| self.read_from(snapshot, id, start, max_bytes))
        })?;
        cut_behind(&mut pieces, max_lines);
        Ok(pieces)
    }

    fn files(&self) -> Files<'_> {
        Files::new(&self.0.logs)
    }

    /// Looks at a log with a snapshot, and again if what it speaks of has been moved. The other argument says whether
    /// the log's bytes are gone, or about to go.
    fn looking<T>(
        &self,
        id: LogId,
        look: impl Fn(&Snapshot, bool) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut tries = 1;
        loop {
            let snapshot = self.snapshot()?;
            match look(&snapshot, is_gone(&snapshot, id)?) {
                Err(ReadError::Segment { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && tries < TRIES =>
                {
                    tries += 1;
                }
                answer => return answer,
            }
        }
    }

    fn read_from(
        &self,
        snapshot: &Snapshot,
        id: LogId,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogPiece>, ReadError> {
        let (mut offset, mut left) = (offset, max_bytes as u64);
        let (mut pieces, mut files) = (Vec::new(), self.files());
        while left > 0 {
            let Some(block) = blocks::at(snapshot, id, offset)? else { break };
            for (origin, data) in block.read(&mut files, offset - block.offset, left)? {
                let length = data.len() as u64;
                pieces.push(LogPiece { offset, origin, data });
                (offset, left) = (offset + length, left - length);
            }
        }
        Ok(pieces)
    }

    /// Returns the offset at which a line begins; none if the log is shorter.
    fn line_start(&self, snapshot: &Snapshot, id: LogId, line: u64) -> Result<Option<u64>, ReadError> {
        if line == 0 {
            return Ok(Some(0));
        }
        let Some(last) = blocks::last(snapshot, id)? else { return Ok(None) };
        // The last block whose first byte is of an earlier line: the line begins in it, or with the next one.
        let before = |block: &Block| block.first_line < line;
        let mut found = last;
        if !before(&last) {
            let (mut low, mut high) = (0, last.offset);
            while low < high {
                let middle = low + (high - low) / 2;
                let Some(block) = blocks::at(snapshot, id, middle)? else { break };
                if before(&block) {
                    found = block;
                    low = block.end();
                } else {
                    high = block.offset;
                }
            }
        }
        if let Some(start) = found.find(&mut self.files(), line)? {
            return Ok(Some(found.offset + start));
        }
        let next = blocks::at(snapshot, id, found.end())?;
        Ok(next.filter(|next| next.first_line == line).map(|next| next.offset))
    }
}

/// Whether a log is too old. That is in its row before the first of its bytes goes.
fn is_gone(snapshot: &Snapshot, id: LogId) -> Result<bool, ReadError> {
    let Some(row) = snapshot.logs()?.get(id.0)? else { return Ok(false) };
    Ok(encode::unpack::<LogRow>("logs", id.0, row.value())?.expired)
}

/// Cuts pieces that begin with a line behind so many lines.
fn cut_behind(pieces: &mut Vec<LogPiece>, lines: u64) {
    let (mut at, mut begun) = (At::Begin, 0);
    for i in 0..pieces.len() {
        if i > 0 && pieces[i - 1].origin != pieces[i].origin {
            at = At::Begin;
        }
        match at.find(&pieces[i].data, lines - begun) {
            Ok(end) => {
                pieces[i].data.truncate(end);
                pieces.truncate(i + usize::from(end > 0));
                return;
            }
            Err(here) => begun += here,
        }
    }
}
