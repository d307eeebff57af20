//! Requests as records: one, or those that somebody wants.
//!
//! What bounds the cost: the requests of a buildset, the numbers that a filter names, what waits (of a
//! builder), what waits or is held, a builder's whole history; else all requests. Rows come in the order of
//! their numbers, either way round, so that without another order reading stops when the page is full.
//! Branch and repository have no index: each is a look at the buildset of a request that all else left.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadOnlyTable, ReadableTable};
use windlass_core::id::{BuilderId, BuildsetId, MasterId, RequestId};
use windlass_core::master::Master;
use windlass_core::request::{Buildset, Request};
use windlass_core::request_record::{Claimed, Datum, Field, Record, Wanted};

use crate::Store;
use crate::encode::{self, unpack};
use crate::fault::{ReadError, missing};
use crate::tables::Snapshot;

impl Store {
    /// Returns a request's record.
    pub fn request_record(&self, id: RequestId) -> Result<Option<Record>, ReadError> {
        let snapshot = self.snapshot()?;
        let request = Requests::new(&snapshot)?.get(id.0)?;
        request.map(|request| Details::new(&snapshot).record(&request)).transpose()
    }

    /// Returns the records of the requests that are wanted, in the order and the page that are asked for;
    /// by number where no order is. Each comes once.
    pub fn request_records(&self, wanted: &Wanted) -> Result<Vec<Record>, ReadError> {
        let snapshot = self.snapshot()?;
        let (requests, mut details) = (Requests::new(&snapshot)?, Details::new(&snapshot));
        let (descending, enough) = match wanted.spec.by_number() {
            Some(descending) => (descending, wanted.spec.reach()),
            None => (false, usize::MAX),
        };
        let mut records = Vec::new();
        for request in requests.candidates(&snapshot, wanted, descending)? {
            if records.len() >= enough {
                break;
            }
            let request = request?;
            let record = details.record(&request)?;
            if wanted.takes(&record) && details.takes_source(wanted, request.buildset)? {
                records.push(record);
            }
        }
        Ok(wanted.spec.page(records))
    }

    /// Returns the number of a builder; none: it never had a request.
    pub fn builder_id(&self, builder: &str) -> Result<Option<BuilderId>, ReadError> {
        Ok(self.snapshot()?.builder_ids()?.get(builder)?.map(|id| BuilderId(id.value())))
    }

    /// Returns all masters, by number.
    pub fn masters(&self) -> Result<Vec<Master>, ReadError> {
        let mut masters = Vec::new();
        for row in self.snapshot()?.masters()?.iter()? {
            let (id, row) = row?;
            masters.push(unpack("masters", id.value(), row.value())?);
        }
        Ok(masters)
    }

    /// Returns a master.
    pub fn master(&self, id: MasterId) -> Result<Option<Master>, ReadError> {
        let row = self.snapshot()?.masters()?.get(id.0)?;
        row.map(|row| unpack("masters", id.0, row.value())).transpose()
    }
}

/// Items with their numbers, in the order of these.
pub(crate) type Stream<'r, T> = Box<dyn Iterator<Item = Result<(u64, T), ReadError>> + 'r>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Waiting,
    Held,
    Done,
}

/// The tables that a wanted request may lie in.
fn tables(wanted: &Wanted) -> &'static [Table] {
    let complete = wanted.complete.or(match wanted.spec.equal_to(Field::Complete) {
        Some([Datum::Flag(complete)]) => Some(*complete),
        Some(_) | None => None,
    });
    match (complete, wanted.claimed) {
        (Some(true), Some(Claimed::No)) => &[],
        (Some(true), Some(Claimed::Yes | Claimed::By(_)) | None) => &[Table::Done],
        (Some(false) | None, Some(Claimed::No)) => &[Table::Waiting],
        (Some(false), Some(Claimed::Yes | Claimed::By(_))) => &[Table::Held],
        (Some(false), None) => &[Table::Waiting, Table::Held],
        (None, Some(Claimed::Yes | Claimed::By(_))) => &[Table::Held, Table::Done],
        (None, None) => &[Table::Waiting, Table::Held, Table::Done],
    }
}

