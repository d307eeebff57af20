//! `treeStableTimer`: changes wait until no more came for a while, then make one buildset.
//!
//! Changes wait in lanes, a branch each (and a repository each, where changes have no codebase that
//! tells repositories apart): what stirs one branch does not hold up another, and no change is hidden
//! behind a newer one of another source.

use std::collections::BTreeMap;

use crate::change::{Change, SourceStamp};
use crate::id::ChangeId;
use crate::properties::Properties;
use crate::time::Timestamp;

/// The changes of one scheduler that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeTimers {
    lanes: BTreeMap<Lane, Waiting>,
}

/// What shares a timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    branch: Option<String>,
    /// Empty where changes have a codebase: several codebases are built together.
    repository: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    /// In the order of their numbers.
    changes: Vec<ChangeId>,
    fires: Timestamp,
}

impl Lane {
    fn of(change: &Change) -> Lane {
        let repository = if change.codebase.is_empty() { change.repository.clone() } else { String::new() };
        Lane { branch: change.branch.clone(), repository }
    }
}

impl TreeTimers {
    /// Lets `change` wait; its lane fires at `fires` unless another change puts that off. Also takes up
    /// what waited before a restart: the latest moment of a lane's changes counts.
    pub fn wait(&mut self, change: &Change, fires: Timestamp) {
        let lane = self.lanes.entry(Lane::of(change)).or_insert(Waiting { changes: Vec::new(), fires });
        lane.fires = lane.fires.max(fires);
        if let Err(place) = lane.changes.binary_search(&change.id) {
            lane.changes.insert(place, change.id);
        }
    }

    /// When the next lane fires.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.lanes.values().map(|lane| lane.fires).min()
    }

    /// How many changes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.changes.len()).sum()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The changes of each lane whose time has come. They wait on until [`TreeTimers::done`] is told
    /// that their buildset is durable.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<Vec<ChangeId>> {
        self.lanes.values().filter(|lane| lane.fires <= now).map(|lane| lane.changes.clone()).collect()
    }

    /// These changes (in the order of their numbers) wait no longer.
    pub fn done(&mut self, changes: &[ChangeId]) {
        for lane in self.lanes.values_mut() {
            lane.changes.retain(|c| changes.binary_search(c).is_err());
        }
        self.lanes.retain(|_, lane| !lane.changes.is_empty());
    }
}

/// The source stamps for `changes` (in the order of their numbers): one for each codebase, at its newest
/// change, with all changes of that codebase in it.
#[must_use]
pub fn stamps(changes: &[Change]) -> Vec<SourceStamp> {
    let mut stamps: BTreeMap<&str, SourceStamp> = BTreeMap::new();
    for change in changes {
        let stamp = stamps.entry(&change.codebase).or_default();
        *stamp = SourceStamp {
            codebase: change.codebase.clone(),
            project: change.project.clone(),
            repository: change.repository.clone(),
            branch: change.branch.clone(),
            revision: change.revision.clone(),
            changes: std::mem::take(&mut stamp.changes),
            patch: None,
        };
        stamp.changes.push(change.id);
    }
    stamps.into_values().collect()
}

/// The properties that `changes` give their builds; those of newer ones win.
#[must_use]
pub fn properties(changes: &[Change]) -> Properties {
    let mut all = Properties::default();
    changes.iter().for_each(|change| all.extend(&change.properties));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn change(id: u64, branch: &str, repository: &str, codebase: &str) -> Change {
        Change {
            id: ChangeId(id),
            author: "ana".to_owned(),
            committer: None,
            comments: String::new(),
            codebase: codebase.to_owned(),
            project: String::new(),
            repository: repository.to_owned(),
            branch: Some(branch.to_owned()),
            revision: Some(format!("r{id}")),
            category: None,
            revlink: None,
            files: Vec::new(),
            when: Timestamp(id),
            properties: Properties::default(),
        }
    }

    fn ids(ids: &[u64]) -> Vec<ChangeId> {
        ids.iter().copied().map(ChangeId).collect()
    }

    #[test]
    fn each_change_puts_its_own_branch_off_and_no_other() {
        let mut timers = TreeTimers::default();
        timers.wait(&change(1, "main", "r", ""), Timestamp(100));
        timers.wait(&change(2, "dev", "r", ""), Timestamp(110));
        timers.wait(&change(3, "main", "r", ""), Timestamp(150));
        assert_eq!(timers.next(), Some(Timestamp(110)));
        assert_eq!(timers.due(Timestamp(109)), Vec::<Vec<ChangeId>>::new());
        assert_eq!(timers.due(Timestamp(149)), [ids(&[2])]);
        assert_eq!(timers.due(Timestamp(150)), [ids(&[2]), ids(&[1, 3])]);
    }

    #[test]
    fn changes_wait_until_their_buildset_is_durable() {
        let mut timers = TreeTimers::default();
        timers.wait(&change(1, "main", "r", ""), Timestamp(100));
        let due = timers.due(Timestamp(100));
        assert_eq!(timers.due(Timestamp(100)), due);
        timers.done(&due[0]);
        assert!(timers.is_empty());
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn what_waited_before_a_restart_fires_when_its_newest_change_says() {
        let mut timers = TreeTimers::default();
        timers.wait(&change(2, "main", "r", ""), Timestamp(200));
        timers.wait(&change(1, "main", "r", ""), Timestamp(100));
        assert_eq!(timers.due(Timestamp(199)), Vec::<Vec<ChangeId>>::new());
        assert_eq!(timers.due(Timestamp(200)), [ids(&[1, 2])]);
    }

    #[test]
    fn codebases_are_built_together_and_repositories_without_one_apart() {
        let mut timers = TreeTimers::default();
        timers.wait(&change(1, "main", "a", ""), Timestamp(1));
        timers.wait(&change(2, "main", "b", ""), Timestamp(1));
        assert_eq!(timers.due(Timestamp(1)).len(), 2);
        let mut timers = TreeTimers::default();
        timers.wait(&change(1, "main", "a", "lib"), Timestamp(1));
        timers.wait(&change(2, "main", "b", "app"), Timestamp(1));
        assert_eq!(timers.due(Timestamp(1)), [ids(&[1, 2])]);
    }

    #[test]
    fn a_stamp_has_the_newest_revision_and_all_changes_of_its_codebase() {
        let stamps = stamps(&[
            change(1, "main", "a", "lib"),
            change(2, "main", "b", "app"),
            change(3, "main", "a", "lib"),
        ]);
        let shown: Vec<_> =
            stamps.iter().map(|s| (s.codebase.as_str(), s.revision.as_deref(), s.changes.clone())).collect();
        assert_eq!(shown, [("app", Some("r2"), ids(&[2])), ("lib", Some("r3"), ids(&[1, 3]))]);
    }

    #[test]
    fn properties_of_newer_changes_win() {
        let (mut old, mut new) = (change(1, "main", "a", ""), change(2, "main", "a", ""));
        old.properties.set("x", Value::Integer(1), "Change");
        old.properties.set("y", Value::Integer(1), "Change");
        new.properties.set("x", Value::Integer(2), "Change");
        let all = properties(&[old, new]);
        assert_eq!(all.get("x"), Some(&Value::Integer(2)));
        assert_eq!(all.get("y"), Some(&Value::Integer(1)));
    }
}
