//! Merges two million requests that do not exist.

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
        Ok((first.id..first.id + 2_000_000).collect())
    }
}

windlass_sdk::export!(merge_requests: Hostile);