/// The builders that a wanted request may be of; none: any.
fn builders(wanted: &Wanted) -> Option<Vec<&str>> {
    if let Some(name) = &wanted.buildername {
        return Some(vec![name]);
    }
    let names = wanted.spec.equal_to(Field::Buildername)?.iter().filter_map(|value| match value {
        Datum::Text(name) => Some(name.as_str()),
        Datum::Nothing | Datum::Flag(_) | Datum::Number(_) => None,
    });
    Some(names.collect::<BTreeSet<_>>().into_iter().collect())
}

/// The three tables of requests.
pub(crate) struct Requests {
    waiting: ReadOnlyTable<u64, &'static [u8]>,
    held: ReadOnlyTable<u64, &'static [u8]>,
    done: ReadOnlyTable<u64, &'static [u8]>,
}

impl Requests {
    pub(crate) fn new(snapshot: &Snapshot) -> Result<Requests, ReadError> {
        Ok(Requests { waiting: snapshot.waiting()?, held: snapshot.held()?, done: snapshot.done()? })
    }

    fn table(&self, table: Table) -> (&'static str, &ReadOnlyTable<u64, &'static [u8]>) {
        match table {
            Table::Waiting => ("waiting", &self.waiting),
            Table::Held => ("held", &self.held),
            Table::Done => ("done", &self.done),
        }
    }

    pub(crate) fn get(&self, id: u64) -> Result<Option<Request>, ReadError> {
        for (name, table) in [Table::Waiting, Table::Held, Table::Done].map(|table| self.table(table)) {
            if let Some(row) = table.get(id)? {
                return encode::to_request(name, id, row.value()).map(Some);
            }
        }
        Ok(None)
    }

    /// All of a table.
    fn all(&self, table: Table, descending: bool) -> Result<Stream<'_, Request>, ReadError> {
        let (name, table) = self.table(table);
        let rows = either_way(table.iter()?, descending);
        Ok(Box::new(rows.map(move |row| {
            let (id, row) = row?;
            Ok((id.value(), encode::to_request(name, id.value(), row.value())?))
        })))
    }

    /// Those of a table with smaller numbers than this, the largest first.
    pub(crate) fn before(&self, table: Table, end: u64) -> Result<Stream<'_, Request>, ReadError> {
        let (name, table) = self.table(table);
        Ok(Box::new(table.range(..end)?.rev().map(move |row| {
            let (id, row) = row?;
            Ok((id.value(), encode::to_request(name, id.value(), row.value())?))
        })))
    }

    /// Those of these numbers that exist.
    fn these<'r>(&'r self, ids: impl Iterator<Item = Result<u64, ReadError>> + 'r) -> Found<'r> {
        Box::new(ids.filter_map(|id| id.and_then(|id| self.get(id)).transpose()))
    }

    /// A short list that has all that are wanted, in the order of their numbers.
    fn candidates<'r>(
        &'r self,
        snapshot: &Snapshot,
        wanted: &Wanted,
        descending: bool,
    ) -> Result<Found<'r>, ReadError> {
        if let Some(bsid) = wanted.bsid {
            let ids = buildset(snapshot, bsid)?.map(|buildset| buildset.requests).unwrap_or_default();
            return Ok(self.numbered(ids.into_iter().map(|id| id.0).collect(), descending));
        }
        if let Some(values) = wanted.spec.equal_to(Field::Buildrequestid) {
            let number = |value: &Datum| match value {
                Datum::Number(number) => u64::try_from(*number).ok(),
                Datum::Nothing | Datum::Flag(_) | Datum::Text(_) => None,
            };
            return Ok(self.numbered(values.iter().filter_map(number).collect(), descending));
        }
        let tables = tables(wanted);
        let Some(builders) = builders(wanted) else {
            let streams = tables.iter().map(|table| self.all(*table, descending));
            let merged = merged(streams.collect::<Result<_, _>>()?, descending);
            return Ok(Box::new(merged.map(|found| Ok(found?.1))));
        };
        if tables.contains(&Table::Done) {
            let mut streams: Vec<Stream<'r, ()>> = Vec::new();
            for builder in builders {
                let rows = snapshot.requests_by_builder()?.range((builder, 0)..=(builder, u64::MAX))?;
                let rows = either_way(rows, descending);
                streams.push(Box::new(rows.map(|row| Ok((row?.0.value().1, ())))));
            }
            return Ok(self.these(merged(streams, descending).map(|found| Ok(found?.0))));
        }
        let mut ids = BTreeSet::new();
        if tables.contains(&Table::Waiting) {
            for builder in &builders {
                let (first, last) = ((*builder, 0, 0, 0), (*builder, u32::MAX, u64::MAX, u64::MAX));
                for row in snapshot.pending()?.range(first..=last)? {
                    ids.insert(row?.0.value().3);
                }
            }
        }
        if tables.contains(&Table::Held) {
            for found in self.all(Table::Held, false)? {
                let (id, request) = found?;
                if builders.contains(&request.builder.as_str()) {
                    ids.insert(id);
                }
            }
        }
        Ok(self.numbered(ids, descending))
    }

    fn numbered(&self, ids: BTreeSet<u64>, descending: bool) -> Found<'_> {
        self.these(either_way(ids.into_iter(), descending).map(Ok))
    }
}

