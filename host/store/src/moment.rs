//! The moments of a commit at which a test may want the process to end.

use std::fmt;
use std::sync::Arc;

/// A moment of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// On which side of it.
    pub side: Side,
    /// Which commit of the writer since the store was opened, from 1.
    pub commit: u64,
    /// Which of those that hold entries of journals, if it does.
    pub journal: Option<u64>,
}

/// The sides of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The bytes of logs are durable, what names them is not.
    Before,
    /// All is durable, and nobody has been told.
    After,
}

/// Is called by the writer, which waits for it.
#[derive(Clone)]
pub struct OnCommit(Arc<dyn Fn(Moment) + Send + Sync>);

impl OnCommit {
    /// Has `call` called.
    pub fn new(call: impl Fn(Moment) + Send + Sync + 'static) -> OnCommit {
        OnCommit(Arc::new(call))
    }

    pub(crate) fn tell(&self, moment: Moment) {
        (self.0)(moment);
    }
}

impl fmt::Debug for OnCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnCommit")
    }
}
