//! Changes to source repositories, the source stamps made of them, and filters over them.

use serde::{Deserialize, Serialize};

use crate::id::ChangeId;
use crate::properties::Properties;
use crate::time::Timestamp;

/// One commit, as a change source reported it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its number.
    pub id: ChangeId,
    /// Who wrote it.
    pub author: String,
    /// Who committed it, where known apart from the author.
    pub committer: Option<String>,
    /// The commit message.
    pub comments: String,
    /// Which codebase of a project it belongs to; the `codebase-generator` says. Empty by default.
    pub codebase: String,
    /// The project; empty where there is only one.
    pub project: String,
    /// Where the source lives: a URL or path that git can clone.
    pub repository: String,
    /// The branch; none: the default one.
    pub branch: Option<String>,
    /// The exact revision.
    pub revision: Option<String>,
    /// A free label for filters.
    pub category: Option<String>,
    /// A page that shows it.
    pub revlink: Option<String>,
    /// Paths that it touches.
    pub files: Vec<String>,
    /// When it was made.
    pub when: Timestamp,
    /// Properties that its builds get.
    pub properties: Properties,
}

/// What to build of one codebase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStamp {
    /// The codebase; empty where there is only one.
    pub codebase: String,
    /// The project.
    pub project: String,
    /// Where the source lives.
    pub repository: String,
    /// The branch; none: the default one.
    pub branch: Option<String>,
    /// The exact revision; none: the newest of the branch.
    pub revision: Option<String>,
    /// The changes in it, oldest first.
    pub changes: Vec<ChangeId>,
    /// A patch upon the revision: bytes of a unified diff and its strip level.
    pub patch: Option<Patch>,
}

/// A patch on a source stamp.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// As of `patch -p`.
    pub level: u32,
    /// A unified diff.
    pub body: Vec<u8>,
    /// Where to apply it, below the source.
    #[serde(default)]
    pub directory: String,
    /// Who sent it.
    #[serde(default)]
    pub author: String,
    /// What they said.
    #[serde(default)]
    pub comment: String,
}

/// Which changes a scheduler cares about. Empty: all. Else each list that is not empty must contain
/// the change's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeFilter {
    /// Branches; a change without one counts as the empty name.
    pub branches: Vec<String>,
    /// Repositories.
    pub repositories: Vec<String>,
    /// Projects.
    pub projects: Vec<String>,
    /// Categories; a change without one counts as the empty name.
    pub categories: Vec<String>,
    /// Codebases.
    pub codebases: Vec<String>,
}

impl ChangeFilter {
    /// Whether `change` passes: every list that is not empty contains the change's value.
    #[must_use]
    pub fn matches(&self, change: &Change) -> bool {
        let pass = |wanted: &[String], value: &str| wanted.is_empty() || wanted.iter().any(|w| w == value);
        pass(&self.branches, change.branch.as_deref().unwrap_or_default())
            && pass(&self.repositories, &change.repository)
            && pass(&self.projects, &change.project)
            && pass(&self.categories, change.category.as_deref().unwrap_or_default())
            && pass(&self.codebases, &change.codebase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        Change {
            id: ChangeId(1),
            author: "ana".to_owned(),
            committer: None,
            comments: String::new(),
            codebase: "lib".to_owned(),
            project: "p".to_owned(),
            repository: "r".to_owned(),
            branch: Some("main".to_owned()),
            revision: None,
            category: None,
            revlink: None,
            files: Vec::new(),
            when: Timestamp(0),
            properties: Properties::default(),
        }
    }

    fn check(passes: bool, set: impl FnOnce(&mut ChangeFilter)) {
        let mut filter = ChangeFilter::default();
        set(&mut filter);
        assert_eq!(filter.matches(&change()), passes, "{filter:?}");
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn every_list_that_is_not_empty_must_contain_the_value() {
        check(true, |_| ());
        check(true, |f| f.branches = list(&["dev", "main"]));
        check(false, |f| f.branches = list(&["dev"]));
        check(false, |f| (f.branches, f.projects) = (list(&["main"]), list(&["q"])));
        check(true, |f| (f.repositories, f.codebases) = (list(&["r"]), list(&["lib"])));
        check(false, |f| f.codebases = list(&[""]));
    }

    #[test]
    fn what_a_change_lacks_counts_as_the_empty_name() {
        check(true, |f| f.categories = list(&[""]));
        check(false, |f| f.categories = list(&["nightly"]));
        let mut without = change();
        without.branch = None;
        assert!(ChangeFilter { branches: list(&[""]), ..Default::default() }.matches(&without));
    }
}
