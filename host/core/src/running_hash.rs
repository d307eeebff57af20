//! A BLAKE3 that can be put down and gone on with: what it holds is plain data.
//!
//! The library's own hasher keeps its state to itself. The tree of BLAKE3 is public: whole blocks have values of their
//! own, two neighbours of one height make the next height, and what is begun is at most one block.

use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A power of two of the tree's chunks: enough for the library to hash several at a time.
const BLOCK: usize = 16 * 1024;

/// The hash of all that came so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningHash {
    /// Of whole subtrees, the largest first. What follows them is not empty.
    subtrees: Vec<Digest>,
    /// How many blocks they have in all.
    blocks: u64,
    /// At most one block.
    begun: Vec<u8>,
}

/// What of a hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldHash {
    subtrees: Vec<Digest>,
    blocks: u64,
    begun: Bytes,
}

impl RunningHash {
    /// Takes what comes next.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.begun.len() == BLOCK {
                let whole = self.block(&self.begun);
                self.begun.clear();
                self.close(whole);
            }
            // Whole blocks are hashed where they lie: only what may be the last one is kept.
            if self.begun.is_empty() && data.len() > BLOCK {
                let (block, rest) = data.split_at(BLOCK);
                self.close(self.block(block));
                data = rest;
                continue;
            }
            let taken = data.len().min(BLOCK - self.begun.len());
            self.begun.extend_from_slice(&data[..taken]);
            data = &data[taken..];
        }
    }

    /// Of all that came.
    #[must_use]
    pub fn finish(&self) -> Digest {
        let mut subtrees = self.subtrees.iter();
        let Some(first) = subtrees.next() else { return Digest::of(&self.begun) };
        let right = subtrees.rev().fold(self.block(&self.begun), |right, left| {
            merge_subtrees_non_root(left.as_bytes(), &right, Mode::Hash)
        });
        Digest::from_bytes(*merge_subtrees_root(first.as_bytes(), &right, Mode::Hash).as_bytes())
    }

    /// Puts it down.
    #[must_use]
    pub fn held(&self) -> HeldHash {
        let RunningHash { subtrees, blocks, begun } = self.clone();
        HeldHash { subtrees, blocks, begun: begun.into() }
    }

    /// A whole block that something follows: it is a subtree, and may complete others.
    fn close(&mut self, mut whole: [u8; 32]) {
        self.blocks += 1;
        for _ in 0..self.blocks.trailing_zeros() {
            let left = self.subtrees.pop().expect("BUG: a subtree without its neighbour");
            whole = merge_subtrees_non_root(left.as_bytes(), &whole, Mode::Hash);
        }
        self.subtrees.push(Digest::from_bytes(whole));
    }

    /// The next one, as part of something longer.
    fn block(&self, bytes: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(self.blocks * BLOCK as u64).update(bytes).finalize_non_root()
    }
}

impl From<HeldHash> for RunningHash {
    fn from(HeldHash { subtrees, blocks, begun }: HeldHash) -> RunningHash {
        RunningHash { subtrees, blocks, begun: begun.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_usual_hash_wherever_it_was_put_down() {
        let data: Vec<u8> = (0..9 * BLOCK + 77).map(|at| (at * 31 + at / 251) as u8).collect();
        for length in [0, 1, 1024, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK, data.len()] {
            for piece in [1000, BLOCK, 3 * BLOCK + 1] {
                let mut hash = RunningHash::default();
                for data in data[..length].chunks(piece) {
                    hash.update(data);
                    hash = hash.held().into();
                }
                assert_eq!(hash.finish(), Digest::of(&data[..length]), "{length} in {piece}");
            }
        }
    }
}
