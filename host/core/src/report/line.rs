//! The line of a reporter: how many events wait for it, and what became of the others.

use serde::{Deserialize, Serialize};

/// Events that may wait for one reporter; the oldest ones go.
pub const MAX_WAITING: u64 = 10_000;
/// Bytes that they may have together; the oldest ones go, the newest stays.
pub const MAX_BYTES: u64 = 32 << 20;

/// How the delivery of an event went, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The reporter has it.
    Delivered,
    /// It cannot be told: trying again would not help.
    Lost,
}

/// What waits for a reporter, and what became of the rest: durable, by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The place of the newest event, from 1.
    pub last: u64,
    /// Events that wait.
    pub waiting: u64,
    /// Bytes that they have.
    pub bytes: u64,
    /// Events that were delivered.
    pub delivered: u64,
    /// Events that could not be told.
    pub lost: u64,
    /// Events that were dropped because too many waited.
    pub dropped: u64,
}

impl Line {
    /// Whether the oldest event has to go. The newest stays, however long it is.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.waiting > MAX_WAITING || self.bytes > MAX_BYTES && self.waiting > 1
    }

    /// An event of so many bytes joins: its place.
    pub fn join(&mut self, bytes: u64) -> u64 {
        self.last += 1;
        self.waiting += 1;
        self.bytes += bytes;
        self.last
    }

    /// An event of so many bytes leaves; none: it is dropped.
    pub fn leave(&mut self, bytes: u64, taken: Option<Taken>) {
        self.waiting = self.waiting.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        match taken {
            Some(Taken::Delivered) => self.delivered += 1,
            Some(Taken::Lost) => self.lost += 1,
            None => self.dropped += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_an_end_and_counts_what_leaves() {
        let mut line = Line::default();
        assert_eq!((line.join(10), line.join(MAX_BYTES)), (1, 2));
        assert!(line.is_too_long());
        line.leave(10, None);
        assert!(!line.is_too_long(), "the newest stays");
        line.leave(MAX_BYTES, Some(Taken::Delivered));
        let expected = Line { last: 2, delivered: 1, dropped: 1, ..Line::default() };
        assert_eq!(line, expected);
        for _ in 0..=MAX_WAITING {
            line.join(1);
        }
        assert!(line.is_too_long());
    }
}
