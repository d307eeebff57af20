//! The logs of a running step: their names, lengths and limits, and what of them waits for a commit.

use std::collections::BTreeMap;

use bytes::Bytes;
use windlass_core::digest::Digest;
use windlass_core::id::{BuildId, Fence, LogId, StepId};
use windlass_core::persist::Persist;
use windlass_core::record::LogRow;
use windlass_core::value::{Failure, Origin};

/// The most logs of one step: names may come from a command's output.
const MAX_LOGS: usize = 100;

/// The longest name of a log.
const MAX_NAME: usize = 100;

/// What a piece takes up beside its bytes: a log of many small ones is bounded, too.
const PIECE: usize = 128;

/// A log that is so many times as long as it may be is a flood, and is not waited out.
const FLOOD: u64 = 10;

/// Pieces of one stream are joined up to this size: fewer and larger ones cost less to keep.
const JOIN: usize = 64 * 1024;

/// The logs of one step.
#[derive(Debug)]
pub(super) struct LogBook {
    build: BuildId,
    step: StepId,
    fence: Fence,
    max_log_bytes: u64,
    logs: BTreeMap<String, Log>,
    pieces: Vec<Piece>,
    /// What `pieces` take up.
    bytes: usize,
    flood: Option<String>,
}

#[derive(Debug)]
struct Log {
    id: LogId,
    length: u64,
    /// Its row went into a commit.
    recorded: bool,
    dropped: u64,
    dropped_hash: blake3::Hasher,
}

#[derive(Debug)]
struct Piece {
    log: LogId,
    offset: u64,
    origin: Origin,
    data: Bytes,
}

/// Whether a log is new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It was begun by this piece.
    Begun,
    /// It was there.
    More,
}

impl LogBook {
    pub(super) fn new(build: BuildId, step: StepId, fence: Fence, max_log_bytes: u64) -> LogBook {
        LogBook {
            build,
            step,
            fence,
            max_log_bytes,
            logs: BTreeMap::new(),
            pieces: Vec::new(),
            bytes: 0,
            flood: None,
        }
    }

    /// Appends to a log, which is made at its first use. Beyond its limit, bytes are counted, hashed
    /// and dropped.
    pub(super) fn append(
        &mut self,
        name: &str,
        origin: Origin,
        mut data: Bytes,
        next_id: impl FnOnce() -> LogId,
    ) -> Result<Appended, Failure> {
        let appended = if self.logs.contains_key(name) {
            Appended::More
        } else {
            check_name(name)?;
            if self.logs.len() == MAX_LOGS {
                return Err(Failure::new("quota", format!("a step may have {MAX_LOGS} logs")));
            }
            let log = Log {
                id: next_id(),
                length: 0,
                recorded: false,
                dropped: 0,
                dropped_hash: blake3::Hasher::new(),
            };
            self.logs.insert(name.to_owned(), log);
            Appended::Begun
        };
        let log = self.logs.get_mut(name).expect("it was made above");
        let room = usize::try_from(self.max_log_bytes.saturating_sub(log.length)).unwrap_or(usize::MAX);
        if data.len() > room {
            let dropped = data.split_off(room);
            log.dropped += dropped.len() as u64;
            log.dropped_hash.update(&dropped);
            if log.dropped / FLOOD >= self.max_log_bytes && self.flood.is_none() {
                self.flood = Some(format!(
                    "log `{name}` is more than {FLOOD} times as long as the {} bytes that a log may have \
                     (`max_log_bytes`)",
                    self.max_log_bytes
                ));
            }
        }
        if !data.is_empty() {
            let offset = log.length;
            log.length += data.len() as u64;
            let piece = Piece { log: log.id, offset, origin, data };
            self.bytes += join(&mut self.pieces, piece);
        }
        Ok(appended)
    }

    /// Which log has become a flood.
    pub(super) fn flood(&self) -> Option<&str> {
        self.flood.as_deref()
    }

    /// The id of a log of this step.
    pub(super) fn id(&self, name: &str) -> Option<LogId> {
        self.logs.get(name).map(|log| log.id)
    }

    /// What waits for a commit takes up so many bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves what waits into a batch: rows of new logs, then bytes.
    pub(super) fn drain(&mut self, batch: &mut Vec<Persist>) {
        let (build, step, fence) = (self.build, self.step, self.fence);
        for (name, log) in self.logs.iter_mut().filter(|(_, log)| !log.recorded) {
            log.recorded = true;
            batch.push(Persist::PutLog { fence, log: row(log.id, build, step, name, false) });
        }
        self.drain_pieces(batch);
    }

    /// The same at the step's end: all logs are finished, and say what was dropped of them.
    pub(super) fn finish(&mut self, batch: &mut Vec<Persist>) {
        let (build, step, fence) = (self.build, self.step, self.fence);
        for (name, log) in &mut self.logs {
            log.recorded = true;
            if log.dropped > 0 {
                let digest = Digest::from_bytes(*log.dropped_hash.finalize().as_bytes());
                let data = Bytes::from(format!(
                    "\n{} more bytes were dropped: a log may have {} (`max_log_bytes`). BLAKE3 of the dropped \
                     bytes: {digest}\n",
                    log.dropped, self.max_log_bytes
                ));
                self.bytes += data.len();
                let offset = log.length;
                log.length += data.len() as u64;
                log.dropped = 0;
                self.pieces.push(Piece { log: log.id, offset, origin: Origin::Header, data });
            }
            batch.push(Persist::PutLog { fence, log: row(log.id, build, step, name, true) });
        }
        self.drain_pieces(batch);
    }

