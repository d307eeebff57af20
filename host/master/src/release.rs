//! A person ends the quarantine of a worker: what was wrong with it is mended.

use crate::hint::hint;
use crate::running::Running;
use crate::view;

/// Why a worker was not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The configuration has no such worker.
    #[error("there is no worker `{name}`{hint}")]
    NoSuchWorker {
        /// The name.
        name: String,
        /// Those that there are.
        hint: String,
    },
    /// The master is going down.
    #[error("the master is shutting down")]
    ShuttingDown,
}

/// Releases a worker. One that is not in quarantine stays as it is; what was held against it is forgotten.
pub(crate) async fn release(running: &Running, name: &str) -> Result<view::Released, ReleaseError> {
    if running.closing.is_cancelled() {
        return Err(ReleaseError::ShuttingDown);
    }
    let config = running.world.load().config.clone();
    if !config.workers.iter().any(|worker| worker.name == name) {
        let hint = hint(name, config.workers.iter().map(|worker| worker.name.as_str()));
        return Err(ReleaseError::NoSuchWorker { name: name.to_owned(), hint });
    }
    let forgiven = running.dispatcher.forgive(name.to_owned()).await;
    let quarantine = forgiven.and_then(|failed| failed.until);
    let failures = forgiven.map_or(0, |failed| failed.times);
    if quarantine.is_some() {
        tracing::info!(worker = name, failures, "its quarantine was lifted");
    }
    Ok(view::Released { worker: name.to_owned(), quarantine, failures })
}
