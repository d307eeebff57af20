//! Merges a million requests and more that do not exist.

use hostile::hook;
use windlass_sdk::model::{BuildRequest, BuilderInfo};
use windlass_sdk::{Failure, MergeRequests, NoArgs};

struct Hostile;
hook!(Hostile, "merges-everything", &[]);

impl MergeRequests for Hostile {
    fn mergeable(
        _: NoArgs,
        _: BuilderInfo,
        first: BuildRequest,
        _: Vec<BuildRequest>,
    ) -> Result<Vec<u64>, Failure> {
        // Beyond what an answer may carry, and far from the CPU that a policy may use.
        Ok(vec![first.id + 1; 1_100_000])
    }
}

windlass_sdk::export!(merge_requests: Hostile);
