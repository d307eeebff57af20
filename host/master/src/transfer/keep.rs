//! Artifacts on the master's disk: one in the making, reading one, and the deletion of those that are not kept
//! any longer.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use flate2::write::GzDecoder;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use windlass_core::artifact::{ArtifactKind, ArtifactRow, Keep, Limit};
use windlass_core::digest::Digest;
use windlass_core::id::{ArtifactId, BuildId};
use windlass_core::persist::Persist;
use windlass_core::time::Timestamp;
use windlass_core::value::Failure;
use windlass_protocol::transfer::{Compression, Sent, SentKind};
use windlass_store::{ArtifactFiles, ReadError, Store};

use super::tree::Unpack;
use crate::start::blocking;

/// The most that zstd may look back at, as a power of two: 8 MiB of memory, whatever a stream asks for.
const WINDOW_LOG: u32 = 23;

/// After so many bytes it is looked how much room the disk has.
const LOOK: u64 = 1024 * 1024;

/// How many artifacts are dropped in one commit.
const DROPPED: usize = 100;

/// An artifact in the making. Dropping it before its end removes what there is of it.
pub(crate) struct Making {
    unfinished: Unfinished,
    unpacker: Unpacker,
    sent: Sent,
}

/// What was made: durable, in its place, and without a row yet.
pub(crate) struct Made {
    pub(super) id: ArtifactId,
    pub(super) kind: ArtifactKind,
    pub(super) size: u64,
    pub(super) entries: u64,
    pub(super) hash: Digest,
    pub(super) mode: u32,
    pub(super) modified_ms: Option<u64>,
}

struct Unfinished {
    files: ArtifactFiles,
    id: ArtifactId,
    kept: bool,
}

enum Unpacker {
    Plain(Contents),
    Gzip(GzDecoder<Contents>),
    Zstd(zstd::stream::write::Decoder<'static, Contents>),
}

/// What comes, unpacked: counted, hashed and written.
struct Contents {
    hash: blake3::Hasher,
    bytes: u64,
    most: Limit,
    reserve: Reserve,
    /// The reserve is looked at when there are more bytes than that.
    next_look: u64,
    goes: Goes,
    /// Why writing failed: an error of input and output cannot hold it.
    stopped: Option<Failure>,
}

/// What is left to those who write rows and logs.
struct Reserve {
    folder: PathBuf,
    bytes: u64,
}

enum Goes {
    File(File),
    Tree(Unpack),
}

impl Making {
    /// Begins one. Blocks, as all of this does.
    pub(crate) fn begin(
        files: &ArtifactFiles,
        id: ArtifactId,
        sent: &Sent,
        most: Limit,
        keep_free: u64,
    ) -> Result<Making, Failure> {
        let path = files.unfinished(id);
        let reserve = Reserve { folder: path.parent().unwrap_or(&path).to_owned(), bytes: keep_free };
        reserve.check()?;
        let unfinished = Unfinished { files: files.clone(), id, kept: false };
        let goes = match sent.kind {
            SentKind::File => {
                let file = File::options().read(true).write(true).create_new(true).open(&path);
                Goes::File(file.map_err(|error| io_failure(&error))?)
            }
            SentKind::Tree => Goes::Tree(Unpack::into(&path).map_err(|error| io_failure(&error))?),
        };
        let (hash, stopped) = (blake3::Hasher::new(), None);
        let contents = Contents { hash, bytes: 0, most, reserve, next_look: LOOK, goes, stopped };
        let unpacker = match sent.compression {
            None => Unpacker::Plain(contents),
            Some(Compression::Gzip) => Unpacker::Gzip(GzDecoder::new(contents)),
            Some(Compression::Zstd) => {
                let mut decoder =
                    zstd::stream::write::Decoder::new(contents).map_err(|error| io_failure(&error))?;
                decoder.window_log_max(WINDOW_LOG).map_err(|error| io_failure(&error))?;
                Unpacker::Zstd(decoder)
            }
        };
        Ok(Making { unfinished, unpacker, sent: sent.clone() })
    }

    /// Where its bytes are meanwhile.
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.unfinished.files.unfinished(self.unfinished.id)
    }

