//! Components that a test has compiled are compiled for all: each site begins with what sites before it had in their
//! caches, also those of a run before. A file there is named by its component's digest and its engine, carries a hash
//! over both, and is only ever replaced as a whole, so that a link is as good as a copy.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use windlass_runtime::make_room;

/// What is shared at most, in bytes: less than the gigabyte that a cache keeps, so that none throws out what it was lent.
const MOST: u64 = 768 * 1024 * 1024;

/// Lends `home` (the folder of a master's state, or of a worker) what is compiled, unless it has a cache already.
pub fn lend(home: &Path) {
    let cache = home.join("cache");
    if !cache.exists() {
        make(&cache);
        link(shared(), &cache);
    }
}

/// Keeps what `home` has compiled, for all others.
pub fn keep(home: &Path) {
    let cache = home.join("cache");
    if cache.exists() {
        link(&cache, shared());
    }
}

fn shared() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = crate::fixtures::target_dir().join("compiled");
        make(&folder);
        make_room(&folder, MOST).expect("a folder of ours");
        folder
    })
}

fn make(folder: &Path) {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
}

fn link(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder of ours").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
            match fs::hard_link(entry.path(), to.join(entry.file_name())) {
                // It has it already; or it is a disk of its own, and compiles what it needs; or somebody made room.
                Err(error) if expected(&error) => {}
                linked => linked.unwrap_or_else(|e| panic!("{}: {e}", entry.path().display())),
            }
        }
    }
}

fn expected(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::CrossesDevices | ErrorKind::NotFound)
}
