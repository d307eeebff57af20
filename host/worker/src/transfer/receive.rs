//! Receiving a file: beside its place first, and in its place once all of it is there and right.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use windlass_core::digest::Digest;
use windlass_core::value::Failure;
use windlass_protocol::message::CommandUid;
use windlass_protocol::session::Inbox;
use windlass_protocol::transfer::Part;

use super::{Transfers, Way, whole};
use crate::beneath::{Root, failure};
use crate::work::{Stop, Work};

/// Where a file goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Below the builder's directory.
    pub path: &'a str,
    /// Its permission bits; none: the usual ones.
    pub mode: Option<u32>,
    /// More bytes than that are refused.
    pub max_bytes: Option<u64>,
}

impl Transfers {
    /// Receives a file; the number of its bytes. Blocks.
    pub fn receive_file(
        self: &Arc<Self>,
        command: &CommandUid,
        token: &str,
        root: &Root,
        target: Target<'_>,
        work: &Work,
    ) -> Result<u64, Failure> {
        whole(|| self.receive_file_once(command, token, root, target, work))
    }

    fn receive_file_once(
        self: &Arc<Self>,
        command: &CommandUid,
        token: &str,
        root: &Root,
        target: Target<'_>,
        work: &Work,
    ) -> Result<u64, Failure> {
        let way = Way::Receiving {
            inbox: Inbox::default(),
            parts: Default::default(),
            held: 0,
            taken: 0,
            told: 0,
            untold: 0,
        };
        if let Some(parent) = Path::new(target.path).parent().and_then(Path::to_str) {
            root.make_directory(parent)?;
        }
        let mut unfinished = Unfinished::make(root, target, command)?;
        let under = self.begin(command, token, way)?;
        let fail = |stop: Stop| stop.failure(target.path);
        let (mut bytes, mut hash) = (0_u64, blake3::Hasher::new());
        loop {
            let part = under.receive(work).map_err(fail)?;
            let cost = part.cost();
            match part {
                Part::Data { data } => {
                    work.check().map_err(fail)?;
                    bytes += data.len() as u64;
                    if let Some(most) = target.max_bytes.filter(|most| bytes > *most) {
                        let message =
                            format!("`{}` has more than the {most} bytes that may come", target.path);
                        return Err(Failure::new("too-large", message));
                    }
                    hash.update(&data);
                    unfinished.file.write_all(&data).map_err(|error| fail(Stop::Io(error)))?;
                    under.taken(cost, false);
                }
                Part::End { bytes: sent, hash: right } => {
                    if sent != bytes || Digest::from_bytes(*hash.finalize().as_bytes()) != right {
                        let message = format!("what came for `{}` is not what was sent", target.path);
                        return Err(Failure::retryable("io", message));
                    }
                    unfinished.put(target)?;
                    under.taken(cost, true);
                    return Ok(bytes);
                }
            }
        }
    }
}

/// A file beside its place. It goes when this is dropped, unless it was put there.
struct Unfinished {
    directory: OwnedFd,
    name: OsString,
    temporary: OsString,
    /// It stands there under its temporary name.
    is_named: bool,
    file: File,
}

impl Unfinished {
    fn make(root: &Root, target: Target<'_>, command: &CommandUid) -> Result<Unfinished, Failure> {
        let (directory, name) = root.parent(target.path)?;
        // One command receives one file at a time, and no other has its name.
        let mut temporary = OsString::from(".windlass-");
        temporary.push(&command.0);
        // The mode that was asked for is given at the end: until then nobody else reads it.
        let mode = Mode::from_raw_mode(if target.mode.is_some() { 0o600 } else { 0o666 });
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        // A file without a name is gone with a worker that is killed.
        let nameless = rustix::fs::openat(&directory, ".", flags | OFlags::TMPFILE, mode);
        let is_named = nameless.is_err();
        let file = nameless
            .or_else(|_| {
                // Not every file system has those.
                let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                rustix::fs::openat(&directory, &temporary, flags, mode)
            })
            .map_err(|error| failure(error, target.path))?;
        Ok(Unfinished { directory, name, temporary, is_named, file: File::from(file) })
    }

    /// Puts it in its place; what stands there is replaced, and a link is not followed.
    fn put(&mut self, target: Target<'_>) -> Result<(), Failure> {
        let mut put = || {
            if let Some(mode) = target.mode {
                rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode & 0o777))?;
            }
            if !self.is_named {
                // Only a rename puts it in the place of another.
                let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, own, &self.directory, &self.temporary, AtFlags::SYMLINK_FOLLOW)?;
                self.is_named = true;
            }
            rustix::fs::renameat(&self.directory, &self.temporary, &self.directory, &self.name)
        };
        put().map_err(|error| failure(error, target.path))?;
        self.is_named = false;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.is_named
            && let Err(error) = rustix::fs::unlinkat(&self.directory, &self.temporary, AtFlags::empty())
        {
            tracing::warn!(%error, "half a file that came from the master stays behind");
        }
    }
}
