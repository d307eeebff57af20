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
use windlass_core::digest::Digest;
use windlass_core::journal::{begin, chain};
use windlass_core::policy::Usage;
use windlass_core::value::{Completion, Failure, Origin};
use windlass_protocol::codec::{self, Frames};
use windlass_protocol::message::{CommandUid, ToMaster, Update};
use windlass_protocol::session::{NeverSent, Outbox};

use crate::holder::Holder;
use fresh::Fresh;
use left::{Left, MAX_ANSWERS, MAX_BYTES};
use shelf::Shelf;
use tape::{Place, Record, Tape};

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

/// What a command may always say: others that fill the spool do not silence it.
const SMALL: usize = 1024 * 1024;

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

/// The outbox of one command.
#[derive(Debug)]
pub struct CommandSpool {
    uid: CommandUid,
    spool: Arc<Spool>,
    room: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    outbox: Outbox<Place>,
    /// Over the log data so far.
    hash: Digest,
    tape: Tape,
    shelf: Shelf,
    /// Bytes on the shelf.
    memory: usize,
    spill: Option<Shelf>,
    fresh: Fresh,
    /// What its component was told: how often, and how many bytes.
    told: (usize, usize),
    /// No agent can go on with it but this one; nothing of what its component is told is kept any more.
    volatile: bool,
    /// Whether it stands in `Spool::ready`.
    queued: bool,
    forgotten: bool,
    done: bool,
    /// That its file cannot be written.
    notice: Option<Notice>,
}

/// What the master is to hear once.
#[derive(Debug)]
enum Notice {
    Due(String),
    Given,
}

impl Inner {
    fn new(tape: Tape, shelf: Shelf, fresh: Fresh) -> Inner {
        let (outbox, hash, memory, spill) = (Outbox::default(), begin(), 0, None);
        let (told, volatile, queued, forgotten, done) = ((0, 0), false, false, false, false);
        Inner {
            outbox,
            hash,
            tape,
            shelf,
            memory,
            spill,
            fresh,
            told,
            volatile,
            queued,
            forgotten,
            done,
            notice: None,
        }
    }

    /// What a component is told is kept up to a bound; then no other agent can go on with its command.
    fn bound(&mut self, records: &mut Vec<Record>) {
        let is_needed = |record: &Record| matches!(record, Record::Interrupted { .. });
        if self.volatile {
            return records.retain(is_needed);
        }
        for record in records.iter() {
            if let Some(bytes) = record.told() {
                self.told = (self.told.0 + 1, self.told.1 + bytes);
            }
        }
        if records.iter().any(|record| matches!(record, Record::Volatile { .. })) {
            self.volatile = true;
        } else if self.told.0 > MAX_ANSWERS || self.told.1 > MAX_BYTES {
            self.volatile = true;
            records.retain(is_needed);
            let why = format!(
                "its component was told more than {MAX_ANSWERS} answers or {} MiB of them",
                MAX_BYTES >> 20
            );
            records.push(Record::Volatile { why });
        }
    }
}

impl CommandSpool {
    /// The command.
    pub fn uid(&self) -> &CommandUid {
        &self.uid
    }

    /// Appends bytes to a log. Never waits: ask [`CommandSpool::has_room`] before.
    pub fn log(self: &Arc<Self>, log: &str, origin: Origin, data: Bytes) {
        self.say(pieces(log, origin, data), Vec::new());
    }

    /// Puts something on the tape.
    pub fn record(self: &Arc<Self>, record: Record) {
        self.say([], vec![record]);
    }

    /// Appends updates, but the last, and puts records on the tape: all of it or nothing, if the agent is killed.
    pub fn say(self: &Arc<Self>, updates: impl IntoIterator<Item = Update>, mut records: Vec<Record>) {
        let mut inner = lock(&self.inner);
        if inner.done || inner.forgotten {
            return;
        }
        let mut said = Vec::new();
        for update in updates {
            if let Update::Log { origin: Origin::Stdout | Origin::Stderr, data, .. } = &update {
                inner.hash = chain(inner.hash, data);
            }
            said.extend(self.push(&mut inner, update));
        }
        if let Some(Notice::Due(error)) = &inner.notice {
            let message = format!(
                "the worker's disk has no room for what this command says ({error}): it waits, as often as its memory is \
                 full, for the master to take that"
            );
            inner.notice = Some(Notice::Given);
            said.extend(self.push(&mut inner, Update::Diagnostic { level: "warn".to_owned(), message }));
        }
        inner.bound(&mut records);
        said.append(&mut records);
        self.write(&mut inner, &said);
    }

