//! Paths that can't leave a directory: every one is resolved by the kernel (`openat2`, beneath, no
//! magic links), so that no link that stands there or appears meanwhile leads outside.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use windlass_core::value::Failure;

/// The directory of a builder. Nothing that a command names lies outside.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens `relative` below `base`, and makes it if it is not there.
    pub fn open(base: &Path, relative: &str) -> Result<Root, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(base, flags, Mode::empty())
            .map_err(|error| failure(error, &base.display().to_string()))?;
        let base = Root { directory, path: base.to_owned() };
        let directory = base.make_directory(relative)?;
        Ok(Root { directory, path: base.path.join(relative) })
    }

    /// Where it is, for messages and for `PWD`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what stands at `path`. With `NOFOLLOW` a link itself, at the end only.
    pub fn open_at(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Failure> {
        let relative = relative(path)?;
        open_beneath(&self.directory, &relative, flags, mode).map_err(|error| failure(error, path))
    }

    /// Opens a directory for use with the `*at` functions.
    pub fn directory(&self, path: &str) -> Result<OwnedFd, Failure> {
        self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
    }

    /// The directory that holds `path`, and the last name of it.
    pub fn parent(&self, path: &str) -> Result<(OwnedFd, OsString), Failure> {
        let relative = relative(path)?;
        let Some(name) = relative.file_name().filter(|name| *name != ".") else {
            return Err(Failure::new(
                "bad-argument",
                format!("`{path}` names the builder's directory itself"),
            ));
        };
        let parent = relative.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = open_beneath(&self.directory, parent, flags, Mode::empty());
        Ok((directory.map_err(|error| failure(error, path))?, name.to_owned()))
    }

    /// Makes a directory with its parents and opens it; one that stands already is no error.
    pub fn make_directory(&self, path: &str) -> Result<OwnedFd, Failure> {
        self.make(&relative(path)?).map_err(|error| match error {
            Errno::EXIST | Errno::NOTDIR => Failure {
                detail: Some(number(error.raw_os_error())),
                ..Failure::new("io", format!("`{path}` can't be a directory: something else stands there"))
            },
            error => failure(error, path),
        })
    }

    fn make(&self, relative: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let open = |path: &Path| open_beneath(&self.directory, path, flags, Mode::empty());
        // From the longest part that stands: a few calls in the usual case that all of it does.
        let mut missing = Vec::new();
        let mut standing = relative;
        let mut directory = loop {
            match open(standing) {
                Ok(directory) => break directory,
                Err(Errno::NOENT) => {
                    missing.push(standing.file_name().ok_or(Errno::NOENT)?);
                    let parent = standing.parent().filter(|p| !p.as_os_str().is_empty());
                    standing = parent.unwrap_or(Path::new("."));
                }
                Err(error) => return Err(error),
            }
        };
        for name in missing.into_iter().rev() {
            match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            // Made just now, one name: a link put in its place since then is refused.
            let flags = flags | OFlags::NOFOLLOW;
            directory = open_beneath(&directory, Path::new(name), flags, Mode::empty())?;
        }
        Ok(directory)
    }
}

/// The path as given, if it can be one below the builder's directory.
fn relative(path: &str) -> Result<PathBuf, Failure> {
    let refused = |why: &str| Err(Failure::new("bad-argument", format!("the path `{path}` {why}")));
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir => return refused("contains `..`"),
            Component::RootDir | Component::Prefix(_) => {
                return refused("is absolute; paths begin at the builder's directory");
            }
        }
    }
    if path.contains('\0') {
        return refused("contains a NUL");
    }
    if clean.as_os_str().is_empty() {
        clean.push(".");
    }
    Ok(clean)
}

