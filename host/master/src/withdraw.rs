//! A person withdraws a request that no build serves yet: claimed and completed as cancelled, in one commit.

use windlass_core::id::{BuildId, MasterId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::persist::{Persist, Refusal};
use windlass_core::time::Timestamp;
use windlass_store::{CommitError, ReadError, Store};

use crate::build_driver::retries;

/// Why a request was not withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// There is no such request.
    #[error("there is no request {0}")]
    NotFound(u64),
    /// It is complete already.
    #[error("request {0} is complete already: {1}")]
    Complete(u64, Outcome),
    /// A build serves it.
    #[error("request {request} is being built; `windlass stop {build}` ends its build")]
    Building {
        /// The request.
        request: u64,
        /// The build.
        build: BuildId,
    },
    /// A build begins to serve it just now.
    #[error(
        "a build is about to start for request {0}; `windlass builds` shows its number, for `windlass stop`"
    )]
    Starting(u64),
    /// The master is going down.
    #[error("the master is shutting down")]
    ShuttingDown,
    /// The store did not answer.
    #[error("failed to read the store")]
    Read(#[from] ReadError),
    /// The store did not take it.
    #[error("the end of the request could not be stored")]
    Store(#[source] CommitError),
}

/// Withdraws it: the name of its builder, for the dispatcher.
pub(crate) async fn withdraw(
    store: &Store,
    master: MasterId,
    request: RequestId,
    at: Timestamp,
) -> Result<String, WithdrawError> {
    let id = request.0;
    let row = store.requests(&[request])?.into_iter().next().ok_or(WithdrawError::NotFound(id))?;
    if let Some(complete) = row.complete {
        return Err(WithdrawError::Complete(id, complete.outcome));
    }
    let building = store.running_builds()?.into_iter().find(|build| build.requests.contains(&request));
    if let Some(build) = building {
        return Err(WithdrawError::Building { request: id, build: build.id });
    }
    let (requests, fence) = (vec![request], store.ids().next_fence());
    let claim = Persist::Claim { requests: requests.clone(), master, fence, at };
    let complete = Persist::Complete { requests, fence, outcome: Outcome::Cancelled, at };
    match store.commit(vec![claim, complete, retries::forget(request)]).await {
        Ok(_) => Ok(row.builder),
        Err(CommitError::Refused(Refusal::AlreadyClaimed(_))) => Err(WithdrawError::Starting(id)),
        Err(CommitError::Closed) => Err(WithdrawError::ShuttingDown),
        Err(error) => Err(WithdrawError::Store(error)),
    }
}
