//! Files under way: what the messages of a transfer hold, and how much of one may be unacknowledged.
//!
//! A transfer is a stream of numbered parts from one side to the other, kept by its sender in an
//! [`crate::session::Outbox`] until the receiver has written them, and so resumed on the next link without
//! a gap or a repetition. The last part names the length and the hash of what was sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use windlass_core::digest::Digest;

/// The feature of a link on which transfers are understood.
pub const FEATURE: &str = "transfer";

/// The most bytes of one part.
pub const PART: usize = 32 * 1024;

/// What a part counts for in the window beside its bytes.
pub const PART_OVERHEAD: usize = 64;

/// How many bytes of a transfer may be sent and not written: what either side holds of it in memory.
pub const WINDOW: usize = 2 * 1024 * 1024;

/// How many transfers of one worker are under way at once; others wait for their turn. A master lets
/// through twice as many, since the end of one and the beginning of the next may cross.
pub const AT_ONCE: usize = 4;

/// A receiver says how far it is after so many bytes, and at the end.
pub const ACKNOWLEDGE: usize = 256 * 1024;

/// The failure of a transfer that goes on from its first byte alone: who began it is gone. It is begun again, under
/// another name and with the same token.
pub const BEGIN_AGAIN: &str = "begin-again";

/// Names one transfer for ever: the command that asked for it, a start of its worker, and a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransferId(pub String);

/// What a worker is about to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// A tree is a stream of entries: [`crate::tree`].
    pub kind: SentKind,
    /// Permission bits of a file.
    pub mode: u32,
    /// When its contents changed last, in milliseconds since 1970; none: that is not kept.
    pub modified_ms: Option<u64>,
    /// What the parts are compressed with.
    pub compression: Option<Compression>,
}

/// A file or a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum SentKind {
    File,
    Tree,
}

/// How parts are compressed while they are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compression {
    Zstd,
    Gzip,
}

impl Compression {
    /// The compression of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Compression> {
        match name {
            "zstd" => Some(Compression::Zstd),
            "gzip" => Some(Compression::Gzip),
            _ => None,
        }
    }
}

/// A numbered part of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Part {
    /// Bytes.
    Data {
        /// At most [`PART`].
        data: Bytes,
    },
    /// The last one.
    End {
        /// How many bytes the receiver has now, before compression.
        bytes: u64,
        /// BLAKE3 of them.
        hash: Digest,
    },
}

impl Part {
    /// What it counts for in the window. An end counts as well: nobody sends many of them for nothing.
    #[must_use]
    pub fn cost(&self) -> usize {
        match self {
            Part::Data { data } => PART_OVERHEAD + data.len(),
            Part::End { .. } => PART_OVERHEAD,
        }
    }
}
