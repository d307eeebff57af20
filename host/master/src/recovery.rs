//! After a restart: builds that were cut off are closed, and their requests wait again.

use windlass_core::claim::holder;
use windlass_core::id::MasterId;
use windlass_core::persist::Persist;
use windlass_core::record::{BuildRow, CutOff, LogRow, StepRow};
use windlass_core::request::Request;
use windlass_core::time::Timestamp;
use windlass_store::{CommitError, ReadError, Store};

/// What a build that was cut off says.
const SUMMARY: &str = "the master restarted while this ran; it is built again";

/// Why what a former run left could not be put in order.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It cannot be read.
    #[error("failed to read what the last run left")]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error("failed to close {what} of the last run")]
    Commit {
        /// A build, or requests.
        what: String,
        /// Why.
        #[source]
        source: CommitError,
    },
}

/// Closes the builds that `master` left running and gives its requests back. Answers how many builds
/// and requests there were. Each build is put in order by a commit of its own; all are grouped.
pub async fn recover(
    store: &Store,
    master: MasterId,
    now: Timestamp,
) -> Result<(usize, usize), RecoveryError> {
    let mut builds = Vec::new();
    for row in store.running_builds()? {
        if is_ours(store, &row, master)? {
            builds.push(row);
        }
    }
    let claimed = store.claimed_requests(master)?;
    let mut commits = Vec::new();
    for row in &builds {
        let (steps, logs) = (store.steps(row.id)?, store.logs(row.id)?);
        commits.push((row.id.to_string(), store.commit(close(row, steps, logs, &claimed, now))));
    }
    let orphans = orphans(&claimed, &builds);
    if !orphans.is_empty() {
        commits.push(("requests without a build".to_owned(), store.commit(orphans)));
    }
    for (what, commit) in commits {
        match commit.await {
            Ok(_) => {}
            // Its requests are another's by now: its row is what the other makes of it.
            Err(CommitError::Refused(refusal)) => tracing::error!(what, %refusal, "left as it is"),
            Err(source) => return Err(RecoveryError::Commit { what, source }),
        }
    }
    Ok((builds.len(), claimed.len()))
}

/// Whether no other master holds a request of this build under its fence.
fn is_ours(store: &Store, row: &BuildRow, master: MasterId) -> Result<bool, ReadError> {
    let requests = store.requests(&row.requests)?;
    let mut holders = requests.iter().filter_map(holder);
    Ok(holders.all(|claim| claim.master == master || claim.fence != row.fence))
}

/// The commit that closes a build: its logs, its running steps, itself; then its requests are given
/// back, as far as they are still held under its fence.
fn close(
    row: &BuildRow,
    steps: Vec<StepRow>,
    logs: Vec<LogRow>,
    claimed: &[Request],
    now: Timestamp,
) -> Vec<Persist> {
    let fence = row.fence;
    let CutOff { build, steps, logs } = CutOff::new(row.clone(), steps, logs, now, SUMMARY);
    let logs = logs.into_iter().map(|log| Persist::PutLog { fence, log });
    let steps = steps.into_iter().map(|step| Persist::PutStep { fence, step });
    let held = |request: &&Request| request.claim.is_some_and(|claim| claim.fence == fence);
    let requests = claimed.iter().filter(held).map(|request| request.id).collect();
    logs.chain(steps).chain([Persist::PutBuild(build), Persist::Unclaim { requests, fence }]).collect()
}

/// Gives back requests that are held under a fence that no running build has.
fn orphans(claimed: &[Request], builds: &[BuildRow]) -> Vec<Persist> {
    let lone = claimed.iter().filter_map(|request| {
        let fence = request.claim?.fence;
        builds.iter().all(|row| row.fence != fence).then_some((request.id, fence))
    });
    lone.map(|(id, fence)| Persist::Unclaim { requests: vec![id], fence }).collect()
}