fn open_beneath(at: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&at, path, flags | OFlags::CLOEXEC, mode, resolve) {
            // Says that something was renamed while the kernel looked: look again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// A failure of the operating system as a guest gets it: `detail` is its number, `errno 2`, so that a command can
/// answer it.
pub fn failure(error: Errno, path: &str) -> Failure {
    Failure { detail: Some(number(error.raw_os_error())), ..said(error, path) }
}

/// The same of an error in reading or writing.
pub fn io_failure(error: &std::io::Error, path: &str) -> Failure {
    match Errno::from_io_error(error) {
        Some(errno) => failure(errno, path),
        None => Failure::new("io", format!("`{path}`: {error}")),
    }
}

/// How the number of an error is written.
pub fn number(errno: i32) -> String {
    format!("errno {errno}")
}

fn said(error: Errno, path: &str) -> Failure {
    match error {
        Errno::NOENT => Failure::new("not-found", format!("`{path}` is not there")),
        Errno::XDEV => Failure::new(
            "denied",
            format!("a link on the way to `{path}` leads out of the builder's directory"),
        ),
        Errno::LOOP => Failure::new("denied", format!("`{path}` leads through a link that is not followed")),
        Errno::NOTDIR => Failure::new("io", format!("something on the way to `{path}` is no directory")),
        Errno::NAMETOOLONG => {
            Failure::new("io", format!("`{path}` is too long a path, or holds a tree that is too deep"))
        }
        Errno::NOSPC | Errno::DQUOT => Failure::retryable("io", format!("no space left for `{path}`")),
        Errno::NOSYS => Failure::new(
            "io",
            "this kernel lacks openat2 (Linux 5.6), which keeps commands in their directory".to_owned(),
        ),
        error => Failure::new(
            "io",
            format!("`{path}`: {}", std::io::Error::from_raw_os_error(error.raw_os_error())),
        ),
    }
}

#[cfg(test)]
impl Root {
    /// For tests: a builder's directory `b` beside a directory `outside` with a precious file.
    pub fn beside_a_precious_file() -> (tempfile::TempDir, Root) {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("outside")).unwrap();
        std::fs::write(base.path().join("outside/precious"), "gold").unwrap();
        let root = Root::open(base.path(), "b").unwrap();
        (base, root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_builder_is_made_and_can_not_lie_elsewhere() {
        let base = tempfile::tempdir().unwrap();
        let root = Root::open(base.path(), "linux/debug").unwrap();
        assert!(base.path().join("linux/debug").is_dir());
        assert_eq!(root.path(), base.path().join("linux/debug"));
        for bad in ["../elsewhere", "/etc", "a/../../b"] {
            assert_eq!(Root::open(base.path(), bad).unwrap_err().code, "bad-argument", "{bad}");
        }
        std::os::unix::fs::symlink("/etc", base.path().join("link")).unwrap();
        assert_eq!(Root::open(base.path(), "link").unwrap_err().code, "denied");
    }

    #[test]
    fn directories_are_made_through_inner_links_only() {
        let base = tempfile::tempdir().unwrap();
        let root = Root::open(base.path(), "b").unwrap();
        root.make_directory("real").unwrap();
        std::os::unix::fs::symlink("real", root.path().join("inner")).unwrap();
        std::os::unix::fs::symlink("../..", root.path().join("outer")).unwrap();
        root.make_directory("inner/x/y").unwrap();
        assert!(root.path().join("real/x/y").is_dir());
        root.make_directory("inner/x/y").unwrap();
        assert_eq!(root.make_directory("outer/x").unwrap_err().code, "denied");
        std::fs::write(root.path().join("file"), "").unwrap();
        assert_eq!(root.make_directory("file").unwrap_err().code, "io");
        assert_eq!(root.make_directory("file/x").unwrap_err().code, "io");
        assert_eq!(root.parent(".").unwrap_err().code, "bad-argument");
    }

    /// Symptom: a build on a worker whose disk was full failed, and was not run again elsewhere. Cause: what was met
    /// while contents were written was one error like another. Cure: there is one judge of errors.
    #[test]
    fn a_full_disk_is_worth_another_try_whoever_meets_it() {
        let error = std::io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error());
        let failure = io_failure(&error, "a");
        assert_eq!((failure.code.as_str(), failure.retryable), ("io", true));
        assert_eq!(failure.detail, Some(number(Errno::NOSPC.raw_os_error())));
        assert!(!io_failure(&std::io::Error::other("no number"), "a").retryable);
    }
}
