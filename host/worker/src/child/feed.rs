//! The input that a child was given at its start, on its way to it. For a pipe it lies in a file in memory, and the
//! kernel moves it on: how far that is stands in the file itself, whoever reads it next.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::pipe::{SpliceFlags, splice};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Moved at a time.
const MOVE: usize = 64 * 1024;

/// Input that was not written yet.
#[derive(Debug)]
pub struct Feed {
    to: AsyncFd<OwnedFd>,
    what: What,
}

#[derive(Debug)]
enum What {
    File(OwnedFd),
    /// For a terminal.
    Typed {
        input: Vec<u8>,
        written: usize,
    },
}

/// A file in memory with a child's input.
pub fn file(input: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(c"windlass input", MemfdFlags::CLOEXEC)?;
    let mut rest = input;
    while !rest.is_empty() {
        let len = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = &rest[len..];
    }
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file)
}

impl Feed {
    /// From such a file into a pipe, from where it stands. Within a tokio runtime.
    pub fn piped(to: OwnedFd, file: OwnedFd) -> io::Result<Feed> {
        rustix::io::ioctl_fionbio(&to, true)?;
        Ok(Feed { to: super::asynchronous(to)?, what: What::File(file) })
    }

    /// Into a terminal.
    pub fn typed(to: OwnedFd, input: Vec<u8>) -> io::Result<Feed> {
        rustix::io::ioctl_fionbio(&to, true)?;
        Ok(Feed { to: super::asynchronous(to)?, what: What::Typed { input, written: 0 } })
    }

    /// Waits until the child takes more.
    pub async fn writable(&self) -> io::Result<()> {
        self.to.writable().await.map(drop)
    }

    /// Writes what the child takes now. True: there is no more, or the child wants no more, which is its right.
    pub fn write(&mut self) -> bool {
        let written = match &mut self.what {
            What::File(file) => {
                let file = file.as_fd();
                self.to.try_io(Interest::WRITABLE, |to| {
                    Ok(splice(file, None, to, None, MOVE, SpliceFlags::NONBLOCK)?)
                })
            }
            What::Typed { input, written } => {
                let rest = &input[*written..];
                let len = self.to.try_io(Interest::WRITABLE, |to| Ok(rustix::io::write(to, rest)?));
                *written += len.as_ref().copied().unwrap_or_default();
                match len {
                    Ok(_) if *written == input.len() => Ok(0),
                    other => other,
                }
            }
        };
        match written {
            Ok(len) => len == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }
}