type Found<'r> = Box<dyn Iterator<Item = Result<Request, ReadError>> + 'r>;

fn either_way<'r, I: DoubleEndedIterator + 'r>(
    items: I,
    descending: bool,
) -> Box<dyn Iterator<Item = I::Item> + 'r> {
    if descending { Box::new(items.rev()) } else { Box::new(items) }
}

/// One stream of several, in the order that each of them has. Faults come first.
pub(crate) fn merged<'r, T: 'r>(streams: Vec<Stream<'r, T>>, descending: bool) -> Stream<'r, T> {
    let mut streams: Vec<_> = streams.into_iter().map(Iterator::peekable).collect();
    Box::new(std::iter::from_fn(move || {
        let mut next: Option<(usize, u64)> = None;
        for (i, stream) in streams.iter_mut().enumerate() {
            let Some(item) = stream.peek() else { continue };
            let Ok((id, _)) = item else {
                next = Some((i, 0));
                break;
            };
            if next.is_none_or(|(_, first)| if descending { *id > first } else { *id < first }) {
                next = Some((i, *id));
            }
        }
        next.and_then(|(i, _)| streams[i].next())
    }))
}

fn buildset(snapshot: &Snapshot, id: BuildsetId) -> Result<Option<Buildset>, ReadError> {
    let row = snapshot.buildsets()?.get(id.0)?;
    row.map(|row| unpack("buildsets", id.0, row.value())).transpose()
}

/// What a record says beyond the request's row, each read once.
struct Details<'s> {
    snapshot: &'s Snapshot,
    builders: BTreeMap<String, BuilderId>,
    /// Whether the source of a buildset is wanted.
    sources: BTreeMap<BuildsetId, bool>,
}

impl<'s> Details<'s> {
    fn new(snapshot: &'s Snapshot) -> Details<'s> {
        Details { snapshot, builders: BTreeMap::new(), sources: BTreeMap::new() }
    }

    fn record(&mut self, request: &Request) -> Result<Record, ReadError> {
        let number = match self.builders.get(&request.builder) {
            Some(number) => *number,
            None => {
                let number = self.snapshot.builder_ids()?.get(request.builder.as_str())?;
                let number = number.ok_or_else(|| missing("builder_ids", &request.builder))?;
                let number = BuilderId(number.value());
                self.builders.insert(request.builder.clone(), number);
                number
            }
        };
        Ok(Record::of(request, number))
    }

    fn takes_source(&mut self, wanted: &Wanted, id: BuildsetId) -> Result<bool, ReadError> {
        if !wanted.asks_for_source() {
            return Ok(true);
        }
        if let Some(takes) = self.sources.get(&id) {
            return Ok(*takes);
        }
        let buildset = buildset(self.snapshot, id)?.ok_or_else(|| missing("buildsets", id.0))?;
        let takes = wanted.takes_source(&buildset.stamps);
        self.sources.insert(id, takes);
        Ok(takes)
    }
}
