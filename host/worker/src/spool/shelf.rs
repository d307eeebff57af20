//! A file that holds updates until they are acknowledged: one part of a file in memory, or a file on disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;
use windlass_protocol::codec::Frames;

/// So many bytes that are not needed any more are given back at a time.
const RELEASE: u64 = 1024 * 1024;

/// Updates in the order in which they came.
#[derive(Debug)]
pub struct Shelf {
    file: File,
    /// Where it begins in its file.
    base: u64,
    /// Where the next update goes, from `base` on.
    end: u64,
    /// Updates that it holds; at none it starts anew.
    held: usize,
    /// What lies before this is needed no more, and what lies before `given` was given back.
    gone: u64,
    given: u64,
    /// Something could not be read back: nothing more is written to it.
    pub bad: bool,
}

impl Shelf {
    /// An empty one, from `base` on.
    pub fn new(file: File, base: u64) -> Shelf {
        Shelf { file, base, end: 0, held: 0, gone: 0, given: 0, bad: false }
    }

    /// Puts an update at the end; where it lies.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let offset = self.end;
        self.file.write_all_at(bytes, self.base + offset)?;
        self.end += bytes.len() as u64;
        self.held += 1;
        Ok(offset)
    }

    /// An update that was put there by an earlier agent.
    pub fn has(&mut self, offset: u64, len: usize) {
        self.end = self.end.max(offset + len as u64);
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
        self.held -= 1;
        self.gone = offset + len as u64;
        let all = self.held == 0;
        if self.gone - self.given >= RELEASE || (all && self.base == 0) {
            self.give_back(all);
        }
        if all {
            (self.end, self.gone, self.given) = (0, 0, 0);
        }
    }

    fn give_back(&mut self, all: bool) {
        let done = if all && self.base == 0 {
            self.file.set_len(0)
        } else {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&self.file, flags, self.base + self.given, self.gone - self.given)
                .map_err(Into::into)
        };
        match done {
            Ok(()) => self.given = self.gone,
            // Tried again with the next ones; a file on disk may be of a kind that has no holes.
            Err(error) => tracing::debug!(%error, "a spool keeps what it does not need"),
        }
    }
}
