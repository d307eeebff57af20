//! The outbox of one command: its updates by number, the tape that an agent after this one reads, and how much it may say.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Notify;
use windlass_core::digest::Digest;
use windlass_core::journal::{begin, chain};
use windlass_core::policy::Usage;
use windlass_core::value::{Completion, Failure, Origin};
use windlass_protocol::codec::{self, Frames};
use windlass_protocol::message::{CommandUid, ToMaster, Update};
use windlass_protocol::session::{NeverSent, Outbox};

use super::fresh::Fresh;
use super::left::{MAX_ANSWERS, MAX_BYTES};
use super::shelf::Shelf;
use super::tape::{Place, Record, Tape};
use super::{SHELF, Spool, TAPE, lock, pieces};

/// What a command may always say: others that fill the spool do not silence it.
pub(super) const SMALL: usize = 1024 * 1024;

/// The outbox of one command.
#[derive(Debug)]
pub struct CommandSpool {
    pub(super) uid: CommandUid,
    pub(super) spool: Arc<Spool>,
    pub(super) room: Notify,
    pub(super) inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) outbox: Outbox<Place>,
    /// Over the log data so far.
    pub(super) hash: Digest,
    pub(super) tape: Tape,
    pub(super) shelf: Shelf,
    /// Bytes on the shelf.
    pub(super) memory: usize,
    pub(super) spill: Option<Shelf>,
    pub(super) fresh: Fresh,
    /// What its component was told: how often, and how many bytes.
    pub(super) told: (usize, usize),
    /// No agent can go on with it but this one; nothing of what its component is told is kept any more.
    pub(super) volatile: bool,
    /// Whether it stands in `Spool::ready`.
    pub(super) queued: bool,
    pub(super) forgotten: bool,
    pub(super) done: bool,
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
    pub(super) fn new(tape: Tape, shelf: Shelf, fresh: Fresh) -> Inner {
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

    pub(super) fn queue(self: &Arc<Self>, inner: &mut Inner) {
        if inner.outbox.has_unsent() && !inner.queued {
            inner.queued = true;
            lock(&self.spool.ready).push_back(Arc::clone(self));
            self.spool.wake.notify_one();
        }
    }

    /// What goes to the master in the place of an update that can't be read back. The hash of the logs
    /// will not fit, so that the command ends as lost, and may be tried again.
    pub(super) fn lost(&self, inner: &mut Inner, number: u64, error: &io::Error) -> Option<Frames> {
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

    pub(super) fn path(&self) -> PathBuf {
        self.spool.folder.join(&self.uid.0)
    }
}

impl Inner {
    /// The next unsent update and its number, read back if need be.
    pub(super) fn next(&mut self) -> Option<(u64, io::Result<Frames>)> {
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
