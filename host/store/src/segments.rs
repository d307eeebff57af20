//! Log segments: the files that hold the bytes of logs. The index is in the database.
//!
//! Small logs share a segment; a log that has grown above [`OWN_ABOVE`] goes on in one of its own, so
//! that a long log is read in long runs and removed by removing a file. A segment's committed end is a
//! row of the database: what lies after it was never acknowledged, and is overwritten or cut off.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use windlass_core::id::LogId;

use crate::fault::ReadError;
use crate::log_work::Aftermath;

/// A log above this length gets a segment of its own.
pub(crate) const OWN_ABOVE: u64 = 1 << 20;

/// A shared segment above this length is followed by a new one.
const SHARED_UP_TO: u64 = 64 << 20;

/// Makes a file or folder durable. An argument, so that a crash test can stop it.
pub(crate) type MakeDurable = Arc<dyn Fn(&File, &Path) -> io::Result<()> + Send + Sync>;

/// Where a log's bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// Into the shared segment.
    Shared,
    /// Into a new segment of its own.
    NewOwn(LogId),
    /// Into the segment that it has, at its committed end.
    Own { log: LogId, segment: u64, end: u64 },
}

/// One log's bytes of one group, in order.
pub(crate) struct Run {
    pub(crate) home: Home,
    pub(crate) data: Vec<Bytes>,
}

/// Where a run lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) segment: u64,
    pub(crate) position: u64,
}

/// What a group wrote and synced; it counts once the transaction that names it is committed.
#[must_use = "the ends must be written to the database and then confirmed"]
#[derive(Default)]
pub(crate) struct Written {
    /// One for each run.
    pub(crate) placed: Vec<Placed>,
    /// Segment, new end, and the log that has it for itself (0: shared).
    pub(crate) ends: Vec<(u64, u64, u64)>,
    pub(crate) bytes: u64,
}

struct Shared {
    number: u64,
    file: File,
    end: u64,
}

/// The segments as the writer thread sees them.
pub(crate) struct Segments {
    folder: PathBuf,
    make_durable: MakeDurable,
    syncs: Arc<AtomicU64>,
    shared: Option<Shared>,
    own: HashMap<u64, File>,
    next: u64,
    /// Bytes of all segments and archives up to their committed ends.
    pub(crate) used: u64,
    /// Segments that a log has for itself.
    owned: HashSet<u64>,
}

