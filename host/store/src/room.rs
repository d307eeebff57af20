//! Room on the disk: the writer takes batches only while there is more of it than they need.
//!
//! A database that meets the end of its disk within a commit can do nothing but be opened anew. So the writer looks first,
//! and waits where too little is left beside what it is to write: nothing is lost, whoever commits waits, workers keep what
//! is not acknowledged, and all goes on when there is room again. What makes room does not wait (`queue`); the archive packs
//! no log meanwhile, since that takes room before it gives any.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::Store;

/// So many bytes are left when a batch is written, beside its own: more than the database needs for a commit, and for the
/// rows of a shutdown after it.
pub const RESERVE: u64 = 32 << 20;

/// Between two looks while there is too little.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Says how many bytes are left where a folder lies, before a commit of this number.
#[derive(Clone)]
pub struct DiskRoom(Arc<Look>);

type Look = dyn Fn(&Path, u64) -> io::Result<u64> + Send + Sync;

impl DiskRoom {
    /// Has `look` say it, for tests of full disks.
    pub fn new(look: impl Fn(&Path, u64) -> io::Result<u64> + Send + Sync + 'static) -> DiskRoom {
        DiskRoom(Arc::new(look))
    }

    /// How many bytes are left before this commit. Where nobody can say, it may be tried.
    pub(crate) fn left(&self, folder: &Path, commit: u64) -> u64 {
        (self.0)(folder, commit).unwrap_or(u64::MAX)
    }
}

impl Default for DiskRoom {
    /// The system's word.
    fn default() -> DiskRoom {
        DiskRoom::new(|folder, _| disk(folder))
    }
}

/// What the system says is left for whoever is not its administrator.
pub fn disk(folder: &Path) -> io::Result<u64> {
    let of = rustix::fs::statvfs(folder)?;
    Ok(of.f_bavail.saturating_mul(of.f_frsize))
}

impl Store {
    /// Whether so many bytes may be written as the disk is now, and the reserve is left.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        let commit = self.0.counters.commits.load(Ordering::Relaxed) + 1;
        self.0.room.left(&self.0.logs, commit) >= bytes.saturating_add(RESERVE)
    }
}

