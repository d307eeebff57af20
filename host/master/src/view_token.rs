//! The part of [`crate::view`] about tokens of workers that commands made.

use serde::{Deserialize, Serialize};
use windlass_core::time::Timestamp;

/// A token, without its value and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerToken {
    /// The worker that may connect by it.
    pub worker: String,
    /// What `windlass workers revoke` takes; no other token ever gets it.
    pub number: u64,
    /// When it was made.
    pub made: Timestamp,
    /// When the worker last connected by it, to the minute; none: never.
    pub used: Option<Timestamp>,
    /// Whether the worker is connected by it now.
    pub connected: bool,
    /// Whether it was revoked, and the store has not forgotten it yet: nobody can connect by it.
    #[serde(default)]
    pub revoked: bool,
}

/// A token that is to count: `windlass workers token`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// `blake3:<64 hex digits>` of the token; the master never needs the token itself.
    pub token_hash: String,
}

/// Tokens that are to count no more: `windlass workers revoke`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RevokeTokens {
    /// This one; none: all that commands made for the worker.
    pub number: Option<u64>,
}

/// What became of a [`RevokeTokens`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedTokens {
    /// The worker.
    pub worker: String,
    /// The numbers.
    pub revoked: Vec<u64>,
    /// Whether it was connected by one of them, and is no more.
    pub closed: bool,
    /// Whether the configuration has the hash of a token for it, which still counts.
    pub configured: bool,
}