    /// Takes what comes next.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        let written = match &mut self.unpacker {
            Unpacker::Plain(contents) => contents.write_all(data),
            Unpacker::Gzip(decoder) => decoder.write_all(data),
            Unpacker::Zstd(decoder) => decoder.write_all(data),
        };
        written.map_err(|error| self.why(&error))
    }

    fn why(&mut self, error: &io::Error) -> Failure {
        let contents = match &mut self.unpacker {
            Unpacker::Plain(contents) => contents,
            Unpacker::Gzip(decoder) => decoder.get_mut(),
            Unpacker::Zstd(decoder) => decoder.get_mut(),
        };
        contents.stopped.take().unwrap_or_else(|| io_failure(error))
    }

    /// Checks that it is what was sent, makes it durable and puts it in its place. Its row is to follow.
    pub(crate) fn finish(mut self, build: BuildId, sent: Option<(u64, Digest)>) -> Result<Made, Failure> {
        let flushed = match &mut self.unpacker {
            Unpacker::Plain(_) => Ok(()),
            Unpacker::Gzip(decoder) => decoder.try_finish(),
            Unpacker::Zstd(decoder) => decoder.flush(),
        };
        flushed.map_err(|error| self.why(&error))?;
        let Making { mut unfinished, unpacker, sent: what } = self;
        let contents = match unpacker {
            Unpacker::Plain(contents) => contents,
            Unpacker::Gzip(decoder) => decoder.finish().map_err(|error| io_failure(&error))?,
            Unpacker::Zstd(decoder) => decoder.into_inner(),
        };
        let hash = Digest::from_bytes(*contents.hash.finalize().as_bytes());
        if sent.is_some_and(|sent| sent != (contents.bytes, hash)) {
            return Err(Failure::retryable("io", "what came is not what was sent"));
        }
        let (kind, size, entries) = match contents.goes {
            Goes::File(file) => {
                kept_file(&file, contents.bytes, &what).map_err(|error| io_failure(&error))?;
                (ArtifactKind::File, contents.bytes, 1)
            }
            Goes::Tree(unpack) => {
                let (size, entries) = unpack.finish()?;
                (ArtifactKind::Tree, size, entries)
            }
        };
        let Unfinished { files, id, .. } = &unfinished;
        files.put(build, *id).map_err(|error| io_failure(&error))?;
        let (id, mode, modified_ms) = (*id, what.mode & 0o777, what.modified_ms);
        unfinished.kept = true;
        Ok(Made { id, kind, size, entries, hash, mode, modified_ms })
    }
}

/// Gives a file the mode and time of its original, and makes it durable. Its owner can read it in any case.
fn kept_file(file: &File, bytes: u64, what: &Sent) -> io::Result<()> {
    file.set_len(bytes)?;
    file.set_permissions(std::fs::Permissions::from_mode((what.mode & 0o777) | 0o600))?;
    if let Some(ms) = what.modified_ms {
        file.set_modified(UNIX_EPOCH + Duration::from_millis(ms))?;
    }
    file.sync_all()
}

impl Contents {
    /// Takes data, or leaves all as it was.
    fn take(&mut self, data: &[u8]) -> Result<(), Failure> {
        let bytes = self.bytes + data.len() as u64;
        if bytes > self.most.bytes {
            return Err(Failure::new("too-large", format!("it would have more than {}", self.most)));
        }
        if bytes > self.next_look {
            self.reserve.check()?;
            self.next_look = bytes + LOOK;
        }
        match &mut self.goes {
            Goes::File(file) => file.write_all_at(data, self.bytes).map_err(|error| {
                // A part of it may be there. If it cannot be taken back now, it is at the end.
                file.set_len(self.bytes).ok();
                io_failure(&error)
            })?,
            Goes::Tree(unpack) => unpack.push(data)?,
        }
        self.hash.update(data);
        self.bytes = bytes;
        Ok(())
    }
}

