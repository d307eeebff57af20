//! Merges requests whose numbers no master gives.

use hostile::hook;
use windlass_sdk::model::{BuildRequest, BuilderInfo};
use windlass_sdk::{Failure, MergeRequests, NoArgs};

struct Hostile;
hook!(Hostile, "merges-out-of-range", &[]);

impl MergeRequests for Hostile {
    fn mergeable(
        _: NoArgs,
        _: BuilderInfo,
        first: BuildRequest,
        _: Vec<BuildRequest>,
    ) -> Result<Vec<u64>, Failure> {
        Ok(vec![u64::MAX, 1 << 53, first.id, first.id])
    }
}

windlass_sdk::export!(merge_requests: Hostile);
