//! Whether the logs of a store agree with themselves: every byte is there once, every index says which lines are
//! where, and every finished log still has the hash that its row says.

use std::collections::BTreeSet;
use std::path::Path;

use redb::ReadableTable;
use windlass_core::digest::Digest;
use windlass_core::id::LogId;
use windlass_core::lines::At;
use windlass_core::record::LogRow;
use windlass_core::value::Origin;

use crate::blocks;
use crate::encode::{self, unpack};
use crate::fault::ReadError;
use crate::frames;
use crate::segments::Files;
use crate::tables::Snapshot;
use crate::verify::Flaws;

/// Reads all logs.
pub(crate) fn logs(snapshot: &Snapshot, folder: &Path, flaws: &mut Flaws) -> Result<(), ReadError> {
    let (mut indexed, mut rows) = (BTreeSet::new(), BTreeSet::new());
    for row in snapshot.logs_by_build()?.iter()? {
        indexed.insert(row?.0.value());
    }
    let mut with_bytes = BTreeSet::new();
    for row in snapshot.logs()?.iter()? {
        let (id, row) = row?;
        let log: LogRow = unpack("logs", id.value(), row.value())?;
        rows.insert((log.build.0, id.value()));
        with_bytes.insert(log.id.0);
        // What is left of one that is being removed means nothing.
        if !log.expired {
            let hash = content(snapshot, folder, log.id, flaws)?;
            if log.hash.is_some_and(|kept| kept != hash) {
                flaws.tell(|| format!("log {} has other bytes than its hash says", log.id.0));
            }
        }
    }
    flaws.same("`logs_by_build`", &indexed, &rows);
    places(snapshot, &with_bytes, flaws)
}

/// Goes over all bytes of a log; answers the hash of those that are no headers.
fn content(snapshot: &Snapshot, folder: &Path, log: LogId, flaws: &mut Flaws) -> Result<Digest, ReadError> {
    let mut hash = blake3::Hasher::new();
    let (mut offset, mut begun, mut at, mut last) = (0, 0, At::Begin, None);
    let (mut old, mut files) = (false, Files::new(folder));
    while let Some(block) = blocks::at(snapshot, log, offset)? {
        if block.offset != offset {
            flaws.tell(|| format!("log {} has an overlap at {offset}", log.0));
        }
        for (run, (origin, data)) in block.read(&mut files, 0, block.length)?.into_iter().enumerate() {
            if last.replace(origin).is_some_and(|last| last != origin) {
                at = At::Begin;
            }
            let before = at;
            begun += at.count(&data[..1]);
            if run == 0 && !old {
                // Pieces of format 2 count newlines, and do not say where they stand.
                old = block.at == At::In && before != At::In;
                if !old && (block.at != before || block.first_line + 1 != begun) {
                    flaws.tell(|| format!("log {} has other lines at {offset} than its index says", log.0));
                }
            }
            begun += at.count(&data[1..]);
            if origin != Origin::Header {
                hash.update(&data);
            }
        }
        offset = block.end();
    }
    if blocks::last(snapshot, log)?.is_some_and(|last| last.end() != offset) {
        flaws.tell(|| format!("log {} has a gap at {offset}", log.0));
    }
    Ok(Digest::from_bytes(*hash.finalize().as_bytes()))
}

/// Every piece and frame lies within what is committed, and is of a log that is there.
fn places(snapshot: &Snapshot, logs: &BTreeSet<u64>, flaws: &mut Flaws) -> Result<(), ReadError> {
    let segments = snapshot.segments()?;
    for row in snapshot.log_pieces()?.iter()? {
        let (key, row) = row?;
        let piece = encode::to_piece(key.value(), row.value())?;
        let end = piece.position + u64::from(piece.length);
        let log = key.value().0;
        if segments.get(piece.segment)?.is_none_or(|segment| segment.value().0 < end) {
            flaws.tell(|| format!("log {log} has bytes beyond the end of segment {}", piece.segment));
        }
    }
    let archives = snapshot.archives()?;
    let mut archived = BTreeSet::new();
    for row in snapshot.log_frames()?.iter()? {
        let (key, row) = row?;
        let frame = frames::decode(key.value(), row.value())?;
        let end = frame.position + u64::from(frame.stored);
        let log = key.value().0;
        if archives.get(frame.archive)?.is_none_or(|archive| archive.value().0 < end) {
            flaws.tell(|| format!("log {log} has bytes beyond the end of archive {}", frame.archive));
        }
        if !logs.contains(&log) {
            flaws.tell(|| format!("log {log} has bytes in the archive and no row"));
        }
        archived.insert((frame.archive, log));
    }
    let mut indexed = BTreeSet::new();
    for row in snapshot.archive_logs()?.iter()? {
        indexed.insert(row?.0.value());
    }
    flaws.same("`archive_logs`", &indexed, &archived);
    Ok(())
}
