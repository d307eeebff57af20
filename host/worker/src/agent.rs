//! The agent: from a configuration to a worker that stays connected until it is asked to leave.

use windlass_config::config::WorkerFile;

use crate::options::{Exit, Options, WorkerError};

/// Runs a worker until it is asked to leave, or the master refuses it for good.
pub async fn run(file: WorkerFile, options: Options) -> Result<Exit, WorkerError> {
    let _ = (file, options);
    unimplemented!("landing soon")
}
