//! Opening a store: its directory, its options, and what can be wrong with them.

use std::io;
use std::path::{Path, PathBuf};

use crate::Store;

/// Limits and sizes of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most that all logs together may take on disk; none: what the disk has.
    pub max_log_bytes_total: Option<u64>,
    /// The most that one log may have; none: no bound of its own.
    pub max_log_bytes: Option<u64>,
    /// Memory for pages of the database.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { max_log_bytes_total: None, max_log_bytes: None, cache_bytes: 128 << 20 }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("`{folder}` is in use by another master{}", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The store's directory.
        folder: PathBuf,
        /// The process that holds it, as its lock file says.
        pid: Option<u32>,
    },
    /// It was written by a newer version of Windlass.
    #[error("`{folder}` has format {found}, this version knows up to {known}: use a newer Windlass")]
    NewerFormat {
        /// The store's directory.
        folder: PathBuf,
        /// The format it has.
        found: u64,
        /// The newest format that this version knows.
        known: u64,
    },
    /// The system refused.
    #[error("failed to {action} `{path}`")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database could not be opened or read.
    #[error("failed to open the database `{path}`")]
    Database {
        /// Its file.
        path: PathBuf,
        /// What redb said.
        #[source]
        source: Box<redb::Error>,
    },
    /// A row or a log segment is damaged.
    #[error("failed to read the store `{folder}`")]
    Read {
        /// The store's directory.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        source: crate::ReadError,
    },
    /// The component bytes' directory could not be opened.
    #[error("failed to open the component bytes below `{folder}`")]
    Cas {
        /// The store's directory.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        source: crate::CasError,
    },
}

impl Store {
    /// Opens the store in `folder` (`store.redb`, `logs/`, `cas/`), creating what is missing. Blocking.
    /// A second process is refused.
    pub fn open(folder: &Path, options: Options) -> Result<Store, OpenError> {
        let _ = (folder, options);
        unimplemented!("landing soon")
    }

    /// Opens the store in `folder` with its database on `backend`: for tests of crashes.
    pub fn open_with_backend(
        backend: impl redb::StorageBackend,
        folder: &Path,
        options: Options,
    ) -> Result<Store, OpenError> {
        let _ = (backend, folder, options);
        unimplemented!("landing soon")
    }
}
