//! What waits to be claimed, in the default order: an index answers, so that the cost is what is answered.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use redb::ReadableTable;
use windlass_core::id::{BuildsetId, RequestId};
use windlass_core::request::{Buildset, Request, Turn};

use crate::Store;
use crate::encode::{self, unpack};
use crate::fault::{ReadError, missing};
use crate::tables::Snapshot;

/// Requests that wait, each with its buildset; requests of one buildset share it.
pub type Pending = Vec<(Request, Arc<Buildset>)>;

impl Store {
    /// Returns the first `limit` requests that wait for `builder`, from the turn after `after`.
    pub fn pending_after(
        &self,
        builder: &str,
        after: Option<Turn>,
        limit: usize,
    ) -> Result<Pending, ReadError> {
        Reader::new(&self.snapshot()?)?.after(builder, after, limit)
    }

    /// Returns, for each builder that has any, the first `limit` requests that wait for it.
    pub fn pending_heads(&self, limit: usize) -> Result<BTreeMap<String, Pending>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut reader = Reader::new(&snapshot)?;
        let counts = counts(&snapshot)?;
        counts
            .into_keys()
            .map(|builder| {
                let head = reader.after(&builder, None, limit)?;
                Ok((builder, head))
            })
            .collect()
    }

    /// Returns how many requests of its builder come before this one by the default order, at most `limit`.
    pub fn pending_before(&self, request: &Request, limit: usize) -> Result<usize, ReadError> {
        let builder = request.builder.as_str();
        let end = encode::turn(builder, Turn::of(request));
        let snapshot = self.snapshot()?;
        let mut count = 0;
        for row in snapshot.pending()?.range::<(&str, u32, u64, u64)>((builder, 0, 0, 0)..end)?.take(limit) {
            row?;
            count += 1;
        }
        Ok(count)
    }

    /// Returns how many requests wait for each builder that has any.
    pub fn pending_counts(&self) -> Result<BTreeMap<String, u64>, ReadError> {
        counts(&self.snapshot()?)
    }
}

fn counts(snapshot: &Snapshot) -> Result<BTreeMap<String, u64>, ReadError> {
    let mut counts = BTreeMap::new();
    for row in snapshot.pending_counts()?.iter()? {
        let (builder, count) = row?;
        counts.insert(builder.value().to_owned(), count.value());
    }
    Ok(counts)
}

/// The tables that are read, open, and the buildsets met so far.
struct Reader {
    pending: redb::ReadOnlyTable<(&'static str, u32, u64, u64), ()>,
    waiting: redb::ReadOnlyTable<u64, &'static [u8]>,
    buildsets: redb::ReadOnlyTable<u64, &'static [u8]>,
    known: BTreeMap<BuildsetId, Arc<Buildset>>,
}

impl Reader {
    fn new(snapshot: &Snapshot) -> Result<Reader, ReadError> {
        let (pending, waiting, buildsets) = (snapshot.pending()?, snapshot.waiting()?, snapshot.buildsets()?);
        Ok(Reader { pending, waiting, buildsets, known: BTreeMap::new() })
    }

    fn after(&mut self, builder: &str, after: Option<Turn>, limit: usize) -> Result<Pending, ReadError> {
        let from = match after {
            Some(turn) => Bound::Excluded(encode::turn(builder, turn)),
            None => Bound::Included((builder, 0, 0, 0)),
        };
        let to = Bound::Included((builder, u32::MAX, u64::MAX, u64::MAX));
        let mut found = Vec::new();
        for row in self.pending.range::<(&str, u32, u64, u64)>((from, to))?.take(limit) {
            let id = RequestId(row?.0.value().3);
            let request = self.waiting.get(id.0)?.ok_or_else(|| missing("waiting", id.0))?;
            let request = encode::to_request("waiting", id.0, request.value())?;
            // A request that waits belongs to a buildset that is not complete: its row says all.
            let buildset = match self.known.entry(request.buildset) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(new) => {
                    let id = request.buildset.0;
                    let row = self.buildsets.get(id)?.ok_or_else(|| missing("buildsets", id))?;
                    new.insert(Arc::new(unpack("buildsets", id, row.value())?)).clone()
                }
            };
            found.push((request, buildset));
        }
        Ok(found)
    }
}
