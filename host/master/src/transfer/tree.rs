//! The entries of a tree that a worker sent, put below a folder: everything new, nothing through a link.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use windlass_core::value::Failure;
use windlass_protocol::tree::{Entry, Found, Reader, TreeError, What, shown};

use super::keep::io_failure;

/// A tree in the making.
pub(super) struct Unpack {
    reader: Reader,
    place: Place,
}

struct Place {
    folder: OwnedFd,
    /// The file whose contents come.
    file: Option<(File, Option<u64>)>,
    size: u64,
}

/// Why a stream goes no further.
enum Refused {
    Tree(TreeError),
    Place(Failure),
}

impl From<TreeError> for Refused {
    fn from(error: TreeError) -> Refused {
        Refused::Tree(error)
    }
}

impl Refused {
    fn failure(self) -> Failure {
        match self {
            Refused::Tree(error) => Failure::new("denied", format!("the tree is refused: {error}")),
            Refused::Place(failure) => failure,
        }
    }
}

impl Unpack {
    /// Into a new folder.
    pub(super) fn into(folder: &Path) -> io::Result<Unpack> {
        std::fs::create_dir(folder)?;
        let folder = OwnedFd::from(File::open(folder)?);
        Ok(Unpack { reader: Reader::default(), place: Place { folder, file: None, size: 0 } })
    }

    /// Takes what comes next of the stream.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), Failure> {
        let place = &mut self.place;
        self.reader.push(data, |found| place.take(found).map_err(Refused::Place)).map_err(Refused::failure)
    }

    /// Makes all of it durable: the bytes of its files, and how many entries there are.
    pub(super) fn finish(self) -> Result<(u64, u64), Failure> {
        let entries = self.reader.finish().map_err(|error| Refused::Tree(error).failure())?;
        // One call for all of them: a tree may have a million files.
        rustix::fs::syncfs(&self.place.folder).map_err(|error| io_failure(&error.into()))?;
        Ok((self.place.size, entries))
    }
}

impl Place {
    fn take(&mut self, found: Found<'_>) -> Result<(), Failure> {
        match found {
            Found::Entry(entry) => {
                let made = self.make(&entry);
                made.map_err(|error| match error {
                    Errno::EXIST => refused(&entry, "is there twice"),
                    Errno::NOENT => refused(&entry, "comes before its directory"),
                    Errno::NOTDIR | Errno::LOOP | Errno::XDEV => {
                        refused(&entry, "lies behind what is no directory")
                    }
                    error => io_failure(&error.into()),
                })
            }
            Found::Data(data) => {
                let (file, _) = self.file.as_mut().expect("the reader says contents behind a file only");
                self.size += data.len() as u64;
                file.write_all(data).map_err(|error| io_failure(&error))
            }
            Found::FileEnd => {
                let (file, modified_ms) = self.file.take().expect("the reader ends what it began");
                match modified_ms {
                    None => Ok(()),
                    Some(ms) => {
                        file.set_modified(UNIX_EPOCH + Duration::from_millis(ms)).map_err(|e| io_failure(&e))
                    }
                }
            }
        }
    }

    fn make(&mut self, entry: &Entry) -> Result<(), Errno> {
        let path = Path::new(std::ffi::OsStr::from_bytes(&entry.path));
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let parent = rustix::fs::openat2(&self.folder, parent, flags, Mode::empty(), resolve)?;
        // Whoever owns the master can read and remove it, and nothing runs as somebody else.
        let mode = |always: u32| Mode::from_raw_mode((entry.mode & 0o777) | always);
        match &entry.what {
            What::Directory => rustix::fs::mkdirat(&parent, name, mode(0o700)),
            What::Link(target) => rustix::fs::symlinkat(std::ffi::OsStr::from_bytes(target), &parent, name),
            What::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&parent, name, flags, mode(0o600))?;
                rustix::fs::fchmod(&file, mode(0o600))?;
                self.file = Some((File::from(file), entry.modified_ms));
                Ok(())
            }
        }
    }
}

fn refused(entry: &Entry, why: &str) -> Failure {
    Failure::new("denied", format!("the tree is refused: `{}` {why}", shown(&entry.path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::os::unix::fs::PermissionsExt as _;
    use windlass_protocol::tree::{END, block, header};

    fn entry(path: &str, what: What, mode: u32) -> Entry {
        Entry { path: Bytes::from(path.to_owned()), what, mode, modified_ms: Some(1_000_000) }
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, What::Link(Bytes::from(target.to_owned())), 0o777)
    }

    fn unpack(folder: &Path, entries: &[(Entry, &str)]) -> Result<(u64, u64), Failure> {
        let mut stream = Vec::new();
        for (entry, contents) in entries {
            stream.extend(header(entry));
            if entry.what == What::File {
                if !contents.is_empty() {
                    stream.extend(block(contents.len()));
                    stream.extend(contents.as_bytes());
                }
                stream.extend(END);
            }
        }
        stream.extend(END);
        let mut unpack = Unpack::into(folder).unwrap();
        stream.chunks(11).try_for_each(|piece| unpack.push(piece))?;
        unpack.finish()
    }

    #[test]
    fn a_tree_keeps_its_modes_links_and_times() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("t");
        let made = unpack(
            &folder,
            &[
                (entry("bin", What::Directory, 0o500), ""),
                (entry("bin/run", What::File, 0o4755), "#!/bin/sh\n"),
                (link("bin/link", "../data"), ""),
                (entry("data", What::File, 0o040), "x"),
            ],
        );
        assert_eq!(made.unwrap(), (11, 4));
        let mode = |path: &str| folder.join(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("bin"), mode("bin/run"), mode("data")), (0o700, 0o755, 0o640));
        assert_eq!(std::fs::read_to_string(folder.join("bin/link")).unwrap(), "x");
        let modified = folder.join("data").metadata().unwrap().modified().unwrap();
        assert_eq!(modified, UNIX_EPOCH + Duration::from_secs(1_000));
    }

    #[test]
    fn nothing_is_put_outside_twice_or_behind_a_link() {
        let base = tempfile::tempdir().unwrap();
        let precious = base.path().join("precious");
        std::fs::write(&precious, "gold").unwrap();
        let file = |path| (entry(path, What::File, 0o644), "lead");
        for (n, entries) in [
            vec![file("../precious")],
            vec![file("/tmp/lead")],
            vec![(link("l", "../precious"), ""), file("l")],
            vec![(link("l", "."), ""), file("l/x")],
            vec![(entry("d", What::Directory, 0o755), ""), (link("d/up", ".."), ""), file("d/up/x")],
            vec![file("a"), file("a")],
            vec![file("a"), file("a/b")],
            vec![file("missing/a")],
        ]
        .into_iter()
        .enumerate()
        {
            let refused = unpack(&base.path().join(n.to_string()), &entries).unwrap_err();
            assert_eq!(refused.code, "denied", "{entries:?}");
        }
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "gold");
        assert!(!Path::new("/tmp/lead").exists());
    }
}
