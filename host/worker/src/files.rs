//! Files below the builder's directory, for commands: blocking functions over a [`Root`].
//!
//! Trees are walked by directory handles, never by names from the top, and links are never followed:
//! nothing outside is read, copied or removed.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use windlass_core::time::Timestamp;
use windlass_core::value::Failure;
use windlass_runtime::port::{FileEntry, FileKind};

use crate::beneath::{Root, failure};
use crate::glob::Pattern;

/// The largest file that is read or written in one piece.
pub const MAX_SMALL: usize = 64 * 1024;

/// The most entries of a directory, or paths of a glob.
pub const MAX_ENTRIES: usize = 100_000;

/// The most bytes of the paths of one answer.
const MAX_PATHS: usize = 8 * 1024 * 1024;

/// How deep a tree may be: each level costs a handle and a part of the thread's stack.
const MAX_DEPTH: usize = 400;

/// Removes a file or a tree; one that is not there is no error.
pub fn remove(root: &Root, path: &str) -> Result<(), Failure> {
    let (directory, name) = match root.parent(path) {
        Err(failure) if failure.code == "not-found" => return Ok(()),
        other => other?,
    };
    match remove_at(&directory, &c_name(&name), 0) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failure(error, path)),
    }
}

fn remove_at(at: &OwnedFd, name: &CStr, depth: usize) -> Result<(), Errno> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        // Linux says ISDIR, POSIX also PERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return other,
    }
    if depth == MAX_DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    // A directory that its owner may not read or change: builds leave such behind.
    let directory = match open_directory(at, name) {
        Err(Errno::ACCESS) => {
            make_accessible(at, name)?;
            open_directory(at, name)?
        }
        other => other?,
    };
    let mut repaired = false;
    for child in names(&directory)? {
        match remove_at(&directory, &child, depth + 1) {
            Err(Errno::ACCESS) if !repaired => {
                repaired = true;
                make_accessible(at, name)?;
                remove_at(&directory, &child, depth + 1)?;
            }
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)
}

fn make_accessible(at: impl AsFd, name: &CStr) -> Result<(), Errno> {
    // Not through a handle: it can't be opened. A link here is no directory, and was unlinked before.
    rustix::fs::chmodat(at, name, Mode::from_raw_mode(0o700), AtFlags::empty())
}

/// Copies a file or a tree; links are copied as links.
pub fn copy(root: &Root, from: &str, to: &str) -> Result<(), Failure> {
    let (from_at, from_name) = root.parent(from)?;
    let (to_at, to_name) = root.parent(to)?;
    let (from_name, to_name) = (c_name(&from_name), c_name(&to_name));
    let inside = || Failure::new("bad-argument", format!("`{to}` lies within `{from}`"));
    let source = stat_at(&from_at, &from_name).map_err(|error| failure(error, from))?;
    if FileType::from_raw_mode(source.st_mode).is_dir() {
        // The target's parents must not contain the source, by whatever links: its own identity tells.
        let mut above = to_at.try_clone().map_err(|_| failure(Errno::MFILE, to))?;
        let top = rustix::fs::fstat(root.directory(".")?).map_err(|error| failure(error, to))?;
        loop {
            let here = rustix::fs::fstat(&above).map_err(|error| failure(error, to))?;
            if same(&here, &source) {
                return Err(inside());
            }
            if same(&here, &top) {
                break;
            }
            above = open_directory(&above, c"..").map_err(|error| failure(error, to))?;
        }
    }
    copy_at(&from_at, &from_name, &to_at, &to_name, 0).map_err(|error| match error {
        CopyError::At(error) => failure(error, to),
        CopyError::Bytes(error) => Failure::new("io", format!("failed to copy `{from}`: {error}")),
    })
}

enum CopyError {
    At(Errno),
    Bytes(std::io::Error),
}

impl From<Errno> for CopyError {
    fn from(error: Errno) -> CopyError {
        CopyError::At(error)
    }
}

