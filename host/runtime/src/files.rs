//! Files that people name in arguments and in configurations: only regular ones are read, and no more of them than fits.
//!
//! A pipe has whoever opens it wait for somebody who writes, and a device may never come to an end: a check, a start or a
//! reconfiguration ends all the same.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// The most bytes of a configuration, with all that it includes.
pub const MOST: usize = 64 << 20;

/// Opens a regular file to read it, and waits for nobody.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// Returns what a regular file holds, at most so many bytes; an error where it holds more ([`ErrorKind::FileTooLarge`]) or
/// is no text. What says of itself that it is empty, as those of `/proc` do, is read like any other.
pub fn text(path: &Path, most: usize) -> io::Result<String> {
    text_of(open(path)?, most)
}

/// The same of one that is open.
pub fn text_of(file: File, most: usize) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    if file.take(limit).read_to_string(&mut text)? > most {
        let message = format!("it has more than {most} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: `windlass check` and `reconfig` never returned, or ate all memory. Cause: a pipe, or `/dev/zero`, was opened
    /// and read as if it were a file with an end. Cure: what is no regular file is refused by what was opened, and no more
    /// is read than fits.
    #[test]
    fn what_is_no_file_or_has_no_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [&*pipe, Path::new("/dev/zero"), Path::new("/dev/null"), dir.path()] {
            let error = text(path, 100).unwrap_err();
            assert_eq!(error.to_string(), "it is no regular file", "{}", path.display());
        }
        let large = dir.path().join("large");
        std::fs::write(&large, "x".repeat(100)).unwrap();
        assert_eq!(text(&large, 100).unwrap().len(), 100);
        for path in [&*large, Path::new("/proc/self/status")] {
            assert_eq!(text(path, 9).unwrap_err().kind(), ErrorKind::FileTooLarge, "{}", path.display());
        }
    }
}