    /// Appends the last update. Later ones are dropped: a child that was killed may still have output.
    pub fn done(self: &Arc<Self>, how: Result<Completion, Failure>, usage: Option<Usage>) {
        let mut inner = lock(&self.inner);
        assert!(!inner.done, "BUG: command {} ended twice", self.uid.0);
        let log_hash = inner.hash;
        let mut said = self.push(&mut inner, Update::Done { how, log_hash, usage });
        inner.done = true;
        if let Some(Record::Said { last, .. }) = &mut said {
            *last = true;
        }
        self.write(&mut inner, said.as_slice());
    }

    /// What the holder keeps for the command under names that begin like this is needed no more.
    pub fn give_up(&self, prefix: &str) {
        self.spool.forget_kept(&self.uid, prefix);
    }

    /// Whether the command may say more now.
    pub fn has_room(&self) -> bool {
        let inner = lock(&self.inner);
        // Memory is over its limit only while the disk is full: then the command waits for the master.
        let (limits, bytes) = (&self.spool.limits, inner.outbox.bytes());
        let small = |of_all: &AtomicUsize, most: usize| of_all.load(Ordering::Relaxed) < most;
        let shared = bytes < SMALL
            || (small(&self.spool.total, limits.all) && small(&self.spool.memory, limits.all_memory + SMALL));
        let few = inner.outbox.last() - inner.outbox.acked() < limits.updates;
        let linked = self.spool.linked.load(Ordering::Acquire);
        let most = if linked { limits.window } else { limits.total };
        (bytes < most && inner.memory <= limits.memory && shared && few) || inner.forgotten
    }

    /// Waits until the command may say more.
    pub async fn room(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }

    /// The master has everything up to `received`: offers the rest to the new connection.
    pub fn resume(self: &Arc<Self>, received: u64) -> Result<(), NeverSent> {
        let mut inner = lock(&self.inner);
        inner.outbox.resume(received)?;
        self.queue(&mut inner);
        Ok(())
    }

    /// Forgets what is durable at the master. True once it has the very last update.
    pub fn ack(&self, number: u64) -> Result<bool, NeverSent> {
        let mut inner = lock(&self.inner);
        let (memory, bytes) = (inner.memory, inner.outbox.bytes());
        if number > inner.outbox.acked() && number <= inner.outbox.last() {
            // On the tape before anything else lies where those updates lay.
            let hash = inner.hash;
            self.write(&mut inner, &[Record::Acked { number, hash }]);
        }
        inner.ack(number)?;
        self.spool.memory.fetch_sub(memory - inner.memory, Ordering::Relaxed);
        self.spool.total.fetch_sub(bytes - inner.outbox.bytes(), Ordering::Relaxed);
        self.room.notify_waiters();
        Ok(inner.done && inner.outbox.acked() == inner.outbox.last())
    }

    /// Puts an update into the outbox; what the tape is to say of it.
    fn push(self: &Arc<Self>, inner: &mut Inner, update: Update) -> Option<Record> {
        if inner.forgotten {
            return None;
        }
        let number = inner.outbox.next_number();
        let message = ToMaster::Update { command: self.uid.clone(), number, update };
        let frames = match codec::encode(&message) {
            Ok(frames) => frames,
            Err(error) => {
                // Nothing that a guest may hand over comes near the limit of a message.
                tracing::error!(command = self.uid.0, %error, "BUG: an update can't be sent");
                return None;
            }
        };
        let len = frames.bytes();
        let place = match self.store(inner, frames.as_bytes()) {
            Ok(place) => place,
            Err(error) => {
                // Neither memory nor disk has room. Its hash says that it is missing: the command ends as lost.
                tracing::error!(command = self.uid.0, %error, "an update was lost: nothing holds it");
                return None;
            }
        };
        inner.outbox.push(place, len);
        if self.spool.linked.load(Ordering::Relaxed) {
            inner.fresh.put(number, frames);
        }
        self.spool.total.fetch_add(len, Ordering::Relaxed);
        self.queue(inner);
        Some(Record::Said { number, place, hash: inner.hash, last: false })
    }

    fn write(&self, inner: &mut Inner, records: &[Record]) {
        if records.is_empty() || inner.forgotten {
            return;
        }
        let written = inner.tape.write(records);
        let written = written.and_then(|()| if inner.tape.is_long() { self.shorten(inner) } else { Ok(()) });
        if let Err(error) = written {
            tracing::warn!(command = self.uid.0, %error, "failed to write the tape of a command");
        }
    }

