//! What waits to be claimed, in the default order: an index answers, so that the cost is what is answered.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use redb::ReadableTable;
use windlass_core::id::{BuildsetId, RequestId};
use windlass_core::request::{Buildset, Pending, Request, Turn};

use crate::Store;
use crate::encode::{self, unpack};
use crate::fault::{ReadError, missing};
use crate::tables::Snapshot;

impl Store {
    /// Returns the first `limit` requests that wait for `builder`, from the turn after `after`, and how many wait
    /// for it in all at that moment.
    pub fn pending_after(
        &self,
        builder: &str,
        after: Option<Turn>,
        limit: usize,
    ) -> Result<Pending, ReadError> {
        let snapshot = self.snapshot()?;
        let count = snapshot.pending_counts()?.get(builder)?.map_or(0, |count| count.value());
        let rows = Reader::new(&snapshot)?.after(builder, after, limit)?;
        Ok(Pending { rows, count })
    }

    /// Returns, for each builder that has any, the first `limit` requests that wait for it, and how many do; all at
    /// one moment.
    pub fn pending_heads(&self, limit: usize) -> Result<BTreeMap<String, Pending>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut reader = Reader::new(&snapshot)?;
        let head = |(builder, count): (String, u64)| {
            let rows = reader.after(&builder, None, limit)?;
            Ok((builder, Pending { rows, count }))
        };
        counts(&snapshot)?.into_iter().map(head).collect()
    }

    /// Returns those of these requests that wait, each with its buildset.
    pub fn pending(&self, ids: &[RequestId]) -> Result<Vec<(Request, Arc<Buildset>)>, ReadError> {
        let mut reader = Reader::new(&self.snapshot()?)?;
        let found = ids.iter().map(|id| reader.get(*id));
        found.filter_map(Result::transpose).collect()
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

    fn after(
        &mut self,
        builder: &str,
        after: Option<Turn>,
        limit: usize,
    ) -> Result<Vec<(Request, Arc<Buildset>)>, ReadError> {
        let from = match after {
            Some(turn) => Bound::Excluded(encode::turn(builder, turn)),
            None => Bound::Included((builder, 0, 0, 0)),
        };
        let to = Bound::Included((builder, u32::MAX, u64::MAX, u64::MAX));
        let rows = self.pending.range::<(&str, u32, u64, u64)>((from, to))?;
        let mut found = Vec::new();
        for row in rows {
            if found.len() == limit {
                break;
            }
            let id = RequestId(row?.0.value().3);
            match self.get(id).and_then(|request| request.ok_or_else(|| missing("waiting", id.0))) {
                Ok(request) => found.push(request),
                // It is not built, and keeps no other back.
                Err(error @ ReadError::Row { .. }) => {
                    tracing::error!(builder, request = %id, %error, "a request is left out of the line");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// A request, if it waits.
    fn get(&mut self, id: RequestId) -> Result<Option<(Request, Arc<Buildset>)>, ReadError> {
        let Some(row) = self.waiting.get(id.0)? else { return Ok(None) };
        let request = encode::to_request("waiting", id.0, row.value())?;
        // A request that waits belongs to a buildset that is not complete: its row says all.
        let buildset = match self.known.entry(request.buildset) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => {
                let id = request.buildset.0;
                let row = self.buildsets.get(id)?.ok_or_else(|| missing("buildsets", id))?;
                new.insert(Arc::new(unpack("buildsets", id, row.value())?)).clone()
            }
        };
        Ok(Some((request, buildset)))
    }
}