fn copy_at(from: &OwnedFd, name: &CStr, to: &OwnedFd, to_name: &CStr, depth: usize) -> Result<(), CopyError> {
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG.into());
    }
    let stat = stat_at(from, name)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            match rustix::fs::mkdirat(to, to_name, mode | Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let (source, target) = (open_directory(from, name)?, open_directory(to, to_name)?);
            names(&source)?.iter().try_for_each(|child| copy_at(&source, child, &target, child, depth + 1))
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            match rustix::fs::unlinkat(to, to_name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            Ok(rustix::fs::symlinkat(target, to, to_name)?)
        }
        FileType::RegularFile => {
            // A pipe that stands there, or comes meanwhile, must not block this thread for ever.
            let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
            let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
            let mut target = File::from(rustix::fs::openat(to, to_name, flags, mode | Mode::WUSR)?);
            std::io::copy(&mut source, &mut target).map_err(CopyError::Bytes)?;
            Ok(rustix::fs::fchmod(&target, mode)?)
        }
        // A socket, a pipe or a device has no contents to copy.
        _ => Ok(()),
    }
}

/// What stands at a path; a link is not followed.
pub fn stat(root: &Root, path: &str) -> Result<FileEntry, Failure> {
    let found = root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = rustix::fs::fstat(&found).map_err(|error| failure(error, path))?;
    Ok(entry(path.to_owned(), &stat))
}

