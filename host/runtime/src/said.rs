//! What a guest writes to its standard output and error: lines among its diagnostics, so that an
//! author's `print` and the last words of a panic are read by somebody.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::bounds;
use crate::port::Level;

/// Bytes that wait to be told; what comes meanwhile is dropped, and counted. They are told at the next call of
/// ours.
const MAX_WAITING: usize = 64 * 1024;
/// The longest line; a longer one is cut into several.
const MAX_LINE: usize = 4 * 1024;
/// Bytes of the last words.
const MAX_LAST: usize = 600;

/// One stream of one call.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    level: Level,
    said: Said,
}

/// Both streams of one call, and what it reported as an error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    lines: Vec<(Level, String)>,
    waiting: usize,
    /// Lines for which there was no room.
    dropped: u64,
    /// The lines without an end, of output and of error.
    begun: [Vec<u8>; 2],
    last: String,
}

impl Said {
    /// Its standard output.
    pub(crate) fn stdout(&self) -> Stream {
        Stream { level: Level::Info, said: self.clone() }
    }

    /// Its standard error.
    pub(crate) fn stderr(&self) -> Stream {
        Stream { level: Level::Warn, said: self.clone() }
    }

    /// Lines that nobody was told yet.
    pub(crate) fn take(&self) -> Vec<(Level, String)> {
        let mut inner = self.inner();
        inner.waiting = 0;
        let mut lines = std::mem::take(&mut inner.lines);
        if let dropped @ 1.. = std::mem::take(&mut inner.dropped) {
            lines.push((Level::Warn, format!("{dropped} lines of output were dropped: too many at a time")));
        }
        lines
    }

    /// The same at the end of the call, with what has no end of line.
    pub(crate) fn finish(&self) -> Vec<(Level, String)> {
        for stream in [self.stdout(), self.stderr()] {
            self.inner().end_line(stream.level);
        }
        self.take()
    }

    /// Keeps what a guest reports as an error: it may be why it then traps.
    pub(crate) fn error(&self, message: &str) {
        self.inner().remember(message);
    }

    /// The last of what it said as an error; empty: nothing.
    pub(crate) fn last_words(&self) -> String {
        self.inner().last.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn begun(&mut self, level: Level) -> &mut Vec<u8> {
        &mut self.begun[usize::from(level == Level::Warn)]
    }

    fn write(&mut self, level: Level, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' || self.begun(level).len() >= MAX_LINE {
                self.end_line(level);
            }
            if byte != b'\n' {
                self.begun(level).push(byte);
            }
        }
    }

    fn end_line(&mut self, level: Level) {
        let line = std::mem::take(self.begun(level));
        if line.is_empty() {
            return;
        }
        let line = bounds::line(&String::from_utf8_lossy(&line), MAX_LINE);
        if level == Level::Warn {
            self.remember(&line);
        }
        if self.waiting + line.len() <= MAX_WAITING {
            self.waiting += line.len();
            self.lines.push((level, line));
        } else {
            self.dropped += 1;
        }
    }

    fn remember(&mut self, line: &str) {
        if !self.last.is_empty() {
            self.last.push_str(" | ");
        }
        self.last.push_str(&bounds::line(line, MAX_LAST));
        if self.last.len() > MAX_LAST {
            let from = self.last.ceil_char_boundary(self.last.len() - MAX_LAST);
            self.last.drain(..from);
        }
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // The asynchronous WASI, which this host does not link.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.said.inner().write(self.level, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WAITING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_told_by_lines_and_the_last_words_are_kept() {
        let said = Said::default();
        said.stdout().write(Bytes::from_static(b"one\ntw")).unwrap();
        said.stderr().write(Bytes::from_static(b"panicked at x:\n\x1b[31mon purpose\n")).unwrap();
        let told = |lines: Vec<(Level, String)>| lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        assert_eq!(told(said.take()), ["one", "panicked at x:", " [31mon purpose"]);
        assert_eq!(told(said.finish()), ["tw"]);
        assert_eq!(said.last_words(), "panicked at x: |  [31mon purpose");
    }

    #[test]
    fn a_flood_of_output_fills_nothing() {
        let said = Said::default();
        for _ in 0..1_000 {
            said.stderr().write(Bytes::from(vec![b'x'; 10_000])).unwrap();
        }
        let mut told = said.take();
        let (_, last) = told.pop().unwrap();
        assert!(last.ends_with(" lines of output were dropped: too many at a time"), "{last}");
        let kept: usize = told.iter().map(|(_, line)| line.len()).sum();
        assert!(kept <= MAX_WAITING && said.last_words().len() <= MAX_LAST);
        said.stdout().write(Bytes::from_static(b"more\n")).unwrap();
        assert_eq!(said.take().len(), 1, "what was dropped is told once");
    }
}
