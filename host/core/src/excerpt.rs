//! A log that may have so many bytes: its beginning and its end are kept, what lies between is counted, hashed
//! and dropped.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::running_hash::{HeldHash, RunningHash};
use crate::value::Origin;

/// The most runs of the end: each has one stream, and one that changes with each byte is bounded, too.
const MAX_RUNS: usize = 4096;

/// So many runs of the beginning are free. Each further one counts as this many bytes: it has an index row of its own,
/// and a log that changes its stream with each byte would be that row a hundred million times.
const FREE_RUNS: u64 = 1024;
const RUN: u64 = 64;

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Bytes from its beginning; where its stream changes very often, fewer.
    pub head: u64,
    /// And bytes of its end, if it is longer.
    pub tail: usize,
}

/// What was dropped of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Where it was: an offset in what is kept.
    pub at: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Their BLAKE3.
    pub hash: Digest,
}

/// Lets the beginning through and keeps the end.
#[derive(Clone, Debug)]
pub struct Excerpt {
    limit: Limit,
    passed: u64,
    /// What is left of the beginning's limit.
    room: u64,
    /// The stream of what passed last, and how many runs did.
    last: Option<Origin>,
    passed_runs: u64,
    tail: VecDeque<u8>,
    /// The streams of what is in `tail`.
    runs: VecDeque<(Origin, usize)>,
    dropped: u64,
    hash: RunningHash,
}

/// What of a log beyond its limit is kept for whoever goes on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    limit: Limit,
    passed: u64,
    room: u64,
    last: Option<Origin>,
    passed_runs: u64,
    tail: Bytes,
    runs: Vec<(Origin, usize)>,
    dropped: u64,
    hash: HeldHash,
}

/// What of a log was let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    bytes: u64,
    runs: u64,
    last: Option<Origin>,
}

impl Passed {
    /// So many bytes of a stream follow.
    pub fn add(&mut self, origin: Origin, bytes: u64) {
        if bytes > 0 {
            self.bytes += bytes;
            self.runs += u64::from(self.last.replace(origin) != Some(origin));
        }
    }

    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Excerpt {
    /// Of a log that has nothing yet.
    #[must_use]
    pub fn new(limit: Limit) -> Excerpt {
        let (tail, runs) = (VecDeque::new(), VecDeque::new());
        Excerpt {
            limit,
            passed: 0,
            room: limit.head,
            last: None,
            passed_runs: 0,
            tail,
            runs,
            dropped: 0,
            hash: RunningHash::default(),
        }
    }

    /// Of a log of which so much was let through, and nothing kept back.
    #[must_use]
    pub fn resumed(limit: Limit, Passed { bytes, runs, last }: Passed) -> Excerpt {
        // Where the limit is smaller by now, what is there stays.
        let cost = bytes.saturating_add(runs.saturating_sub(FREE_RUNS) * RUN);
        let room = limit.head.saturating_sub(cost);
        Excerpt { passed: bytes, room, last, passed_runs: runs, ..Excerpt::new(limit) }
    }

    /// What it holds, for whoever goes on.
    #[must_use]
    pub fn held(&self) -> Held {
        let (front, back) = self.tail.as_slices();
        Held {
            limit: self.limit,
            passed: self.passed,
            room: self.room,
            last: self.last,
            passed_runs: self.passed_runs,
            tail: [front, back].concat().into(),
            runs: self.runs.iter().copied().collect(),
            dropped: self.dropped,
            hash: self.hash.held(),
        }
    }

    /// Takes what comes next and returns what of it belongs to the beginning.
    pub fn push(&mut self, origin: Origin, mut data: Bytes) -> Bytes {
        if data.is_empty() {
            return data;
        }
        if self.last.replace(origin) != Some(origin) {
            self.passed_runs += 1;
            if self.passed_runs > FREE_RUNS {
                self.room = self.room.saturating_sub(RUN);
            }
        }
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        if data.len() > room {
            let mut rest = data.split_off(room);
            self.passed += data.len() as u64;
            self.room = 0;
            // What is longer than the end drops all that the end had, and its own beginning.
            let over = rest.len().saturating_sub(self.limit.tail);
            if over > 0 {
                self.drop_front(self.tail.len());
                self.drop_bytes(&rest.split_to(over));
            }
            self.drop_front((self.tail.len() + rest.len()).saturating_sub(self.limit.tail));
            self.tail.extend(rest.iter());
            match self.runs.back_mut() {
                Some((last, length)) if *last == origin => *length += rest.len(),
                _ if rest.is_empty() => {}
                _ => self.runs.push_back((origin, rest.len())),
            }
            if self.runs.len() > MAX_RUNS {
                self.drop_front(self.runs[0].1);
            }
        } else {
            self.passed += data.len() as u64;
            self.room -= data.len() as u64;
        }
        data
    }

    /// How much will be dropped if nothing more comes.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether all that came so far was let through.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.runs.is_empty() && self.dropped == 0
    }

    /// The log has ended: what was dropped, if anything was, and the end.
    #[must_use]
    pub fn finish(mut self) -> (Option<Cut>, Vec<(Origin, Bytes)>) {
        let hash = self.hash.finish();
        let cut = (self.dropped > 0).then_some(Cut { at: self.passed, bytes: self.dropped, hash });
        let tail = self.runs.iter().map(|(origin, length)| (*origin, self.tail.drain(..*length).collect()));
        (cut, tail.collect())
    }

