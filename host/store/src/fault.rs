//! What can be wrong with what is stored.

use std::path::PathBuf;
use std::sync::Arc;

/// Why something could not be read, or looked up before a write.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Arc<redb::Error>),
    /// A row does not decode, or another that it needs is missing.
    #[error("the row {key} of table `{table}` is damaged: {why}")]
    Row {
        /// The table.
        table: &'static str,
        /// The row.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// Bytes of a log could not be read.
    #[error("failed to read the log segment `{path}`")]
    Segment {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
}

impl ReadError {
    /// Whether something in particular is damaged, and all else can be read.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            ReadError::Row { .. } | ReadError::Segment { .. } => true,
            ReadError::Database(_) => false,
        }
    }
}

/// A row that another one speaks of is not there.
pub(crate) fn missing(table: &'static str, key: impl std::fmt::Display) -> ReadError {
    let why = "it is missing, though another row speaks of it".to_owned();
    ReadError::Row { table, key: key.to_string(), why }
}

macro_rules! from_redb {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for ReadError {
            fn from(error: redb::$error) -> ReadError {
                ReadError::Database(Arc::new(error.into()))
            }
        }
    )*};
}

from_redb! { DatabaseError TransactionError TableError StorageError CommitError SetDurabilityError }
