//! What is held against workers and policies, in the store: a row for each, as JSON, which the next start reads.

use windlass_core::persist::Persist;
use windlass_core::schedule::Suspension;
use windlass_store::{ReadError, Store};

/// Whose state it is.
const OWNER: &str = "suspensions";

/// What the last run held against somebody. A row that does not read is one of another version: it is left alone until
/// it is written anew.
pub(super) fn read(store: &Store) -> Result<Vec<Suspension>, ReadError> {
    let rows = store.states(OWNER)?.into_iter();
    Ok(rows.filter_map(|(_, row)| serde_json::from_slice(&row).ok()).collect())
}

/// The row that says so.
pub(super) fn row(key: String, what: Option<&Suspension>) -> Persist {
    let value = what.map(|what| serde_json::to_vec(what).expect("names and numbers"));
    Persist::PutState { owner: OWNER.to_owned(), key, value }
}
