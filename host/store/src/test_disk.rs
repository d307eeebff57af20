//! A disk for tests: a database's backend that may stop being durable at a sync, and outlives its store.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use crate::{Options, Store};

#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// The database as the process sees it.
    pub(crate) live: Vec<u8>,
    /// As it is after a crash.
    pub(crate) durable: Vec<u8>,
    /// What was written since the last sync.
    pub(crate) dirty: Vec<std::ops::Range<usize>>,
    pub(crate) last_header: Vec<u8>,
    /// Durable lengths of log segments.
    pub(crate) segments: HashMap<PathBuf, u64>,
    pub(crate) syncs: u64,
    pub(crate) crash_at: Option<u64>,
    /// Whose files are kept as they are at that moment: later ones may be removed, and were not.
    folder: Option<PathBuf>,
    pub(crate) files: HashMap<PathBuf, Vec<u8>>,
}

impl Disk {
    /// Counts a sync; returns whether it still reaches the disk.
    fn sync(&mut self) -> bool {
        self.syncs += 1;
        if self.crash_at == Some(self.syncs)
            && let Some(folder) = &self.folder
        {
            for entry in std::fs::read_dir(folder.join("logs")).unwrap() {
                let path = entry.unwrap().path();
                self.files.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
        self.crash_at.is_none_or(|crash| self.syncs < crash)
    }

    /// The crash comes at this sync of the store in `folder`.
    pub(crate) fn stop_at(&mut self, crash: Option<u64>, folder: &Path) {
        (self.crash_at, self.folder) = (crash, Some(folder.to_owned()));
    }

    pub(crate) fn crashed(&self) -> bool {
        self.crash_at.is_some_and(|crash| self.syncs >= crash)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Backend(pub(crate) Arc<Mutex<Disk>>);

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = self.0.lock().unwrap();
        let from = disk.live.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.lock().unwrap().live.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        if disk.sync() {
            let Disk { live, durable, dirty, .. } = &mut *disk;
            durable.resize(live.len(), 0);
            for range in dirty.drain(..).filter(|range| range.end <= live.len()) {
                durable[range.clone()].copy_from_slice(&live[range]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        let range = offset as usize..offset as usize + data.len();
        disk.live[range.clone()].copy_from_slice(data);
        disk.dirty.push(range);
        if offset == 0 && !disk.crashed() {
            disk.last_header = data.to_vec();
        }
        Ok(())
    }
}

/// Opens a store on `backend` whose log segments count their syncs there too.
pub(crate) fn open(backend: Backend, folder: &Path) -> Store {
    let disk = backend.0.clone();
    let make_durable = Arc::new(move |file: &File, path: &Path| {
        let length = file.metadata()?.len();
        let mut disk = disk.lock().unwrap();
        if disk.sync() {
            disk.segments.insert(path.to_owned(), length);
        }
        Ok(())
    });
    Store::open_for_crash(backend, folder, Options::default(), make_durable).unwrap()
}
