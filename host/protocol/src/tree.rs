//! A directory as a stream of entries, for a transfer: each a length, a header and, for a file, its contents
//! in blocks, so that a file that grows while it is read does no harm. A length of 0 ends the stream.
//!
//! The reader trusts nobody. A path stays below the tree: relative, without `..`. A link may begin with `..`
//! as often as it lies deep, and nowhere else have one: then it leads to something within the tree, whatever
//! links stand on the way, as long as no entry stands behind a link. What is neither a file nor a directory
//! nor a link has no name in this format.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The most bytes of a path, as Linux has it.
pub const MAX_PATH: usize = 4_096;

/// How deep a tree may be.
pub const MAX_DEPTH: usize = 256;

/// The most entries of a tree.
pub const MAX_ENTRIES: u64 = 1_000_000;

/// The most bytes of a header: two paths and a little.
const MAX_HEADER: usize = 3 * MAX_PATH;

/// The most bytes of a block of contents.
pub const MAX_BLOCK: usize = 1024 * 1024;

/// A path within a tree, and what stands there. A directory comes before what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// With `/`; its names are bytes, as Linux has them.
    pub path: Bytes,
    /// What it is.
    pub what: What,
    /// Permission bits; of a link they mean nothing.
    pub mode: u32,
    /// When its contents changed last, in milliseconds since 1970; none: that is not kept.
    pub modified_ms: Option<u64>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A regular file; its contents follow.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Link(Bytes),
}

/// Why a stream is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TreeError {
    #[error("a header of {0} bytes is longer than any can be")]
    LongHeader(usize),
    #[error("a header that cannot be read: {0}")]
    Header(String),
    #[error("a block of {0} bytes is longer than {MAX_BLOCK}")]
    LongBlock(usize),
    #[error("`{path}` {why}")]
    Path { path: String, why: &'static str },
    #[error("more than {MAX_ENTRIES} entries")]
    TooMany,
    #[error("something follows the end of the tree")]
    AfterEnd,
    #[error("the tree breaks off in the middle")]
    BrokenOff,
}

/// The bytes of an entry, before its contents.
#[must_use]
pub fn header(entry: &Entry) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    rmp_serde::encode::write_named(&mut bytes, entry).expect("entries are plain data, and memory takes them");
    let length = u32::try_from(bytes.len() - 4).expect("paths are short");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// What stands before a block of contents; a length of 0 ends them.
#[must_use]
pub fn block(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("a block has at most MAX_BLOCK").to_le_bytes()
}

/// What ends a stream.
pub const END: [u8; 4] = [0; 4];

/// What a reader finds in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// An entry, checked. If it is a file, contents follow, and then `FileEnd`.
    Entry(Entry),
    /// Contents of the file that was begun.
    Data(&'a [u8]),
    /// All of the file was there.
    FileEnd,
}

/// Reads a stream that comes in pieces of any size.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    /// A length or a header that has not come whole yet.
    held: Vec<u8>,
    entries: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    EntryLength,
    Header(usize),
    BlockLength,
    Block(usize),
    Ended,
}

impl Reader {
    /// Takes the next piece; `each` gets what is in it, in order.
    pub fn push<E: From<TreeError>>(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !piece.is_empty() {
            match self.state {
                State::EntryLength => {
                    let Some(length) = self.length(&mut piece) else { break };
                    self.state = match length {
                        0 => State::Ended,
                        _ if length > MAX_HEADER => return Err(TreeError::LongHeader(length).into()),
                        _ => State::Header(length),
                    };
                }
                State::Header(length) => {
                    if !self.hold(&mut piece, length) {
                        break;
                    }
                    let entry: Entry = rmp_serde::from_slice(&self.held)
                        .map_err(|error| TreeError::Header(error.to_string()))?;
                    self.held.clear();
                    self.entries += 1;
                    if self.entries > MAX_ENTRIES {
                        return Err(TreeError::TooMany.into());
                    }
                    check(&entry)?;
                    self.state =
                        if entry.what == What::File { State::BlockLength } else { State::EntryLength };
                    each(Found::Entry(entry))?;
                }
                State::BlockLength => {
                    let Some(length) = self.length(&mut piece) else { break };
                    self.state = match length {
                        0 => {
                            each(Found::FileEnd)?;
                            State::EntryLength
                        }
                        _ if length > MAX_BLOCK => return Err(TreeError::LongBlock(length).into()),
                        _ => State::Block(length),
                    };
                }
                State::Block(left) => {
                    let (data, rest) = piece.split_at(left.min(piece.len()));
                    piece = rest;
                    let left = left - data.len();
                    self.state = if left == 0 { State::BlockLength } else { State::Block(left) };
                    each(Found::Data(data))?;
                }
                State::Ended => return Err(TreeError::AfterEnd.into()),
            }
        }
        Ok(())
    }

    /// Whether all of the stream was there.
    pub fn finish(&self) -> Result<u64, TreeError> {
        if self.state == State::Ended { Ok(self.entries) } else { Err(TreeError::BrokenOff) }
    }

    /// Collects `wanted` bytes; false: there are not so many yet.
    fn hold(&mut self, piece: &mut &[u8], wanted: usize) -> bool {
        let (more, rest) = piece.split_at((wanted - self.held.len()).min(piece.len()));
        self.held.extend_from_slice(more);
        *piece = rest;
        self.held.len() == wanted
    }

    fn length(&mut self, piece: &mut &[u8]) -> Option<usize> {
        if !self.hold(piece, 4) {
            return None;
        }
        let bytes: [u8; 4] = self.held.as_slice().try_into().expect("four were collected");
        self.held.clear();
        Some(u32::from_le_bytes(bytes) as usize)
    }
}

