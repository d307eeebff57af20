//! The archive: where the bytes of finished logs go, compressed in frames, and from where they go for good when
//! they are too old. It is done in the background, a little at a time; no commit waits for it.
//!
//! A log's old bytes stay until the new ones are durable: frames are written and synced behind the committed end of
//! an archive's file, then one transaction puts their rows in the place of the pieces' rows, and a segment goes when
//! no piece speaks of it any more. What a crash leaves is a log in frames, in pieces, or in frames at its beginning
//! and in pieces behind, which reads the same.
//!
//! A log that has a segment for itself gets an archive for itself as soon as it is finished. Those that share a
//! segment share an archive, once nothing more comes into the segment: it is full, or a day old.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redb::ReadableTable;
use windlass_core::id::LogId;
use windlass_core::keeping::{Keeping, Method};
use windlass_core::record::{BuildRow, LogRow};
use windlass_core::time::Timestamp;
use windlass_core::value::Origin;

use crate::encode::{self, Piece};
use crate::fault::ReadError;
use crate::frames::{self, FRAME, Frame};
use crate::log_work::{Archived, Move, Work};
use crate::segments::{self, MakeDurable};
use crate::tables::Snapshot;
use crate::writer::CommitError;
use crate::{Store, blocks};

/// A shared segment takes no more logs after so long: its archive goes when the last of them is too old.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// So often is looked whether logs that share a segment are finished.
const LOOK_AGAIN: u64 = 60 * 1000;

/// So many bytes of logs, or so many rows, are moved in one commit.
const MOVE_BYTES: usize = 16 << 20;
const MOVE_ROWS: usize = 256;

/// For the time that a commit took, so many times as long is left to others.
const OTHERS: u32 = 3;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Logs that went into the archive.
    pub archived: u64,
    /// Their bytes, and what they take there.
    pub bytes: u64,
    /// What they take there.
    pub stored: u64,
    /// Logs whose bytes were removed.
    pub expired: u64,
}

/// Why the archive is not tended any further. What was done is whole.
#[derive(Debug, thiserror::Error)]
pub enum TendError {
    /// A row or bytes of a log could not be read.
    #[error("failed to read a log for the archive")]
    Read(#[from] ReadError),
    /// An archive could not be written.
    #[error("failed to write the archive `{path}`")]
    Write {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store refused it, or is closed.
    #[error("failed to record what was archived")]
    Commit(#[from] CommitError),
}

impl From<redb::StorageError> for TendError {
    fn from(error: redb::StorageError) -> TendError {
        TendError::Read(error.into())
    }
}

/// What is known of the archive between two visits.
#[derive(Debug)]
pub(crate) struct Archive {
    /// The number of the next archive.
    next: u64,
    sealed: Option<Timestamp>,
    looked: Option<(Timestamp, Vec<u64>)>,
    pub(crate) make_durable: NoDebug,
}

/// Makes files durable.
pub(crate) struct NoDebug(pub(crate) MakeDurable);

impl std::fmt::Debug for NoDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MakeDurable")
    }
}

impl Archive {
    pub(crate) fn new(next: u64, make_durable: MakeDurable) -> Archive {
        Archive { next, sealed: None, looked: None, make_durable: NoDebug(make_durable) }
    }
}

impl Store {
    /// Archives what is finished, and removes what is too old. Blocking, and long where there is much to do: for a
    /// thread of its own. Ends early when the store is closed, or `stop` is set.
    pub fn tend_logs(
        &self,
        keeping: &Keeping,
        now: Timestamp,
        stop: &AtomicBool,
    ) -> Result<Tended, TendError> {
        let mut archive = self.0.archive.lock().expect("nothing panics while it is held");
        let mut visit = Visit { store: self, keeping, now, stop, done: Tended::default(), open: None };
        match visit.tend(&mut archive) {
            Err(TendError::Commit(CommitError::Closed)) => {}
            ended => ended?,
        }
        Ok(visit.done)
    }

    /// Resolves when there is something for [`Store::tend_logs`] that should not wait: a long log is finished, or a
    /// segment is full.
    pub async fn logs_to_tend(&self) {
        self.0.watches.to_tend.notified().await;
    }
}

/// Segments with the log that has each for itself.
type Owned = Vec<(u64, LogId)>;

/// One visit to the archive.
struct Visit<'s> {
    store: &'s Store,
    keeping: &'s Keeping,
    now: Timestamp,
    stop: &'s AtomicBool,
    done: Tended,
    open: Option<Open>,
}

