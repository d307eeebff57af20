//! What all commands of a worker share: the machine's environment, and how much of it they may use
//! together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::environment::Variables;
use crate::holder::Holder;
use crate::orphans::Orphans;

/// Operations on single files at a time; others wait. None takes long.
const FILES: usize = 8;

/// Operations on whole trees at a time, each of another builder's directory. They may take an hour, and hold
/// some hundred descriptors.
const TREES: usize = 8;

/// Children that all commands together may have at a time, beside one that each command may have in any
/// case: nobody can take all of them from the others.
pub const MAX_PROCESSES: usize = 1_024;

/// The right to do something, for so many at a time, each in another builder's directory.
#[derive(Debug)]
pub struct Turns {
    all: Arc<Semaphore>,
    /// Of each directory in which somebody has a turn or waits for one.
    directories: Mutex<HashMap<PathBuf, Weak<Semaphore>>>,
}

impl Turns {
    /// So many at a time.
    pub fn new(most: usize) -> Turns {
        Turns { all: Arc::new(Semaphore::new(most)), directories: Mutex::default() }
    }

    /// Waits for a turn in a directory.
    pub async fn turn(&self, directory: &Path) -> Turn {
        // First the own one: a build that waits for itself keeps nobody else waiting.
        let own = one(&self.of(directory)).await;
        Turn { _of_all: one(&self.all).await, _of_directory: Some(own) }
    }

    /// The one turn of a directory. Whoever has or awaits it keeps it alive.
    fn of(&self, directory: &Path) -> Arc<Semaphore> {
        let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = directories.get(directory).and_then(Weak::upgrade) {
            return turns;
        }
        directories.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(1));
        directories.insert(directory.to_owned(), Arc::downgrade(&turns));
        turns
    }
}

async fn one(turns: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(turns).acquire_owned().await.expect("it is never closed")
}

/// What commands share.
#[derive(Debug)]
pub struct Machine {
    /// What the worker's environment contributes to that of a child.
    pub base: Variables,
    /// The worker's own directory: no program that was granted by name or path lies below.
    pub private: PathBuf,
    /// How this program leads a terminal: a file and first arguments. Empty: terminals have no leaders.
    pub leader: Vec<String>,
    files: Arc<Semaphore>,
    trees: Turns,
    /// Room for children.
    pub processes: Arc<Semaphore>,
    /// Starts and reaps children.
    pub holder: Arc<Holder>,
    /// Finds what commands leave behind.
    pub orphans: Orphans,
    /// Where it was made: what nobody waits for goes on there. Calls of guests run on a runtime that has no input or output.
    pub runtime: Option<Handle>,
}

impl Machine {
    /// An unused one.
    pub fn new(base: Variables, private: PathBuf, orphans: Orphans) -> Machine {
        let files = Arc::new(Semaphore::new(FILES));
        let trees = Turns::new(TREES);
        let processes = Arc::new(Semaphore::new(MAX_PROCESSES));
        let (leader, holder) = (Vec::new(), Arc::clone(orphans.holder()));
        let runtime = Handle::try_current().ok();
        Machine { base, private, leader, files, trees, processes, holder, orphans, runtime }
    }

    /// The same with a way to lead terminals.
    pub fn led_by(self, leader: Vec<String>) -> Machine {
        Machine { leader, ..self }
    }

    /// Waits for the turn of an operation below a builder's directory.
    pub async fn turn(&self, extent: Extent, directory: &Path) -> Turn {
        match extent {
            Extent::File => Turn { _of_all: one(&self.files).await, _of_directory: None },
            Extent::Tree => self.trees.turn(directory).await,
        }
    }
}

/// How much an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One file.
    File,
    /// All below a directory.
    Tree,
}

/// The right to work on files or to send them, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_directory: Option<OwnedSemaphorePermit>,
}
