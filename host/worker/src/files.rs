//! Files below the builder's directory, for commands: blocking functions over a [`Root`]. Whole trees are
//! the business of `tree`.
//!
//! Links are followed only within the directory (`beneath`), and what is no regular file is neither read
//! nor written: a pipe would block, a device is not the builder's.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use windlass_core::time::Timestamp;
use windlass_core::value::Failure;
use windlass_runtime::port::{FileEntry, FileKind};

use crate::beneath::{Root, failure, io_failure};
use crate::glob::Pattern;
use crate::tree::{MAX_DEPTH, names, open_directory, stat_at};
use crate::work::{Stop, Work};

/// The largest file that is read or written in one piece.
pub const MAX_SMALL: usize = 64 * 1024;

/// The most entries of a directory, or paths of a glob.
pub const MAX_ENTRIES: usize = 100_000;

/// The most bytes of the paths of one answer.
const MAX_PATHS: usize = 8 * 1024 * 1024;

/// What stands at a path; a link is not followed.
pub fn stat(root: &Root, path: &str) -> Result<FileEntry, Failure> {
    let found = root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = rustix::fs::fstat(&found).map_err(|error| failure(error, path))?;
    Ok(entry(path.to_owned(), &stat))
}

/// The entries of a directory, sorted.
pub fn entries(root: &Root, directory: &str, work: &mut Work) -> Result<Vec<FileEntry>, Failure> {
    let fail = |stop: Stop| stop.failure(directory);
    let handle = root.directory(directory)?;
    let names = names(&handle, work).map_err(fail)?;
    if names.len() > MAX_ENTRIES || names.len().saturating_mul(directory.len()) > MAX_PATHS {
        return Err(too_many(directory));
    }
    let prefix = if matches!(directory, "" | ".") { String::new() } else { format!("{directory}/") };
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        work.visit().map_err(fail)?;
        match stat_at(&handle, &name) {
            Ok(stat) => entries.push(entry(format!("{prefix}{}", name.to_string_lossy()), &stat)),
            // Gone since the directory was read.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(fail(error.into())),
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// The paths that match, sorted. Directories behind links are not entered.
pub fn glob(root: &Root, pattern: &str, work: &mut Work) -> Result<Vec<String>, Failure> {
    let pattern = Pattern::parse(pattern).map_err(|why| Failure::new("bad-argument", why))?;
    let mut found = Found::default();
    walk(&root.directory(".")?, &mut Vec::new(), &pattern, &mut found, work)?;
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
    work: &mut Work,
) -> Result<(), Failure> {
    if path.len() > MAX_DEPTH {
        return Err(failure(Errno::NAMETOOLONG, &path.join("/")));
    }
    let names = names(directory, work).map_err(|stop| stop.failure(&path.join("/")))?;
    for name in &names {
        work.visit().map_err(|stop| stop.failure(&path.join("/")))?;
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
            match open_directory(directory, name) {
                Ok(child) => walk(&child, path, pattern, found, work)?,
                // No directory, gone, or not ours to read: nothing there matches.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT | Errno::ACCESS) => {}
                Err(error) => return Err(failure(error, &path.join("/"))),
            }
        }
        path.pop();
    }
    work.release(names.len());
    Ok(())
}

/// A small file.
pub fn read(root: &Root, path: &str) -> Result<Vec<u8>, Failure> {
    // Not blocked by a pipe that stands there, and no terminal becomes the worker's.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = regular(root.open_at(path, flags, Mode::empty())?, path)?.0;
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
    // Emptied only after a look at what was opened.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY;
    let (mut file, stat) = regular(root.open_at(path, flags, Mode::from_raw_mode(0o666))?, path)?;
    if stat.st_nlink > 1 {
        return Err(Failure::new(
            "denied",
            format!(
                "`{path}` has other names (hard links), perhaps outside of the builder's directory; remove it first"
            ),
        ));
    }
    file.set_len(0).and_then(|()| file.write_all(data)).map_err(|error| io_failure(&error, path))
}

/// A file that was opened, if it is one with contents.
pub fn regular(file: OwnedFd, path: &str) -> Result<(File, Stat), Failure> {
    let stat = rustix::fs::fstat(&file).map_err(|error| failure(error, path))?;
    if FileType::from_raw_mode(stat.st_mode).is_file() {
        Ok((File::from(file), stat))
    } else {
        Err(Failure::new("io", format!("`{path}` is no regular file")))
    }
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
    FileEntry {
        path,
        kind,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mode: stat.st_mode & 0o7777,
        modified: Timestamp(modified_ms(stat)),
    }
}

/// When the contents of a file changed last, in milliseconds since 1970.
pub fn modified_ms(stat: &Stat) -> u64 {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    seconds.saturating_mul(1_000).saturating_add(stat.st_mtime_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn work() -> Work {
        Work::undisturbed()
    }

    fn remove(root: &Root, path: &str) -> Result<(), Failure> {
        crate::tree::remove(root, path, &mut work())
    }

    fn copy(root: &Root, from: &str, to: &str) -> Result<(), Failure> {
        crate::tree::copy(root, from, to, &mut work())
    }

    fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
        result.unwrap_err().code
    }

    #[test]
    fn no_function_leaves_the_directory() {
        let (base, root) = Root::beside_a_precious_file();
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
            assert_eq!(code(entries(&root, link, &mut work())), "denied");
            assert_eq!(code(copy(&root, &inside, "copy")), "denied");
            assert_eq!(code(copy(&root, "mine", &inside)), "denied");
            assert_eq!(code(root.make_directory(&format!("{link}/x"))), "denied");
            assert_eq!(glob(&root, &format!("{link}/*"), &mut work()).unwrap(), [""; 0]);
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
    fn what_is_no_regular_file_is_neither_read_nor_written_and_blocks_nobody() {
        let (_base, root) = Root::beside_a_precious_file();
        let directory = open_directory(root.directory(".").unwrap(), c".").unwrap();
        rustix::fs::mknodat(&directory, c"pipe", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
        let with_reader = File::options().read(true).write(true).open(root.path().join("pipe")).unwrap();
        for what in ["pipe", "socket", "."] {
            assert_eq!(code(read(&root, what)), "io", "{what}");
            assert_eq!(code(write(&root, what, b"x")), "io", "{what}");
        }
        drop((socket, with_reader));
        assert_eq!(code(read(&root, "pipe")), "io");
        assert_eq!(code(write(&root, "pipe", b"x")), "io");
    }

    /// Symptom: a file outside of the builder's directory lost its contents. Cause: a hard link to it is a
    /// path like any other. Cure: a file with several names is not written.
    #[test]
    fn a_file_with_another_name_elsewhere_is_not_written() {
        let (base, root) = Root::beside_a_precious_file();
        let precious = base.path().join("outside/precious");
        std::fs::hard_link(&precious, root.path().join("hard")).unwrap();
        assert_eq!(code(write(&root, "hard", b"lead")), "denied");
        assert_eq!(std::fs::read_to_string(precious).unwrap(), "gold");
    }

    #[test]
    fn a_slash_at_the_end_does_not_make_a_link_followed() {
        let (_base, root) = Root::beside_a_precious_file();
        symlink("../outside", root.path().join("link")).unwrap();
        assert_eq!(stat(&root, "link/").unwrap().kind, FileKind::Link);
        assert_eq!(code(read(&root, "link/./precious/")), "denied");
        remove(&root, "link//").unwrap();
        assert_eq!(code(stat(&root, "link")), "not-found");
    }

    #[test]
    fn entries_and_globs_are_sorted() {
        let (_base, root) = Root::beside_a_precious_file();
        root.make_directory("src/deep").unwrap();
        for file in ["src/b.rs", "src/a.rs", "src/deep/c.rs", "top.rs", "src/notes"] {
            write(&root, file, b"12345").unwrap();
        }
        let list = entries(&root, "src", &mut work()).unwrap();
        let paths: Vec<_> = list.iter().map(|e| (e.path.as_str(), e.kind, e.size)).collect();
        assert_eq!(paths[0], ("src/a.rs", FileKind::File, 5));
        assert_eq!((paths[2].0, paths[2].1), ("src/deep", FileKind::Directory));
        let glob = |pattern| glob(&root, pattern, &mut work()).unwrap();
        assert_eq!(glob("src/*.rs"), ["src/a.rs", "src/b.rs"]);
        assert_eq!(glob("**/*.rs"), ["src/a.rs", "src/b.rs", "src/deep/c.rs", "top.rs"]);
        assert!(list[0].modified.0 > 1_500_000_000_000);
    }

    #[test]
    fn small_files_are_read_and_written_and_large_ones_refused() {
        let (_base, root) = Root::beside_a_precious_file();
        let data = vec![7; MAX_SMALL];
        write(&root, "f", &data).unwrap();
        assert_eq!(read(&root, "f").unwrap(), data);
        assert_eq!(code(write(&root, "f", &vec![7; MAX_SMALL + 1])), "too-large");
        std::fs::write(root.path().join("g"), vec![7; MAX_SMALL + 1]).unwrap();
        assert_eq!(code(read(&root, "g")), "too-large");
        assert_eq!(code(read(&root, "none")), "not-found");
    }
}
