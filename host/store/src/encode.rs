//! Rows as bytes: explicit encodings of what every build touches several times, MessagePack with
//! named fields for the rest. Each begins with a version byte; numbers are little-endian.

use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_core::claim::Progress;
use windlass_core::id::{BuildsetId, Fence, MasterId, RequestId};
use windlass_core::lines::At;
use windlass_core::outcome::Outcome;
use windlass_core::request::{Claim, Completed, Request, Turn};
use windlass_core::time::Timestamp;
use windlass_core::value::Origin;

use crate::fault::ReadError;

pub(crate) const VERSION: u8 = 1;

/// Encodes a row as MessagePack with named fields, so that a field can be added later.
pub(crate) fn pack(row: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.push(VERSION);
    rmp_serde::encode::write_named(&mut bytes, row).expect("rows are plain data, and memory takes them");
    bytes
}

/// Encodes a row as MessagePack without the names of its fields: a new field goes behind all others, and has
/// a default. For what there is much of.
pub(crate) fn pack_lean(row: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.push(VERSION);
    rmp_serde::encode::write(&mut bytes, row).expect("rows are plain data, and memory takes them");
    bytes
}

/// Decodes what [`pack`] or [`pack_lean`] encoded.
pub(crate) fn unpack<T: DeserializeOwned>(
    table: &'static str,
    key: impl std::fmt::Debug,
    bytes: &[u8],
) -> Result<T, ReadError> {
    let row = match bytes.split_first() {
        Some((&VERSION, row)) => rmp_serde::from_slice(row).map_err(|error| error.to_string()),
        Some((other, _)) => Err(format!("it has the unknown version {other}")),
        None => Err("it is empty".to_owned()),
    };
    row.map_err(|why| ReadError::Row { table, key: format!("{key:?}"), why })
}

/// Reads the explicit encodings; every read says whether there was enough.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub(crate) fn version(&mut self) -> Option<()> {
        (self.u8()? == VERSION).then_some(())
    }
}

pub(crate) fn damaged(table: &'static str, key: impl std::fmt::Debug) -> ReadError {
    ReadError::Row {
        table,
        key: format!("{key:?}"),
        why: "it does not have the shape of version 1".to_owned(),
    }
}

const WAITED_FOR: u8 = 1;
const CLAIMED: u8 = 2;
const COMPLETE: u8 = 4;

/// Encodes all of a request but its id, which is the key.
pub(crate) fn request(row: &Request) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(80 + row.builder.len());
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    bytes.push(VERSION);
    bytes.push(
        flag(row.waited_for, WAITED_FOR)
            | flag(row.claim.is_some(), CLAIMED)
            | flag(row.complete.is_some(), COMPLETE),
    );
    bytes.extend_from_slice(&row.buildset.0.to_le_bytes());
    bytes.extend_from_slice(&row.priority.to_le_bytes());
    bytes.extend_from_slice(&row.version.to_le_bytes());
    bytes.extend_from_slice(&row.submitted.0.to_le_bytes());
    bytes.extend_from_slice(&row.last_fence.0.to_le_bytes());
    if let Some(claim) = &row.claim {
        bytes.extend_from_slice(&claim.master.0.to_le_bytes());
        bytes.extend_from_slice(&claim.fence.0.to_le_bytes());
        bytes.extend_from_slice(&claim.at.0.to_le_bytes());
    }
    if let Some(complete) = &row.complete {
        bytes.push(complete.outcome.code());
        bytes.extend_from_slice(&complete.at.0.to_le_bytes());
    }
    bytes.extend_from_slice(row.builder.as_bytes());
    bytes
}

