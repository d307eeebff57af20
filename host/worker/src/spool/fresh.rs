//! Updates that need not be read back in order to be sent: the link mostly keeps up with what is said.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use windlass_protocol::codec::Frames;

/// The most bytes of one command, and of all.
const ONE: usize = 1024 * 1024;
const ALL: usize = 16 * ONE;

/// Unsent updates of one command by number, as they were put on the shelf.
#[derive(Debug)]
pub struct Fresh {
    updates: VecDeque<(u64, Frames)>,
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Fresh {
    /// None yet; `all` counts the bytes of all commands.
    pub fn new(all: Arc<AtomicUsize>) -> Fresh {
        Fresh { updates: VecDeque::new(), bytes: 0, all }
    }

    /// Keeps one, if there is room.
    pub fn put(&mut self, number: u64, frames: Frames) {
        let len = frames.bytes();
        if self.bytes + len <= ONE && self.all.load(Ordering::Relaxed) + len <= ALL {
            self.bytes += len;
            self.all.fetch_add(len, Ordering::Relaxed);
            self.updates.push_back((number, frames));
        }
    }

    /// Takes the one of this number, if it is there; earlier ones are not asked for any more.
    pub fn take(&mut self, number: u64) -> Option<Frames> {
        let mut found = None;
        while let Some((of, frames)) = self.updates.pop_front_if(|(of, _)| *of <= number) {
            self.bytes -= frames.bytes();
            self.all.fetch_sub(frames.bytes(), Ordering::Relaxed);
            found = (of == number).then_some(frames);
        }
        found
    }

    /// Nobody asks for them.
    pub fn clear(&mut self) {
        self.updates.clear();
        self.all.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_and_all_together_keep_a_bounded_amount_and_give_it_back() {
        let all = Arc::new(AtomicUsize::new(0));
        let update =
            |number: u8| Frames::from_bytes([vec![0], vec![number; 99_999]].concat().into()).unwrap();
        let mut commands: Vec<_> = (0..40).map(|_| Fresh::new(Arc::clone(&all))).collect();
        for fresh in &mut commands {
            (1..=20).for_each(|number| fresh.put(number, update(number as u8)));
            assert!(fresh.bytes <= ONE);
        }
        assert!((ALL - 100_000..=ALL).contains(&all.load(Ordering::Relaxed)));
        let first = &mut commands[0];
        assert_eq!(first.take(3).unwrap().as_bytes()[1], 3);
        assert!(first.take(2).is_none() && first.take(11).is_none());
        assert_eq!(first.bytes, 0);
        commands.clear();
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
