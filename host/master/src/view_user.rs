//! The part of [`crate::view`] about users: who is known, and what they wrote lately.

use serde::{Deserialize, Serialize};
use windlass_core::time::Timestamp;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Unique.
    pub name: String,
    /// As it is written in full.
    pub full_name: Option<String>,
    /// Addresses.
    pub emails: Vec<String>,
    /// Authors that are this user.
    pub identities: Vec<String>,
    /// How many of the newest 1,000 changes are of this user.
    pub recent: u64,
    /// The newest of these.
    pub last: Option<UserChange>,
}

/// A change of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChange {
    /// The change.
    pub id: u64,
    /// What it says of its author.
    pub author: String,
    /// Its revision.
    pub revision: Option<String>,
    /// When it was made.
    pub when: Timestamp,
}
