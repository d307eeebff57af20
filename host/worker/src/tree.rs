//! Whole trees below the builder's directory: removed and copied by directory handles, never by names
//! from the top, and without following a link. What a build renames or replaces meanwhile leads nowhere
//! else.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use windlass_core::value::Failure;

use crate::beneath::{Root, failure, number};
use crate::work::{Stop, Work};

/// How deep a tree may be: each level costs a handle and a part of the thread's stack.
pub const MAX_DEPTH: usize = 256;

/// Names of a directory that are read at a time while it is emptied.
const BATCH: usize = 256;

/// Copied between two looks at whether to go on.
const PIECE: u64 = 8 * 1024 * 1024;

/// Removes a file or a tree; one that is not there is no error. Stays on one file system, as a build may
/// have mounted something of somebody else's there.
pub fn remove(root: &Root, path: &str, work: &mut Work) -> Result<(), Failure> {
    let (directory, name) = match root.parent(path) {
        Err(failure) if failure.code == "not-found" => return Ok(()),
        other => other?,
    };
    let device = rustix::fs::fstat(&directory).map_err(|error| failure(error, path))?.st_dev;
    match remove_at(&directory, device, &c_name(&name), 0, work) {
        Ok(()) | Err(Stop::Os(Errno::NOENT)) => Ok(()),
        Err(stop) => Err(stop.failure(path)),
    }
}

fn remove_at(at: &OwnedFd, device: u64, name: &CStr, depth: usize, work: &mut Work) -> Result<(), Stop> {
    work.visit()?;
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        // Linux says ISDIR, POSIX also PERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return Ok(other?),
    }
    if depth == MAX_DEPTH {
        return Err(Errno::NAMETOOLONG.into());
    }
    // A directory that its owner may not read or change: builds leave such behind.
    let directory = match open_directory(at, name) {
        Err(Errno::ACCESS) => {
            make_accessible(at, name)?;
            open_directory(at, name)?
        }
        other => other?,
    };
    if rustix::fs::fstat(&directory)?.st_dev != device {
        let message = format!("another file system is mounted at `{}`", name.to_string_lossy());
        return Err(Stop::Bound(Failure::new("io", message)));
    }
    let mut repaired = false;
    loop {
        // Some at a time: a directory of millions is emptied in little memory.
        let children = some_names(&directory, BATCH)?;
        if children.is_empty() {
            return Ok(rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)?);
        }
        work.hold(children.len())?;
        let removed = children.iter().try_for_each(|child| {
            match remove_at(&directory, device, child, depth + 1, work) {
                Err(Stop::Os(Errno::ACCESS)) if !repaired => {
                    repaired = true;
                    make_accessible(at, name)?;
                    remove_at(&directory, device, child, depth + 1, work)
                }
                Ok(()) | Err(Stop::Os(Errno::NOENT)) => Ok(()),
                Err(stop) => Err(stop),
            }
        });
        work.release(children.len());
        removed?;
    }
}

/// Lets the owner do anything with a directory. Through a handle of that very directory, which may be
/// opened for paths whatever its mode: a link that was put in its place meanwhile is not followed.
fn make_accessible(at: impl AsFd, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(at, name, flags, Mode::empty())?;
    rustix::fs::chmod(format!("/proc/self/fd/{}", directory.as_raw_fd()), Mode::from_raw_mode(0o700))
}

/// Copies a file or a tree with modes and times; links are copied as links. A file that stands at the target is replaced, not
/// overwritten: it may be another name of a file elsewhere.
pub fn copy(root: &Root, from: &str, to: &str, work: &mut Work) -> Result<(), Failure> {
    let (from_at, from_name) = root.parent(from)?;
    let (to_at, to_name) = root.parent(to)?;
    let (from_name, to_name) = (c_name(&from_name), c_name(&to_name));
    let source = stat_at(&from_at, &from_name).map_err(|error| failure(error, from))?;
    if FileType::from_raw_mode(source.st_mode).is_dir() && lies_within(root, &to_at, &source, to)? {
        let detail = Some(number(Errno::INVAL.raw_os_error()));
        return Err(Failure {
            detail,
            ..Failure::new("bad-argument", format!("`{to}` lies within `{from}`"))
        });
    }
    copy_at(&from_at, &from_name, &to_at, &to_name, 0, work).map_err(|stop| match stop {
        Stop::Os(error) => failure(error, to),
        stop @ (Stop::Io(_) | Stop::Bound(_)) => stop.failure(from),
    })
}

/// Whether a directory is `outer` or lies below it, by whatever links it was named: its own identity and
/// that of its parents tell.
fn lies_within(root: &Root, directory: &OwnedFd, outer: &Stat, path: &str) -> Result<bool, Failure> {
    let fail = |error| failure(error, path);
    let top = rustix::fs::fstat(root.directory(".")?).map_err(fail)?;
    let mut above = directory.try_clone().map_err(|_| fail(Errno::MFILE))?;
    for _ in 0..=MAX_DEPTH {
        let here = rustix::fs::fstat(&above).map_err(fail)?;
        if same(&here, outer) {
            return Ok(true);
        }
        if same(&here, &top) {
            return Ok(false);
        }
        above = open_directory(&above, c"..").map_err(fail)?;
    }
    // Too deep, or moved out of the builder's directory since it was opened.
    Err(fail(Errno::NAMETOOLONG))
}

