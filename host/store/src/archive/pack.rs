//! How a log comes into the archive: pieces become frames, frames are written and made durable, and then one commit
//! shows the new way.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use windlass_core::id::LogId;
use windlass_core::keeping::Method;
use windlass_core::record::LogRow;
use windlass_core::time::Timestamp;
use windlass_core::value::Origin;

use super::{MOVE_BYTES, MOVE_ROWS, TendError, Visit};
use crate::blocks;
use crate::encode::{self, Piece};
use crate::fault::ReadError;
use crate::frames::{self, FRAME, Frame};
use crate::log_work::{Archived, Move, Work};
use crate::segments::{self, Files, Name};

/// An archive that is written.
pub(super) struct Open {
    number: u64,
    owner: u64,
    file: File,
    /// What is committed; `packed` is to be written behind it.
    end: u64,
    newest: u64,
    /// Nothing of it is committed.
    is_new: bool,
    moves: Vec<Move>,
    packed: Vec<u8>,
    /// Of the moves: their rows, and the bytes of their logs.
    rows: usize,
    bytes: usize,
    /// How far these three were when the last of the moves began.
    before: (usize, usize, usize),
}

impl Open {
    fn new(number: u64, owner: u64, file: File, end: u64, newest: u64, is_new: bool) -> Open {
        let (moves, packed) = (Vec::new(), Vec::new());
        Open { number, owner, file, end, newest, is_new, moves, packed, rows: 0, bytes: 0, before: (0, 0, 0) }
    }
}

/// What the frames of a log have in common.
struct Packing {
    log: LogId,
    owner: u64,
    ended: Timestamp,
    method: Method,
}

