//! A child's standard input while its command writes to it, piece by piece.
//!
//! A piece that names a secret is taken whole: half a value cannot be told apart from half a placeholder.
//! What the pipe does not take at once is written by a task, and nothing else is taken meanwhile.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use windlass_core::value::Failure;

use crate::port::Context;
use crate::terminal;

/// The most bytes that one piece may come to with its secrets.
const MAX_PIECE: usize = 1024 * 1024;

/// An open input. Dropping it closes the pipe once all that was taken is written.
pub struct Input {
    /// Not blocking.
    pipe: OwnedFd,
    terminal: bool,
    context: Arc<Context>,
    /// The last byte that was taken.
    last: Option<u8>,
    behind: Option<JoinHandle<()>>,
}

impl Input {
    /// Over a pipe, or the terminal that stands for one, that does not block.
    pub fn new(pipe: OwnedFd, terminal: bool, context: Arc<Context>) -> Input {
        Input { pipe, terminal, context, last: None, behind: None }
    }

    /// The child reads the end next. A terminal stays open, so that is typed, behind all that was taken.
    pub fn close(self) {
        let Input { pipe, terminal, context, last, behind } = self;
        if terminal {
            drop(context.runtime.spawn(async move {
                if let Some(behind) = behind {
                    // One that broke off has written what it could.
                    let _broken = behind.await;
                }
                write_rest(pipe, terminal::end_after(last).to_vec(), 0).await;
            }));
        }
    }

    /// Writes what the child takes now; the number of bytes, 0 if it has not read the last ones yet.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, Failure> {
        if self.behind.as_ref().is_some_and(|behind| !behind.is_finished()) {
            return Ok(0);
        }
        let secrets = self.context.secrets.as_ref().filter(|secrets| secrets.occur_in(data));
        let Some(secrets) = secrets else {
            let written = try_write(&self.pipe, data)?;
            self.last = data[..written].last().copied().or(self.last);
            return Ok(written);
        };
        let put = secrets.put(data, &self.context.grants, MAX_PIECE).map_err(|failure| {
            match failure.code.as_str() {
                "denied" => self.context.denied("write-input", failure),
                _ => failure,
            }
        })?;
        let written = try_write(&self.pipe, &put)?;
        self.last = put.last().copied().or(self.last);
        if written < put.len() {
            let pipe = self.pipe.try_clone().map_err(|error| closed(&error))?;
            self.behind = Some(self.context.runtime.spawn(write_rest(pipe, put, written)));
        }
        Ok(data.len())
    }
}

fn closed(error: &dyn std::error::Error) -> Failure {
    Failure::new("closed", format!("the child does not read its input: {error}"))
}

fn try_write(pipe: &OwnedFd, data: &[u8]) -> Result<usize, Failure> {
    match rustix::io::write(pipe, data) {
        Ok(len) => Ok(len),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(closed(&error)),
    }
}

/// Ends with the child at the latest, which closes the other end.
async fn write_rest(pipe: OwnedFd, data: Vec<u8>, mut written: usize) {
    let Ok(pipe) = pipe::Sender::from_owned_fd_unchecked(pipe) else { return };
    while written < data.len() {
        if pipe.writable().await.is_err() {
            return;
        }
        match pipe.try_write(&data[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // A child that does not want its input closes it; that is its right.
            Err(_) => return,
        }
    }
}