fn copy_at(
    from: &OwnedFd,
    name: &CStr,
    to: &OwnedFd,
    to_name: &CStr,
    depth: usize,
    work: &mut Work,
) -> Result<(), Stop> {
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG.into());
    }
    work.visit()?;
    let stat = stat_at(from, name)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777) | Mode::RWXU;
            match rustix::fs::mkdirat(to, to_name, mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let (source, target) = (open_directory(from, name)?, open_directory(to, to_name)?);
            let children = names(&source, work)?;
            for child in &children {
                copy_at(&source, child, &target, child, depth + 1, work)?;
            }
            work.release(children.len());
            // At last: what was copied into it changed its time, and it may be closed to us now.
            rustix::fs::futimens(&target, &times(&stat))?;
            Ok(rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777))?)
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            clear(to, to_name)?;
            Ok(rustix::fs::symlinkat(target, to, to_name)?)
        }
        FileType::RegularFile => copy_file(from, name, to, to_name, work),
        // A socket, a pipe or a device has no contents to copy.
        _ => Ok(()),
    }
}

fn copy_file(from: &OwnedFd, name: &CStr, to: &OwnedFd, to_name: &CStr, work: &mut Work) -> Result<(), Stop> {
    // A pipe that comes here meanwhile must not block this thread for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&source)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(());
    }
    // Before anything is written: a sparse file claims terabytes.
    work.copy(u64::try_from(stat.st_size).unwrap_or_default())?;
    clear(to, to_name)?;
    // New, so that it is neither a link nor a pipe nor another name of something else.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut target = File::from(rustix::fs::openat(to, to_name, flags, Mode::RUSR | Mode::WUSR)?);
    let (mut source, mut copied) = (File::from(source), 0);
    loop {
        let piece = std::io::copy(&mut source.by_ref().take(PIECE), &mut target).map_err(Stop::Io)?;
        if piece == 0 {
            break;
        }
        copied += piece;
        // What it has grown by since then counts as well.
        let grown = copied.saturating_sub(u64::try_from(stat.st_size).unwrap_or_default());
        work.copy(grown.min(piece))?;
    }
    rustix::fs::futimens(&target, &times(&stat))?;
    Ok(rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o777))?)
}

fn times(stat: &Stat) -> Timestamps {
    let moment = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: moment(stat.st_atime, stat.st_atime_nsec.cast_signed()),
        last_modification: moment(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
    }
}

