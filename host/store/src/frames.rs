//! Frames: a finished log in parts of some 256 KiB, each compressed for itself, so that any line is one index row
//! and one part away. What is here is pure; `archive` puts frames into files.
//!
//! A frame's bytes say whose they are: how many runs, the stream and length of each, then the bytes of the log.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use windlass_core::keeping::Method;
use windlass_core::lines::At;
use windlass_core::value::Origin;

use crate::encode::{Reader, VERSION, damaged, stream, to_stream};
use crate::fault::ReadError;

/// The most bytes of a log in one frame: the most that is unpacked for one line.
pub(crate) const FRAME: usize = 256 << 10;

/// The level of zstd at which it still keeps up with a disk.
const LEVEL: i32 = 3;

/// A part of a finished log: where its bytes lie, and which lines are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) archive: u64,
    /// Its first byte in the archive.
    pub(crate) position: u64,
    /// What it takes there.
    pub(crate) stored: u32,
    pub(crate) method: Method,
    /// Bytes of the log.
    pub(crate) length: u32,
    /// As in pieces.
    pub(crate) at: At,
    pub(crate) first_line: u64,
    pub(crate) lines: u32,
}

pub(crate) fn encode(frame: &Frame) -> [u8; 39] {
    let mut bytes = [0; 39];
    bytes[0] = VERSION;
    bytes[1] = match frame.method {
        Method::None => 0,
        Method::Zstd => 1,
        Method::Gzip => 2,
    };
    bytes[2] = frame.at as u8;
    bytes[3..11].copy_from_slice(&frame.archive.to_le_bytes());
    bytes[11..19].copy_from_slice(&frame.position.to_le_bytes());
    bytes[19..23].copy_from_slice(&frame.stored.to_le_bytes());
    bytes[23..27].copy_from_slice(&frame.length.to_le_bytes());
    bytes[27..35].copy_from_slice(&frame.first_line.to_le_bytes());
    bytes[35..39].copy_from_slice(&frame.lines.to_le_bytes());
    bytes
}

pub(crate) fn decode(key: (u64, u64), bytes: &[u8]) -> Result<Frame, ReadError> {
    let decode = || {
        let mut from = Reader(bytes);
        from.version()?;
        let method = match from.u8()? {
            0 => Method::None,
            1 => Method::Zstd,
            2 => Method::Gzip,
            _ => return None,
        };
        let at = At::from_number(from.u8()?)?;
        let (archive, position) = (from.u64()?, from.u64()?);
        let (stored, length) = (from.u32()?, from.u32()?);
        let (first_line, lines) = (from.u64()?, from.u32()?);
        Some(Frame { archive, position, stored, method, length, at, first_line, lines })
    };
    decode().ok_or_else(|| damaged("log_frames", key))
}

/// Packs runs of a log into the bytes of a frame.
pub(crate) fn pack(runs: &[(Origin, Bytes)], method: Method) -> io::Result<Vec<u8>> {
    let length: usize = runs.iter().map(|(_, data)| data.len()).sum();
    let mut plain = Vec::with_capacity(4 + 5 * runs.len() + length);
    plain.extend_from_slice(&(runs.len() as u32).to_le_bytes());
    for (origin, data) in runs {
        plain.push(stream(*origin));
        plain.extend_from_slice(&(data.len() as u32).to_le_bytes());
    }
    runs.iter().for_each(|(_, data)| plain.extend_from_slice(data));
    match method {
        Method::None => Ok(plain),
        Method::Zstd => {
            let mut packed = (plain.len() as u32).to_le_bytes().to_vec();
            let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
            // Gzip has one anyway.
            compressor.include_checksum(true)?;
            packed.extend(compressor.compress(&plain)?);
            Ok(packed)
        }
        Method::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&plain)?;
            encoder.finish()
        }
    }
}

/// The runs of a frame, as they were packed.
pub(crate) fn unpack(packed: Bytes, method: Method) -> io::Result<Vec<(Origin, Bytes)>> {
    let mut plain = match method {
        Method::None => packed,
        Method::Zstd => {
            let (length, packed) = packed.split_first_chunk::<4>().ok_or_else(no_frame)?;
            // What was packed is little; a length beyond it is no length.
            let length = u32::from_le_bytes(*length) as usize;
            if length > 4 + 6 * FRAME {
                return Err(no_frame());
            }
            zstd::bulk::decompress(packed, length)?.into()
        }
        Method::Gzip => {
            let mut plain = Vec::new();
            let decoder = flate2::read::GzDecoder::new(packed.as_ref());
            decoder.take(4 + 6 * FRAME as u64 + 1).read_to_end(&mut plain)?;
            plain.into()
        }
    };
    let count = plain.try_get_u32_le().map_err(|_| no_frame())? as usize;
    if plain.len() < 5 * count {
        return Err(no_frame());
    }
    let mut heads = plain.split_to(5 * count);
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        let origin = to_stream(heads.get_u8()).ok_or_else(no_frame)?;
        let length = heads.get_u32_le() as usize;
        if plain.len() < length {
            return Err(no_frame());
        }
        runs.push((origin, plain.split_to(length)));
    }
    if plain.is_empty() { Ok(runs) } else { Err(no_frame()) }
}

fn no_frame() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "these bytes are no frame of a log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_come_back() {
        let frame = Frame {
            archive: 1,
            position: 2,
            stored: 3,
            method: Method::Gzip,
            length: 4,
            at: At::Return,
            first_line: 5,
            lines: 6,
        };
        assert_eq!(decode((1, 2), &encode(&frame)).unwrap(), frame);
        assert!(decode((1, 2), &encode(&frame)[..38]).is_err());
    }

    proptest! {
        #[test]
        fn runs_come_back_and_damage_is_found_or_harmless(
            runs in prop::collection::vec((0u8..3, prop::collection::vec(any::<u8>(), 1..40)), 0..6),
            damage in any::<u8>(),
        ) {
            let runs: Vec<_> = runs.into_iter().map(|(o, data)| (to_stream(o).unwrap(), Bytes::from(data))).collect();
            for method in [Method::None, Method::Zstd, Method::Gzip] {
                let mut packed = pack(&runs, method).unwrap();
                prop_assert_eq!(&unpack(packed.clone().into(), method).unwrap(), &runs);
                let at = usize::from(damage) % packed.len();
                packed[at] ^= 1 << (damage % 8);
                unpack(packed.clone().into(), method).ok();
                packed.truncate(at);
                prop_assert!(unpack(packed.into(), method).is_err());
            }
        }
    }
}