impl fmt::Debug for DiskRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskRoom")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use redb::backends::InMemoryBackend;
    use tokio::time::timeout;
    use windlass_core::horizon::Horizons;
    use windlass_core::id::{ArtifactId, BuildId, BuildsetId, LogId};
    use windlass_core::keeping::Keeping;
    use windlass_core::outcome::Outcome;
    use windlass_core::persist::Persist;
    use windlass_core::time::Timestamp;

    use super::*;
    use crate::test_rows::*;
    use crate::{CommitError, Options, Store, Tended};

    const BOUND: Duration = Duration::from_secs(60);

    /// A store on a disk with as much room as the number says.
    fn store(folder: &Path, left: u64) -> (Store, Arc<AtomicU64>) {
        let left = Arc::new(AtomicU64::new(left));
        let room = {
            let left = left.clone();
            DiskRoom::new(move |_, _| Ok(left.load(Ordering::SeqCst)))
        };
        (Store::open(folder, Options { room, ..Options::default() }).unwrap(), left)
    }

    #[tokio::test]
    async fn a_full_disk_keeps_batches_waiting_in_their_order_and_loses_none() {
        let folder = tempfile::tempdir().unwrap();
        let (store, left) = store(folder.path(), RESERVE - 1);
        let mut commits = [1, 2].map(|id| Box::pin(store.commit(vec![buildset(id, &[id])])));
        for commit in &mut commits {
            let waits = tokio::time::timeout(LOOK_AGAIN, commit).await.is_err();
            assert!(waits);
        }
        assert!(store.stats().waits_for_room);
        // What makes room waits for nobody.
        tend(&store, Keeping::default(), 1).await;
        assert_eq!(store.buildset(BuildsetId(1)).unwrap(), None);
        left.store(2 * RESERVE, Ordering::SeqCst);
        for commit in commits {
            commit.await.unwrap();
        }
        assert!(!store.stats().waits_for_room);
        assert_eq!(store.verify().unwrap(), [""; 0]);
    }

    async fn tend(store: &Store, keeping: Keeping, at: u64) -> Tended {
        let store = store.clone();
        let tended = tokio::task::spawn_blocking(move || {
            store.tend_logs(&keeping, Timestamp(at), &AtomicBool::new(false))
        });
        timeout(BOUND, tended).await.expect("the archive waits").unwrap().unwrap()
    }

    /// A build that ended, with a log of its own segment and an artifact.
    async fn built(store: &Store) {
        store.commit(vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1)]).await.unwrap();
        store.commit(vec![step(1, 1, 0, 1), log(1, 1, false, 1)]).await.unwrap();
        let data = "0123456789abcde\n".repeat(1 << 16);
        for part in 0..2 {
            let offset = part * data.len() as u64;
            store.commit(vec![append(1, 1, 1, offset, data.clone())]).await.unwrap();
        }
        std::fs::write(store.artifact_files().unfinished(ArtifactId(1)), "bytes").unwrap();
        store.artifact_files().put(BuildId(1), ArtifactId(1)).unwrap();
        store.commit(vec![artifact(1, 1, "app", 5, 1)]).await.unwrap();
        store.commit(vec![log(1, 1, true, 1), complete(&[1], 1, Outcome::Success)]).await.unwrap();
        store.commit(vec![ended(1, &[1], 1, Outcome::Success)]).await.unwrap();
    }

    /// Symptom: a full disk stayed full, and the archive stood still. Cause: the rows of a build's artifacts are dropped by a
    /// batch, and batches waited for the room that this one makes. Cure: such a batch waits for none.
    #[tokio::test]
    async fn a_build_beyond_the_horizon_goes_from_a_full_disk_with_its_artifacts() {
        let folder = tempfile::tempdir().unwrap();
        let (store, left) = store(folder.path(), u64::MAX);
        built(&store).await;
        left.store(0, Ordering::SeqCst);
        let horizons = Horizons { builds: Some(0), logs: None, changes: None };
        let tended = tend(&store, Keeping { horizons, ..Keeping::default() }, 1 << 40).await;
        assert_eq!(tended.builds, 1);
        assert_eq!(store.build(BuildId(1)).unwrap(), None);
        assert!(!folder.path().join("artifacts/1").exists());
        assert_eq!(store.verify().unwrap(), [""; 0]);
    }

    /// Symptom: a disk with little room got full at once, and the master ended. Cause: that room was short had finished logs
    /// packed, which are there twice until their old bytes go. Cure: a log is packed where there is room for that.
    #[tokio::test]
    async fn a_log_is_packed_when_the_disk_has_room_for_it_a_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let (store, left) = store(folder.path(), u64::MAX);
        built(&store).await;
        left.store(RESERVE + (1 << 20), Ordering::SeqCst);
        assert_eq!(tend(&store, Keeping::default(), 1).await.archived, 0);
        assert!(!folder.path().join("logs/arc-000001.log").exists());
        left.store(RESERVE + (3 << 20), Ordering::SeqCst);
        assert_eq!(tend(&store, Keeping::default(), 1 << 30).await.archived, 1);
        assert_eq!(store.verify().unwrap(), [""; 0]);
    }

    /// Symptom: builds ended as exception when a disk that was full got a little room. Cause: all that had waited was written
    /// at once, which was more than there was, and then no batch with logs was taken. Cure: what fits is taken, the rest waits.
    #[tokio::test]
    async fn a_little_room_takes_as_much_as_fits_and_the_rest_waits() {
        let folder = tempfile::tempdir().unwrap();
        let (store, left) = store(folder.path(), u64::MAX);
        store.commit(vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1)]).await.unwrap();
        store.commit(vec![step(1, 1, 0, 1)]).await.unwrap();
        store.commit(vec![log(1, 1, false, 1)]).await.unwrap();
        let commits = store.stats().commits;
        left.store(0, Ordering::SeqCst);
        const PART: u64 = 3 << 20;
        let part = |number| store.commit(vec![append(1, 1, 1, number * PART, "x".repeat(3 << 20))]);
        let mut waiting: Vec<_> = (0..4).map(|number| Box::pin(part(number))).collect();
        assert!(timeout(LOOK_AGAIN, &mut waiting[0]).await.is_err());
        left.store(RESERVE + PART + PART / 2, Ordering::SeqCst);
        for commit in waiting {
            timeout(BOUND, commit).await.unwrap().unwrap();
        }
        assert_eq!(store.stats().commits - commits, 4, "one after the other");
        left.store(RESERVE + PART / 2, Ordering::SeqCst);
        let mut late = Box::pin(part(4));
        assert!(timeout(2 * LOOK_AGAIN, &mut late).await.is_err() && store.stats().waits_for_room);
        left.store(RESERVE + 2 * PART, Ordering::SeqCst);
        timeout(BOUND, late).await.unwrap().unwrap();
        assert!(!store.stats().waits_for_room);
        assert_eq!(store.log_len(LogId(1)).unwrap(), 5 * PART);
    }

    /// The same where the disk, or somebody's share of it, ends before the system says so.
    #[tokio::test]
    async fn logs_that_a_full_disk_refuses_wait_with_all_behind_them() {
        let folder = tempfile::tempdir().unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let disk = full.clone();
        let make_durable = move |_: &File, _: &Path| match disk.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        };
        let (backend, options) = (InMemoryBackend::new(), Options::default());
        let store = Store::open_for_crash(backend, folder.path(), options, Arc::new(make_durable)).unwrap();
        store.commit(vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1)]).await.unwrap();
        store.commit(vec![step(1, 1, 0, 1), log(1, 1, false, 1)]).await.unwrap();
        full.store(true, Ordering::SeqCst);
        let mut waits = Box::pin(store.commit(vec![append(1, 1, 1, 0, "not lost")]));
        let behind = store.commit(vec![log(1, 1, true, 1)]);
        assert!(timeout(2 * LOOK_AGAIN, &mut waits).await.is_err() && store.stats().waits_for_room);
        // What makes room goes on.
        store.commit(vec![Persist::DropArtifacts(vec![ArtifactId(1)])]).await.unwrap();
        full.store(false, Ordering::SeqCst);
        timeout(BOUND, waits).await.unwrap().unwrap();
        timeout(BOUND, behind).await.unwrap().unwrap();
        assert!(!store.stats().waits_for_room);
        assert_eq!(store.log_len(LogId(1)).unwrap(), 8);
    }

    /// Symptom: a disk without room lost what was left of it, and the master tried the same megabytes five times a second.
    /// Cause: what had been written of a refused group stayed behind the committed ends, and all that waited was tried again
    /// at once. Cure: it is cut off, and little is tried at a time.
    #[tokio::test]
    async fn what_a_full_disk_refused_takes_no_room_and_is_tried_in_parts() {
        const PART: u64 = 3 << 20;
        let folder = tempfile::tempdir().unwrap();
        // The longest that any file may become.
        let most = Arc::new(AtomicU64::new(0));
        let (disk, tried) = (most.clone(), Arc::new(AtomicU64::new(0)));
        let longest = tried.clone();
        let make_durable = move |file: &File, _: &Path| {
            let metadata = file.metadata()?;
            longest.fetch_max(metadata.len(), Ordering::SeqCst);
            match metadata.is_file() && metadata.len() > disk.load(Ordering::SeqCst) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        };
        let (backend, options) = (InMemoryBackend::new(), Options::default());
        let store = Store::open_for_crash(backend, folder.path(), options, Arc::new(make_durable)).unwrap();
        store.commit(vec![buildset(1, &[1]), claim(&[1], 1), build(1, &[1], 1)]).await.unwrap();
        store.commit(vec![step(1, 1, 0, 1), log(1, 1, false, 1)]).await.unwrap();
        most.store(PART, Ordering::SeqCst);
        let part = |number| append(1, 1, 1, number * PART, "x".repeat(PART as usize));
        store.commit(vec![part(0)]).await.unwrap();
        most.store(0, Ordering::SeqCst);
        let mut waiting: Vec<_> = (1..8).map(|number| Box::pin(store.commit(vec![part(number)]))).collect();
        // Refused at least twice, the second time as it is tried again.
        assert!(timeout(3 * LOOK_AGAIN, &mut waiting[0]).await.is_err() && store.stats().waits_for_room);
        tried.store(0, Ordering::SeqCst);
        assert!(timeout(3 * LOOK_AGAIN, &mut waiting[0]).await.is_err());
        // The log's file has one part; two more are tried at once.
        assert_eq!(tried.load(Ordering::SeqCst), 3 * PART);
        let taken = || -> u64 {
            let files = std::fs::read_dir(folder.path().join("logs")).unwrap();
            files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
        };
        let cut_back = async {
            while taken() > PART {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, cut_back).await.expect("what was refused takes room");
        most.store(u64::MAX, Ordering::SeqCst);
        for commit in waiting {
            timeout(BOUND, commit).await.unwrap().unwrap();
        }
        assert!(!store.stats().waits_for_room);
        assert_eq!(store.log_len(LogId(1)).unwrap(), 8 * PART);
        assert_eq!(store.verify().unwrap(), [""; 0]);
    }

    /// Symptom: a disk that hung had the whole master hang. Cause: the writer looked at it while the line was locked. Cure:
    /// it looks before.
    #[tokio::test]
    async fn whoever_stands_in_line_waits_for_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (looks, looked) = std::sync::mpsc::channel();
        let (answer, answers) = std::sync::mpsc::channel::<()>();
        let answers = std::sync::Mutex::new(answers);
        let room = DiskRoom::new(move |_, _| {
            looks.send(()).ok();
            answers.lock().unwrap().recv().ok();
            Ok(u64::MAX)
        });
        let store = Store::open(folder.path(), Options { room, ..Options::default() }).unwrap();
        let first = store.commit(vec![buildset(1, &[1])]);
        looked.recv().unwrap();
        // The disk has not answered.
        let second = {
            let store = store.clone();
            tokio::task::spawn_blocking(move || drop(store.commit(vec![buildset(2, &[2])])))
        };
        timeout(BOUND, second).await.unwrap().unwrap();
        drop(answer);
        first.await.unwrap();
    }

    #[tokio::test]
    async fn a_store_that_is_closed_on_a_full_disk_writes_what_waited_or_says_that_it_could_not() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = store(folder.path(), 0);
        let waits = store.commit(vec![buildset(1, &[1])]);
        store.close();
        // There is room in truth: the reserve is for this.
        waits.await.unwrap();
        let late = store.commit(vec![buildset(2, &[2])]).await;
        assert!(matches!(late, Err(CommitError::Closed)), "{late:?}");
    }

    #[test]
    fn the_disk_of_this_folder_has_a_size() {
        assert!(disk(Path::new(".")).is_ok());
    }
}
