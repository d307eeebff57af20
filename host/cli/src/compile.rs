//! Compiling components: the hidden command that compiles one, this program as a child of itself under
//! limits; and where commands that need no master keep what was compiled.

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use windlass_runtime::{Compiler, compile_child};

/// What stands first among the arguments of such a child. Not known to clap, so that no help shows it
/// and nothing is set up before the limits are.
const COMPILE: &str = "compile-plugin";

/// How much compiled code is kept for the next command; a component in Python makes 30 MB.
const MOST_KEPT: u64 = 256 * 1024 * 1024;

/// Compiles, if this is such a child.
pub fn if_asked() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (first, limits) = args.split_first()?;
    (first == COMPILE).then(|| compile_child(limits))
}

/// Children of this program.
pub fn compiler() -> Compiler {
    Compiler::this_program(&[COMPILE])
}

/// A folder for compiled components: `check`, then `build`, then `inspect` compile one once.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    /// Where there is no place for good: gone at the end.
    _fleeting: Option<tempfile::TempDir>,
}

impl Cache {
    /// Below the user's cache directory; somewhere for the time being if that cannot be, or is not the user's alone.
    pub fn open() -> std::io::Result<Cache> {
        if let Some(folder) = lasting().filter(|folder| is_ours(folder)) {
            // Whoever finds it full makes room; that it cannot is no reason to stop.
            let _full = windlass_runtime::make_room(&folder, MOST_KEPT);
            return Ok(Cache { folder, _fleeting: None });
        }
        let fleeting = tempfile::tempdir()?;
        Ok(Cache { folder: fleeting.path().join("compiled"), _fleeting: Some(fleeting) })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn lasting() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(caches.join("windlass/compiled"))
}

/// What lies there is native code, which we run.
fn is_ours(folder: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let found = made.and_then(|()| folder.symlink_metadata());
    found.is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0)
}