    fn drop_front(&mut self, count: usize) {
        let (first, second) = self.tail.as_slices();
        let in_first = count.min(first.len());
        self.hash.update(&first[..in_first]);
        self.hash.update(&second[..count - in_first]);
        self.tail.drain(..count);
        self.dropped += count as u64;
        let mut left = count;
        while left > 0 {
            let (_, length) = self.runs.front_mut().expect("BUG: the end has bytes of no stream");
            let gone = left.min(*length);
            *length -= gone;
            left -= gone;
            if *length == 0 {
                self.runs.pop_front();
            }
        }
    }

    fn drop_bytes(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.dropped += bytes.len() as u64;
    }
}

impl Held {
    /// How many bytes of its end.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tail.len()
    }
}

impl From<Held> for Excerpt {
    fn from(held: Held) -> Excerpt {
        let Held { limit, passed, room, last, passed_runs, tail, runs, dropped, hash } = held;
        let (tail, runs, hash) = (Vec::from(tail).into(), runs.into(), hash.into());
        Excerpt { limit, passed, room, last, passed_runs, tail, runs, dropped, hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn beginning_and_end_stay_and_what_is_dropped_is_hashed() {
        let mut excerpt = Excerpt::new(Limit { head: 3, tail: 2 });
        let passed = ["ab", "cde", "fgh"].map(|data| excerpt.push(Origin::Stdout, data.into()));
        assert_eq!(passed, ["ab", "c", ""]);
        let (cut, tail) = excerpt.finish();
        assert_eq!(cut, Some(Cut { at: 3, bytes: 3, hash: Digest::of(b"def") }));
        assert_eq!(tail, [(Origin::Stdout, Bytes::from("gh"))]);
    }

    #[test]
    fn a_log_that_fits_with_its_end_has_no_cut() {
        let mut excerpt = Excerpt::new(Limit { head: 3, tail: 2 });
        assert_eq!(excerpt.push(Origin::Stderr, "abcd".into()), "abc");
        assert!(!excerpt.is_whole());
        assert_eq!(excerpt.push(Origin::Header, "e".into()), "");
        let (cut, tail) = excerpt.finish();
        assert_eq!(cut, None);
        assert_eq!(tail, [(Origin::Stderr, "d".into()), (Origin::Header, "e".into())]);
    }

    #[test]
    fn an_end_of_very_many_runs_is_bounded() {
        let mut excerpt = Excerpt::new(Limit { head: 0, tail: 1 << 20 });
        for n in 0..3 * MAX_RUNS {
            let origin = if n % 2 == 0 { Origin::Stdout } else { Origin::Stderr };
            excerpt.push(origin, "x".into());
        }
        assert_eq!(excerpt.dropped(), 2 * MAX_RUNS as u64);
    }

    /// Symptom: 100 MiB of a log that changed its stream with each byte were 8 GB of index, which no limit knew of. Cause:
    /// bytes alone counted. Cure: a run counts, once there are many.
    #[test]
    fn a_beginning_of_very_many_runs_is_bounded() {
        let mut excerpt = Excerpt::new(Limit { head: 1 << 20, tail: 0 });
        let mut passed = 0;
        for n in 0..100_000 {
            let origin = if n % 2 == 0 { Origin::Stdout } else { Origin::Stderr };
            passed += excerpt.push(origin, "x".into()).len() as u64;
        }
        assert_eq!(passed, FREE_RUNS + ((1 << 20) - FREE_RUNS) / (RUN + 1));
        assert_eq!(excerpt.finish().0.map(|cut| (cut.at, cut.bytes)), Some((passed, 100_000 - passed)));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_without_a_record(
            pieces in prop::collection::vec((0u8..3, prop::collection::vec(any::<u8>(), 0..9)), 0..30),
            head in 0u64..40,
            tail in 0usize..40,
        ) {
            let origins = [Origin::Stdout, Origin::Stderr, Origin::Header];
            let mut excerpt = Excerpt::new(Limit { head, tail });
            let (mut all, mut kept, mut there) = (Vec::new(), Vec::new(), Passed::default());
            for (origin, data) in pieces {
                let origin = origins[usize::from(origin)];
                all.extend(data.iter().map(|byte| (origin, *byte)));
                let passed = excerpt.push(origin, data.into());
                there.add(origin, passed.len() as u64);
                kept.extend(passed.iter().map(|byte| (origin, *byte)));
                // As after a restart: from what is in the log, or from what was held beside it.
                excerpt = if excerpt.is_whole() {
                    Excerpt::resumed(Limit { head, tail }, there)
                } else {
                    excerpt.held().into()
                };
            }
            let (cut, end) = excerpt.finish();
            let end: Vec<_> = end.iter().flat_map(|(origin, data)| data.iter().map(|byte| (*origin, *byte))).collect();
            prop_assert!(kept.len() as u64 <= head && end.len() <= tail);
            let dropped: Vec<u8> = all[kept.len()..all.len() - end.len()].iter().map(|(_, byte)| *byte).collect();
            prop_assert_eq!(&all[..kept.len()], kept.as_slice());
            prop_assert_eq!(&all[all.len() - end.len()..], end.as_slice());
            let expected = (!dropped.is_empty())
                .then(|| Cut { at: head, bytes: dropped.len() as u64, hash: Digest::of(&dropped) });
            prop_assert_eq!(cut, expected);
        }
    }
}
