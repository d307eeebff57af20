//! Artifacts: files and trees that a build leaves with its master, by name.
//!
//! Their bytes lie in the store's folder under numbers, never under names, so that no name can lead
//! anywhere. A name is for people, URLs and command lines.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{ArtifactId, BuildId, StepId};
use crate::time::Timestamp;

/// The most bytes of a name.
pub const MAX_NAME: usize = 200;

/// An artifact of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRow {
    /// Its number; its bytes lie under it.
    pub id: ArtifactId,
    /// The build.
    pub build: BuildId,
    /// The step that made it.
    pub step: StepId,
    /// Its name, unique in the build: one that comes again takes the place of the first.
    pub name: String,
    /// A file, or a tree of them.
    pub kind: ArtifactKind,
    /// The bytes of its contents.
    pub size: u64,
    /// How many files, directories and links it consists of.
    pub entries: u64,
    /// BLAKE3: of the contents of a file; of a tree, over the stream of entries that came.
    pub hash: Digest,
    /// Permission bits of a file.
    pub mode: u32,
    /// When the original changed last, in milliseconds since 1970; none: that was not kept.
    pub modified_ms: Option<u64>,
    /// Since when it is here.
    pub stored: Timestamp,
}

/// A file or a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ArtifactKind {
    File,
    Tree,
}

/// How large artifacts may be, and how long they are kept. Those of builds that run stay in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// What all together may take; the oldest go first. None: what the disk has.
    pub max_bytes: Option<u64>,
    /// What one may have. None: what all together may take.
    pub max_artifact_bytes: Option<u64>,
    /// How old one may be, in milliseconds. None: any age.
    pub max_age_ms: Option<u64>,
    /// None is taken while the disk has fewer bytes free than that.
    #[serde(default)]
    pub keep_free: u64,
}

impl Keep {
    /// Whether one has to go: all that are kept have `held` bytes, and it was stored at this moment.
    #[must_use]
    pub fn is_over(&self, held: u64, stored: Timestamp, now: Timestamp) -> bool {
        let too_many = self.max_bytes.is_some_and(|most| held > most);
        let too_old = self.max_age_ms.is_some_and(|most| stored.plus_ms(most) < now);
        too_many || too_old
    }

    /// What an artifact may have whose step takes `asked` bytes at the most. One that is larger than all may be
    /// together would only be taken to be dropped.
    #[must_use]
    pub fn limit(&self, asked: u64) -> Limit {
        let limits = [
            (self.max_bytes, LimitedBy::MaxBytes),
            (self.max_artifact_bytes, LimitedBy::MaxArtifactBytes),
            (Some(asked), LimitedBy::Step),
        ];
        let given = limits.into_iter().filter_map(|(bytes, by)| Some(Limit { bytes: bytes?, by }));
        given.min_by_key(|limit| limit.bytes).expect("the step's is always there")
    }
}

/// How many bytes an artifact may have, and who says so. It shows itself as what a larger one exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// More than that is refused.
    pub bytes: u64,
    /// Whom to ask for more.
    pub by: LimitedBy,
}

/// Who limits an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// The step that makes it.
    Step,
    /// [`Keep::max_artifact_bytes`].
    MaxArtifactBytes,
    /// [`Keep::max_bytes`].
    MaxBytes,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { bytes, by } = self;
        match by {
            LimitedBy::Step => write!(f, "the {bytes} bytes that its step takes"),
            LimitedBy::MaxArtifactBytes => {
                write!(f, "the {bytes} bytes of `max_artifact_bytes` in the master's `[artifacts]`")
            }
            LimitedBy::MaxBytes => {
                write!(f, "the {bytes} bytes of `max_bytes` in the master's `[artifacts]`")
            }
        }
    }
}

/// Checks a name: parts between `/` that say what they are, none of them `.` or `..`. The error says what is
/// wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("`{}` cannot name an artifact: {why}", name.escape_debug()));
    if name.is_empty() || name.len() > MAX_NAME {
        return refused(&format!("a name has 1 to {MAX_NAME} bytes"));
    }
    let misleads = |c: char| {
        c.is_control()
            || matches!(c, '\\' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if name.chars().any(misleads) {
        return refused("it has a character in it that does not show, or `\\`");
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refused("its parts between `/` are neither empty nor `.` nor `..`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_is_and_leads_nowhere() {
        for name in ["a", "dist/app-1.0.tar.gz", ".coverage", "with space", "größe", "..a", "a.."] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        for name in
            ["", "/", "/etc/passwd", "a/", "a//b", "..", "a/../b", ".", "a\\b", "a\nb", "a\u{202e}b", &long]
        {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_is_too_old_or_too_much_goes() {
        let keep = Keep { max_bytes: Some(10), max_age_ms: Some(5), ..Keep::default() };
        assert!(!keep.is_over(10, Timestamp(7), Timestamp(12)));
        assert!(keep.is_over(11, Timestamp(7), Timestamp(12)));
        assert!(keep.is_over(1, Timestamp(7), Timestamp(13)));
        assert!(!Keep::default().is_over(u64::MAX, Timestamp(0), Timestamp(u64::MAX)));
    }

    #[test]
    fn the_smallest_limit_holds_and_says_whose_it_is() {
        let said = |max_bytes, max_artifact_bytes, asked| {
            Keep { max_bytes, max_artifact_bytes, ..Keep::default() }.limit(asked).to_string()
        };
        assert_eq!(said(Some(9), Some(5), 4), "the 4 bytes that its step takes");
        assert_eq!(
            said(Some(9), Some(5), 7),
            "the 5 bytes of `max_artifact_bytes` in the master's `[artifacts]`"
        );
        assert_eq!(said(Some(9), None, 10), "the 9 bytes of `max_bytes` in the master's `[artifacts]`");
        assert_eq!(Keep::default().limit(u64::MAX), Limit { bytes: u64::MAX, by: LimitedBy::Step });
    }
}
