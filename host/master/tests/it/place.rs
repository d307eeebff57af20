//! A directory with a configuration, and masters that are started in it.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use windlass_master::{Handle, Master, Options, StartError, view};
use windlass_store::{OpenError, Store};

/// How long a store may be in use that nobody uses any more.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with `master.toml`.
pub struct Place {
    folder: tempfile::TempDir,
}

/// A configuration with one worker and these further lines.
pub fn config(more: &str) -> String {
    let hash = "0".repeat(64);
    format!(
        "[master]\nlisten = '127.0.0.1:0'\n[[workers]]\nname = 'w1'\ntoken_hash = 'blake3:{hash}'\n\
         [[builders]]\nname = 'b1'\nworkers = 'w1'\nsteps = [{{ use = 'shell-command', args = {{ command = 'true' }} }}]\n{more}"
    )
}

/// A builder with these further keys.
pub fn builder(name: &str, more: &str) -> String {
    format!("[[builders]]\nname = '{name}'\nworkers = 'w1'\n{more}\n")
}

impl Place {
    /// A fresh one.
    pub fn new(config: &str) -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.write(config);
        std::fs::create_dir(place.path("plugins")).unwrap();
        let private = |path: PathBuf| std::fs::DirBuilder::new().mode(0o700).create(path).unwrap();
        private(place.path("state"));
        private(place.path("state/cache"));
        link_all(&compiled(), &place.path("state/cache"));
        place
    }

    /// Writes `master.toml` anew.
    pub fn write(&self, config: &str) {
        std::fs::write(self.path("master.toml"), config).unwrap();
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts the bytes of a bundled component into the plugins folder under another name.
    pub fn drop_plugin(&self, name: &str, bundled: &str) {
        let bytes = windlass_plugins::bundled().iter().find(|b| b.name == bundled).unwrap().bytes;
        std::fs::write(self.path("plugins").join(format!("{name}.wasm")), bytes).unwrap();
    }

    /// Starts a master in it.
    pub async fn try_start(&self) -> Result<Master, StartError> {
        windlass_master::start(Options::new(self.path("master.toml"))).await
    }

    /// Starts one that must come up, once the last one has let go of the store: a child that is just being
    /// started holds a copy of its lock for a moment.
    pub async fn start(&self) -> Handle {
        let began = std::time::Instant::now();
        loop {
            match self.try_start().await {
                Ok(master) => {
                    link_all(&self.path("state/cache"), &compiled());
                    return master.handle().clone();
                }
                Err(StartError::Open(OpenError::InUse { .. })) if began.elapsed() < PATIENCE => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error:?}\n{}", error.details().join("\n")),
            }
        }
    }
}

/// Opens the store of a master that has stopped, once nobody holds a copy of its lock.
pub async fn open(state: &Path) -> Store {
    let began = std::time::Instant::now();
    loop {
        match Store::open(state, windlass_store::Options::default()) {
            Err(OpenError::InUse { .. }) if began.elapsed() < PATIENCE => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

/// What one test has compiled the next ones find in their caches: components are compiled once, not once for each test.
fn compiled() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn link_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().extension().is_some_and(|e| e == "cwasm") {
            // Another test may have been quicker, or clears out what is old.
            std::fs::hard_link(entry.path(), to.join(entry.file_name())).ok();
        }
    }
}

/// An order to build.
pub fn force(builder: &str) -> view::Force {
    view::Force { builder: builder.to_owned(), ..view::Force::default() }
}

/// Stops a master and lets go of it: its state is free for the next one.
pub async fn stop(master: Handle) {
    master.shutdown().await;
}
