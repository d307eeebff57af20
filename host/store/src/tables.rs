//! The tables of the database, and the version of their format.

use redb::{ReadOnlyTable, ReadTransaction, Table, TableDefinition, WriteTransaction};

use crate::fault::ReadError;

/// The version of all encodings below. A change of any raises it, and `open` learns to read the old.
pub(crate) const FORMAT: u64 = 1;

macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident $constant:ident: $key:ty => $value:ty;)*) => {
        $($(#[$doc])* pub(crate) const $constant: TableDefinition<'static, $key, $value> =
            TableDefinition::new(stringify!($field));)*

        /// All tables, open for one write transaction.
        pub(crate) struct Tables<'t> {
            $($(#[$doc])* pub(crate) $field: Table<'t, $key, $value>,)*
        }

        impl<'t> Tables<'t> {
            pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, ReadError> {
                Ok(Tables { $($field: transaction.open_table($constant)?,)* })
            }
        }

        /// A snapshot of all tables; one is opened when it is asked for.
        pub(crate) struct Snapshot(pub(crate) ReadTransaction);

        impl Snapshot {
            $($(#[$doc])* #[allow(dead_code, reason = "the format is read before there is a snapshot")]
            pub(crate) fn $field(&self) -> Result<ReadOnlyTable<$key, $value>, ReadError> {
                Ok(self.0.open_table($constant)?)
            })*
        }
    };
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
    /// Log id -> packed `LogRow`.
    logs LOGS: u64 => &'static [u8];
    /// Build id, log id.
    logs_by_build LOGS_BY_BUILD: (u64, u64) => ();
    /// Log id, offset in the log -> where the bytes lie.
    log_pieces LOG_PIECES: (u64, u64) => &'static [u8];
    /// Segment number -> its committed end, and the log that has it for itself (0: it is shared).
    segments SEGMENTS: u64 => (u64, u64);
    /// Owner, key -> value.
    state STATE: (&'static str, &'static str) => &'static [u8];
}
