//! The part of [`crate::view`] about requests in lists: who waits, in which order and for what.

use serde::{Deserialize, Serialize};
use windlass_core::time::Timestamp;

use crate::view::{Request, Wait};

/// Which requests to list: `windlass requests`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestFilter {
    /// Only of this builder.
    pub builder: Option<String>,
    /// Which of them.
    pub state: RequestState,
    /// Only those after a page: its `next`.
    pub after: Option<String>,
    /// At most so many; none: 50.
    pub limit: Option<usize>,
}

/// Which requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestState {
    /// Those that wait, in the order in which they come without policies and locks.
    #[default]
    Pending,
    /// Those among them that a policy or a retry holds back for now, by number.
    Held,
    /// Those that are being built, newest first.
    Claimed,
    /// All that there ever were, newest first.
    All,
}

/// A page of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestPage {
    /// The moment of this answer.
    pub now: Timestamp,
    /// So many wait, of that builder or of all.
    pub pending: u64,
    /// The requests.
    pub requests: Vec<ListedRequest>,
    /// What `after` is to be for the next page; none: this is the last.
    pub next: Option<String>,
}

/// A request in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedRequest {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// Its buildset.
    pub buildset: u64,
    /// Why it was submitted.
    pub reason: String,
    /// Its place among those that wait, from 1: of that builder or of all. Only where these are listed in order.
    pub position: Option<u64>,
    /// What it waits for; none: it does not wait.
    pub waits: Option<Wait>,
    /// The build that serves it now.
    pub build: Option<u64>,
}
