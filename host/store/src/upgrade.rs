//! Bringing a store of an older format up to date: one function for each step, all in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;
use windlass_core::request::Turn;

use crate::encode;
use crate::fault::ReadError;
use crate::put::{add_counts, number_builder};
use crate::tables::{FORMAT, Tables};

/// Takes the tables from format `found` to ours. A format that is newer stays as it is.
pub(crate) fn upgrade(tables: &mut Tables<'_>, found: u64) -> Result<(), ReadError> {
    if found == 1 {
        from_1_to_2(tables)?;
    }
    if found < FORMAT {
        tables.meta.write()?.insert("format", FORMAT)?;
    }
    Ok(())
}

/// Format 2 knows what waits by builder and turn, and the requests and the number of each builder.
fn from_1_to_2(tables: &mut Tables<'_>) -> Result<(), ReadError> {
    let mut waiting = BTreeMap::new();
    let mut builders = BTreeSet::new();
    for row in tables.waiting.read()?.iter()? {
        let (id, row) = row?;
        let row = encode::to_request("waiting", id.value(), row.value())?;
        tables.pending.write()?.insert(encode::turn(&row.builder, Turn::of(&row)), ())?;
        tables.requests_by_builder.write()?.insert((row.builder.as_str(), id.value()), ())?;
        *waiting.entry(row.builder).or_insert(0) += 1;
    }
    for (name, table) in [("held", &tables.held), ("done", &tables.done)] {
        for row in table.read()?.iter()? {
            let (id, row) = row?;
            let row = encode::to_request(name, id.value(), row.value())?;
            tables.requests_by_builder.write()?.insert((row.builder.as_str(), id.value()), ())?;
            builders.insert(row.builder);
        }
    }
    builders.extend(waiting.keys().cloned());
    add_counts(tables, &waiting)?;
    builders.iter().try_for_each(|builder| number_builder(tables, builder))
}
