//! What all commands of a worker share: the machine's environment, and how much of it they may use
//! together.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::environment::Variables;
use crate::orphans::Orphans;

/// Operations on files at a time; others wait. Each may hold some hundred descriptors.
const FILES: usize = 8;

/// Children that all commands together may have at a time.
pub const MAX_PROCESSES: usize = 1_024;

/// What commands share.
#[derive(Debug)]
pub struct Machine {
    /// What the worker's environment contributes to that of a child.
    pub base: Variables,
    /// The worker's own directory: no program that was granted by name or path lies below.
    pub private: PathBuf,
    /// Turns of operations on files.
    pub files: Arc<Semaphore>,
    /// Room for children.
    pub processes: Arc<Semaphore>,
    /// Finds what commands leave behind.
    pub orphans: Orphans,
}

impl Machine {
    /// An unused one.
    pub fn new(base: Variables, private: PathBuf, orphans: Orphans) -> Machine {
        let files = Arc::new(Semaphore::new(FILES));
        let processes = Arc::new(Semaphore::new(MAX_PROCESSES));
        Machine { base, private, files, processes, orphans }
    }
}
