//! The scheduling decision: pure. Being written; the status is settled.

mod status;

pub use status::{BuilderStatus, FallbackStatus, PolicyStatus, Status, WorkerStatus};
