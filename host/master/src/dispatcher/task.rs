//! Work of the dispatcher that runs beside it: every kind, and what it brings back.

use std::collections::BTreeMap;

use windlass_core::persist::Committed;
use windlass_core::record::Component;
use windlass_core::request::{Pending, Turn};
use windlass_core::schedule::{AskId, LastBuilt, Reply, StartId};
use windlass_store::{CommitError, ReadError, Store};

/// What a task brings back.
pub(super) enum Done {
    /// A policy's reply.
    Replied(AskId, Reply),
    /// How a claim went.
    Claimed(StartId, Result<Committed, CommitError>),
    /// The first requests that wait for each builder.
    Opened(Result<Heads, ReadError>),
    /// How many wait for each builder.
    Counted(Result<BTreeMap<String, u64>, ReadError>),
    /// Pages that the board wanted.
    Read(Vec<(Page, Result<Pending, ReadError>)>),
    /// When workers last built.
    History(Vec<((String, String), LastBuilt)>),
}

/// What has to be said in a task's place if it dies.
pub(super) enum Purpose {
    Ask(AskId, Component),
    Claim(StartId),
    Open,
    Scan,
    /// Pages of these builders.
    Read(Vec<String>),
    History(Vec<(String, String)>),
}

/// The first requests of each builder that has any.
pub(super) type Heads = BTreeMap<String, Pending>;

/// A piece of what waits for a builder: so many after a turn, or the first ones.
pub(super) struct Page {
    pub(super) builder: String,
    pub(super) after: Option<Turn>,
    pub(super) limit: usize,
}

/// Reads pages.
pub(super) fn read(store: &Store, pages: Vec<Page>) -> Vec<(Page, Result<Pending, ReadError>)> {
    let read = |page: Page| {
        let found = store.pending_after(&page.builder, page.after, page.limit);
        (page, found)
    };
    pages.into_iter().map(read).collect()
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
