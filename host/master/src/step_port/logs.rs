//! The logs of a running step: their names, lengths and limits, and what of them waits for a commit.

use std::collections::BTreeMap;

use bytes::Bytes;
use windlass_core::digest::Digest;
use windlass_core::excerpt::{Excerpt, Held, Limit, Passed};
use windlass_core::id::{BuildId, Fence, LogId, StepId};
use windlass_core::log_name;
use windlass_core::persist::Persist;
use windlass_core::record::LogRow;
use windlass_core::time::Timestamp;
use windlass_core::value::{Failure, Origin};

/// The most logs of one step: names may come from a command's output.
const MAX_LOGS: usize = 100;

/// What a piece takes up beside its bytes: a log of many small ones is bounded, too.
const PIECE: usize = 128;

/// A log that is so many times as long as it may be is a flood, and is not waited out.
const FLOOD: u64 = 10;

/// What is held of logs beyond their limits goes down after so many bytes more: it is written anew each time.
const SWALLOW: u64 = 8 * 1024 * 1024;

/// Pieces of one stream are joined up to this size: fewer and larger ones cost less to keep.
const JOIN: usize = 64 * 1024;

/// The logs of one step.
#[derive(Debug)]
pub(super) struct LogBook {
    build: BuildId,
    step: StepId,
    fence: Fence,
    limit: Limit,
    logs: BTreeMap<String, Log>,
    pieces: Vec<Piece>,
    /// What `pieces` take up.
    bytes: usize,
    /// Bytes beyond limits since what is held of those was put into a commit.
    swallowed: u64,
    flood: Option<String>,
}

#[derive(Debug)]
struct Log {
    id: LogId,
    length: u64,
    /// Its row went into a commit.
    recorded: bool,
    /// What is beyond its limit, and what of that is its end.
    excerpt: Excerpt,
    /// Over what is kept of it, without headers.
    hash: blake3::Hasher,
}

#[derive(Debug)]
struct Piece {
    log: LogId,
    offset: u64,
    origin: Origin,
    data: Bytes,
}

