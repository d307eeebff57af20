//! Requests as lists show them, page by page: each page costs what it shows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;

use redb::ReadableTable;
use windlass_core::id::RequestId;
use windlass_core::request::{Request, Turn};

use crate::Store;
use crate::encode;
use crate::fault::{ReadError, missing};
use crate::requests::{Requests, Stream, Table, merged};

/// A builder's requests that wait, in turn.
type Line<'a> = redb::Range<'a, (&'static str, u32, u64, u64), ()>;

/// Which requests to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Only of this builder.
    pub builder: Option<String>,
    /// Only those that somebody holds.
    pub claimed: bool,
    /// Only those with smaller numbers, to page on.
    pub before: Option<RequestId>,
    /// At most so many.
    pub limit: usize,
}

impl Store {
    /// Returns the first `limit` requests that wait, from the turn after `after`, in the default order: for one
    /// builder, or for all. Costs what it answers, and a look at each builder for which any waits.
    pub fn line(
        &self,
        builder: Option<&str>,
        after: Option<Turn>,
        limit: usize,
    ) -> Result<Vec<Request>, ReadError> {
        let snapshot = self.snapshot()?;
        let (pending, waiting) = (snapshot.pending()?, snapshot.waiting()?);
        let builders: Vec<String> = match builder {
            Some(builder) => vec![builder.to_owned()],
            None => {
                let name = |row: Result<(redb::AccessGuard<'_, &'static str>, _), _>| {
                    row.map(|(builder, _): (_, redb::AccessGuard<'_, u64>)| builder.value().to_owned())
                };
                snapshot.pending_counts()?.iter()?.map(name).collect::<Result<_, _>>()?
            }
        };
        let mut lines = Vec::with_capacity(builders.len());
        for builder in &builders {
            let from = match after {
                Some(turn) => Bound::Excluded(encode::turn(builder, turn)),
                None => Bound::Included((builder.as_str(), 0, 0, 0)),
            };
            let to = Bound::Included((builder.as_str(), u32::MAX, u64::MAX, u64::MAX));
            lines.push(pending.range::<(&str, u32, u64, u64)>((from, to))?);
        }
        // The first of each line, the first of all on top.
        let mut heads = BinaryHeap::new();
        for line in 0..lines.len() {
            heads.extend(next(&mut lines, line)?);
        }
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(Reverse(((_, _, id), line))) = heads.pop()
        {
            let row = waiting.get(id)?.ok_or_else(|| missing("waiting", id))?;
            found.push(encode::to_request("waiting", id, row.value())?);
            heads.extend(next(&mut lines, line)?);
        }
        Ok(found)
    }

    /// Returns requests, newest first.
    pub fn requests_listed(&self, filter: &RequestFilter) -> Result<Vec<Request>, ReadError> {
        let snapshot = self.snapshot()?;
        let requests = Requests::new(&snapshot)?;
        let end = filter.before.map_or(u64::MAX, |before| before.0);
        if filter.claimed {
            let mine = |request: &Request| filter.builder.as_ref().is_none_or(|b| *b == request.builder);
            let held = requests.before(Table::Held, end)?.map(|found| Ok(found?.1));
            return held.filter(|found| found.as_ref().map_or(true, mine)).take(filter.limit).collect();
        }
        let Some(builder) = filter.builder.as_deref() else {
            let tables = [Table::Waiting, Table::Held, Table::Done];
            let streams: Vec<Stream<'_, Request>> =
                tables.into_iter().map(|table| requests.before(table, end)).collect::<Result<_, _>>()?;
            return merged(streams, true).take(filter.limit).map(|found| Ok(found?.1)).collect();
        };
        let mut found = Vec::new();
        for row in
            snapshot.requests_by_builder()?.range((builder, 0)..(builder, end))?.rev().take(filter.limit)
        {
            let id = row?.0.value().1;
            found.push(requests.get(id)?.ok_or_else(|| missing("requests_by_builder", id))?);
        }
        Ok(found)
    }
}

/// A turn's bits without its builder, and its line.
type Head = Reverse<((u32, u64, u64), usize)>;

/// The next of a line.
fn next(lines: &mut [Line<'_>], line: usize) -> Result<Option<Head>, ReadError> {
    let Some(row) = lines[line].next() else { return Ok(None) };
    let (_, rank, submitted, id) = row?.0.value();
    Ok(Some(Reverse(((rank, submitted, id), line))))
}