/// The entries of a directory, sorted.
pub fn entries(root: &Root, directory: &str) -> Result<Vec<FileEntry>, Failure> {
    let fail = |error| failure(error, directory);
    let handle = root.directory(directory)?;
    let names = names(&handle).map_err(fail)?;
    if names.len() > MAX_ENTRIES || names.len().saturating_mul(directory.len()) > MAX_PATHS {
        return Err(too_many(directory));
    }
    let prefix = if matches!(directory, "" | ".") { String::new() } else { format!("{directory}/") };
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        match stat_at(&handle, &name) {
            Ok(stat) => entries.push(entry(format!("{prefix}{}", name.to_string_lossy()), &stat)),
            // Gone since the directory was read.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(fail(error)),
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// The paths that match, sorted. Directories behind links are not entered.
pub fn glob(root: &Root, pattern: &str) -> Result<Vec<String>, Failure> {
    let pattern = Pattern::parse(pattern).map_err(|why| Failure::new("bad-argument", why))?;
    let mut found = Found::default();
    walk(&root.directory(".")?, &mut Vec::new(), &pattern, &mut found)?;
    found.paths.sort();
    Ok(found.paths)
}

#[derive(Default)]
struct Found {
    paths: Vec<String>,
    bytes: usize,
}

fn walk(
    directory: &OwnedFd,
    path: &mut Vec<String>,
    pattern: &Pattern,
    found: &mut Found,
) -> Result<(), Failure> {
    if path.len() > MAX_DEPTH {
        return Err(failure(Errno::NAMETOOLONG, &path.join("/")));
    }
    let names = names(directory).map_err(|error| failure(error, &path.join("/")))?;
    for name in names {
        path.push(name.to_string_lossy().into_owned());
        if pattern.matches(path) {
            let matched = path.join("/");
            found.bytes += matched.len();
            found.paths.push(matched);
            if found.paths.len() > MAX_ENTRIES || found.bytes > MAX_PATHS {
                return Err(too_many("the pattern"));
            }
        }
        if pattern.may_match_below(path) {
            match open_directory(directory, &name) {
                Ok(child) => walk(&child, path, pattern, found)?,
                // No directory, gone, or not ours to read: nothing there matches.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT | Errno::ACCESS) => {}
                Err(error) => return Err(failure(error, &path.join("/"))),
            }
        }
        path.pop();
    }
    Ok(())
}

/// A small file.
pub fn read(root: &Root, path: &str) -> Result<Vec<u8>, Failure> {
    // Not blocked by a pipe that stands there.
    let file = File::from(root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
    let mut data = Vec::new();
    file.take(MAX_SMALL as u64 + 1).read_to_end(&mut data).map_err(|error| io_failure(&error, path))?;
    if data.len() > MAX_SMALL {
        return Err(Failure::new("too-large", format!("`{path}` has more than {MAX_SMALL} bytes")));
    }
    Ok(data)
}

/// Makes or replaces a small file.
pub fn write(root: &Root, path: &str, data: &[u8]) -> Result<(), Failure> {
    if data.len() > MAX_SMALL {
        let message = format!("`{path}`: {} bytes are more than {MAX_SMALL}", data.len());
        return Err(Failure::new("too-large", message));
    }
    // Not blocked by a pipe that stands there.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK;
    let mut file = File::from(root.open_at(path, flags, Mode::from_raw_mode(0o666))?);
    file.write_all(data).map_err(|error| io_failure(&error, path))
}

fn io_failure(error: &std::io::Error, path: &str) -> Failure {
    Failure::new("io", format!("`{path}`: {error}"))
}

fn too_many(what: &str) -> Failure {
    Failure::new("too-large", format!("{what} has more than {MAX_ENTRIES} entries"))
}

fn entry(path: String, stat: &Stat) -> FileEntry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    };
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    let modified = Timestamp(seconds.saturating_mul(1_000).saturating_add(stat.st_mtime_nsec / 1_000_000));
    FileEntry {
        path,
        kind,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mode: stat.st_mode & 0o7777,
        modified,
    }
}

fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

fn stat_at(at: impl AsFd, name: &CStr) -> Result<Stat, Errno> {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// A directory of this name, and never what a link of this name points to.
fn open_directory(at: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    // A handle of its own: the one given may be for paths only.
    let readable = open_directory(directory, c".")?;
    let mut names = Vec::new();
    for entry in Dir::new(readable)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn c_name(name: &OsStr) -> CString {
    let bytes = OsString::from(name).into_vec();
    debug_assert_eq!(OsStr::from_bytes(&bytes), name);
    CString::new(bytes).expect("`beneath` refuses paths with a NUL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A builder's directory `b` beside a directory `outside` with a precious file.
    fn world() -> (tempfile::TempDir, Root) {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("outside")).unwrap();
        std::fs::write(base.path().join("outside/precious"), "gold").unwrap();
        let root = Root::open(base.path(), "b").unwrap();
        (base, root)
    }

    fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
        result.unwrap_err().code
    }

    #[test]
    fn no_function_leaves_the_directory() {
        let (base, root) = world();
        symlink("../outside", root.path().join("rel")).unwrap();
        symlink(base.path().join("outside"), root.path().join("abs")).unwrap();
        symlink("../outside/precious", root.path().join("file")).unwrap();
        write(&root, "mine", b"x").unwrap();
        for link in ["rel", "abs"] {
            let inside = format!("{link}/precious");
            assert_eq!(code(stat(&root, &inside)), "denied");
            assert_eq!(code(read(&root, &inside)), "denied");
            assert_eq!(code(write(&root, &inside, b"lead")), "denied");
            assert_eq!(code(remove(&root, &inside)), "denied");
            assert_eq!(code(entries(&root, link)), "denied");
            assert_eq!(code(copy(&root, &inside, "copy")), "denied");
            assert_eq!(code(copy(&root, "mine", &inside)), "denied");
            assert_eq!(code(root.make_directory(&format!("{link}/x"))), "denied");
            assert_eq!(glob(&root, &format!("{link}/*")).unwrap(), [""; 0]);
        }
        assert_eq!(code(read(&root, "file")), "denied");
        assert_eq!(code(write(&root, "file", b"lead")), "denied");
        for path in ["../outside/precious", "/etc/passwd", "a/../../outside/precious"] {
            assert_eq!(code(read(&root, path)), "bad-argument");
            assert_eq!(code(remove(&root, path)), "bad-argument");
        }
        // A link itself is the builder's own.
        assert_eq!(stat(&root, "rel").unwrap().kind, FileKind::Link);
        for link in ["rel", "abs", "file"] {
            remove(&root, link).unwrap();
        }
        assert_eq!(std::fs::read_to_string(base.path().join("outside/precious")).unwrap(), "gold");
    }

    #[test]
    fn a_tree_is_removed_without_following_links_and_whatever_its_modes() {
        let (base, root) = world();
        root.make_directory("tree/deep/locked").unwrap();
        write(&root, "tree/deep/locked/file", b"x").unwrap();
        symlink("../../outside", root.path().join("tree/link")).unwrap();
        let locked = root.path().join("tree/deep/locked");
        std::fs::set_permissions(locked, std::fs::Permissions::from_mode(0o000)).unwrap();
        remove(&root, "tree").unwrap();
        assert_eq!(code(stat(&root, "tree")), "not-found");
        assert!(base.path().join("outside/precious").exists());
        remove(&root, "tree").unwrap();
        remove(&root, "not/there").unwrap();
        assert_eq!(code(remove(&root, ".")), "bad-argument");
    }

    /// Symptom: the worker crashed, and all its commands with it. Cause: a recursion for each level of a
    /// tree. Cure: a bound.
    #[test]
    fn a_tree_that_is_too_deep_is_refused() {
        let (_base, root) = world();
        let mut at = root.directory(".").unwrap();
        for _ in 0..MAX_DEPTH + 2 {
            rustix::fs::mkdirat(&at, c"d", Mode::from_raw_mode(0o700)).unwrap();
            at = open_directory(&at, c"d").unwrap();
        }
        for refused in [remove(&root, "d"), copy(&root, "d", "e"), glob(&root, "**/x").map(drop)] {
            assert_eq!(code(refused), "io");
        }
    }

    #[test]
    fn a_pipe_without_a_reader_blocks_nobody() {
        let (_base, root) = world();
        let directory = open_directory(root.directory(".").unwrap(), c".").unwrap();
        rustix::fs::mknodat(&directory, c"pipe", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        write(&root, "file", b"x").unwrap();
        assert_eq!(code(write(&root, "pipe", b"x")), "io");
        assert_eq!(code(copy(&root, "file", "pipe")), "io");
    }

    #[test]
    fn a_tree_is_copied_with_links_as_links() {
        let (_base, root) = world();
        root.make_directory("from/sub").unwrap();
        write(&root, "from/sub/run", b"#!/bin/sh\n").unwrap();
        let run = root.path().join("from/sub/run");
        std::fs::set_permissions(run, std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("../../outside", root.path().join("from/link")).unwrap();
        copy(&root, "from", "to").unwrap();
        copy(&root, "from", "to").unwrap();
        assert_eq!(read(&root, "to/sub/run").unwrap(), b"#!/bin/sh\n");
        assert_eq!(stat(&root, "to/sub/run").unwrap().mode, 0o755);
        assert_eq!(std::fs::read_link(root.path().join("to/link")).unwrap().to_str(), Some("../../outside"));
        assert_eq!(code(copy(&root, "from", "from/sub/again")), "bad-argument");
        assert_eq!(code(copy(&root, "nothing", "x")), "not-found");
    }

    #[test]
    fn entries_and_globs_are_sorted() {
        let (_base, root) = world();
        root.make_directory("src/deep").unwrap();
        for file in ["src/b.rs", "src/a.rs", "src/deep/c.rs", "top.rs", "src/notes"] {
            write(&root, file, b"12345").unwrap();
        }
        let list = entries(&root, "src").unwrap();
        let paths: Vec<_> = list.iter().map(|e| (e.path.as_str(), e.kind, e.size)).collect();
        assert_eq!(paths[0], ("src/a.rs", FileKind::File, 5));
        assert_eq!((paths[2].0, paths[2].1), ("src/deep", FileKind::Directory));
        assert_eq!(glob(&root, "src/*.rs").unwrap(), ["src/a.rs", "src/b.rs"]);
        assert_eq!(glob(&root, "**/*.rs").unwrap(), ["src/a.rs", "src/b.rs", "src/deep/c.rs", "top.rs"]);
        assert!(list[0].modified.0 > 1_500_000_000_000);
    }

    #[test]
    fn small_files_are_read_and_written_and_large_ones_refused() {
        let (_base, root) = world();
        let data = vec![7; MAX_SMALL];
        write(&root, "f", &data).unwrap();
        assert_eq!(read(&root, "f").unwrap(), data);
        assert_eq!(code(write(&root, "f", &vec![7; MAX_SMALL + 1])), "too-large");
        std::fs::write(root.path().join("g"), vec![7; MAX_SMALL + 1]).unwrap();
        assert_eq!(code(read(&root, "g")), "too-large");
        assert_eq!(code(read(&root, "none")), "not-found");
    }
}