    fn drain_pieces(&mut self, batch: &mut Vec<Persist>) {
        let (build, fence) = (self.build, self.fence);
        self.bytes = 0;
        batch.extend(self.pieces.drain(..).map(|piece| {
            let Piece { log, offset, origin, data } = piece;
            Persist::AppendLog { fence, build, log, offset, origin, data }
        }));
    }
}

/// Joins a piece to the one before it, if that costs no more than copying the smaller one. Answers what it
/// takes up there.
fn join(pieces: &mut Vec<Piece>, piece: Piece) -> usize {
    let len = piece.data.len();
    if let Some(last) = pieces.last_mut()
        && last.log == piece.log
        && last.origin == piece.origin
        && last.data.len() + piece.data.len() <= JOIN
    {
        match std::mem::take(&mut last.data).try_into_mut() {
            Ok(mut data) => {
                data.extend_from_slice(&piece.data);
                last.data = data.freeze();
                return len;
            }
            Err(shared) => last.data = shared,
        }
    }
    pieces.push(piece);
    PIECE + len
}

fn row(id: LogId, build: BuildId, step: StepId, name: &str, finished: bool) -> LogRow {
    LogRow { finished, ..LogRow::begun(id, build, step, name.to_owned()) }
}

/// Log names stand in URLs and on command lines.
fn check_name(name: &str) -> Result<(), Failure> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(allowed) {
        let message = format!(
            "`{}` cannot name a log: up to {MAX_NAME} letters, digits, `.`, `_`, `-` and `+`, no `.` in front",
            name.chars().take(MAX_NAME).collect::<String>().escape_default()
        );
        return Err(Failure::new("bad-argument", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(max: u64) -> LogBook {
        LogBook::new(BuildId(1), StepId(2), Fence(3), max)
    }

    fn append(book: &mut LogBook, name: &str, origin: Origin, text: &str) -> Result<Appended, Failure> {
        book.append(name, origin, Bytes::from(text.to_owned()), || LogId(7))
    }

    fn drained(book: &mut LogBook, finish: bool) -> Vec<String> {
        let mut batch = Vec::new();
        if finish {
            book.finish(&mut batch)
        } else {
            book.drain(&mut batch)
        }
        let line = |persist: &Persist| match persist {
            Persist::PutLog { log, .. } => format!("{} {}", log.name, log.finished),
            Persist::AppendLog { offset, origin, data, .. } => {
                format!("{offset} {origin:?} {}", String::from_utf8_lossy(data))
            }
            other => panic!("{other:?}"),
        };
        batch.iter().map(line).collect()
    }

    #[test]
    fn pieces_of_one_stream_are_joined_and_their_offsets_go_on() {
        let mut book = book(1000);
        assert_eq!(append(&mut book, "stdio", Origin::Stdout, "ab"), Ok(Appended::Begun));
        assert_eq!(append(&mut book, "stdio", Origin::Stdout, "cd"), Ok(Appended::More));
        append(&mut book, "stdio", Origin::Stderr, "e").unwrap();
        assert_eq!(book.bytes(), 2 * PIECE + 5);
        assert_eq!(drained(&mut book, false), ["stdio false", "0 Stdout abcd", "4 Stderr e"]);
        append(&mut book, "stdio", Origin::Stdout, "f").unwrap();
        assert_eq!(drained(&mut book, true), ["stdio true", "5 Stdout f"]);
    }

    #[test]
    fn short_log_gets_its_row_once() {
        let mut book = book(1000);
        append(&mut book, "stdio", Origin::Stdout, "ok\n").unwrap();
        assert_eq!(drained(&mut book, true), ["stdio true", "0 Stdout ok\n"]);
    }

    #[test]
    fn what_goes_beyond_the_limit_is_dropped_with_a_record_of_it() {
        let mut book = book(3);
        append(&mut book, "stdio", Origin::Stdout, "abcde").unwrap();
        append(&mut book, "stdio", Origin::Stdout, "f").unwrap();
        let lines = drained(&mut book, true);
        assert_eq!(lines[1], "0 Stdout abc");
        let hash = Digest::of(b"def").to_string();
        assert!(lines[2].contains("3 more bytes were dropped") && lines[2].contains(&hash), "{}", lines[2]);
    }

    #[test]
    fn many_small_pieces_count_for_what_they_take_up() {
        let mut book = book(1 << 20);
        for n in 0..1_000 {
            let origin = if n % 2 == 0 { Origin::Stdout } else { Origin::Stderr };
            append(&mut book, "stdio", origin, "x").unwrap();
        }
        assert_eq!(book.bytes(), 1_000 * (PIECE + 1));
    }

    #[test]
    fn a_log_ten_times_as_long_as_it_may_be_is_a_flood() {
        let mut book = book(100);
        append(&mut book, "stdio", Origin::Stdout, &"x".repeat(1_000)).unwrap();
        assert_eq!(book.flood(), None);
        append(&mut book, "stdio", Origin::Stdout, &"x".repeat(100)).unwrap();
        assert!(book.flood().unwrap().contains("`stdio` is more than 10 times"));
    }

    #[test]
    fn names_that_could_mislead_are_refused() {
        for name in ["", ".hidden", "a/b", "..", "a b", "a\n", &"x".repeat(101)] {
            let refused = append(&mut book(9), name, Origin::Stdout, "x").unwrap_err();
            assert_eq!(refused.code, "bad-argument", "{name:?}");
        }
        append(&mut book(9), "stdio-2_x+y.txt", Origin::Stdout, "x").unwrap();
    }
}
