//! What a child writes, on its way through a file in memory: the kernel moves it there from the pipe, so that nothing
//! is lost with an agent that is killed, at whatever moment. How long the file is says how much was moved; how much of
//! that was handed on stands on the command's tape.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, MemfdFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
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
    from: AsyncFd<OwnedFd>,
    /// Where the kernel takes the way through a pipe, since one side of each move has to be one: a terminal.
    through: Option<Through>,
    moved: Moved,
}

#[derive(Debug)]
struct Moved {
    file: File,
    len: u64,
    taken: u64,
    given: u64,
}

/// A pipe between a terminal and a file, both ends of it.
#[derive(Debug)]
pub struct Through {
    /// Out of it.
    pub read: OwnedFd,
    /// Into it.
    pub write: OwnedFd,
}

impl Through {
    /// A new one.
    pub fn new() -> io::Result<Through> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Through { read, write })
    }
}

/// A file in memory for [`Capture`].
pub fn file() -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create(c"windlass output", MemfdFlags::CLOEXEC)?)
}

impl Capture {
    /// Of a pipe or a terminal, and the file to move it to, of which so much was handed on. Within a tokio runtime.
    pub fn new(from: OwnedFd, through: Option<Through>, file: OwnedFd, taken: u64) -> io::Result<Capture> {
        rustix::io::ioctl_fionbio(&from, true)?;
        let file = File::from(file);
        let mut moved = Moved { len: file.metadata()?.len(), file, taken, given: 0 };
        if let Some(through) = &through {
            // What an earlier agent had under way.
            match move_on(&through.read, &mut moved) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => drop(other?),
            }
        }
        Ok(Capture { from: super::asynchronous(from)?, through, moved })
    }

    /// How much was taken out of it so far.
    pub fn taken(&self) -> u64 {
        self.moved.taken
    }

    /// What was handed on up to here is needed no more, whatever happens.
    pub fn is_kept(&mut self, up_to: u64) {
        let moved = &mut self.moved;
        if up_to.saturating_sub(moved.given) < RELEASE {
            return;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&moved.file, flags, moved.given, up_to - moved.given) {
            Ok(()) => moved.given = up_to,
            Err(error) => tracing::debug!(%error, "what a child said stays in memory"),
        }
    }

    /// Waits until there may be something to take.
    pub async fn readable(&self) -> io::Result<()> {
        if self.moved.len == self.moved.taken {
            drop(self.from.readable().await?);
        }
        Ok(())
    }

    /// Takes what there is, in front of `buffer`: how much; 0 at the end.
    pub fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Capture { from, through, moved } = self;
        if moved.len == moved.taken {
            let len = from.try_io(Interest::READABLE, |from| match through {
                None => move_on(from, moved),
                Some(Through { read, write }) => {
                    // Never more than the pipe takes: it is empty.
                    match splice(from, None, write, None, READ, SpliceFlags::NONBLOCK) {
                        Ok(0) => Ok(0),
                        Ok(_) => move_on(read, moved),
                        // A kernel that moves nothing out of a terminal.
                        Err(Errno::INVAL) => copy_on(from, moved),
                        Err(error) => Err(error.into()),
                    }
                }
            })?;
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

fn move_on(from: &OwnedFd, moved: &mut Moved) -> io::Result<usize> {
    let mut to = moved.len;
    let len = loop {
        match splice(from, None, &moved.file, Some(&mut to), MOVE, SpliceFlags::NONBLOCK) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    moved.len += len as u64;
    Ok(len)
}

fn copy_on(from: &OwnedFd, moved: &mut Moved) -> io::Result<usize> {
    let mut buffer = vec![0; READ];
    let len = rustix::io::read(from, &mut buffer)?;
    moved.file.write_all_at(&buffer[..len], moved.len)?;
    moved.len += len as u64;
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn what_was_moved_and_not_handed_on_comes_again_in_the_next_agent() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut write = File::from(write);
        let kept = file().unwrap();
        let mut capture =
            Capture::new(read.try_clone().unwrap(), None, kept.try_clone().unwrap(), 0).unwrap();
        write.write_all(b"one two ").unwrap();
        let mut buffer = [0; 4];
        capture.readable().await.unwrap();
        assert_eq!(capture.take(&mut buffer).unwrap(), 4);
        assert_eq!((&buffer, capture.taken()), (b"one ", 4));
        // The agent is killed here, and more is said meanwhile.
        drop(capture);
        write.write_all(b"three").unwrap();
        drop(write);
        let mut capture = Capture::new(read, None, kept, 4).unwrap();
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
    async fn what_a_terminal_shows_is_moved_as_well() {
        let (ours, childs) = {
            let (ours, childs) = crate::terminal::Terminal::open().unwrap().streams().unwrap();
            (ours.stdout.unwrap(), childs.stdout.unwrap())
        };
        let (through, kept) = (Through::new().unwrap(), file().unwrap());
        let another =
            Through { read: through.read.try_clone().unwrap(), write: through.write.try_clone().unwrap() };
        let clone = |fd: &OwnedFd| fd.try_clone().unwrap();
        let mut capture = Capture::new(clone(&ours), Some(through), clone(&kept), 0).unwrap();
        let mut childs = File::from(childs);
        childs.write_all(b"one\n").unwrap();
        let mut buffer = [0; 64];
        capture.readable().await.unwrap();
        assert_eq!(capture.take(&mut buffer).unwrap(), 5);
        childs.write_all(b"two\n").unwrap();
        // The agent is killed between the two moves.
        while splice(&ours, None, &another.write, None, READ, SpliceFlags::NONBLOCK).is_err() {}
        drop(capture);
        let mut capture = Capture::new(ours, Some(another), kept, 5).unwrap();
        capture.readable().await.unwrap();
        let len = capture.take(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"two\r\n");
    }

    #[tokio::test]
    async fn what_was_handed_on_takes_up_no_memory() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut write = File::from(write);
        let kept = file().unwrap();
        let mut capture = Capture::new(read, None, kept.try_clone().unwrap(), 0).unwrap();
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
