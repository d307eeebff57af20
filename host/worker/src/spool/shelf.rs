//! A file that holds updates until they are acknowledged: one part of a file in memory, or a file on disk.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;
use windlass_protocol::codec::Frames;

/// A file is used in parts of so many bytes: one whose updates are all acknowledged is used again.
const PART: u64 = 1024 * 1024;

/// So many empty parts stay as they are, so that those who follow at once find memory there; the space of others is
/// given back.
const SPARE: usize = 1;

/// Updates in the order in which they came.
#[derive(Debug)]
pub struct Shelf {
    file: File,
    /// Where it begins in its file.
    base: u64,
    /// An update that is longer than a part lies in several, and is held by the first.
    parts: Vec<Part>,
    /// Where the next update goes, from `base` on: behind the last one, if it fits into that part.
    end: u64,
    /// Updates that it holds.
    held: usize,
    /// Something could not be read back: nothing more is written to it.
    pub bad: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    held: usize,
    /// An update that began in an earlier one lies here.
    taken: bool,
    /// It may take up space.
    written: bool,
}

impl Part {
    fn is_empty(&self) -> bool {
        self.held == 0 && !self.taken
    }
}

impl Shelf {
    /// An empty one, from `base` on.
    pub fn new(file: File, base: u64) -> Shelf {
        Shelf { file, base, parts: Vec::new(), end: 0, held: 0, bad: false }
    }

    /// Puts an update at the end; where it lies.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let len = bytes.len() as u64;
        let offset = self.room(len);
        self.file.write_all_at(bytes, self.base + offset)?;
        self.has(offset, bytes.len());
        Ok(offset)
    }

    /// An update lies there. Those that an earlier agent put there come in their order.
    pub fn has(&mut self, offset: u64, len: usize) {
        let parts = covered(offset, len as u64);
        if self.parts.len() < parts.end {
            self.parts.resize(parts.end, Part::default());
        }
        self.parts[parts.start].held += 1;
        self.parts[parts.clone()].iter_mut().for_each(|part| part.written = true);
        self.parts[parts].iter_mut().skip(1).for_each(|part| part.taken = true);
        self.end = offset + len as u64;
        self.held += 1;
    }

    /// Reads an update.
    pub fn get(&self, offset: u64, len: usize) -> io::Result<Frames> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, self.base + offset)?;
        let changed = || io::Error::other("a spool file was changed by somebody else");
        Frames::from_bytes(bytes.into()).ok_or_else(changed)
    }

    /// The oldest update is needed no more.
    pub fn drop_oldest(&mut self, offset: u64, len: usize) {
        let parts = covered(offset, len as u64);
        self.held -= 1;
        self.parts[parts.start].held -= 1;
        self.parts[parts.clone()].iter_mut().skip(1).for_each(|part| part.taken = false);
        if self.held == 0 && self.base == 0 {
            match self.file.set_len(0) {
                Ok(()) => return (self.parts, self.end) = (Vec::new(), 0),
                Err(error) => tracing::debug!(%error, "a spool keeps what it does not need"),
            }
        }
        for part in parts {
            if self.parts[part].is_empty() && self.spare() > SPARE {
                self.give_back(part);
            }
        }
    }

    /// Where an update of this length goes.
    fn room(&self, len: u64) -> u64 {
        let last = self.end.div_ceil(PART);
        if let Some(current) = last.checked_sub(1) {
            let empty = self.parts[current as usize].is_empty();
            let offset = if empty { current * PART } else { self.end };
            if offset + len <= last * PART {
                return offset;
            }
        }
        let empty = |written| self.parts.iter().position(|part| part.is_empty() && part.written == written);
        let reused = if len <= PART { empty(true).or_else(|| empty(false)) } else { None };
        reused.unwrap_or(self.parts.len()) as u64 * PART
    }

    /// Empty parts that take up space.
    fn spare(&self) -> usize {
        self.parts.iter().filter(|part| part.is_empty() && part.written).count()
    }

    fn give_back(&mut self, part: usize) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, self.base + part as u64 * PART, PART) {
            Ok(()) => self.parts[part].written = false,
            // A file on disk may be of a kind that has no holes.
            Err(error) => tracing::debug!(%error, "a spool keeps what it does not need"),
        }
    }
}

/// The parts in which an update lies.
fn covered(offset: u64, len: u64) -> Range<usize> {
    (offset / PART) as usize..(offset + len.max(1)).div_ceil(PART) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    fn in_memory() -> File {
        rustix::fs::memfd_create(c"shelf", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into()
    }

    /// Marker and message, as an update is put there.
    fn update(number: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![number; len];
        bytes[0] = 0;
        bytes
    }

    proptest! {
        #[test]
        fn each_update_comes_back_whatever_went_before_and_whoever_goes_on(
            base in prop::sample::select(vec![0, 1 << 40]),
            steps in prop::collection::vec((1..5usize, 1..2_500_000usize, 0..6usize, prop::bool::weighted(0.1)), 1..40),
        ) {
            let file = in_memory();
            let mut shelf = Shelf::new(file.try_clone().unwrap(), base);
            let mut held: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
            for (number, (scale, len, drops, again)) in (0..).zip(steps) {
                // Most are small.
                let bytes = update(number, (len >> (4 * scale)).max(1));
                let offset = shelf.put(&bytes).unwrap();
                held.push_back((offset, bytes));
                for _ in 0..drops.min(held.len()) {
                    let (offset, bytes) = held.pop_front().unwrap();
                    shelf.drop_oldest(offset, bytes.len());
                }
                if again {
                    shelf = Shelf::new(file.try_clone().unwrap(), base);
                    held.iter().for_each(|(offset, bytes)| shelf.has(*offset, bytes.len()));
                }
                for (offset, bytes) in &held {
                    let frames = shelf.get(*offset, bytes.len()).unwrap();
                    prop_assert!(frames.as_bytes() == bytes, "update {} at {offset}", bytes[bytes.len() - 1]);
                }
            }
        }
    }

    #[test]
    fn what_is_not_needed_any_more_is_used_again_or_given_back() {
        for base in [0, 1 << 40] {
            let file = in_memory();
            let mut shelf = Shelf::new(file.try_clone().unwrap(), base);
            let space = || file.metadata().unwrap().blocks() * 512;
            let bytes = update(1, 30_000);
            let mut held = VecDeque::new();
            for _ in 0..400 {
                held.push_back(shelf.put(&bytes).unwrap());
            }
            assert!(space() >= 400 * 30_000);
            while held.len() > 2 {
                shelf.drop_oldest(held.pop_front().unwrap(), bytes.len());
            }
            assert!(space() <= 3 * PART, "{}", space());
            for _ in 0..400 {
                held.push_back(shelf.put(&bytes).unwrap());
                shelf.drop_oldest(held.pop_front().unwrap(), bytes.len());
            }
            assert!(file.metadata().unwrap().len() - base <= 13 * PART);
            assert!(space() <= 3 * PART, "{}", space());
        }
    }
}
