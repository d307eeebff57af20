//! Rows for tests.

use crate::id::{BuildsetId, RequestId};
use crate::properties::Properties;
use crate::request::{Buildset, Request};
use crate::time::Timestamp;

/// Request `id` of the buildset with the same number, submitted at moment `id`.
pub(crate) fn request(id: u64, builder: &str) -> Request {
    Request::new(RequestId(id), BuildsetId(id), builder.to_owned(), Timestamp(id))
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
