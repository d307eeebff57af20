//! Opening a store: its directory, its format, and what can be wrong with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend};
use windlass_core::decision::Budget;

use crate::appends::Known;
use crate::archive::Archive;
use crate::artifacts::{self, ArtifactFiles};
use crate::cas::Cas;
use crate::counting::Counting;
use crate::fault::ReadError;
use crate::going_on::Extras;
use crate::ids::{Ids, Marks};
use crate::lock::{Lock, NotLocked};
use crate::moment::OnCommit;
use crate::queue::Queue;
use crate::room::DiskRoom;
use crate::segments::{MakeDurable, Segments};
use crate::tables::{self, FORMAT, META, Snapshot, Tables};
use crate::upgrade::upgrade;
use crate::watches::Watches;
use crate::writer::{self, Counters, Writer};
use crate::{CasError, Shared, Store};

/// Limits and sizes of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most that all logs together may take on disk; none: what the disk has.
    pub max_log_bytes_total: Option<u64>,
    /// The most that one log may have; none: no bound of its own.
    pub max_log_bytes: Option<u64>,
    /// How many records of decisions are kept, until [`Store::keep_decisions`] says otherwise.
    pub decisions: Budget,
    /// Memory for pages of the database; it is taken as pages are read and written.
    pub cache_bytes: usize,
    /// Is told of each commit; for tests of crashes.
    pub on_commit: Option<OnCommit>,
    /// Says how much room is left on the disk.
    pub room: DiskRoom,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_log_bytes_total: None,
            max_log_bytes: None,
            decisions: Budget::default(),
            cache_bytes: 128 << 20,
            on_commit: None,
            room: DiskRoom::default(),
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("`{folder}` is in use by another master{}", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The store's directory.
        folder: PathBuf,
        /// The process that holds it, as its lock file says.
        pid: Option<u32>,
    },
    /// It was written by a newer version of Windlass.
    #[error("`{folder}` has format {found}, this version knows up to {known}: use a newer Windlass")]
    NewerFormat {
        /// The store's directory.
        folder: PathBuf,
        /// The format it has.
        found: u64,
        /// The newest format that this version knows.
        known: u64,
    },
    /// The system refused.
    #[error("failed to {action} `{path}`")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database could not be opened or read.
    #[error("failed to open the database `{path}`")]
    Database {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ReadError,
    },
    /// The directory of the components' bytes could not be opened.
    #[error("failed to open the bytes of components below `{folder}`")]
    Cas {
        /// The store's directory.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        source: CasError,
    },
}

impl Store {
    /// Opens the store in `folder` (`store.redb`, `logs/`, `cas/`), creating what is missing. Blocking.
    /// A second process is refused.
    pub fn open(folder: &Path, options: Options) -> Result<Store, OpenError> {
        let lock = prepare(folder)?;
        let path = database_path(folder);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(failed("open", &path))?;
        let backend =
            FileBackend::new(file).map_err(|error| OpenError::Database { path, source: error.into() })?;
        open(lock, backend, folder, options, sync_data())
    }

    /// Opens the store in `folder` with its database on `backend`: for tests of crashes.
    pub fn open_with_backend(
        backend: impl StorageBackend,
        folder: &Path,
        options: Options,
    ) -> Result<Store, OpenError> {
        open(prepare(folder)?, backend, folder, options, sync_data())
    }

    /// The same, with a say in how files become durable.
    #[cfg(test)]
    pub(crate) fn open_for_crash(
        backend: impl StorageBackend,
        folder: &Path,
        options: Options,
        make_durable: MakeDurable,
    ) -> Result<Store, OpenError> {
        open(prepare(folder)?, backend, folder, options, make_durable)
    }
}

fn sync_data() -> MakeDurable {
    Arc::new(|file: &File, _: &Path| file.sync_data())
}

fn prepare(folder: &Path) -> Result<Lock, OpenError> {
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let path = folder.join("store.lock");
    Lock::take(&path).map_err(|not| match not {
        NotLocked::Held(pid) => OpenError::InUse { folder: folder.to_owned(), pid },
        NotLocked::Io(source) => OpenError::Io { action: "lock", path, source },
    })
}

