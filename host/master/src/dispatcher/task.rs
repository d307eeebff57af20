//! Work of the dispatcher that runs beside it: every kind, and what it brings back.

use std::sync::Arc;

use windlass_core::persist::Committed;
use windlass_core::record::Component;
use windlass_core::request::{Buildset, Request};
use windlass_core::schedule::{AskId, LastBuilt, Reply, StartId};
use windlass_store::{CommitError, ReadError, Store};

/// What a task brings back.
pub(super) enum Done {
    /// A policy's reply.
    Replied(AskId, Reply),
    /// How a claim went.
    Claimed(StartId, Result<Committed, CommitError>),
    /// What is pending in the store.
    Scanned(Result<Vec<Request>, ReadError>),
    /// Requests that the board lacked, with their buildsets.
    Loaded(Result<Vec<(Request, Arc<Buildset>)>, ReadError>),
    /// When workers last built.
    History(Vec<((String, String), LastBuilt)>),
}

/// What has to be said in a task's place if it dies.
pub(super) enum Purpose {
    Ask(AskId, Component),
    Claim(StartId),
    Scan,
    History(Vec<(String, String)>),
}

/// Requests with their buildsets; one whose buildset is missing is reported and left out.
pub(super) fn load(
    store: &Store,
    requests: Vec<Request>,
) -> Result<Vec<(Request, Arc<Buildset>)>, ReadError> {
    let mut last: Option<Arc<Buildset>> = None;
    let mut loaded = Vec::with_capacity(requests.len());
    for request in requests {
        // Requests of one buildset follow each other.
        if last.as_ref().is_none_or(|set| set.id != request.buildset) {
            last = store.buildset(request.buildset)?.map(Arc::new);
        }
        match &last {
            Some(set) => loaded.push((request, set.clone())),
            None => {
                tracing::error!(request = %request.id, buildset = %request.buildset, "its buildset is missing")
            }
        }
    }
    Ok(loaded)
}

/// When these workers last built for these builders. What cannot be read counts as never.
pub(super) fn history(store: &Store, pairs: Vec<(String, String)>) -> Vec<((String, String), LastBuilt)> {
    let look_up = |(builder, worker): (String, String)| {
        let last = store.last_build(&builder, &worker).unwrap_or_else(|error| {
            tracing::error!(builder, worker, %error, "failed to look up the last build");
            None
        });
        ((builder, worker), last)
    };
    pairs.into_iter().map(look_up).collect()
}
