//! `merge-requests` policy `same-branch`: what came in for one branch is built once, at its newest.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SourceStamp};
use windlass_sdk::{Failure, Hook, MergeRequests, NoArgs};

struct SameBranch;

impl Hook for SameBranch {
    const NAME: &'static str = "same-branch";
    const SUMMARY: &'static str = "requests for the same branch of the same repositories, without patches";
    type Args = NoArgs;
}

impl MergeRequests for SameBranch {
    fn mergeable(
        _: NoArgs,
        _: BuilderInfo,
        first: BuildRequest,
        others: Vec<BuildRequest>,
    ) -> Result<Vec<u64>, Failure> {
        Ok(others.into_iter().filter(|other| compatible(&first, other)).map(|other| other.id).collect())
    }
}

fn compatible(a: &BuildRequest, b: &BuildRequest) -> bool {
    a.stamps.len() == b.stamps.len()
        && a.stamps.iter().all(|one| b.stamps.iter().any(|other| same_branch(one, other)))
}

fn same_branch(a: &SourceStamp, b: &SourceStamp) -> bool {
    let place = |stamp: &SourceStamp| {
        (stamp.codebase.clone(), stamp.project.clone(), stamp.repository.clone(), stamp.branch.clone())
    };
    // Changes of a branch follow one another, and the newest has them all. Who asked for a revision by its name,
    // without a change, wants that one.
    let revisions = a.revision == b.revision || !(a.changes.is_empty() || b.changes.is_empty());
    !a.has_patch && !b.has_patch && place(a) == place(b) && revisions
}

windlass_sdk::export!(merge_requests: SameBranch);

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(branch: &str, revision: Option<&str>, changes: &[u64]) -> SourceStamp {
        SourceStamp {
            codebase: String::new(),
            project: "p".into(),
            repository: "r".into(),
            branch: Some(branch.into()),
            revision: revision.map(str::to_owned),
            changes: changes.to_vec(),
            has_patch: false,
        }
    }

    fn request(stamps: Vec<SourceStamp>) -> BuildRequest {
        BuildRequest {
            id: 1,
            buildset: 1,
            builder: "b".into(),
            stamps,
            priority: 0,
            submitted_ms: 0,
            waited_for: false,
            reason: String::new(),
            properties: vec![],
        }
    }

    fn check(a: SourceStamp, b: SourceStamp, expected: bool) {
        assert_eq!(compatible(&request(vec![a]), &request(vec![b])), expected);
    }

    #[test]
    fn changes_of_one_branch_go_together() {
        check(stamp("main", Some("a"), &[1]), stamp("main", Some("b"), &[2]), true);
        check(stamp("main", Some("a"), &[1]), stamp("next", Some("b"), &[2]), false);
    }

    #[test]
    fn an_exact_revision_goes_with_itself_only() {
        check(stamp("main", Some("a"), &[]), stamp("main", Some("b"), &[2]), false);
        check(stamp("main", Some("a"), &[]), stamp("main", Some("a"), &[2]), true);
        check(stamp("main", None, &[]), stamp("main", None, &[]), true);
    }

    #[test]
    fn a_patch_is_built_by_itself() {
        let patched = SourceStamp { has_patch: true, ..stamp("main", None, &[]) };
        check(patched.clone(), patched, false);
    }

    #[test]
    fn every_codebase_counts() {
        let two = vec![
            stamp("main", None, &[]),
            SourceStamp { codebase: "lib".into(), ..stamp("main", None, &[]) },
        ];
        assert!(compatible(&request(two.clone()), &request(two.clone())));
        assert!(!compatible(&request(two), &request(vec![stamp("main", None, &[])])));
    }
}
