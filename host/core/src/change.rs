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
}