fn open(
    lock: Lock,
    backend: impl StorageBackend,
    folder: &Path,
    options: Options,
    make_durable: MakeDurable,
) -> Result<Store, OpenError> {
    let path = database_path(folder);
    let broken = |source| OpenError::Database { path: path.clone(), source };

    let counters = Arc::new(Counters::default());
    let backend =
        Counting { inner: backend, syncs: counters.syncs.clone(), bytes: counters.database_bytes.clone() };
    let database = Database::builder()
        .set_cache_size(options.cache_bytes)
        .create_with_backend(backend)
        .map_err(|error| broken(error.into()))?;
    let found = prepare_tables(&database).map_err(&broken)?;
    if found > FORMAT {
        return Err(OpenError::NewerFormat { folder: folder.to_owned(), found, known: FORMAT });
    }
    let Seeds { ids, marks, segments, archives, artifacts, extras } = seeds(&database).map_err(&broken)?;

    let logs = folder.join("logs");
    let (durable, syncs) = (make_durable.clone(), counters.syncs.clone());
    let segments =
        Segments::open(logs.clone(), &segments, &archives, durable, syncs).map_err(failed("open", &logs))?;
    counters.shared_segment.store(segments.shared(), std::sync::atomic::Ordering::Relaxed);
    let archive = Archive::new(archives.keys().max().map_or(1, |last| last + 1), make_durable.clone());
    let cas = Cas::open(folder.join("cas"))
        .map_err(|source| OpenError::Cas { folder: folder.to_owned(), source })?;
    let folder_of_artifacts = folder.join("artifacts");
    let artifacts = ArtifactFiles::open(folder_of_artifacts.clone(), &artifacts)
        .map_err(failed("open", &folder_of_artifacts))?;
    counters.log_bytes_held.store(segments.used, std::sync::atomic::Ordering::Relaxed);
    // The names of the files made above are durable before anything is acknowledged.
    File::open(folder).and_then(|file| make_durable(&file, folder)).map_err(failed("sync", folder))?;

    let database = Arc::new(database);
    let queue = Arc::new(Queue::default());
    let watches = Arc::new(Watches::default());
    let budget = Arc::new(Mutex::new(options.decisions));
    let readers = Arc::new(Mutex::new(Arc::new(Vec::new())));
    let last_artifact = ids.last_artifact();
    let (log_room, room) = (options.max_log_bytes_total, options.room.clone());
    let writer = Writer {
        database: database.clone(),
        queue: queue.clone(),
        watches: watches.clone(),
        counters: counters.clone(),
        segments,
        known: Known::default(),
        marks,
        extras,
        options,
        budget: budget.clone(),
        readers: readers.clone(),
    };
    let writer = std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || writer.run())
        .map_err(failed("start the writer of", folder))?;
    let writer = Mutex::new(Some(writer));
    Ok(Store(Arc::new(Shared {
        database,
        queue,
        watches,
        counters,
        writer,
        ids,
        cas,
        artifacts,
        last_artifact,
        damaged_artifacts: Mutex::default(),
        logs,
        archive: Mutex::new(archive),
        log_room,
        room,
        budget,
        readers,
        _lock: lock,
    })))
}

fn database_path(folder: &Path) -> PathBuf {
    folder.join("store.redb")
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { action, path: path.to_owned(), source }
}

/// Makes the tables that are missing and brings an older format up to date. Returns the format that was
/// found; a newer one than ours is left alone.
fn prepare_tables(database: &Database) -> Result<u64, ReadError> {
    let transaction = writer::begin(database)?;
    let found = transaction.open_table(META)?.get("format")?.map(|format| format.value());
    match found {
        Some(found) if found > FORMAT || (found == FORMAT && tables::are_all_there(&transaction)?) => {
            transaction.abort()?;
            Ok(found)
        }
        Some(_) | None => {
            // A new store is of format 0: there is nothing to bring up to date.
            let found = found.unwrap_or(0);
            let mut tables = Tables::new(&transaction);
            tables.make()?;
            upgrade(&mut tables, found)?;
            drop(tables);
            transaction.commit()?;
            Ok(found)
        }
    }
}

struct Seeds {
    ids: Ids,
    marks: Marks,
    /// Committed ends and owners of the log segments.
    segments: HashMap<u64, (u64, u64)>,
    /// Committed ends of archives.
    archives: HashMap<u64, u64>,
    /// The artifacts of builds that ran.
    artifacts: BTreeMap<u64, BTreeSet<u64>>,
    /// Builds with rows beyond their own.
    extras: Extras,
}

fn seeds(database: &Database) -> Result<Seeds, ReadError> {
    let snapshot = Snapshot(database.begin_read()?);
    let (ids, marks) = Ids::read(&snapshot)?;
    let mut segments = HashMap::new();
    for row in snapshot.segments()?.iter()? {
        let (number, end) = row?;
        segments.insert(number.value(), end.value());
    }
    let mut archives = HashMap::new();
    for row in snapshot.archives()?.iter()? {
        let (number, row) = row?;
        archives.insert(number.value(), row.value().0);
    }
    let artifacts = artifacts::running(&snapshot)?;
    let extras = Extras::read(&snapshot)?;
    Ok(Seeds { ids, marks, segments, archives, artifacts, extras })
}
