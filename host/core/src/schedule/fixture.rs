//! Rows for tests.

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