    /// Makes the tape anew, with what is needed still.
    fn shorten(&self, inner: &mut Inner) -> io::Result<()> {
        let mut tape = Tape::new()?;
        let mut shelf = Shelf::new(tape.file().try_clone()?, SHELF);
        let mut records = inner.tape.essence()?;
        let (mut number, hash) = (inner.outbox.acked(), inner.hash);
        records.insert(1, Record::Acked { number, hash });
        let mut places = Vec::new();
        for place in inner.outbox.held() {
            let mut place = *place;
            if !place.spilled {
                let frames = inner.shelf.get(place.offset, place.len as usize)?;
                place.offset = shelf.put(frames.as_bytes())?;
            }
            number += 1;
            let last = inner.done && number == inner.outbox.last();
            records.push(Record::Said { number, place, hash, last });
            places.push(place);
        }
        tape.write(&records)?;
        tape.is_made();
        self.spool.holder.keep(&self.uid.0, TAPE, tape.file().as_fd())?;
        inner.outbox.held_mut().zip(places).for_each(|(place, new)| *place = new);
        (inner.tape, inner.shelf) = (tape, shelf);
        Ok(())
    }

    fn store(&self, inner: &mut Inner, bytes: &[u8]) -> io::Result<Place> {
        let all = self.spool.memory.load(Ordering::Relaxed) + bytes.len();
        let full =
            inner.memory + bytes.len() > self.spool.limits.memory || all > self.spool.limits.all_memory;
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        if full && inner.spill.as_ref().is_none_or(|spill| !spill.bad) {
            match self.spill(inner).and_then(|spill| spill.put(bytes)) {
                Ok(offset) => return Ok(Place { spilled: true, offset, len }),
                // A full disk: from here on there is no room until the master took what is in memory.
                Err(error) => {
                    tracing::warn!(command = self.uid.0, %error, "failed to write the spool file");
                    inner.notice.get_or_insert(Notice::Due(error.to_string()));
                }
            }
        }
        let offset = inner.shelf.put(bytes)?;
        inner.memory += bytes.len();
        self.spool.memory.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(Place { spilled: false, offset, len })
    }

    fn spill<'a>(&self, inner: &'a mut Inner) -> io::Result<&'a mut Shelf> {
        match &mut inner.spill {
            Some(spill) => Ok(spill),
            none => {
                let mut options = File::options();
                let file = options.read(true).write(true).create(true).truncate(true).open(self.path())?;
                Ok(none.insert(Shelf::new(file, 0)))
            }
        }
    }

    fn queue(self: &Arc<Self>, inner: &mut Inner) {
        if inner.outbox.has_unsent() && !inner.queued {
            inner.queued = true;
            lock(&self.spool.ready).push_back(Arc::clone(self));
            self.spool.wake.notify_one();
        }
    }

    /// What goes to the master in the place of an update that can't be read back. The hash of the logs
    /// will not fit, so that the command ends as lost, and may be tried again.
    fn lost(&self, inner: &mut Inner, number: u64, error: &io::Error) -> Option<Frames> {
        let path = self.path();
        let message = format!("update {number} of this command was lost on the worker's disk: {error}");
        if let Some(spill) = inner.spill.as_mut().filter(|spill| !spill.bad) {
            spill.bad = true;
            let aside = path.with_extension("unreadable");
            tracing::error!(command = self.uid.0, "{message}; the file is set aside as {}", aside.display());
            if let Err(error) = std::fs::rename(&path, &aside) {
                tracing::warn!(%error, "failed to set a spool file aside");
            }
        }
        let update = if inner.done && number == inner.outbox.last() {
            let how = Err(Failure::retryable("io", message));
            Update::Done { how, log_hash: Digest::of(b""), usage: None }
        } else {
            Update::Diagnostic { level: "error".to_owned(), message }
        };
        codec::encode(&ToMaster::Update { command: self.uid.clone(), number, update }).ok()
    }

    fn path(&self) -> PathBuf {
        self.spool.folder.join(&self.uid.0)
    }
}

impl Inner {
    /// The next unsent update and its number, read back if need be.
    fn next(&mut self) -> Option<(u64, io::Result<Frames>)> {
        let Inner { outbox, shelf, spill, fresh, .. } = self;
        let (number, place) = outbox.next_unsent()?;
        if let Some(frames) = fresh.take(number) {
            return Some((number, Ok(frames)));
        }
        let shelf = match spill {
            Some(spill) if place.spilled => spill,
            _ => shelf,
        };
        Some((number, shelf.get(place.offset, place.len as usize)))
    }

    fn ack(&mut self, number: u64) -> Result<(), NeverSent> {
        let going = number.saturating_sub(self.outbox.acked());
        for place in self.outbox.held().take(usize::try_from(going).unwrap_or(usize::MAX)) {
            let (offset, len) = (place.offset, place.len as usize);
            if place.spilled {
                let spill = self.spill.as_mut().expect("the file stays while it holds an update");
                spill.drop_oldest(offset, len);
            } else {
                self.memory -= len;
                self.shelf.drop_oldest(offset, len);
            }
        }
        self.outbox.ack(number)
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