/// Decodes what [`request`] encoded.
pub(crate) fn to_request(table: &'static str, id: u64, bytes: &[u8]) -> Result<Request, ReadError> {
    let decode = || {
        let mut from = Reader(bytes);
        from.version()?;
        let flags = from.u8()?;
        Some(Request {
            id: RequestId(id),
            buildset: BuildsetId(from.u64()?),
            priority: i32::from_le_bytes(from.bytes()?),
            version: from.u32()?,
            submitted: Timestamp(from.u64()?),
            waited_for: flags & WAITED_FOR != 0,
            last_fence: Fence(from.u64()?),
            claim: if flags & CLAIMED == 0 {
                None
            } else {
                let (master, fence) = (MasterId(from.u64()?), Fence(from.u64()?));
                Some(Claim { master, fence, at: Timestamp(from.u64()?) })
            },
            complete: if flags & COMPLETE == 0 {
                None
            } else {
                let outcome = Outcome::of_code(from.u8()?)?;
                Some(Completed { outcome, at: Timestamp(from.u64()?) })
            },
            builder: std::str::from_utf8(from.0).ok()?.to_owned(),
        })
    };
    decode().ok_or_else(|| damaged(table, id))
}

/// A request's turn as a key that sorts like it: builder, then priority, the largest first, then age, id.
pub(crate) fn turn(builder: &str, turn: Turn) -> (&str, u32, u64, u64) {
    // With the sign flipped integers sort as bits do; the complement turns them round.
    let rank = !(turn.priority.0.cast_unsigned() ^ (1 << 31));
    (builder, rank, turn.submitted.0, turn.id.0)
}

/// How far a buildset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BuildsetState {
    pub(crate) progress: Progress,
    pub(crate) complete: Option<Completed>,
}

pub(crate) fn buildset_state(state: &BuildsetState) -> [u8; 19] {
    let mut bytes = [0; 19];
    bytes[0] = VERSION;
    bytes[1..9].copy_from_slice(&state.progress.open.to_le_bytes());
    bytes[9] = state.progress.worst.code();
    if let Some(complete) = state.complete {
        bytes[10] = 1;
        bytes[11..19].copy_from_slice(&complete.at.0.to_le_bytes());
    }
    bytes
}

pub(crate) fn to_buildset_state(id: u64, bytes: &[u8]) -> Result<BuildsetState, ReadError> {
    let decode = || {
        let mut from = Reader(bytes);
        from.version()?;
        let progress = Progress { open: from.u64()?, worst: Outcome::of_code(from.u8()?)? };
        let (ended, at) = (from.u8()? == 1, Timestamp(from.u64()?));
        let complete = ended.then_some(Completed { outcome: progress.worst, at });
        Some(BuildsetState { progress, complete })
    };
    decode().ok_or_else(|| damaged("buildset_states", id))
}

/// What a write of a build is checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) fence: Fence,
    pub(crate) requests: Vec<RequestId>,
}

pub(crate) fn live(live: &Live) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&live.fence.0.to_le_bytes());
    live.requests.iter().for_each(|request| bytes.extend_from_slice(&request.0.to_le_bytes()));
    bytes
}

pub(crate) fn to_live(build: u64, bytes: &[u8]) -> Result<Live, ReadError> {
    let decode = || {
        let mut from = Reader(bytes);
        from.version()?;
        let fence = Fence(from.u64()?);
        let mut requests = Vec::with_capacity(from.0.len() / 8);
        while !from.0.is_empty() {
            requests.push(RequestId(from.u64()?));
        }
        Some(Live { fence, requests })
    };
    decode().ok_or_else(|| damaged("live", build))
}

/// Where a piece of a log lies, and which lines begin in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) segment: u64,
    /// Its first byte in the segment.
    pub(crate) position: u64,
    pub(crate) length: u32,
    pub(crate) origin: Origin,
    /// Where its first byte stands within a line; `In` in pieces of format 2.
    pub(crate) at: At,
    /// The line of its first byte.
    pub(crate) first_line: u64,
    /// The line of the byte behind it, as far as it can be told, less `first_line`.
    pub(crate) lines: u32,
}

pub(crate) fn piece(piece: &Piece) -> [u8; 34] {
    let mut bytes = [0; 34];
    bytes[0] = VERSION;
    bytes[1] = stream(piece.origin) | (piece.at as u8) << 2;
    bytes[2..10].copy_from_slice(&piece.segment.to_le_bytes());
    bytes[10..18].copy_from_slice(&piece.position.to_le_bytes());
    bytes[18..22].copy_from_slice(&piece.length.to_le_bytes());
    bytes[22..30].copy_from_slice(&piece.first_line.to_le_bytes());
    bytes[30..34].copy_from_slice(&piece.lines.to_le_bytes());
    bytes
}

