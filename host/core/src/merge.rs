//! Which requests one build may serve, and what that build is then made of.
//!
//! The default rule is an equivalence, so that an index can find the partners of a request by a
//! fingerprint ([`alike`]) instead of comparing it with the whole backlog.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::change::SourceStamp;
use crate::properties::Properties;
use crate::request::{Buildset, Request};

/// Whether one build may serve both: same builder, the same codebases with the same project, repository
/// and branch, no patch; in each codebase both have changes or both ask for the same revision (or for
/// none); and the same properties, but for those that came with changes, the scheduler's name and the owner.
#[must_use]
pub fn compatible(a: (&Request, &Buildset), b: (&Request, &Buildset)) -> bool {
    a.0.builder == b.0.builder && wishes(a.1) == wishes(b.1) && !is_patched(a.1) && !is_patched(b.1)
}

/// A fingerprint that is equal for compatible requests of one builder; none: nothing is compatible with it.
#[must_use]
pub fn alike(buildset: &Buildset) -> Option<u64> {
    if is_patched(buildset) {
        return None;
    }
    // `DefaultHasher::new` has fixed keys. Collisions are harmless: `compatible` has the last word.
    let mut hasher = DefaultHasher::new();
    let wishes = wishes(buildset);
    wishes.stamps.hash(&mut hasher);
    for (name, value) in &wishes.properties {
        (name, format!("{value:?}")).hash(&mut hasher);
    }
    Some(hasher.finish())
}

/// The source stamps of a build that serves requests of these buildsets, given oldest first: for each
/// codebase the newest one's stamp, with the changes of all, each once, oldest first.
#[must_use]
pub fn merge_stamps<'a>(buildsets: impl IntoIterator<Item = &'a Buildset>) -> Vec<SourceStamp> {
    let mut merged: Vec<SourceStamp> = Vec::new();
    for stamp in buildsets.into_iter().flat_map(|set| &set.stamps) {
        match merged.iter_mut().find(|m| m.codebase == stamp.codebase) {
            None => merged.push(stamp.clone()),
            Some(older) => {
                let mut changes = std::mem::take(&mut older.changes);
                let seen: BTreeSet<_> = changes.iter().copied().collect();
                changes.extend(stamp.changes.iter().copied().filter(|c| !seen.contains(c)));
                *older = SourceStamp { changes, ..stamp.clone() };
            }
        }
    }
    merged
}

/// The reasons of these buildsets, each once, in order.
#[must_use]
pub fn merge_reasons<'a>(buildsets: impl IntoIterator<Item = &'a Buildset>) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    for set in buildsets {
        if !set.reason.is_empty() && !reasons.contains(&set.reason.as_str()) {
            reasons.push(&set.reason);
        }
    }
    reasons.join(", ")
}

/// What must be equal for a build to serve both.
#[derive(PartialEq)]
struct Wishes<'a> {
    stamps: Vec<StampWish<'a>>,
    properties: Vec<(&'a str, &'a crate::value::Value)>,
}

/// Of one codebase.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct StampWish<'a> {
    codebase: &'a str,
    project: &'a str,
    repository: &'a str,
    branch: Option<&'a str>,
    has_changes: bool,
    /// Only where no change says what is to be built.
    revision: Option<&'a str>,
}

fn wishes(buildset: &Buildset) -> Wishes<'_> {
    let mut stamps: Vec<_> = buildset
        .stamps
        .iter()
        .map(|s| StampWish {
            codebase: &s.codebase,
            project: &s.project,
            repository: &s.repository,
            branch: s.branch.as_deref(),
            has_changes: !s.changes.is_empty(),
            revision: s.revision.as_deref().filter(|_| s.changes.is_empty()),
        })
        .collect();
    stamps.sort();
    Wishes { stamps, properties: compared(&buildset.properties) }
}

