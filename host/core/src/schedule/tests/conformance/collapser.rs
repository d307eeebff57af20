//! The rows of the collapser: which requests one build serves.

use super::*;

fn merging(merge_requests: Merge) -> Table {
    one_worker(vec![Builder { merge_requests, ..builder("a", &["w"]) }])
}

/// What the first build serves.
fn first_build(mut table: Table) -> Vec<u64> {
    let mut ids = table.built();
    ids.sort_unstable();
    ids
}

pub(super) fn one_request_is_alone() {
    let mut table = merging(Merge::Compatible);
    table.submit([request(1, "a")]);
    assert_eq!(first_build(table), [1]);
}

pub(super) fn a_builder_that_never_merges_builds_each() {
    let mut table = merging(Merge::Never);
    table.submit([request(1, "a"), request(2, "a")]);
    assert_eq!(first_build(table), [1]);
}

pub(super) fn all_that_a_policy_joins_are_served() {
    let mut table = merging(Merge::Policy(policy("all")));
    table.submit((19..=21).map(|id| request(id, "a")));
    table.advise(|question| {
        let Question::MergeRequests { others, .. } = question else { panic!() };
        // Each twice.
        Some(Answer::Requests(others.iter().chain(others).map(|r| r.id).collect()))
    });
    assert_eq!(first_build(table), [19, 20, 21]);
}

pub(super) fn requests_of_an_unknown_builder_wait() {
    let mut table = merging(Merge::Compatible);
    table.submit([request(1, "unknown"), request(2, "unknown")]);
    assert!(table.claims.is_empty());
    assert_eq!(table.why("unknown").unwrap(), "no such builder in the configuration");
}

fn stamp(codebase: &str, revision: Option<&str>, changes: &[u64]) -> SourceStamp {
    SourceStamp {
        codebase: codebase.to_owned(),
        branch: Some("main".to_owned()),
        revision: revision.map(str::to_owned),
        changes: changes.iter().copied().map(ChangeId).collect(),
        ..SourceStamp::default()
    }
}

/// What the first build serves of two requests, by their stamps.
fn together(first: SourceStamp, second: SourceStamp) -> bool {
    let mut table = merging(Merge::Compatible);
    table.submit_stamps(vec![first, second]);
    first_build(table) == [1, 2]
}

pub(super) fn codebases_are_compared_one_by_one() {
    let set = |id: u64, revisions: [&str; 2]| Buildset {
        stamps: vec![stamp("x", Some(revisions[0]), &[]), stamp("y", Some(revisions[1]), &[])],
        ..buildset(id)
    };
    let mut table = merging(Merge::Compatible);
    table.submit_sets(vec![set(1, ["r1", "r1"]), set(2, ["r1", "r2"]), set(3, ["r1", "r1"])]);
    assert_eq!(first_build(table), [1, 3]);
}

pub(super) fn older_and_newer_are_built_together() {
    let mut table = merging(Merge::Compatible);
    table.submit_stamps(vec![
        stamp("", Some("r1"), &[1]),
        stamp("", Some("r2"), &[2]),
        stamp("", Some("r3"), &[3]),
    ]);
    let row = table.claims[0].row(numbers(), table.now);
    assert_eq!(row.stamps, [stamp("", Some("r3"), &[1, 2, 3])]);
    assert_eq!(first_build(table), [1, 2, 3]);
}

fn numbers() -> Numbers {
    let (build, fence) = (BuildId(1), crate::id::Fence(1));
    Numbers { build, number: 1, fence, generation: 1, plugins: BTreeMap::new(), plan: Digest::of(b"") }
}

pub(super) fn what_another_master_claims_is_left_out() {
    let mut table = merging(Merge::Compatible);
    table.submit((19..=21).map(|id| request(id, "a")));
    let start = table.claims.remove(0).start;
    table.board.refused(start, Some(RequestId(20)), "master 9999 has it", table.now);
    table.turn();
    assert_eq!(first_build(table), [19, 21]);
}

pub(super) fn properties_of_schedulers_keep_apart() {
    for (name, expected) in [("mode", &[1_u64] as &[u64]), ("scheduler", &[1, 2])] {
        let set = |id: u64| {
            let mut set = buildset(id);
            set.properties.set(name, Value::from(format!("{id}").as_str()), "Scheduler");
            set
        };
        let mut table = merging(Merge::Compatible);
        table.submit_sets(vec![set(1), set(2)]);
        assert_eq!(first_build(table), expected, "{name}");
    }
}

pub(super) fn other_sources_keep_apart() {
    let base = || stamp("", None, &[]);
    assert!(together(base(), base()));
    assert!(!together(base(), SourceStamp { branch: Some("next".to_owned()), ..base() }));
    assert!(!together(base(), SourceStamp { repository: "elsewhere".to_owned(), ..base() }));
    assert!(!together(base(), SourceStamp { project: "other".to_owned(), ..base() }));
}

pub(super) fn a_patch_keeps_apart() {
    let patched = || SourceStamp { patch: Some(Patch::default()), ..stamp("", Some("r1"), &[]) };
    assert!(!together(patched(), stamp("", Some("r1"), &[])));
    assert!(!together(patched(), patched()));
}

pub(super) fn changes_bring_together() {
    assert!(together(stamp("", Some("r1"), &[1]), stamp("", Some("r2"), &[2])));
    assert!(!together(stamp("", Some("r1"), &[1]), stamp("", Some("r1"), &[])));
}

pub(super) fn other_revisions_keep_apart() {
    assert!(!together(stamp("", Some("r1"), &[]), stamp("", Some("r2"), &[])));
    assert!(together(stamp("", Some("r1"), &[]), stamp("", Some("r1"), &[])));
}

pub(super) fn other_codebases_keep_apart() {
    assert!(!together(stamp("x", Some("r1"), &[]), stamp("y", Some("r1"), &[])));
}

pub(super) fn the_newest_stamp_has_all_changes() {
    let mut table = merging(Merge::Compatible);
    table.submit_stamps(vec![stamp("", Some("r1"), &[1, 2]), stamp("", Some("r3"), &[2, 3])]);
    let row = table.claims[0].row(numbers(), table.now);
    assert_eq!(row.stamps, [stamp("", Some("r3"), &[1, 2, 3])]);
}