impl Segments {
    /// Takes over the folder: `ends` are the committed rows of segments, `archives` those of archives. Files
    /// without a row, and bytes after a committed end, are what a crash left: they go.
    pub(crate) fn open(
        folder: PathBuf,
        ends: &HashMap<u64, (u64, u64)>,
        archives: &HashMap<u64, u64>,
        make_durable: MakeDurable,
        syncs: Arc<AtomicU64>,
    ) -> io::Result<Segments> {
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let end = match (number_of(&entry.path(), "seg-"), number_of(&entry.path(), "arc-")) {
                (Some(number), _) => ends.get(&number).map(|(end, _)| *end),
                (None, Some(number)) => archives.get(&number).copied(),
                (None, None) => continue,
            };
            match end {
                None => fs::remove_file(entry.path())?,
                Some(end) => {
                    let length = entry.metadata()?.len();
                    if length > end {
                        OpenOptions::new().write(true).open(entry.path())?.set_len(end)?;
                    } else if length < end {
                        let path = entry.path();
                        tracing::error!(path = %path.display(), length, expected = end, "a log segment has lost bytes");
                    }
                }
            }
        }
        let last = ends.keys().max().copied().unwrap_or(0);
        let mut segments = Segments {
            folder,
            make_durable,
            syncs,
            shared: None,
            own: HashMap::new(),
            next: last + 1,
            used: ends.values().map(|(end, _)| end).chain(archives.values()).sum(),
            owned: ends.iter().filter(|(_, (_, owner))| *owner != 0).map(|(number, _)| *number).collect(),
        };
        let open_end = ends
            .iter()
            .filter(|(_, (end, owner))| *owner == 0 && *end < SHARED_UP_TO)
            .max_by_key(|(n, _)| **n);
        if let Some((number, (end, _))) = open_end
            && let Ok(file) = OpenOptions::new().write(true).open(segments.path(*number))
        {
            segments.shared = Some(Shared { number: *number, file, end: *end });
        }
        Ok(segments)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes and syncs the runs. On an error nothing counts as written, and what was takes no room.
    pub(crate) fn write(&mut self, runs: &[Run]) -> io::Result<Written> {
        let mut made = Vec::new();
        let written = self.try_write(runs, &mut made);
        if written.is_err() {
            for number in made {
                self.own.remove(&number);
                self.shared.take_if(|shared| shared.number == number);
                let path = self.path(number);
                if let Err(error) = fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "a log segment that nobody reads stays behind");
                }
            }
            self.cut_back(runs);
        }
        written
    }

    /// Takes away what came behind the committed ends of files that these runs go to: on a disk that is full it would
    /// take what is left.
    fn cut_back(&self, runs: &[Run]) {
        let own = runs.iter().filter_map(|run| match run.home {
            Home::Own { segment, end, .. } => Some((segment, self.own.get(&segment)?, end)),
            Home::Shared | Home::NewOwn(_) => None,
        });
        let shared = self.shared.as_ref().map(|shared| (shared.number, &shared.file, shared.end));
        for (number, file, end) in own.chain(shared) {
            if let Err(error) = file.set_len(end) {
                let path = self.path(number);
                tracing::warn!(path = %path.display(), %error, "bytes that nobody reads stay at the end of a log segment");
            }
        }
    }

    fn try_write(&mut self, runs: &[Run], made: &mut Vec<u64>) -> io::Result<Written> {
        let mut written = Written::default();
        let mut together = Vec::new();
        let mut new_files = false;
        if runs.iter().any(|run| run.home == Home::Shared)
            && self.shared.as_ref().is_none_or(|shared| shared.end >= SHARED_UP_TO)
        {
            let (number, file) = self.create()?;
            made.push(number);
            self.shared = Some(Shared { number, file, end: 0 });
            new_files = true;
        }
        for run in runs {
            let length: u64 = run.data.iter().map(|data| data.len() as u64).sum();
            written.bytes += length;
            let (log, segment, start) = match run.home {
                Home::Shared => {
                    let shared = self.shared.as_ref().expect("made above");
                    let position = shared.end + together.len() as u64;
                    run.data.iter().for_each(|data| together.extend_from_slice(data));
                    written.placed.push(Placed { segment: shared.number, position });
                    continue;
                }
                Home::NewOwn(log) => {
                    let (number, file) = self.create()?;
                    made.push(number);
                    self.keep_open(number, file);
                    new_files = true;
                    (log, number, 0)
                }
                Home::Own { log, segment, end } => {
                    if !self.own.contains_key(&segment) {
                        let file = OpenOptions::new().write(true).open(self.path(segment))?;
                        self.keep_open(segment, file);
                    }
                    (log, segment, end)
                }
            };
            let file = &self.own[&segment];
            let mut position = start;
            for data in &run.data {
                file.write_all_at(data, position)?;
                position += data.len() as u64;
            }
            self.durable(file, &self.path(segment))?;
            written.placed.push(Placed { segment, position: start });
            written.ends.push((segment, position, log.0));
        }
        if !together.is_empty() {
            let shared = self.shared.as_ref().expect("made above");
            shared.file.write_all_at(&together, shared.end)?;
            self.durable(&shared.file, &self.path(shared.number))?;
            written.ends.push((shared.number, shared.end + together.len() as u64, 0));
        }
        if new_files {
            self.durable(&File::open(&self.folder)?, &self.folder)?;
        }
        Ok(written)
    }

    /// The transaction that names what was written is committed.
    pub(crate) fn confirm(&mut self, written: &Written) {
        self.used += written.bytes;
        for (segment, end, owner) in &written.ends {
            if *owner != 0 {
                self.owned.insert(*segment);
            }
            if let Some(shared) = self.shared.as_mut().filter(|shared| shared.number == *segment) {
                shared.end = *end;
            }
        }
    }

    /// What the archive did is committed: files of which nobody speaks any more go.
    pub(crate) fn confirm_work(&mut self, aftermath: &Aftermath) {
        if aftermath.seal {
            self.shared = None;
        }
        self.used += aftermath.grown;
        for (number, end) in &aftermath.segments {
            self.own.remove(number);
            self.owned.remove(number);
            self.remove(&path(&self.folder, *number), *end);
        }
        for (number, end) in &aftermath.archives {
            self.remove(&archive_path(&self.folder, *number), *end);
        }
    }

    fn remove(&mut self, path: &Path, end: u64) {
        self.used -= end;
        if let Err(error) = fs::remove_file(path) {
            // The next open finds it without a row.
            tracing::warn!(path = %path.display(), %error, "a file of logs that nobody reads stays behind");
        }
    }

    /// The segment that small logs share now; 0: the next one is not made yet.
    pub(crate) fn shared(&self) -> u64 {
        self.shared.as_ref().filter(|shared| shared.end < SHARED_UP_TO).map_or(0, |shared| shared.number)
    }

    /// Whether some log has a segment for itself.
    pub(crate) fn has_owned(&self) -> bool {
        !self.owned.is_empty()
    }

    fn durable(&self, file: &File, path: &Path) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        (self.make_durable)(file, path)
    }

    fn create(&mut self) -> io::Result<(u64, File)> {
        let number = self.next;
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(self.path(number))?;
        self.next += 1;
        Ok((number, file))
    }

    /// Long logs that are written at the same time are few; beyond that their files are opened anew.
    fn keep_open(&mut self, number: u64, file: File) {
        if self.own.len() >= 64 {
            self.own.clear();
        }
        self.own.insert(number, file);
    }

    fn path(&self, number: u64) -> PathBuf {
        path(&self.folder, number)
    }
}

