//! The tables of the database, and the version of their format.

use std::cell::OnceCell;
use std::time::Instant;

use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTableMetadata, Table, TableDefinition, TableHandle, Value,
    WriteTransaction,
};

use crate::fault::ReadError;
use crate::inspect::{Passed, RawRow, Shown, TableSize, Walk, Written, bytes_of, walk};

/// The version of all encodings below. A change of any raises it, and `upgrade` learns to read the old.
/// A table that starts empty needs no new format: it is made when a store is opened.
pub(crate) const FORMAT: u64 = 3;

/// A table of a write transaction, opened when it is first asked for: each one that is open has its root
/// written by the commit, changed or not, and most batches touch few.
pub(crate) struct Lazy<'t, K: Key + 'static, V: Value + 'static> {
    transaction: &'t WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: OnceCell<Table<'t, K, V>>,
}

impl<'t, K: Key + 'static, V: Value + 'static> Lazy<'t, K, V> {
    fn new(transaction: &'t WriteTransaction, definition: TableDefinition<'static, K, V>) -> Self {
        Lazy { transaction, definition, table: OnceCell::new() }
    }

    /// The table, to look into.
    pub(crate) fn read(&self) -> Result<&Table<'t, K, V>, ReadError> {
        match self.table.get() {
            Some(table) => Ok(table),
            None => {
                let table = self.transaction.open_table(self.definition)?;
                Ok(self.table.get_or_init(|| table))
            }
        }
    }

    /// The table, to change it.
    pub(crate) fn write(&mut self) -> Result<&mut Table<'t, K, V>, ReadError> {
        self.read()?;
        Ok(self.table.get_mut().expect("it was opened above"))
    }
}

macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident $constant:ident: $key:ty => $value:ty;)*) => {
        $($(#[$doc])* pub(crate) const $constant: TableDefinition<'static, $key, $value> =
            TableDefinition::new(stringify!($field));)*

        const NAMES: &[&str] = &[$(stringify!($field)),*];

        /// All tables of one write transaction.
        pub(crate) struct Tables<'t> {
            $($(#[$doc])* pub(crate) $field: Lazy<'t, $key, $value>,)*
        }

        impl<'t> Tables<'t> {
            pub(crate) fn new(transaction: &'t WriteTransaction) -> Tables<'t> {
                Tables { $($field: Lazy::new(transaction, $constant),)* }
            }

            /// Makes those that are not there yet.
            pub(crate) fn make(&self) -> Result<(), ReadError> {
                $(self.$field.read()?;)*
                Ok(())
            }
        }

        /// A snapshot of all tables; one is opened when it is asked for.
        pub(crate) struct Snapshot(pub(crate) ReadTransaction);

        impl Snapshot {
            $($(#[$doc])* #[allow(dead_code, reason = "the format is read before there is a snapshot")]
            pub(crate) fn $field(&self) -> Result<ReadOnlyTable<$key, $value>, ReadError> {
                Ok(self.0.open_table($constant)?)
            })*

            /// How large each table is; none of their bytes are counted after `until`.
            pub(crate) fn sizes(&self, until: Instant) -> Result<Vec<TableSize>, ReadError> {
                let mut sizes = Vec::new();
                $({
                    let table = self.$field()?;
                    let bytes = bytes_of(&table, until)?;
                    sizes.push(TableSize { name: stringify!($field), rows: table.len()?, bytes });
                })*
                Ok(sizes)
            }

            /// Goes through a table by its name: see [`walk`].
            pub(crate) fn walk(
                &self,
                name: &str,
                after: Option<&str>,
                take: &mut dyn FnMut(Passed<'_>) -> bool,
            ) -> Result<Walk, ReadError> {
                $(if name == stringify!($field) {
                    return walk(&self.$field()?, after, take);
                })*
                Ok(Walk::NoTable(NAMES))
            }

            /// The row of a table under a key that is written as text.
            pub(crate) fn raw(&self, name: &str, key: &str) -> Result<RawRow, ReadError> {
                $(if name == stringify!($field) {
                    let Some(read) = <$key as Written>::read(key) else {
                        return Ok(RawRow::NoKey(<$key as Written>::FORM));
                    };
                    let key = <$key as Written>::key(&read);
                    let Some(row) = self.$field()?.get(&key)? else { return Ok(RawRow::Missing) };
                    return Ok(<$value as Shown>::shown(<$key as Written>::write(&key), row.value()));
                })*
                Ok(RawRow::NoTable(NAMES))
            }

            /// All rows of all tables, as text.
            #[cfg(test)]
            pub(crate) fn dump(&self) -> Vec<String> {
                use redb::ReadableTable;
                let mut rows = Vec::new();
                $(for row in self.$field().unwrap().iter().unwrap() {
                    let (key, value) = row.unwrap();
                    rows.push(format!("{} {:?}: {:?}", stringify!($field), key.value(), value.value()));
                })*
                rows
            }
        }
    };
}

/// Whether this version's tables are all there.
pub(crate) fn are_all_there(transaction: &WriteTransaction) -> Result<bool, ReadError> {
    let there: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
    Ok(NAMES.iter().all(|name| there.iter().any(|there| there == name)))
}

tables! {
    /// `format`: the version of the format.
    meta META: &'static str => u64;
    /// The largest id of each kind that any row ever had.
    counters COUNTERS: &'static str => u64;
    /// Change id -> packed `Change`.
    changes CHANGES: u64 => &'static [u8];
    /// Buildset id -> packed `Buildset`, as submitted.
    buildsets BUILDSETS: u64 => &'static [u8];
    /// Buildset id -> how far it is.
    buildset_states BUILDSET_STATES: u64 => &'static [u8];
    /// Requests nobody holds. A request is in exactly one of the three tables.
    waiting WAITING: u64 => &'static [u8];
    /// Requests that somebody holds.
    held HELD: u64 => &'static [u8];
    /// Requests that are complete.
    done DONE: u64 => &'static [u8];
    /// Builder, and the turn of a request that waits: priority (largest first), submitted, request id.
    pending PENDING: (&'static str, u32, u64, u64) => ();
    /// Builder -> how many of its requests wait; no row where none does.
    pending_counts PENDING_COUNTS: &'static str => u64;
    /// Builder, request id: all requests that it ever had.
    requests_by_builder REQUESTS_BY_BUILDER: (&'static str, u64) => ();
    /// Builder -> its number, from 1, given with its first request and never taken away.
    builder_ids BUILDER_IDS: &'static str => u64;
    /// Master id -> packed `Master`.
    masters MASTERS: u64 => &'static [u8];
    /// Build id -> packed `BuildRow`.
    builds BUILDS: u64 => &'static [u8];
    /// Running builds: build id -> fence and requests, all that a write of it is checked against.
    live LIVE: u64 => &'static [u8];
    /// Builder, build id.
    by_builder BY_BUILDER: (&'static str, u64) => ();
    /// Worker, build id.
    by_worker BY_WORKER: (&'static str, u64) => ();
    /// Builder, worker, build id.
    by_pair BY_PAIR: (&'static str, &'static str, u64) => ();
    /// Builder -> the number of its last build.
    build_numbers BUILD_NUMBERS: &'static str => u64;
    /// Build id, step id -> packed `StepRow`.
    steps STEPS: (u64, u64) => &'static [u8];
    /// Build id, step id, how many results of the step came before -> packed `TestResult`s, without names of fields.
    test_results TEST_RESULTS: (u64, u64, u64) => &'static [u8];
    /// Build id, step id, name -> a figure of the step.
    statistics STATISTICS: (u64, u64, &'static str) => f64;
    /// Digest -> packed `Builder`: what running builds go by.
    plans PLANS: &'static [u8; 32] => &'static [u8];
    /// Build id, step id -> packed `StepSpec`s: what the step of a running build added to it.
    added_steps ADDED_STEPS: (u64, u64) => &'static [u8];
    /// Build id -> packed `StopRow`: a running build that is to stop, or a step of it.
    stops STOPS: u64 => &'static [u8];
    /// Build, running step, number of the piece -> packed entries of its journal.
    journal JOURNAL: (u64, u64, u32) => &'static [u8];
    /// Build, running step, number of a command of it -> packed `Mark`.
    marks MARKS: (u64, u64, u32) => &'static [u8];
    /// Log id -> packed `LogRow`.
    logs LOGS: u64 => &'static [u8];
    /// Build id, log id.
    logs_by_build LOGS_BY_BUILD: (u64, u64) => ();
    /// Log id, offset in the log -> where the bytes lie.
    log_pieces LOG_PIECES: (u64, u64) => &'static [u8];
    /// Log id, offset in the log -> where the bytes of a finished log lie, and which lines: what was in `log_pieces`.
    log_frames LOG_FRAMES: (u64, u64) => &'static [u8];
    /// Archive number -> its committed end, the log that has it for itself (0: it is shared), and when the last of
    /// its logs ended.
    archives ARCHIVES: u64 => (u64, u64, u64);
    /// Archive number, log id: the logs in it.
    archive_logs ARCHIVE_LOGS: (u64, u64) => ();
    /// Segment number -> its committed end, and the log that has it for itself (0: it is shared).
    segments SEGMENTS: u64 => (u64, u64);
    /// Decision id -> packed `Decision`, its fields without their names.
    decisions DECISIONS: u64 => &'static [u8];
    /// Request id, decision id: the decisions that touched it.
    decisions_by_request DECISIONS_BY_REQUEST: (u64, u64) => ();
    /// Build id, name -> packed `ArtifactRow`.
    artifacts ARTIFACTS: (u64, &'static str) => &'static [u8];
    /// Artifact id -> its build and name: the order in which they came.
    artifacts_by_id ARTIFACTS_BY_ID: u64 => (u64, &'static str);
    /// `decisions`, `artifacts`: the bytes of all of them.
    sums SUMS: &'static str => u64;
    /// Reporter, place -> packed `Event`: what waits for it.
    events EVENTS: (&'static str, u64) => &'static [u8];
    /// Reporter -> packed `Line`: how many events wait for it, and what became of the others.
    reporters REPORTERS: &'static str => &'static [u8];
    /// Owner, key -> value.
    state STATE: (&'static str, &'static str) => &'static [u8];
    /// Worker, token id -> the hash of a token that a command made, and when it was made and used.
    worker_tokens WORKER_TOKENS: (&'static str, u64) => &'static [u8];
}