impl Visit<'_> {
    /// Moves what is in pieces of a log, if it is what its hash says; false: the disk has no room for that.
    pub(super) fn pack(&mut self, row: &LogRow, owner: u64, ended: Timestamp) -> Result<bool, TendError> {
        let (snapshot, log, store) = (self.snapshot()?, row.id, self.store);
        let Some(last) = blocks::last(&snapshot, log)?.filter(|last| last.piece().is_some()) else {
            return Ok(true);
        };
        // What it takes at most, behind what is packed and not written yet.
        let packed = self.open.as_ref().map_or(0, |open| open.packed.len() as u64);
        if !self.store.has_room(packed + last.end()) {
            tracing::debug!(%log, bytes = last.end(), "the disk has no room to archive a log");
            return Ok(false);
        }
        let mut files = Files::new(&store.0.logs);
        if row.hash.is_some() && row.hash != Some(blocks::hash(&snapshot, &mut files, log)?) {
            return Err(TendError::Changed { log });
        }
        let method = if last.end() < self.keeping.limit { Method::None } else { self.keeping.method };
        let packing = Packing { log, owner, ended, method };
        let (mut gathered, mut bytes): (Vec<(u64, Piece)>, _) = (Vec::new(), 0);
        for piece in snapshot.log_pieces()?.range((log.0, 0)..=(log.0, u64::MAX))? {
            let (key, value) = piece?;
            let piece = encode::to_piece(key.value(), value.value())?;
            let is_full = bytes + piece.length as usize > FRAME || gathered.len() == MOVE_ROWS;
            if is_full && !gathered.is_empty() {
                self.frame(&packing, &std::mem::take(&mut gathered), &mut files)?;
                bytes = 0;
            }
            bytes += piece.length as usize;
            gathered.push((key.value().1, piece));
        }
        self.frame(&packing, &gathered, &mut files)?;
        self.done.archived += 1;
        Ok(true)
    }

    /// Makes a frame of neighbouring pieces.
    fn frame(
        &mut self,
        packing: &Packing,
        pieces: &[(u64, Piece)],
        files: &mut Files<'_>,
    ) -> Result<(), TendError> {
        let Packing { log, owner, ended, method } = *packing;
        let ([(offset, first), ..], [.., (_, last)]) = (pieces, pieces) else { return Ok(()) };
        let mut runs: Vec<(Origin, Bytes)> = Vec::with_capacity(pieces.len());
        for (_, piece) in pieces {
            let data = files.read(Name::Segment(piece.segment), piece.position, piece.length as usize)?;
            runs.push((piece.origin, data));
        }
        let length: usize = runs.iter().map(|(_, data)| data.len()).sum();
        let runs = joined(runs);
        let open = self.open_archive(owner)?;
        let number = open.number;
        let pack = |method| {
            frames::pack(&runs, method).map_err(|source| TendError::Write {
                path: segments::archive_path(&self.store.0.logs, number),
                source,
            })
        };
        let (mut method, mut packed) = (method, pack(method)?);
        if method != Method::None && packed.len() >= length {
            // What cannot be made smaller is read faster as it is.
            (method, packed) = (Method::None, pack(Method::None)?);
        }
        let open = self.open.as_mut().expect("it was opened above");
        let frame = Frame {
            archive: open.number,
            position: open.end + open.packed.len() as u64,
            stored: packed.len() as u32,
            method,
            length: length as u32,
            at: first.at,
            first_line: first.first_line,
            lines: (last.first_line + u64::from(last.lines) - first.first_line) as u32,
        };
        if open.moves.last().is_none_or(|last| last.log != log) {
            open.before = (open.packed.len(), open.rows, open.bytes);
            open.moves.push(Move { log, pieces: Vec::new(), frames: Vec::new() });
        }
        if let Some(last) = open.moves.last_mut() {
            last.pieces.extend(pieces.iter().map(|(offset, _)| *offset));
            last.frames.push((*offset, frame));
        }
        open.packed.extend_from_slice(&packed);
        open.newest = open.newest.max(ended.0);
        open.bytes += length;
        open.rows += 1 + pieces.len();
        if open.bytes >= MOVE_BYTES || open.rows >= MOVE_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn open_archive(&mut self, owner: u64) -> Result<&mut Open, TendError> {
        if self.open.is_none() {
            let number = self.archive.next;
            let path = segments::archive_path(self.folder(), number);
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
            let file = file.map_err(|source| TendError::Write { path, source })?;
            self.archive.next += 1;
            self.open = Some(Open::new(number, owner, file, 0, 0, true));
        }
        Ok(self.open.as_mut().expect("it was opened above"))
    }

    /// Goes on with the archive that a log has for itself since an earlier visit, which did not come to its end.
    pub(super) fn reopen(&mut self, log: LogId) -> Result<(), TendError> {
        let snapshot = self.snapshot()?;
        let Some(number) = blocks::last_frame(&snapshot, log)?.map(|frame| frame.archive) else {
            return Ok(());
        };
        let row = snapshot.archives()?.get(number)?.map(|row| row.value());
        let Some((end, owner, newest)) = row.filter(|(_, owner, _)| *owner == log.0) else { return Ok(()) };
        let path = segments::archive_path(self.folder(), number);
        let file = OpenOptions::new().write(true).open(&path);
        let file = file.and_then(|file| file.set_len(end).map(|()| file));
        // Without it the log cannot be read, either.
        let file = file.map_err(|source| ReadError::Segment { path, source: Arc::new(source) })?;
        self.open = Some(Open::new(number, owner, file, end, newest, false));
        Ok(())
    }

    /// Makes what was packed durable, and then the new way to it.
    pub(super) fn flush(&mut self) -> Result<(), TendError> {
        let Some(open) = self.open.as_mut().filter(|open| !open.moves.is_empty()) else { return Ok(()) };
        let folder = &self.store.0.logs;
        let path = segments::archive_path(folder, open.number);
        let durable = &self.archive.make_durable.0;
        let written =
            open.file.write_all_at(&open.packed, open.end).and_then(|()| durable(&open.file, &path));
        let written = written.and_then(|()| match open.is_new {
            true => durable(&File::open(folder)?, folder),
            false => Ok(()),
        });
        if let Err(source) = written {
            // Nobody speaks of what was written.
            self.leave();
            return Err(TendError::Write { path, source });
        }
        let work = Archived {
            number: open.number,
            owner: open.owner,
            before: open.end,
            end: open.end + open.packed.len() as u64,
            newest: open.newest,
            moves: std::mem::take(&mut open.moves),
        };
        let (end, stored, bytes) = (work.end, open.packed.len() as u64, open.bytes as u64);
        if let Err(error) = self.commit(Work::Archive(work)) {
            // Whether it is committed, nobody knows: the file stays. The next open of the store does.
            self.open = None;
            return Err(error.into());
        }
        let open = self.open.as_mut().expect("it was there above");
        (open.end, open.is_new, open.rows, open.bytes) = (end, false, 0, 0);
        open.packed.clear();
        self.done.bytes += bytes;
        self.done.stored += stored;
        Ok(())
    }

    /// Takes back what was packed of a log and not flushed.
    pub(super) fn take_back(&mut self, log: LogId) {
        if let Some(open) = &mut self.open
            && open.moves.pop_if(|last| last.log == log).is_some()
        {
            let (packed, rows, bytes) = open.before;
            open.packed.truncate(packed);
            (open.rows, open.bytes) = (rows, bytes);
        }
    }

    /// Leaves the archive that is open; of one that has nothing, no file stays.
    pub(super) fn leave(&mut self) {
        if let Some(open) = self.open.take()
            && open.is_new
        {
            fs::remove_file(segments::archive_path(self.folder(), open.number)).ok();
        }
    }
}

/// Neighbours of one stream as one run.
fn joined(runs: Vec<(Origin, Bytes)>) -> Vec<(Origin, Bytes)> {
    let mut joined: Vec<(Origin, Vec<u8>)> = Vec::new();
    if runs.len() == 1 {
        return runs;
    }
    for (origin, data) in runs {
        match joined.last_mut() {
            Some((last, bytes)) if *last == origin => bytes.extend_from_slice(&data),
            _ => joined.push((origin, data.into())),
        }
    }
    joined.into_iter().map(|(origin, data)| (origin, data.into())).collect()
}
