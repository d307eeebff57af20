//! What a child writes, on its way through a file in memory: the kernel moves it there from the pipe, so that nothing
//! is lost with an agent that is killed, at whatever moment. How long the file is says how much was moved; how much of
//! that was handed on stands on the command's tape.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, MemfdFlags};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Moved at a time: what a pipe holds.
const MOVE: usize = 64 * 1024;

/// Read at a time.
pub const READ: usize = 32 * 1024;

/// So much that was handed on is given back at a time.
const RELEASE: u64 = 1024 * 1024;

/// The reading side of a child's output.
#[derive(Debug)]
pub struct Capture {
    pipe: AsyncFd<OwnedFd>,
    /// None: it is a terminal, and read as it comes.
    moved: Option<Moved>,
}

#[derive(Debug)]
struct Moved {
    file: File,
    len: u64,
    taken: u64,
    given: u64,
}

/// A file in memory for [`Capture`].
pub fn file() -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create(c"windlass output", MemfdFlags::CLOEXEC)?)
}

impl Capture {
    /// Of a pipe, and the file to move it to with how much of that was handed on; or of a terminal. Within a tokio
    /// runtime.
    pub fn new(pipe: OwnedFd, file: Option<(OwnedFd, u64)>) -> io::Result<Capture> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let moved = |(file, taken): (OwnedFd, u64)| {
            let file = File::from(file);
            let len = file.metadata()?.len();
            io::Result::Ok(Moved { file, len, taken, given: 0 })
        };
        let moved = file.map(moved).transpose()?;
        Ok(Capture { pipe: super::asynchronous(pipe)?, moved })
    }

    /// How much was taken out of it so far.
    pub fn taken(&self) -> u64 {
        self.moved.as_ref().map_or(0, |moved| moved.taken)
    }

    /// What was handed on up to here is needed no more, whatever happens.
    pub fn is_kept(&mut self, up_to: u64) {
        let Some(moved) = self.moved.as_mut().filter(|moved| up_to.saturating_sub(moved.given) >= RELEASE)
        else {
            return;
        };
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&moved.file, flags, moved.given, up_to - moved.given) {
            Ok(()) => moved.given = up_to,
            Err(error) => tracing::debug!(%error, "what a child said stays in memory"),
        }
    }

    /// Waits until there may be something to take.
    pub async fn readable(&self) -> io::Result<()> {
        if self.moved.as_ref().is_none_or(|moved| moved.len == moved.taken) {
            drop(self.pipe.readable().await?);
        }
        Ok(())
    }

    /// Takes what there is, in front of `buffer`: how much; 0 at the end.
    pub fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(moved) = &mut self.moved else {
            return self.pipe.try_io(Interest::READABLE, |pipe| Ok(rustix::io::read(pipe, &mut *buffer)?));
        };
        if moved.len == moved.taken {
            let len = self.pipe.try_io(Interest::READABLE, |pipe| move_on(pipe, moved))?;
            if len == 0 {
                return Ok(0);
            }
        }
        let want = usize::try_from(moved.len - moved.taken).unwrap_or(usize::MAX).min(buffer.len());
        moved.file.read_exact_at(&mut buffer[..want], moved.taken)?;
        moved.taken += want as u64;
        Ok(want)
    }
}

fn move_on(pipe: &OwnedFd, moved: &mut Moved) -> io::Result<usize> {
    let mut to = moved.len;
    let len = loop {
        match splice(pipe, None, &moved.file, Some(&mut to), MOVE, SpliceFlags::NONBLOCK) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    moved.len += len as u64;
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::io::Write;

    #[tokio::test]
    async fn what_was_moved_and_not_handed_on_comes_again_in_the_next_agent() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut write = File::from(write);
        let kept = file().unwrap();
        let mut capture =
            Capture::new(read.try_clone().unwrap(), Some((kept.try_clone().unwrap(), 0))).unwrap();
        write.write_all(b"one two ").unwrap();
        let mut buffer = [0; 4];
        capture.readable().await.unwrap();
        assert_eq!(capture.take(&mut buffer).unwrap(), 4);
        assert_eq!((&buffer, capture.taken()), (b"one ", 4));
        // The agent is killed here, and more is said meanwhile.
        drop(capture);
        write.write_all(b"three").unwrap();
        drop(write);
        let mut capture = Capture::new(read, Some((kept, 4))).unwrap();
        let mut all = Vec::new();
        loop {
            capture.readable().await.unwrap();
            match capture.take(&mut buffer).unwrap() {
                0 => break,
                len => all.extend_from_slice(&buffer[..len]),
            }
        }
        assert_eq!(all, b"two three");
    }

    #[tokio::test]
    async fn what_was_handed_on_takes_up_no_memory() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut write = File::from(write);
        let kept = file().unwrap();
        let mut capture = Capture::new(read, Some((kept.try_clone().unwrap(), 0))).unwrap();
        let mut buffer = vec![0; READ];
        for _ in 0..100 {
            write.write_all(&vec![1; READ]).unwrap();
            let mut left = READ;
            while left > 0 {
                capture.readable().await.unwrap();
                left -= capture.take(&mut buffer[..left]).unwrap();
            }
            capture.is_kept(capture.taken());
        }
        let blocks =
            File::from(kept).metadata().map(|metadata| std::os::unix::fs::MetadataExt::blocks(&metadata));
        assert!(blocks.unwrap() * 512 < 2 * RELEASE);
    }
}