/// The files of logs, to read: any thread may, and nobody waits. The last one stays open, since neighbours mostly lie
/// in one.
pub(crate) struct Files<'f> {
    folder: &'f Path,
    open: Option<(Name, File)>,
}

/// A file of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Segment(u64),
    Archive(u64),
}

impl<'f> Files<'f> {
    pub(crate) fn new(folder: &'f Path) -> Files<'f> {
        Files { folder, open: None }
    }

    pub(crate) fn read(&mut self, name: Name, position: u64, length: usize) -> Result<Bytes, ReadError> {
        let mut data = vec![0; length];
        let file = match &self.open {
            Some((open, file)) if *open == name => Ok(file),
            _ => File::open(self.path(name)).map(|file| &self.open.insert((name, file)).1),
        };
        match file.and_then(|file| file.read_exact_at(&mut data, position)) {
            Ok(()) => Ok(data.into()),
            Err(source) => Err(self.unreadable(name, source)),
        }
    }

    /// The error that a file could not be read, or holds something else.
    pub(crate) fn unreadable(&self, name: Name, source: io::Error) -> ReadError {
        ReadError::Segment { path: self.path(name), source: Arc::new(source) }
    }

    fn path(&self, name: Name) -> PathBuf {
        match name {
            Name::Segment(number) => path(self.folder, number),
            Name::Archive(number) => archive_path(self.folder, number),
        }
    }
}

pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("seg-{number:06}.log"))
}

pub(crate) fn archive_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("arc-{number:06}.log"))
}

fn number_of(path: &Path, prefix: &str) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(prefix)?.strip_suffix(".log")?.parse().ok()
}
