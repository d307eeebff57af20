//! Room on the disk: the writer takes batches only while there is more of it than they need.
//!
//! A database that meets the end of its disk within a commit can do nothing but be opened anew. So the writer looks first,
//! and waits where too little is left: nothing is lost, whoever commits waits, workers keep what is not acknowledged, and
//! all goes on when there is room again. Work of the archive does not wait, since it makes room.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// With less than this left, in bytes, no batch is written: more than a commit needs, with its logs and the rows of a
/// shutdown after it.
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

    /// Whether a commit may be tried. Where nobody can say, it may.
    pub(crate) fn suffices(&self, folder: &Path, commit: u64) -> bool {
        (self.0)(folder, commit).map_or(true, |left| left >= RESERVE)
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

impl fmt::Debug for DiskRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskRoom")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use windlass_core::id::BuildsetId;
    use windlass_core::keeping::Keeping;
    use windlass_core::time::Timestamp;

    use super::*;
    use crate::test_rows::buildset;
    use crate::{CommitError, Options, Store};

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
        let tended = {
            let store = store.clone();
            let stop = AtomicBool::new(false);
            tokio::task::spawn_blocking(move || store.tend_logs(&Keeping::default(), Timestamp(1), &stop))
        };
        tended.await.unwrap().unwrap();
        assert_eq!(store.buildset(BuildsetId(1)).unwrap(), None);
        left.store(RESERVE, Ordering::SeqCst);
        for commit in commits {
            commit.await.unwrap();
        }
        assert!(!store.stats().waits_for_room);
        assert_eq!(store.verify().unwrap(), [""; 0]);
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