/// Makes room for a new file.
fn clear(at: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// What stands at a name; a link is not followed.
pub fn stat_at(at: impl AsFd, name: &CStr) -> Result<Stat, Errno> {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// A directory of this name, and never what a link of this name points to.
pub fn open_directory(at: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// All names in a directory. The caller releases them from `work`.
pub fn names(directory: &OwnedFd, work: &mut Work) -> Result<Vec<CString>, Stop> {
    let mut names = Vec::new();
    for entry in entries_of(directory)? {
        if let Some(name) = entry? {
            work.hold(1)?;
            names.push(name);
        }
    }
    Ok(names)
}

fn some_names(directory: &OwnedFd, most: usize) -> Result<Vec<CString>, Errno> {
    let names = entries_of(directory)?.filter_map(Result::transpose);
    names.take(most).collect()
}

/// The entries of a directory; `None` stands for itself and its parent.
fn entries_of(directory: &OwnedFd) -> Result<impl Iterator<Item = Result<Option<CString>, Errno>>, Errno> {
    // A handle of its own: the one given may be for paths only, and this one begins at the beginning.
    let readable = open_directory(directory, c".")?;
    Ok(Dir::new(readable)?.map(|entry| {
        let entry = entry?;
        let name = entry.file_name();
        Ok((name != c"." && name != c"..").then(|| name.to_owned()))
    }))
}

fn c_name(name: &OsStr) -> CString {
    let bytes = OsString::from(name).into_vec();
    debug_assert_eq!(OsStr::from_bytes(&bytes), name);
    CString::new(bytes).expect("`beneath` refuses paths with a NUL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{glob, read, stat, write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tokio_util::sync::CancellationToken;

    fn remove(root: &Root, path: &str) -> Result<(), Failure> {
        super::remove(root, path, &mut Work::undisturbed())
    }

    fn copy(root: &Root, from: &str, to: &str) -> Result<(), Failure> {
        super::copy(root, from, to, &mut Work::undisturbed())
    }

    fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
        result.unwrap_err().code
    }

    #[test]
    fn a_tree_is_removed_without_following_links_and_whatever_its_modes() {
        let (base, root) = Root::beside_a_precious_file();
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

    #[test]
    fn a_directory_of_very_many_entries_is_removed() {
        let (_base, root) = Root::beside_a_precious_file();
        let directory = root.path().join("many");
        std::fs::create_dir(&directory).unwrap();
        for n in 0..BATCH + 10 {
            std::fs::File::create(directory.join(n.to_string())).unwrap();
        }
        remove(&root, "many").unwrap();
        assert!(!directory.exists());
    }

    /// Symptom: the worker crashed, and all its commands with it. Cause: a recursion for each level of a
    /// tree. Cure: a bound.
    #[test]
    fn a_tree_that_is_too_deep_is_refused() {
        let (_base, root) = Root::beside_a_precious_file();
        let mut at = root.directory(".").unwrap();
        for _ in 0..MAX_DEPTH + 2 {
            rustix::fs::mkdirat(&at, c"d", Mode::from_raw_mode(0o700)).unwrap();
            at = open_directory(&at, c"d").unwrap();
        }
        let globbed = glob(&root, "**/x", &mut Work::undisturbed()).map(drop);
        for refused in [remove(&root, "d"), copy(&root, "d", "e"), globbed] {
            assert_eq!(code(refused), "io");
        }
    }

    #[test]
    fn a_tree_is_copied_with_links_as_links() {
        let (_base, root) = Root::beside_a_precious_file();
        root.make_directory("from/sub").unwrap();
        write(&root, "from/sub/run", b"#!/bin/sh\n").unwrap();
        let run = root.path().join("from/sub/run");
        std::fs::set_permissions(run, std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("../../outside", root.path().join("from/link")).unwrap();
        copy(&root, "from", "to").unwrap();
        copy(&root, "from", "to").unwrap();
        assert_eq!(read(&root, "to/sub/run").unwrap(), b"#!/bin/sh\n");
        assert_eq!(stat(&root, "to/sub/run").unwrap().mode, 0o755);
        for path in ["sub", "sub/run"] {
            let modified = |top: &str| stat(&root, &format!("{top}/{path}")).unwrap().modified;
            assert_eq!(modified("to"), modified("from"), "{path}");
        }
        assert_eq!(std::fs::read_link(root.path().join("to/link")).unwrap().to_str(), Some("../../outside"));
        assert_eq!(code(copy(&root, "from", "from/sub/again")), "bad-argument");
        assert_eq!(code(copy(&root, "nothing", "x")), "not-found");
    }

    /// Symptom: a copy changed a file outside of the builder's directory. Cause: the target was another
    /// name of it, a hard link, and was overwritten. Cure: what stands there is replaced.
    #[test]
    fn a_copy_replaces_links_and_pipes_and_never_writes_through_them() {
        let (base, root) = Root::beside_a_precious_file();
        write(&root, "lead", b"lead").unwrap();
        let precious = base.path().join("outside/precious");
        std::fs::hard_link(&precious, root.path().join("hard")).unwrap();
        symlink(&precious, root.path().join("soft")).unwrap();
        let directory = open_directory(root.directory(".").unwrap(), c".").unwrap();
        rustix::fs::mknodat(&directory, c"pipe", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for target in ["hard", "soft", "pipe"] {
            copy(&root, "lead", target).unwrap();
            assert_eq!(read(&root, target).unwrap(), b"lead", "{target}");
        }
        assert_eq!(std::fs::read_to_string(precious).unwrap(), "gold");
    }

    #[test]
    fn a_sparse_file_of_terabytes_is_not_copied() {
        let (_base, root) = Root::beside_a_precious_file();
        std::fs::File::create(root.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(code(copy(&root, "huge", "copy")), "too-large");
        assert_eq!(code(stat(&root, "copy")), "not-found");
    }

    /// Symptom: a removal went on for as long as a process filled the directory. Cause: what it removed was not
    /// counted. Cure: it is. What it holds in memory is counted, too, and let go again.
    #[test]
    fn what_is_removed_counts_as_what_is_looked_at() {
        let (_base, root) = Root::beside_a_precious_file();
        root.make_directory("d").unwrap();
        for n in 0..2 * BATCH {
            write(&root, &format!("d/{n}"), b"").unwrap();
        }
        let mut work = Work::undisturbed();
        super::remove(&root, "d", &mut work).unwrap();
        assert_eq!((work.visited(), work.held()), (2 * BATCH + 1, 0));
    }

    #[test]
    fn what_is_under_way_stops_when_its_command_is_over() {
        let (_base, root) = Root::beside_a_precious_file();
        root.make_directory("from/sub").unwrap();
        let over = CancellationToken::new();
        over.cancel();
        let mut work = Work::new(over, tokio::sync::watch::channel(None).1);
        assert_eq!(code(super::copy(&root, "from", "to", &mut work)), "interrupted");
        assert_eq!(code(super::remove(&root, "from", &mut work)), "interrupted");
        assert_eq!(code(glob(&root, "**", &mut work)), "interrupted");
    }
}
