//! How many builds in a row of a request ended as *retry*: kept in the store with each of these ends, so that a restart
//! of the master counts on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use windlass_core::id::RequestId;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_store::{ReadError, Store};

/// Whose state the counts are; the key is the request's number.
const OWNER: &str = "retries";

/// The counts of requests that are not over.
#[derive(Default)]
pub(super) struct Retries(Mutex<BTreeMap<RequestId, u32>>);

impl Retries {
    pub(super) fn load(store: &Store) -> Result<Retries, ReadError> {
        Ok(Retries(Mutex::new(counts(store)?)))
    }

    /// The most of any of these requests.
    pub(super) fn of(&self, requests: &[RequestId]) -> u32 {
        let counts = self.lock();
        requests.iter().filter_map(|request| counts.get(request).copied()).max().unwrap_or(0)
    }

    /// What the commit of a build's end says about its requests.
    pub(super) fn rows(&self, requests: &[RequestId], outcome: Outcome) -> Vec<Persist> {
        let counts = self.lock();
        let row = |request: &RequestId| {
            let before = counts.get(request).copied();
            let after = (outcome == Outcome::Retry).then(|| before.unwrap_or(0) + 1);
            (before != after).then(|| put(*request, after))
        };
        requests.iter().filter_map(row).collect()
    }

    /// Such an end is durable.
    pub(super) fn note(&self, requests: &[RequestId], outcome: Outcome) {
        let mut counts = self.lock();
        for request in requests {
            if outcome == Outcome::Retry {
                *counts.entry(*request).or_default() += 1;
            } else {
                counts.remove(request);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RequestId, u32>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// The counts that the store has.
pub(crate) fn counts(store: &Store) -> Result<BTreeMap<RequestId, u32>, ReadError> {
    let count = |(key, value): (String, Vec<u8>)| {
        let count = u32::from_be_bytes(value.try_into().ok()?);
        Some((RequestId(key.parse().ok()?), count))
    };
    Ok(store.states(OWNER)?.into_iter().filter_map(count).collect())
}

/// Forgets a request that ends without a build.
pub(crate) fn forget(request: RequestId) -> Persist {
    put(request, None)
}

fn put(request: RequestId, count: Option<u32>) -> Persist {
    let value = count.map(|count| count.to_be_bytes().to_vec());
    Persist::PutState { owner: OWNER.to_owned(), key: request.0.to_string(), value }
}
