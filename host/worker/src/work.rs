//! The bounds of one operation on files: it stops with its command and at an interrupt, and before it
//! took too long, looked at too much or wrote too much. One that waits for a master takes the time that it takes.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_core::value::Failure;

use crate::beneath;

/// How long one operation may take.
const MAX_TIME: Duration = Duration::from_hours(1);

/// What one operation may look at: files, directories and links.
const MAX_VISITED: usize = 4_000_000;

/// What one copy may write. A sparse file counts with the size that it claims.
const MAX_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// Names of entries that are held in memory at a time, over all levels of a tree.
const MAX_HELD: usize = 200_000;

/// How one operation on files is bounded.
#[derive(Clone, Debug)]
pub struct Work {
    over: CancellationToken,
    interrupt: watch::Receiver<Option<String>>,
    /// A command that was interrupted may still clean up behind itself.
    from_the_start: bool,
    /// None: it ends with its command, whatever time that has.
    deadline: Option<Instant>,
    visited: usize,
    bytes: u64,
    held: usize,
}

/// Why an operation stopped.
#[derive(Debug)]
pub enum Stop {
    /// The operating system refused something.
    Os(Errno),
    /// Reading or writing contents failed.
    Io(std::io::Error),
    /// A bound was reached, or the command is over.
    Bound(Failure),
}

impl Stop {
    /// What the guest gets. `path` is what it named.
    pub fn failure(self, path: &str) -> Failure {
        match self {
            Stop::Os(error) => beneath::failure(error, path),
            Stop::Io(error) => beneath::io_failure(&error, path),
            Stop::Bound(failure) => failure,
        }
    }
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Stop {
        Stop::Os(error)
    }
}

impl Work {
    /// Begins an operation of a command: it stops when `over` is cancelled, or when an interrupt comes.
    pub fn new(over: CancellationToken, interrupt: watch::Receiver<Option<String>>) -> Work {
        Work { deadline: Some(Instant::now() + MAX_TIME), ..Work::unhurried(over, interrupt) }
    }

    /// The same for what goes over a link: that may be slow, or gone for hours, and the command survives it.
    pub fn unhurried(over: CancellationToken, interrupt: watch::Receiver<Option<String>>) -> Work {
        let from_the_start = interrupt.borrow().is_some();
        Work { over, interrupt, from_the_start, deadline: None, visited: 0, bytes: 0, held: 0 }
    }

    /// One more entry is looked at.
    pub fn visit(&mut self) -> Result<(), Stop> {
        self.visited += 1;
        if self.visited > MAX_VISITED {
            return Err(too_large(format!("more than {MAX_VISITED} files and directories")));
        }
        self.check()
    }

    /// So many more bytes are copied.
    pub fn copy(&mut self, bytes: u64) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BYTES {
            return Err(too_large(format!("more than {} GiB to copy", MAX_BYTES >> 30)));
        }
        self.check()
    }

    /// So many names more are in memory, until [`Work::release`].
    pub fn hold(&mut self, names: usize) -> Result<(), Stop> {
        self.held += names;
        if self.held > MAX_HELD {
            return Err(too_large(format!("directories with more than {MAX_HELD} entries in all")));
        }
        Ok(())
    }

    /// They are not any more.
    pub fn release(&mut self, names: usize) {
        self.held -= names;
    }

    /// Whether to go on.
    pub fn check(&self) -> Result<(), Stop> {
        let stopped = |reason: &str| Stop::Bound(Failure::new("interrupted", reason));
        if self.over.is_cancelled() {
            return Err(stopped("the command is over"));
        }
        if !self.from_the_start
            && let Some(reason) = &*self.interrupt.borrow()
        {
            return Err(stopped(reason));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            let message = format!("an operation on files took more than {} s", MAX_TIME.as_secs());
            return Err(Stop::Bound(Failure::new("too-large", message)));
        }
        Ok(())
    }
}

fn too_large(what: String) -> Stop {
    Stop::Bound(Failure::new("too-large", format!("one operation met {what}")))
}

#[cfg(test)]
impl Work {
    /// For tests: nobody interrupts it.
    pub fn undisturbed() -> Work {
        Work::new(CancellationToken::new(), watch::channel(None).1)
    }

    /// What was looked at so far.
    pub fn visited(&self) -> usize {
        self.visited
    }

    /// Names that are in memory.
    pub fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), Stop>) -> Option<String> {
        result.err().map(|stop| stop.failure("x").code)
    }

    #[test]
    fn work_stops_with_its_command_and_at_an_interrupt_that_comes_meanwhile() {
        let (over, (interrupt, heard)) = (CancellationToken::new(), watch::channel(None));
        let mut before = Work::new(over.clone(), heard.clone());
        assert_eq!(code(before.visit()), None);
        interrupt.send_replace(Some("why".to_owned()));
        assert_eq!(code(before.visit()).as_deref(), Some("interrupted"));
        let mut cleaning_up = Work::new(over.clone(), heard);
        assert_eq!(code(cleaning_up.visit()), None);
        over.cancel();
        assert_eq!(code(cleaning_up.visit()).as_deref(), Some("interrupted"));
    }

    /// Symptom: an upload failed for good, since its file was "too large", after its link was gone for an hour. Cause:
    /// it had an hour, as a copy has. Cure: what waits for a master has the time of its step.
    #[test]
    fn what_goes_over_a_link_has_no_time_of_its_own() {
        let mut copy = Work::undisturbed();
        copy.deadline = copy.deadline.map(|deadline| deadline - MAX_TIME);
        assert_eq!(code(copy.check()).as_deref(), Some("too-large"));
        let sent = Work::unhurried(CancellationToken::new(), watch::channel(None).1);
        assert_eq!(sent.deadline, None);
    }

    #[test]
    fn work_is_bounded_in_bytes_and_names() {
        let mut work = Work::undisturbed();
        assert_eq!(code(work.copy(MAX_BYTES)), None);
        assert_eq!(code(work.copy(1)).as_deref(), Some("too-large"));
        assert_eq!(code(work.hold(MAX_HELD)), None);
        work.release(MAX_HELD);
        assert_eq!(code(work.hold(MAX_HELD + 1)).as_deref(), Some("too-large"));
    }
}
