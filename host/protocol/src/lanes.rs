//! What is sent next: control messages overtake bulk, and little bulk waits between the two, so that
//! an interrupt or an answer to a ping never stands behind megabytes of log.

use std::collections::VecDeque;

/// How much bulk may wait unsent, in bytes: a small multiple of a frame keeps the wire busy.
pub const MAX_UNSENT_BULK: usize = 128 * 1024;

/// Two queues in front of one connection.
///
/// Updates of a command are bulk, all of them: their numbers must arrive in order. So are parts of
/// components. Everything else is control.
#[derive(Debug)]
pub struct Lanes<T> {
    control: VecDeque<T>,
    bulk: VecDeque<(T, usize)>,
    bulk_bytes: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Lanes<T> {
        Lanes { control: VecDeque::new(), bulk: VecDeque::new(), bulk_bytes: 0 }
    }
}

impl<T> Lanes<T> {
    /// Puts a control message behind the other control messages.
    pub fn push_control(&mut self, message: T) {
        self.control.push_back(message);
    }

    /// Whether another bulk message may be put in. Ask before taking it from where it is safe.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bulk_bytes < MAX_UNSENT_BULK
    }

    /// Puts a bulk message of `bytes` behind the others.
    pub fn push_bulk(&mut self, message: T, bytes: usize) {
        self.bulk_bytes += bytes;
        self.bulk.push_back((message, bytes));
    }

    /// Takes what is to be sent next.
    pub fn pop(&mut self) -> Option<T> {
        self.control.pop_front().or_else(|| {
            let (message, bytes) = self.bulk.pop_front()?;
            self.bulk_bytes -= bytes;
            Some(message)
        })
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.control.is_empty() && self.bulk.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_overtakes_bulk_and_each_keeps_its_order() {
        let mut lanes = Lanes::default();
        lanes.push_bulk("b1", 10);
        lanes.push_bulk("b2", 10);
        lanes.push_control("c1");
        lanes.push_control("c2");
        let sent: Vec<_> = std::iter::from_fn(|| lanes.pop()).collect();
        assert_eq!(sent, ["c1", "c2", "b1", "b2"]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn bulk_ahead_of_the_wire_is_bounded() {
        let mut lanes = Lanes::default();
        let mut waiting = 0;
        while lanes.has_room() {
            lanes.push_bulk((), 33_000);
            waiting += 1;
        }
        assert_eq!(waiting, 4);
        lanes.pop();
        assert!(lanes.has_room());
    }
}
