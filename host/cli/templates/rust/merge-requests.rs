//! `merge-requests` policy `my-plugin`: requests for the same branches are built together.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SourceStamp};
use windlass_sdk::{Failure, Hook, MergeRequests, NoArgs};

struct Policy;

impl Hook for Policy {
    // What master.toml says: `merge_requests = "my-plugin:my-plugin"`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "requests for the same branches, without patches";
    type Args = NoArgs;
}

impl MergeRequests for Policy {
    // The answer are the ids of those of `others` that one build may serve together with `first`. After an
    // error nothing is merged.
    fn mergeable(
        _: NoArgs,
        _builder: BuilderInfo,
        first: BuildRequest,
        others: Vec<BuildRequest>,
    ) -> Result<Vec<u64>, Failure> {
        let same = |other: &BuildRequest| {
            first.stamps.len() == other.stamps.len()
                && first.stamps.iter().zip(&other.stamps).all(|(a, b)| same_branch(a, b))
        };
        Ok(others.into_iter().filter(same).map(|other| other.id).collect())
    }
}

/// Whoever asks for an exact revision gets that one, built by itself or with its like.
fn same_branch(a: &SourceStamp, b: &SourceStamp) -> bool {
    (&a.codebase, &a.repository, &a.branch, &a.revision)
        == (&b.codebase, &b.repository, &b.branch, &b.revision)
        && !a.has_patch
        && !b.has_patch
}

windlass_sdk::export!(merge_requests: Policy);