/// An archive that is written.
struct Open {
    number: u64,
    owner: u64,
    file: File,
    /// What is committed, and what is written behind.
    end: u64,
    newest: u64,
    is_new: bool,
    moves: Vec<Move>,
    rows: usize,
    packed: Vec<u8>,
    bytes: usize,
}

impl Visit<'_> {
    fn tend(&mut self, archive: &mut Archive) -> Result<(), TendError> {
        let now = self.now;
        let since = |then: Timestamp| now.0.saturating_sub(then.0);
        let day = self.keeping.horizon_ms.map_or(DAY, |horizon| DAY.min(horizon / 4));
        if archive.sealed.is_none_or(|then| since(then) >= day) {
            self.commit(Work::Seal)?;
            archive.sealed = Some(now);
        }
        let (owned, shared) = self.segments()?;
        for (segment, log) in owned {
            self.owned(archive, segment, log)?;
        }
        let due = match &archive.looked {
            Some((then, looked)) => since(*then) >= LOOK_AGAIN || *looked != shared,
            None => true,
        };
        if due && !shared.is_empty() {
            self.shared(archive, &shared)?;
        }
        archive.looked = Some((now, self.segments()?.1));
        if let Some(horizon) = self.keeping.horizon_ms {
            self.expire(now.0.saturating_sub(horizon))?;
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, ReadError> {
        self.store.snapshot()
    }

    /// Segments whose logs may be ready: those of one log, with it, and shared ones that take nothing more.
    fn segments(&self) -> Result<(Owned, Vec<u64>), ReadError> {
        // First the rows, then which one is written: a new one is named before its row can be seen.
        let (mut owned, mut shared) = (Vec::new(), Vec::new());
        let snapshot = self.snapshot()?;
        let written = self.store.0.counters.shared_segment.load(Ordering::Acquire);
        for row in snapshot.segments()?.iter()? {
            let (number, row) = row?;
            match (number.value(), row.value().1) {
                (number, 0) if number != written => shared.push(number),
                (_, 0) => {}
                (number, log) => owned.push((number, LogId(log))),
            }
        }
        Ok((owned, shared))
    }

    fn commit(&self, work: Work) -> Result<(), CommitError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(CommitError::Closed);
        }
        let began = Instant::now();
        let answer = self.store.0.queue.push_work(work).blocking_recv();
        answer.unwrap_or(Err(CommitError::Closed))?;
        std::thread::sleep((began.elapsed() * OTHERS).min(Duration::from_millis(200)));
        Ok(())
    }

    fn owned(&mut self, archive: &mut Archive, segment: u64, log: LogId) -> Result<(), TendError> {
        let Some(row) = self.store.log(log)?.filter(|row| row.finished) else { return Ok(()) };
        self.open = self.reopen(log)?;
        self.log(archive, &row, log.0)?;
        self.flush(archive)?;
        self.open = None;
        Ok(self.commit(Work::DropSegment(segment))?)
    }

    fn shared(&mut self, archive: &mut Archive, segments: &[u64]) -> Result<(), TendError> {
        let mut logs: BTreeMap<u64, BTreeSet<u64>> =
            segments.iter().map(|number| (*number, BTreeSet::new())).collect();
        let snapshot = self.snapshot()?;
        for row in snapshot.log_pieces()?.iter()? {
            let (key, bytes) = row?;
            let segment = encode::to_piece(key.value(), bytes.value())?.segment;
            if let Some(logs) = logs.get_mut(&segment) {
                logs.insert(key.value().0);
            }
        }
        drop(snapshot);
        for (segment, logs) in logs {
            let mut all = true;
            for log in logs {
                match self.store.log(LogId(log))? {
                    Some(row) if row.finished => self.log(archive, &row, 0)?,
                    Some(_) | None => all = false,
                }
            }
            self.flush(archive)?;
            self.open = None;
            if all {
                self.commit(Work::DropSegment(segment))?;
            }
        }
        Ok(())
    }

    /// Moves what is in pieces of a log; `owner` is the log if the archive is its own.
    fn log(&mut self, archive: &mut Archive, row: &LogRow, owner: u64) -> Result<(), TendError> {
        let snapshot = self.snapshot()?;
        let Some(last) = blocks::last(&snapshot, row.id)?.filter(|last| last.piece().is_some()) else {
            return Ok(());
        };
        let method = if last.end() < self.keeping.limit { Method::None } else { self.keeping.method };
        let ended = match row.ended {
            Some(at) => at,
            None => self.ended(&snapshot, row)?,
        };
        let mut gathered: Vec<(u64, Piece)> = Vec::new();
        let mut bytes = 0;
        let mut reader = Reader { folder: &self.store.0.logs, open: None };
        for piece in snapshot.log_pieces()?.range((row.id.0, 0)..=(row.id.0, u64::MAX))? {
            let (key, value) = piece?;
            let piece = encode::to_piece(key.value(), value.value())?;
            if !gathered.is_empty() && bytes + piece.length as usize > FRAME {
                self.frame(
                    archive,
                    row.id,
                    owner,
                    ended,
                    method,
                    &std::mem::take(&mut gathered),
                    &mut reader,
                )?;
                bytes = 0;
            }
            bytes += piece.length as usize;
            gathered.push((key.value().1, piece));
        }
        self.frame(archive, row.id, owner, ended, method, &gathered, &mut reader)?;
        self.done.archived += 1;
        Ok(())
    }

    /// When the build of a log ended that does not say it of itself.
    fn ended(&self, snapshot: &Snapshot, row: &LogRow) -> Result<Timestamp, ReadError> {
        let Some(build) = snapshot.builds()?.get(row.build.0)? else { return Ok(self.now) };
        let build: BuildRow = encode::unpack("builds", row.build.0, build.value())?;
        Ok(build.complete.map_or(self.now, |complete| complete.at))
    }

    #[allow(clippy::too_many_arguments, reason = "all of them are of the one log")]
    fn frame(
        &mut self,
        archive: &mut Archive,
        log: LogId,
        owner: u64,
        ended: Timestamp,
        method: Method,
        pieces: &[(u64, Piece)],
        reader: &mut Reader<'_>,
    ) -> Result<(), TendError> {
        let [(offset, first), ..] = pieces else { return Ok(()) };
        let (_, last) = pieces.last().expect("there is a first");
        let mut runs: Vec<(Origin, Bytes)> = Vec::with_capacity(pieces.len());
        for (_, piece) in pieces {
            runs.push((piece.origin, reader.read(piece)?));
        }
        let length: usize = runs.iter().map(|(_, data)| data.len()).sum();
        let runs = joined(runs);
        let path = |number| segments::archive_path(&self.store.0.logs, number);
        let plain = |source| TendError::Write { path: path(archive.next), source };
        let (mut method, mut packed) = (method, frames::pack(&runs, method).map_err(plain)?);
        if method != Method::None && packed.len() >= length {
            // What cannot be made smaller is read faster as it is.
            (method, packed) = (Method::None, frames::pack(&runs, Method::None).map_err(plain)?);
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let number = archive.next;
                let path = path(number);
                let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
                let file = file.map_err(|source| TendError::Write { path, source })?;
                archive.next += 1;
                none.insert(Open::new(number, owner, file, 0, 0, true))
            }
        };
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
        open.packed.extend_from_slice(&packed);
        open.newest = open.newest.max(ended.0);
        open.bytes += length;
        open.rows += 1 + pieces.len();
        let pieces = pieces.iter().map(|(offset, _)| *offset);
        match open.moves.last_mut() {
            Some(last) if last.log == log => {
                last.pieces.extend(pieces);
                last.frames.push((*offset, frame));
            }
            _ => open.moves.push(Move { log, pieces: pieces.collect(), frames: vec![(*offset, frame)] }),
        }
        if open.bytes >= MOVE_BYTES || open.rows >= MOVE_ROWS {
            self.flush(archive)?;
        }
        Ok(())
    }

    /// Makes what was packed durable, and then the new way to it.
    fn flush(&mut self, archive: &Archive) -> Result<(), TendError> {
        let Some(open) = self.open.as_mut().filter(|open| !open.moves.is_empty()) else { return Ok(()) };
        let folder = &self.store.0.logs;
        let path = segments::archive_path(folder, open.number);
        let durable = &archive.make_durable.0;
        let written =
            open.file.write_all_at(&open.packed, open.end).and_then(|()| durable(&open.file, &path));
        let written = written.and_then(|()| match open.is_new {
            true => durable(&File::open(folder)?, folder),
            false => Ok(()),
        });
        let work = Archived {
            number: open.number,
            owner: open.owner,
            before: open.end,
            end: open.end + open.packed.len() as u64,
            newest: open.newest,
            moves: std::mem::take(&mut open.moves),
        };
        let (end, stored, bytes) =
            (work.end, open.packed.len() as u64, std::mem::take(&mut open.bytes) as u64);
        let written = written.map_err(|source| TendError::Write { path: path.clone(), source });
        if let Err(error) = written.and_then(|()| Ok(self.commit(Work::Archive(work))?)) {
            // Before the commit nobody speaks of the file; after it nobody knows. The next open of the store does.
            let is_new = self.open.take().is_some_and(|open| open.is_new);
            if is_new && matches!(error, TendError::Write { .. }) {
                fs::remove_file(&path).ok();
            }
            return Err(error);
        }
        let open = self.open.as_mut().expect("it was there above");
        (open.end, open.is_new, open.rows) = (end, false, 0);
        open.packed.clear();
        self.done.bytes += bytes;
        self.done.stored += stored;
        Ok(())
    }

    /// The archive that a log has for itself since an earlier visit, which did not come to its end.
    fn reopen(&self, log: LogId) -> Result<Option<Open>, TendError> {
        let snapshot = self.snapshot()?;
        let Some(number) = blocks::last_frame(&snapshot, log)?.map(|frame| frame.archive) else {
            return Ok(None);
        };
        let Some(row) = snapshot.archives()?.get(number)?.map(|row| row.value()) else { return Ok(None) };
        let (end, owner, newest) = row;
        if owner != log.0 {
            return Ok(None);
        }
        let path = segments::archive_path(&self.store.0.logs, number);
        let file = OpenOptions::new().write(true).open(&path);
        let file = file.and_then(|file| file.set_len(end).map(|()| file));
        let file = file.map_err(|source| TendError::Write { path, source })?;
        Ok(Some(Open::new(number, owner, file, end, newest, false)))
    }

    /// Removes archives whose last log ended at `until` or before.
    fn expire(&mut self, until: u64) -> Result<(), TendError> {
        let snapshot = self.snapshot()?;
        let mut old = Vec::new();
        for row in snapshot.archives()?.iter()? {
            let (number, row) = row?;
            if row.value().2 <= until {
                old.push(number.value());
            }
        }
        for number in old {
            let (mut logs, mut frames) = (Vec::new(), Vec::new());
            for row in snapshot.archive_logs()?.range((number, 0)..=(number, u64::MAX))? {
                let log = row?.0.value().1;
                for frame in snapshot.log_frames()?.range((log, 0)..=(log, u64::MAX))? {
                    frames.push(frame?.0.value());
                    if frames.len() >= MOVE_ROWS {
                        self.commit(Work::Expire {
                            archive: number,
                            frames: std::mem::take(&mut frames),
                            logs: Vec::new(),
                        })?;
                    }
                }
                logs.push(LogId(log));
                self.done.expired += 1;
                if frames.len() + logs.len() >= MOVE_ROWS {
                    let (frames, logs) = (std::mem::take(&mut frames), std::mem::take(&mut logs));
                    self.commit(Work::Expire { archive: number, frames, logs })?;
                }
            }
            self.commit(Work::Expire { archive: number, frames, logs })?;
            self.commit(Work::DropArchive(number))?;
        }
        Ok(())
    }
}

impl Open {
    fn new(number: u64, owner: u64, file: File, end: u64, newest: u64, is_new: bool) -> Open {
        let (moves, packed) = (Vec::new(), Vec::new());
        Open { number, owner, file, end, newest, is_new, moves, rows: 0, packed, bytes: 0 }
    }
}

/// Reads pieces, most of which lie behind each other.
struct Reader<'f> {
    folder: &'f std::path::Path,
    open: Option<(u64, File)>,
}

impl Reader<'_> {
    fn read(&mut self, piece: &Piece) -> Result<Bytes, ReadError> {
        let path = segments::path(self.folder, piece.segment);
        let mut data = vec![0; piece.length as usize];
        let file = match &self.open {
            Some((segment, file)) if *segment == piece.segment => Ok(file),
            _ => File::open(&path).map(|file| &self.open.insert((piece.segment, file)).1),
        };
        match file.and_then(|file| file.read_exact_at(&mut data, piece.position)) {
            Ok(()) => Ok(data.into()),
            Err(source) => Err(ReadError::Segment { path, source: source.into() }),
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