impl Write for Contents {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.take(data).map(|()| data.len()).map_err(|failure| {
            self.stopped = Some(failure);
            io::Error::other("an artifact cannot be written")
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Reserve {
    fn check(&self) -> Result<(), Failure> {
        let found = rustix::fs::statvfs(&self.folder).map_err(|error| io_failure(&error.into()))?;
        if found.f_bavail.saturating_mul(found.f_frsize) >= self.bytes {
            return Ok(());
        }
        let message = format!(
            "the master's disk has less than {} bytes left, which `keep_free` in its `[artifacts]` keeps for builds",
            self.bytes
        );
        Err(Failure::retryable("io", message))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (files, id) = (self.files.clone(), self.id);
        let discard = move || {
            if let Err(error) = files.discard(id) {
                tracing::warn!(artifact = %id, %error, "half an artifact stays behind until the next start");
            }
        };
        // A tree may have a million files.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(discard)),
            Err(_) => discard(),
        }
    }
}

/// A failure of the master's disk. It may have room again later.
pub(super) fn io_failure(error: &io::Error) -> Failure {
    Failure::retryable("io", format!("the master's disk: {error}"))
}

/// A file of a build that can be read.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The artifact that it is, or belongs to.
    pub(crate) row: ArtifactRow,
    /// None: the artifact is a tree, and the tree itself was asked for.
    pub(crate) file: Option<File>,
}

/// Opens an artifact of a build, or a file within one that is a tree. None: there is no such thing.
pub(crate) fn open(store: &Store, build: BuildId, name: &str) -> Result<Option<Opened>, OpenFailed> {
    if let Some(row) = store.artifact(build, name)? {
        let file = match row.kind {
            ArtifactKind::Tree => None,
            ArtifactKind::File => Some(File::open(store.artifact_files().path(build, row.id))?),
        };
        return Ok(Some(Opened { row, file }));
    }
    for (at, _) in name.rmatch_indices('/') {
        let (tree, path) = (&name[..at], &name[at + 1..]);
        if let Some(row) = store.artifact(build, tree)?.filter(|row| row.kind == ArtifactKind::Tree) {
            let folder = store.artifact_files().path(build, row.id);
            return Ok(open_beneath(&folder, path)?.map(|file| Opened { row, file: Some(file) }));
        }
    }
    Ok(None)
}

/// Why an artifact that is there cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenFailed {
    #[error(transparent)]
    Store(#[from] ReadError),
    #[error("failed to read an artifact from the master's disk")]
    Io(#[from] io::Error),
}

/// Opens a regular file below a folder; no link leads out of it. None: there is none.
pub(crate) fn open_beneath(folder: &Path, path: &str) -> io::Result<Option<File>> {
    let folder = File::open(folder)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = loop {
        match rustix::fs::openat2(&folder, path, flags, Mode::empty(), resolve) {
            // Says that something was renamed while the kernel looked: look again.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    use rustix::io::Errno;
    match opened {
        Ok(file) => {
            let file = File::from(file);
            Ok(file.metadata()?.is_file().then_some(file))
        }
        Err(Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Copies an artifact into one in the making, as its beginning.
pub(crate) fn copy_into(making: &mut Making, mut file: File) -> Result<(), Failure> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => making.write(&piece[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io_failure(&error)),
        }
    }
}

/// Removes the bytes of artifacts whose rows are gone.
pub(crate) async fn remove_dropped(store: &Store, dropped: Vec<(BuildId, ArtifactId)>) {
    if dropped.is_empty() {
        return;
    }
    let files = store.artifact_files().clone();
    blocking(move || {
        for (build, id) in dropped {
            if let Err(error) = files.remove(build, id) {
                tracing::warn!(%build, artifact = %id, %error, "an artifact stays on disk until the next start");
            }
        }
    })
    .await;
}

/// Removes what a crash left of artifacts whose rows were gone by then.
pub(crate) async fn sweep(store: Store) {
    match blocking(move || store.sweep_artifacts()).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "removed artifacts that a crash had left"),
        Err(error) => {
            tracing::warn!(
                error = crate::build_driver::chain(&error),
                "artifacts that a crash left stay until the next start"
            );
        }
    }
}

/// Drops what is not kept any longer, rows first; says how many that were.
pub(crate) async fn drop_overdue(store: &Store, keep: Keep, now: Timestamp) -> Result<usize, String> {
    let mut count = 0;
    loop {
        let reading = store.clone();
        let overdue = blocking(move || reading.overdue_artifacts(keep, now, DROPPED)).await;
        let overdue = overdue.map_err(|error| crate::build_driver::chain(&error))?;
        if overdue.is_empty() {
            return Ok(count);
        }
        count += overdue.len();
        let ids = overdue.iter().map(|row| row.id).collect();
        let committed = store.commit(vec![Persist::DropArtifacts(ids)]).await;
        let committed = committed.map_err(|error| crate::build_driver::chain(&error))?;
        remove_dropped(store, committed.dropped).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Sent = Sent { kind: SentKind::File, mode: 0o644, modified_ms: None, compression: None };

    fn making(store: &Store, most: u64, keep_free: u64) -> Result<Making, Failure> {
        Making::begin(store.artifact_files(), ArtifactId(1), &SENT, Keep::default().limit(most), keep_free)
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), windlass_store::Options::default()).unwrap();
        (folder, store)
    }

    /// Symptom: an artifact had a size and hash that were not those of its bytes. Cause: what could not be written was
    /// counted and hashed. Cure: what fails leaves all as it was.
    #[test]
    fn what_cannot_be_appended_leaves_what_was_there() {
        let (_folder, store) = store();
        let mut making = making(&store, 10, 0).unwrap();
        making.write(b"first").unwrap();
        assert_eq!(making.write(b"too much").unwrap_err().code, "too-large");
        making.write(b"last").unwrap();
        // As a full disk leaves it.
        std::fs::OpenOptions::new().append(true).open(making.path()).unwrap().write_all(b"rest").unwrap();
        let made = making.finish(BuildId(1), None).unwrap();
        let bytes = std::fs::read(store.artifact_files().path(BuildId(1), ArtifactId(1))).unwrap();
        assert_eq!((&bytes[..], made.size, made.hash), (&b"firstlast"[..], 9, Digest::of(b"firstlast")));
    }

    #[test]
    fn nothing_is_taken_of_what_is_left_to_rows() {
        let (_folder, store) = store();
        let refused = making(&store, u64::MAX, u64::MAX).err().unwrap();
        assert!(refused.retryable && refused.message.contains("`keep_free`"), "{refused}");
    }
}