fn check(entry: &Entry) -> Result<(), TreeError> {
    let refused = |why| Err(TreeError::Path { path: shown(&entry.path), why });
    let names = match names(&entry.path) {
        Ok(names) => names,
        Err(why) => return refused(why),
    };
    if let What::Link(target) = &entry.what {
        let mut ups = 0;
        let mut below = false;
        if target.is_empty() || target.len() > MAX_PATH || target.contains(&0) {
            return refused("is a link to nothing that can be");
        }
        if target.starts_with(b"/") {
            return refused("is a link out of the tree: its target is absolute");
        }
        for name in target.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." if below => {
                    return refused("is a link with `..` behind a name, which may lead anywhere");
                }
                b".." => ups += 1,
                _ => below = true,
            }
        }
        if ups >= names.len() {
            return refused("is a link out of the tree");
        }
    }
    Ok(())
}

/// The names of a path, if it can be one below a directory.
pub fn names(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    if path.is_empty() || path.len() > MAX_PATH {
        return Err("has no length that a path can have");
    }
    if path.contains(&0) {
        return Err("has a NUL in it");
    }
    if path.starts_with(b"/") {
        return Err("is absolute");
    }
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    if names.len() > MAX_DEPTH {
        return Err("lies too deep");
    }
    match names.iter().copied().find(|name| matches!(*name, b"" | b"." | b"..")) {
        Some(b"..") => Err("contains `..`"),
        Some(_) => Err("has an empty name in it, or `.`"),
        None => Ok(names),
    }
}

/// A path as a message shows it.
#[must_use]
pub fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &str, what: What) -> Entry {
        Entry { path: Bytes::from(path.to_owned()), what, mode: 0o644, modified_ms: Some(7) }
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, What::Link(Bytes::from(target.to_owned())))
    }

    fn stream(parts: &[(Entry, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (entry, contents) in parts {
            bytes.extend(header(entry));
            if entry.what == What::File {
                for piece in contents.chunks(3) {
                    bytes.extend(block(piece.len()));
                    bytes.extend_from_slice(piece);
                }
                bytes.extend(END);
            }
        }
        bytes.extend(END);
        bytes
    }

    /// All entries with their contents, from pieces of `size` bytes.
    fn read(bytes: &[u8], size: usize) -> Result<Vec<(Entry, Vec<u8>)>, TreeError> {
        let (mut reader, mut read) = (Reader::default(), Vec::<(Entry, Vec<u8>)>::new());
        for piece in bytes.chunks(size) {
            reader.push(piece, |found| -> Result<(), TreeError> {
                match found {
                    Found::Entry(entry) => read.push((entry, Vec::new())),
                    Found::Data(data) => read.last_mut().unwrap().1.extend_from_slice(data),
                    Found::FileEnd => {}
                }
                Ok(())
            })?;
        }
        reader.finish()?;
        Ok(read)
    }

    proptest! {
        #[test]
        fn a_tree_reads_back_in_pieces_of_any_size(contents in prop::collection::vec(any::<u8>(), 0..50), size in 1_usize..70) {
            let parts = [
                (entry("d", What::Directory), &[][..]),
                (entry("d/file", What::File), &contents[..]),
                (link("d/link", "../d/file"), &[]),
                (entry("empty", What::File), &[]),
            ];
            let expected: Vec<_> = parts.iter().map(|(entry, data)| (entry.clone(), data.to_vec())).collect();
            prop_assert_eq!(read(&stream(&parts), size).unwrap(), expected);
        }
    }

    #[test]
    fn what_leads_out_of_the_tree_is_refused() {
        let refused = |entry: Entry| matches!(read(&stream(&[(entry, b"")]), 9), Err(TreeError::Path { .. }));
        for path in ["/etc/passwd", "..", "../x", "a/../../x", "a//b", "./a", "", "a/", "nul\0"] {
            assert!(refused(entry(path, What::File)), "{path:?}");
        }
        for (path, target) in [
            ("l", "/etc"),
            ("l", ".."),
            ("l", "../x"),
            ("a/l", "../.."),
            ("a/l", "../../x"),
            ("a/b/l", "x/.."),
            ("l", "x/../.."),
            ("l", ""),
        ] {
            assert!(refused(link(path, target)), "{path} -> {target}");
        }
        for (path, target) in [("l", "x"), ("a/l", "../x"), ("a/b/l", "../.."), ("l", "./x/y/")] {
            assert!(!refused(link(path, target)), "{path} -> {target}");
        }
        let deep = vec!["d"; MAX_DEPTH + 1].join("/");
        assert!(refused(entry(&deep, What::File)));
    }

    #[test]
    fn a_stream_that_is_none_is_refused() {
        let whole = stream(&[(entry("f", What::File), b"0123456789")]);
        assert_eq!(read(&whole[..whole.len() - 1], 5), Err(TreeError::BrokenOff));
        assert_eq!(read(&[&whole[..], b"x"].concat(), 500), Err(TreeError::AfterEnd));
        assert_eq!(read(&[255; 8], 8), Err(TreeError::LongHeader(u32::MAX as usize)));
        assert!(matches!(read(&[2, 0, 0, 0, 0xc1, 0xc1], 8), Err(TreeError::Header(_))));
        let mut long = header(&entry("f", What::File));
        long.extend(u32::MAX.to_le_bytes());
        assert_eq!(read(&long, 50), Err(TreeError::LongBlock(u32::MAX as usize)));
    }
}
