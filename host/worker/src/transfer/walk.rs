//! A directory below the builder's as a stream of entries, read by directory handles and without following
//! a link. What is neither a file nor a directory nor a link is left out.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use windlass_core::value::Failure;
use windlass_protocol::tree::{END, Entry, MAX_DEPTH, What, block, header};

use super::send::Stream;
use crate::beneath::Root;
use crate::files::modified_ms;
use crate::tree::{names, open_directory, stat_at};
use crate::work::{Stop, Work};

/// Read from a file at a time, and a block of the stream.
const PIECE: usize = 64 * 1024;

/// Opens the directory that is to be sent.
pub(super) fn open(root: &Root, path: &str) -> Result<OwnedFd, Failure> {
    root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Sends all that a directory holds; it is nameless itself.
pub(super) fn tree(
    directory: &OwnedFd,
    keep_times: bool,
    stream: &mut Stream,
    work: Work,
) -> Result<(), Stop> {
    let mut walk = Walk { keep_times, stream, work, path: Vec::new(), piece: vec![0; PIECE] };
    walk.below(directory, 0)?;
    walk.stream.write(&END)
}

struct Walk<'a> {
    keep_times: bool,
    stream: &'a mut Stream,
    work: Work,
    path: Vec<u8>,
    piece: Vec<u8>,
}

impl Walk<'_> {
    fn below(&mut self, directory: &OwnedFd, depth: usize) -> Result<(), Stop> {
        if depth == MAX_DEPTH {
            return Err(Errno::NAMETOOLONG.into());
        }
        let mut names = names(directory, &mut self.work)?;
        // The same tree is the same stream.
        names.sort();
        for name in &names {
            self.work.visit()?;
            let above = self.path.len();
            if above > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.as_bytes());
            match self.entry(directory, name, depth) {
                Ok(()) => {}
                // Gone, or something else, since it was looked at: builds go on beside an upload.
                Err(Stop::Os(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::INVAL)) => {}
                Err(stop) => return Err(stop),
            }
            self.path.truncate(above);
        }
        self.work.release(names.len());
        Ok(())
    }

    fn entry(&mut self, directory: &OwnedFd, name: &CString, depth: usize) -> Result<(), Stop> {
        let stat = stat_at(directory, name)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let child = open_directory(directory, name)?;
                self.begin(What::Directory, &stat)?;
                self.below(&child, depth + 1)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                self.begin(What::Link(Bytes::from(target.into_bytes())), &stat)
            }
            FileType::RegularFile => {
                let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                let stat = rustix::fs::fstat(&file)?;
                if !FileType::from_raw_mode(stat.st_mode).is_file() {
                    return Ok(());
                }
                self.begin(What::File, &stat)?;
                self.contents(File::from(file))
            }
            // A socket, a pipe or a device has no contents to send.
            _ => Ok(()),
        }
    }

    fn begin(&mut self, what: What, stat: &rustix::fs::Stat) -> Result<(), Stop> {
        let path = Bytes::copy_from_slice(&self.path);
        let modified_ms = self.keep_times.then(|| modified_ms(stat));
        self.stream.write(&header(&Entry { path, what, mode: stat.st_mode & 0o777, modified_ms }))
    }

    fn contents(&mut self, mut file: File) -> Result<(), Stop> {
        use std::io::Read as _;
        loop {
            match file.read(&mut self.piece) {
                Ok(0) => return self.stream.write(&END),
                Ok(read) => {
                    self.stream.write(&block(read))?;
                    self.stream.write(&self.piece[..read])?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Stop::Io(error)),
            }
        }
    }
}