pub(crate) fn to_piece(key: (u64, u64), bytes: &[u8]) -> Result<Piece, ReadError> {
    let decode = || {
        let mut from = Reader(bytes);
        from.version()?;
        let kind = from.u8()?;
        let (origin, at) = (to_stream(kind & 3)?, At::from_number(kind >> 2)?);
        let (segment, position) = (from.u64()?, from.u64()?);
        Some(Piece {
            segment,
            position,
            origin,
            at,
            length: from.u32()?,
            first_line: from.u64()?,
            lines: from.u32()?,
        })
    };
    decode().ok_or_else(|| damaged("log_pieces", key))
}

/// The number of a stream.
pub(crate) fn stream(origin: Origin) -> u8 {
    match origin {
        Origin::Stdout => 0,
        Origin::Stderr => 1,
        Origin::Header => 2,
    }
}

pub(crate) fn to_stream(number: u8) -> Option<Origin> {
    match number {
        0 => Some(Origin::Stdout),
        1 => Some(Origin::Stderr),
        2 => Some(Origin::Header),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_back_with_and_without_claim_and_end() {
        let waiting = Request {
            id: RequestId(7),
            buildset: BuildsetId(3),
            builder: "größe".into(),
            priority: -4,
            version: 2,
            submitted: Timestamp(5),
            waited_for: true,
            claim: None,
            last_fence: Fence(9),
            complete: None,
        };
        let claim = Some(Claim { master: MasterId(1), fence: Fence(9), at: Timestamp(6) });
        let held = Request { claim, ..waiting.clone() };
        for outcome in Outcome::ALL {
            let complete = Some(Completed { outcome, at: Timestamp(8) });
            for row in [&waiting, &held, &Request { complete, ..held.clone() }] {
                assert_eq!(&to_request("held", 7, &request(row)).unwrap(), row);
            }
        }
    }

    #[test]
    fn a_short_or_foreign_row_is_an_error_that_names_it() {
        for bytes in [&[][..], &[1], &[9, 0, 0], &[1; 20]] {
            let error = to_request("waiting", 12, bytes).unwrap_err();
            assert!(error.to_string().starts_with("the row 12 of table `waiting` is damaged"), "{error}");
        }
        let error = unpack::<u64>("builds", 4, &[200, 1]).unwrap_err();
        assert!(error.to_string().contains("unknown version 200"), "{error}");
    }

    #[test]
    fn turns_sort_as_their_keys_do() {
        let turn_of = |priority, submitted, id| Turn {
            priority: std::cmp::Reverse(priority),
            submitted: Timestamp(submitted),
            id: RequestId(id),
        };
        let mut turns = Vec::new();
        for priority in [i32::MIN, -7, -1, 0, 1, 300, i32::MAX] {
            turns.extend([turn_of(priority, 2, 1), turn_of(priority, 1, 9), turn_of(priority, 1, 3)]);
        }
        let mut by_key = turns.clone();
        by_key.sort_by_key(|one| turn("b", *one));
        turns.sort();
        assert_eq!(by_key, turns);
    }

    #[test]
    fn the_small_rows_read_back() {
        let progress = Progress { open: 2, worst: Outcome::Warnings };
        let open = BuildsetState { progress, complete: None };
        let complete = Some(Completed { outcome: Outcome::Warnings, at: Timestamp(4) });
        for state in [open, BuildsetState { complete, ..open }] {
            assert_eq!(to_buildset_state(1, &buildset_state(&state)).unwrap(), state);
        }
        let one = Live { fence: Fence(3), requests: vec![RequestId(1), RequestId(2)] };
        assert_eq!(to_live(1, &live(&one)).unwrap(), one);
        let at = Piece {
            segment: 1,
            position: 2,
            length: 3,
            origin: Origin::Header,
            at: At::Column,
            first_line: 4,
            lines: 5,
        };
        assert_eq!(to_piece((1, 2), &piece(&at)).unwrap(), at);
    }
}
