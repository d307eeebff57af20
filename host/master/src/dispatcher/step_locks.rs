//! The locks of one running step, as its build's driver holds them.

use tokio::sync::watch;

/// Where a step stands that asked for locks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// There is no answer yet.
    #[default]
    Asked,
    /// In line; the text says what for.
    Waits(String),
    /// It has them all.
    Held,
    /// It would wait for ever; the text names the circle.
    Refused(String),
}

/// Locks that a step asked for. Dropped, they are given back, or waited for no more.
#[must_use]
pub struct StepLocks {
    standing: watch::Receiver<Standing>,
    release: Option<Box<dyn FnOnce() + Send>>,
}

impl StepLocks {
    /// Hears of them by `standing`; `release` gives them back.
    pub fn new(
        mut standing: watch::Receiver<Standing>,
        release: impl FnOnce() + Send + 'static,
    ) -> StepLocks {
        // What was said before this is news, too.
        standing.mark_changed();
        StepLocks { standing, release: Some(Box::new(release)) }
    }

    /// Resolves when the step stands elsewhere than it did. None: nobody answers any more, the master goes down.
    /// Safe to drop while it waits.
    pub async fn changed(&mut self) -> Option<Standing> {
        // What was said last counts, even if whoever said it has gone.
        self.standing.changed().await.ok()?;
        Some(self.standing.borrow_and_update().clone())
    }
}

impl Drop for StepLocks {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}
