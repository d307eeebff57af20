//! The part of [`crate::view`] about artifacts.

use serde::{Deserialize, Serialize};
use windlass_core::artifact::{ArtifactKind, ArtifactRow};
use windlass_core::digest::Digest;
use windlass_core::time::Timestamp;

/// A file or tree that a build left with the master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name in the build.
    pub name: String,
    /// A file, or a tree.
    pub kind: ArtifactKind,
    /// The bytes of its contents.
    pub size: u64,
    /// How many files, directories and links it has.
    pub entries: u64,
    /// BLAKE3; of a file, of its contents.
    pub hash: Digest,
    /// Permission bits of a file.
    pub mode: u32,
    /// When the original changed last; none: that was not kept.
    pub modified: Option<Timestamp>,
    /// Since when it is here.
    pub stored: Timestamp,
}

impl Artifact {
    pub(crate) fn of(row: ArtifactRow) -> Artifact {
        let ArtifactRow { name, kind, size, entries, hash, mode, modified_ms, stored, .. } = row;
        Artifact { name, kind, size, entries, hash, mode, modified: modified_ms.map(Timestamp), stored }
    }
}

/// What stands in an artifact that is a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Its path in the tree. Bytes of a name that are not UTF-8 are shown as U+FFFD, and cannot be asked for.
    pub path: String,
    /// `file`, `directory` or `link`.
    pub kind: String,
    /// Of a file.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}