fn compared(properties: &Properties) -> Vec<(&str, &crate::value::Value)> {
    let of_change = |source: &str| source.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("change"));
    properties
        .iter()
        .filter(|(name, _, source)| !matches!(*name, "scheduler" | "owner") && !of_change(source))
        .map(|(name, value, _)| (name, value))
        .collect()
}

fn is_patched(buildset: &Buildset) -> bool {
    buildset.stamps.iter().any(|s| s.patch.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Patch;
    use crate::id::ChangeId;
    use crate::schedule::fixture::{buildset, request};

    fn stamp(branch: &str, revision: Option<&str>, changes: &[u64]) -> SourceStamp {
        SourceStamp {
            branch: Some(branch.to_owned()),
            revision: revision.map(str::to_owned),
            changes: changes.iter().copied().map(ChangeId).collect(),
            ..SourceStamp::default()
        }
    }

    fn check(a: SourceStamp, b: SourceStamp, expected: bool) {
        let sets = [(1, a), (2, b)].map(|(id, stamp)| Buildset { stamps: vec![stamp], ..buildset(id) });
        let requests = [request(1, "b"), request(2, "b")];
        let found = compatible((&requests[0], &sets[0]), (&requests[1], &sets[1]));
        assert_eq!(found, expected, "{:?}", sets);
        assert_eq!(expected, alike(&sets[0]).is_some() && alike(&sets[0]) == alike(&sets[1]));
    }

    #[test]
    fn the_default_rule() {
        check(stamp("main", Some("r1"), &[1]), stamp("main", Some("r2"), &[2]), true);
        check(stamp("main", Some("r1"), &[1]), stamp("main", Some("r1"), &[]), false);
        check(stamp("main", Some("r1"), &[]), stamp("main", Some("r2"), &[]), false);
        check(stamp("main", Some("r1"), &[]), stamp("main", Some("r1"), &[]), true);
        check(stamp("main", None, &[]), stamp("main", None, &[]), true);
        check(stamp("main", None, &[]), stamp("main", Some("r1"), &[]), false);
        check(stamp("main", None, &[]), stamp("next", None, &[]), false);
        let other = |s: SourceStamp| SourceStamp { repository: "elsewhere".to_owned(), ..s };
        check(stamp("main", None, &[]), other(stamp("main", None, &[])), false);
        let project = |s: SourceStamp| SourceStamp { project: "p".to_owned(), ..s };
        check(stamp("main", None, &[]), project(stamp("main", None, &[])), false);
        let codebase = |s: SourceStamp| SourceStamp { codebase: "c".to_owned(), ..s };
        check(stamp("main", None, &[]), codebase(stamp("main", None, &[])), false);
        let patched = SourceStamp { patch: Some(Patch::default()), ..stamp("main", None, &[]) };
        check(patched.clone(), patched, false);
    }

    #[test]
    fn properties_of_schedulers_keep_requests_apart_and_those_of_changes_do_not() {
        let check = |name: &str, source: &str, expected: bool| {
            let sets = [1, 2].map(|id| {
                let mut set = buildset(id);
                set.properties.set(name, crate::value::Value::Integer(id as i64), source);
                set
            });
            let requests = [request(1, "b"), request(2, "b")];
            assert_eq!(compatible((&requests[0], &sets[0]), (&requests[1], &sets[1])), expected, "{name}");
        };
        check("mode", "Scheduler", false);
        check("mode", "Change", true);
        check("scheduler", "Scheduler", true);
        check("owner", "force", true);
    }

    #[test]
    fn a_merged_build_has_the_newest_stamp_and_all_changes() {
        let sets = [stamp("main", Some("r1"), &[1, 2]), stamp("main", Some("r3"), &[2, 3])]
            .map(|stamp| Buildset { stamps: vec![stamp], ..buildset(1) });
        assert_eq!(merge_stamps(&sets), [stamp("main", Some("r3"), &[1, 2, 3])]);
    }
}
