//! Starting a master: every part in its order, and every error at once.

use std::path::PathBuf;

use crate::handle::Handle;

/// How a master is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file, `master.toml`.
    pub config_path: PathBuf,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub fn new(config_path: impl Into<PathBuf>) -> Options {
        Options { config_path: config_path.into() }
    }
}

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration file cannot be read.
    #[error("failed to read `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running master. Dropping it does not stop it in an orderly way; [`Handle::shutdown`] does.
#[derive(Debug)]
pub struct Master {
    handle: Handle,
}

impl Master {
    /// What others hold of it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Resolves once the master has shut down.
    pub async fn stopped(&self) {
        unimplemented!("landing soon")
    }
}

/// Starts a master: ready when it returns.
pub async fn start(options: Options) -> Result<Master, StartError> {
    let _ = options;
    unimplemented!("landing soon")
}