/// A log of a step that is taken up.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) id: LogId,
    pub(super) name: String,
    pub(super) passed: Passed,
    /// Over what it has, without headers.
    pub(super) hash: blake3::Hasher,
    /// What was held of it beyond its limit.
    pub(super) held: Option<Held>,
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
    pub(super) fn new(build: BuildId, step: StepId, fence: Fence, limit: Limit) -> LogBook {
        LogBook {
            build,
            step,
            fence,
            limit,
            logs: BTreeMap::new(),
            pieces: Vec::new(),
            bytes: 0,
            swallowed: 0,
            flood: None,
        }
    }

    /// Goes on with the logs of a step that is taken up.
    pub(super) fn resume(&mut self, logs: Vec<Resumed>) {
        for Resumed { id, name, passed, hash, held } in logs {
            let length = passed.bytes();
            let excerpt = held.map_or_else(|| Excerpt::resumed(self.limit, passed), Excerpt::from);
            let log = Log { id, length, recorded: true, excerpt, hash };
            if log.is_flood(self.limit) {
                self.flood.get_or_insert_with(|| flooded(&name, self.limit));
            }
            self.logs.insert(name, log);
        }
    }

    /// Whether a log of this name may be appended to.
    pub(super) fn takes(&self, name: &str) -> Result<(), Failure> {
        if self.logs.contains_key(name) {
            return Ok(());
        }
        log_name::check(name)?;
        if self.logs.len() == MAX_LOGS {
            return Err(Failure::new("quota", format!("a step may have {MAX_LOGS} logs")));
        }
        Ok(())
    }

    /// How many bytes beyond limits no commit knows of; none: there are none.
    pub(super) fn swallowed(&self) -> Option<u64> {
        (self.swallowed > 0).then_some(self.swallowed)
    }

    /// So many may be, before what is held goes down: that is as long as the ends of logs.
    pub(super) fn may_swallow(&self) -> u64 {
        SWALLOW.max(4 * self.limit.tail as u64)
    }

    /// What is held of logs beyond their limits, for a commit.
    pub(super) fn ends(&mut self) -> Vec<(String, Held)> {
        self.swallowed = 0;
        let beyond = self.logs.iter().filter(|(_, log)| !log.excerpt.is_whole());
        beyond.map(|(name, log)| (name.clone(), log.excerpt.held())).collect()
    }

    /// Appends to a log, which is made at its first use. What is beyond its limit is counted, hashed and dropped,
    /// but for its end, which comes when the log is finished.
    pub(super) fn append(
        &mut self,
        name: &str,
        origin: Origin,
        data: Bytes,
        next_id: impl FnOnce() -> LogId,
    ) -> Result<Appended, Failure> {
        self.takes(name)?;
        let appended = if self.logs.contains_key(name) {
            Appended::More
        } else {
            let (excerpt, hash) = (Excerpt::new(self.limit), blake3::Hasher::new());
            let log = Log { id: next_id(), length: 0, recorded: false, excerpt, hash };
            self.logs.insert(name.to_owned(), log);
            Appended::Begun
        };
        let log = self.logs.get_mut(name).expect("it was made above");
        let all = data.len();
        let data = log.excerpt.push(origin, data);
        self.swallowed += (all - data.len()) as u64;
        if self.flood.is_none() && log.is_flood(self.limit) {
            self.flood = Some(flooded(name, self.limit));
        }
        self.bytes += log.write(&mut self.pieces, origin, data);
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

    /// The same at the step's end: all logs are finished, and say what was dropped of them. What is dropped is told
    /// in the log itself, too, where it was.
    pub(super) fn finish(&mut self, now: Timestamp, batch: &mut Vec<Persist>) {
        let (build, step, fence) = (self.build, self.step, self.fence);
        for (name, log) in &mut self.logs {
            let excerpt = std::mem::replace(&mut log.excerpt, Excerpt::new(self.limit));
            let (cut, tail) = excerpt.finish();
            if let Some(cut) = &cut {
                let end: usize = tail.iter().map(|(_, data)| data.len()).sum();
                let text = format!(
                    "\n{} bytes were dropped here: a log may have {} (`max_log_bytes`) and the last {} \
                     (`log_max_tail_size`). BLAKE3 of the dropped bytes: {}. The last {end} bytes follow.\n",
                    cut.bytes, self.limit.head, self.limit.tail, cut.hash
                );
                log.write(&mut self.pieces, Origin::Header, text.into());
            }
            for (origin, data) in tail {
                log.write(&mut self.pieces, origin, data);
            }
            log.recorded = true;
            let hash = Some(Digest::from_bytes(*log.hash.finalize().as_bytes()));
            let row = row(log.id, build, step, name, true);
            batch.push(Persist::PutLog { fence, log: LogRow { ended: Some(now), hash, cut, ..row } });
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

impl Log {
    fn is_flood(&self, limit: Limit) -> bool {
        self.excerpt.dropped() / FLOOD >= limit.head && !self.excerpt.is_whole()
    }

    /// Puts bytes behind the others. Answers what they take up while they wait.
    fn write(&mut self, pieces: &mut Vec<Piece>, origin: Origin, data: Bytes) -> usize {
        if data.is_empty() {
            return 0;
        }
        if origin != Origin::Header {
            self.hash.update(&data);
        }
        let offset = self.length;
        self.length += data.len() as u64;
        join(pieces, Piece { log: self.id, offset, origin, data })
    }
}

fn flooded(name: &str, limit: Limit) -> String {
    format!(
        "log `{name}` is more than {FLOOD} times as long as the {} bytes that a log may have (`max_log_bytes`)",
        limit.head
    )
}

/// What of a batch goes down when there is no room for logs: without their bytes, and without hashes that speak of
/// them.
pub(crate) fn without_logs(batch: &[Persist]) -> Vec<Persist> {
    let rest = batch.iter().filter(|persist| !matches!(persist, Persist::AppendLog { .. }));
    rest.cloned()
        .map(|persist| match persist {
            Persist::PutLog { fence, log } => Persist::PutLog { fence, log: LogRow { hash: None, ..log } },
            other => other,
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn book(head: u64) -> LogBook {
        LogBook::new(BuildId(1), StepId(2), Fence(3), Limit { head, tail: 0 })
    }

    fn append(book: &mut LogBook, name: &str, origin: Origin, text: &str) -> Result<Appended, Failure> {
        book.append(name, origin, Bytes::from(text.to_owned()), || LogId(7))
    }

    fn drained(book: &mut LogBook, finish: bool) -> Vec<String> {
        let mut batch = Vec::new();
        if finish {
            book.finish(Timestamp(9), &mut batch)
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
    fn beginning_and_end_of_a_log_that_is_too_long_are_kept_with_a_record_of_the_rest() {
        let mut book = LogBook::new(BuildId(1), StepId(2), Fence(3), Limit { head: 3, tail: 2 });
        append(&mut book, "stdio", Origin::Stdout, "abcde").unwrap();
        append(&mut book, "stdio", Origin::Header, "f").unwrap();
        append(&mut book, "stdio", Origin::Stderr, "gh").unwrap();
        let mut batch = Vec::new();
        book.finish(Timestamp(9), &mut batch);
        let Persist::PutLog { log, .. } = &batch[0] else { panic!("{batch:?}") };
        let hash = Digest::of(b"def");
        assert_eq!(log.cut, Some(windlass_core::excerpt::Cut { at: 3, bytes: 3, hash }));
        assert_eq!((log.hash, log.ended), (Some(Digest::of(b"abcgh")), Some(Timestamp(9))));
        let pieces: Vec<_> = batch[1..]
            .iter()
            .map(|persist| match persist {
                Persist::AppendLog { origin, data, .. } => (*origin, std::str::from_utf8(data).unwrap()),
                other => panic!("{other:?}"),
            })
            .collect();
        let [(Origin::Stdout, "abc"), (Origin::Header, record), (Origin::Stderr, "gh")] = pieces[..] else {
            panic!("{pieces:?}")
        };
        assert!(record.contains("3 bytes were dropped") && record.contains(&hash.to_string()), "{record}");
        assert!(
            without_logs(&batch)
                .iter()
                .all(|persist| matches!(persist, Persist::PutLog { log, .. } if log.hash.is_none()))
        );
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
        assert_eq!(book.swallowed(), Some(1_000));

        // Also for whoever goes on with it.
        let (_, held) = book.ends().remove(0);
        assert_eq!(book.swallowed(), None, "it is put down once");
        let (id, name, hash) = (LogId(7), "stdio".to_owned(), blake3::Hasher::new());
        let left = Resumed { id, name, passed: Passed::default(), hash, held: Some(held) };
        let mut next = self::book(100);
        next.resume(vec![left]);
        assert_eq!(next.flood(), book.flood());
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
