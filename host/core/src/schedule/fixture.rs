//! Rows for tests.

use crate::builder::{Builder, Merge};
use crate::id::{BuildsetId, Fence, RequestId};
use crate::properties::Properties;
use crate::request::{Buildset, Request};
use crate::time::Timestamp;

/// Request `id` of the buildset with the same number, submitted at moment `id`.
pub(crate) fn request(id: u64, builder: &str) -> Request {
    Request {
        id: RequestId(id),
        buildset: BuildsetId(id),
        builder: builder.to_owned(),
        priority: 0,
        version: 1,
        submitted: Timestamp(id),
        waited_for: false,
        claim: None,
        last_fence: Fence(0),
        complete: None,
    }
}

/// The buildset of [`request`].
pub(crate) fn buildset(id: u64) -> Buildset {
    Buildset {
        id: BuildsetId(id),
        reason: format!("reason {id}"),
        submitter: "test".to_owned(),
        stamps: Vec::new(),
        properties: Properties::default(),
        submitted: Timestamp(id),
        requests: vec![RequestId(id)],
        complete: None,
        parent: None,
    }
}

/// A builder without policies that never merges.
pub(crate) fn builder(name: &str, workers: &[&str]) -> Builder {
    Builder {
        name: name.to_owned(),
        description: None,
        tags: Vec::new(),
        workers: workers.iter().map(|&w| w.to_owned()).collect(),
        builddir: name.to_owned(),
        properties: Properties::default(),
        env: std::collections::BTreeMap::new(),
        secrets: Vec::new(),
        locks: Vec::new(),
        steps: Vec::new(),
        merge_requests: Merge::Never,
        next_slave: None,
        next_build: None,
        can_start_build: None,
    }
}
