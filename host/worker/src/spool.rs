//! What commands said and the master has not made durable yet: one outbox for each command, in memory
//! up to a size, in a file of its own beyond.
//!
//! Writers are the commands, the reader is the link; both only hold a lock for a few copies. Updates lie in files,
//! those in memory too: the holder keeps these, together with the command's [`tape`], so that they outlive the agent.
//! A file is read and written through the page cache while the lock is held: at most 32 KiB at a time, which
//! costs less than a hop to a blocking thread.
//!
//! Bounded for each command and for all together, in bytes and in number: whoever is over a bound waits
//! for the master. What can't be read back from a file is replaced by a record of the loss, so that one
//! bad file costs one command and not the link.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::Notify;
use windlass_core::value::Origin;
use windlass_protocol::codec::Frames;
use windlass_protocol::message::{CommandUid, Update};
use windlass_protocol::session::Outbox;

use crate::holder::Holder;
pub use command::CommandSpool;
use command::Inner;
use fresh::Fresh;
use left::Left;
use shelf::Shelf;
use tape::{Record, Tape};

mod command;
mod fresh;
pub mod left;
mod shelf;
pub mod tape;

/// The most data in one `Log` update.
pub const MAX_LOG_DATA: usize = 32 * 1024;

/// How much commands may leave behind here.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one command in memory; what comes after goes to a file.
    pub memory: usize,
    /// Bytes of all commands in memory; what comes after goes to files.
    pub all_memory: usize,
    /// Bytes of one command in all while there is a link; then it waits for the master, who takes them. More would only
    /// be written to disk and read back.
    pub window: usize,
    /// Bytes of one command in all without a link; then it waits for the master.
    pub total: usize,
    /// Bytes of all commands in all; then those with more than [`SMALL`] of it wait for the master.
    pub all: usize,
    /// Updates of one command: each costs some memory, however small it is.
    pub updates: u64,
}

/// Under this name the holder keeps the tape of a command, and what it said as far as it lies in memory.
pub const TAPE: &str = "tape";

/// Where updates begin in the file of the tape: no tape is that long, and nothing in between takes up memory.
const SHELF: u64 = 1 << 40;

impl Default for Limits {
    /// A log of a few MiB never touches the disk; an hour without a master costs some gigabytes at most.
    fn default() -> Limits {
        const MIB: usize = 1024 * 1024;
        Limits {
            memory: 16 * MIB,
            all_memory: 64 * MIB,
            window: 16 * MIB,
            total: 1024 * MIB,
            all: 8 * 1024 * MIB,
            updates: 100_000,
        }
    }
}

/// The outboxes of all commands, and which of them have something to send.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limits: Limits,
    holder: Arc<Holder>,
    commands: Mutex<HashMap<CommandUid, Arc<CommandSpool>>>,
    /// Commands with unsent updates, each once: taking one from each in turn is fair.
    ready: Mutex<VecDeque<Arc<CommandSpool>>>,
    wake: Notify,
    /// Whether there is somebody who takes updates.
    linked: AtomicBool,
    /// Bytes of all commands: in memory and fresh, in memory, and in all.
    fresh: Arc<AtomicUsize>,
    memory: AtomicUsize,
    total: AtomicUsize,
}

impl Spool {
    /// A spool that spills into `folder`, which exists, and whose tapes `holder` keeps.
    #[must_use]
    pub fn new(folder: &Path, limits: Limits, holder: Arc<Holder>) -> Arc<Spool> {
        Arc::new(Spool {
            folder: folder.to_owned(),
            limits,
            holder,
            commands: Mutex::default(),
            ready: Mutex::default(),
            wake: Notify::new(),
            linked: AtomicBool::new(false),
            fresh: Arc::default(),
            memory: AtomicUsize::new(0),
            total: AtomicUsize::new(0),
        })
    }

    /// Opens the outbox of a new command; `None` if that command is known. What it began with is on its tape before
    /// anybody keeps that.
    pub fn open(self: &Arc<Self>, uid: &CommandUid, began: &Record) -> io::Result<Option<Arc<CommandSpool>>> {
        let mut commands = lock(&self.commands);
        if commands.contains_key(uid) {
            return Ok(None);
        }
        let mut tape = Tape::new()?;
        tape.write(std::slice::from_ref(began))?;
        self.holder.keep(&uid.0, TAPE, tape.file().as_fd())?;
        let shelf = Shelf::new(tape.file().try_clone()?, SHELF);
        let command = self.command(uid, Inner::new(tape, shelf, Fresh::new(Arc::clone(&self.fresh))));
        commands.insert(uid.clone(), Arc::clone(&command));
        Ok(Some(command))
    }

    /// Opens the outbox of a command that an earlier agent of the same holder ran, from its tape, and says what else
    /// there is of it. An error: nothing is known of it.
    pub fn reopen(self: &Arc<Self>, uid: &CommandUid, tape: File) -> io::Result<(Arc<CommandSpool>, Left)> {
        let (tape, records) = Tape::read(tape)?;
        let shelf = Shelf::new(tape.file().try_clone()?, SHELF);
        let mut inner = Inner::new(tape, shelf, Fresh::new(Arc::clone(&self.fresh)));
        let left = Left::of(records, crate::child::clock())?;
        inner.outbox = Outbox::resumed(left.acked);
        inner.hash = left.hash;
        inner.done = left.done;
        inner.told = left.told();
        inner.volatile = left.refusal.is_some();
        for place in &left.said {
            let (offset, len) = (place.offset, place.len as usize);
            if place.spilled {
                if inner.spill.is_none() {
                    let file = File::options().read(true).write(true).open(self.folder.join(&uid.0))?;
                    inner.spill = Some(Shelf::new(file, 0));
                }
                inner.spill.iter_mut().for_each(|spill| spill.has(offset, len));
            } else {
                inner.shelf.has(offset, len);
                inner.memory += len;
            }
            inner.outbox.push(*place, len);
        }
        self.memory.fetch_add(inner.memory, Ordering::Relaxed);
        self.total.fetch_add(inner.outbox.bytes(), Ordering::Relaxed);
        let command = self.command(uid, inner);
        lock(&self.commands).insert(uid.clone(), Arc::clone(&command));
        Ok((command, left))
    }

    fn forget_kept(&self, uid: &CommandUid, prefix: &str) {
        if let Err(error) = self.holder.forget(&uid.0, prefix) {
            tracing::warn!(command = uid.0, %error, "the holder was not told what is needed no more");
        }
    }

    fn command(self: &Arc<Self>, uid: &CommandUid, inner: Inner) -> Arc<CommandSpool> {
        Arc::new(CommandSpool {
            uid: uid.clone(),
            spool: Arc::clone(self),
            room: Notify::new(),
            inner: Mutex::new(inner),
        })
    }

    /// Forgets a command and what it said.
    pub fn forget(&self, uid: &CommandUid) {
        if let Some(command) = lock(&self.commands).remove(uid) {
            let mut inner = lock(&command.inner);
            inner.forgotten = true;
            self.memory.fetch_sub(std::mem::take(&mut inner.memory), Ordering::Relaxed);
            self.total.fetch_sub(inner.outbox.bytes(), Ordering::Relaxed);
            inner.outbox = Outbox::default();
            inner.fresh.clear();
            command.room.notify_waiters();
            if inner.spill.take().is_some()
                && let Err(error) = std::fs::remove_file(command.path())
            {
                tracing::warn!(%error, "failed to remove a spool file");
            }
        }
        // Even if it was forgotten before: its children may have ended since.
        self.forget_kept(uid, "");
    }

    /// A link begins or ends. Without one commands go on, and what they say goes to disk.
    pub fn set_linked(&self, linked: bool) {
        self.linked.store(linked, Ordering::Release);
        if !linked {
            for command in lock(&self.commands).values() {
                lock(&command.inner).fresh.clear();
                command.room.notify_waiters();
            }
        }
    }

    /// Every known command with its last number, for the hello.
    pub fn known(&self) -> Vec<(CommandUid, u64)> {
        let commands: Vec<_> = lock(&self.commands).values().cloned().collect();
        let mut known: Vec<_> =
            commands.iter().map(|c| (c.uid.clone(), lock(&c.inner).outbox.last())).collect();
        known.sort();
        known
    }

    /// The next update to send; commands take turns.
    pub fn next(&self) -> Option<Frames> {
        loop {
            let command = lock(&self.ready).pop_front()?;
            let mut inner = lock(&command.inner);
            inner.queued = false;
            let frames = match inner.next() {
                None => None,
                Some((_, Ok(frames))) => Some(frames),
                Some((number, Err(error))) => command.lost(&mut inner, number, &error),
            };
            command.queue(&mut inner);
            if frames.is_some() {
                return frames;
            }
        }
    }

    /// Waits until [`Spool::next`] may have something new.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }
}

/// A message to a log, in updates that are small enough.
pub fn pieces(log: &str, origin: Origin, mut data: Bytes) -> impl Iterator<Item = Update> {
    std::iter::from_fn(move || {
        let part = (!data.is_empty()).then(|| data.split_to(data.len().min(MAX_LOG_DATA)))?;
        Some(Update::Log { log: log.to_owned(), origin, data: part })
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding a lock of the spool")
}

#[cfg(test)]
mod tests;
