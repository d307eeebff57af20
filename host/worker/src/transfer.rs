//! Files under way to and from the master: what is sent and not acknowledged, what came and is not written,
//! for every transfer of this worker. They go on with the next link when one is cut.
//!
//! Each transfer has a thread of its own while it lasts (`send`, `receive`), and there are a few at a time:
//! it reads or writes the file, and waits here for the master. The link carries: it takes parts from here
//! after everything else, and hands over what comes. Either side holds at most a window of a transfer.
//!
//! - `send`, `receive`: a file or tree, from its beginning to its end
//! - `walk`: a directory as a stream of entries

mod receive;
mod send;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use windlass_core::value::Failure;
use windlass_protocol::codec::{self, Frames};
use windlass_protocol::message::{CommandUid, ToMaster};
use windlass_protocol::session::{Inbox, Outbox, Seen};
use windlass_protocol::transfer::{
    ACKNOWLEDGE, AT_ONCE, BEGIN_AGAIN, FEATURE, Part, Sent, TransferId, WINDOW,
};

use crate::machine::{Turn, Turns};
use crate::outgoing::Outgoing;
use crate::work::{Stop, Work};

pub use receive::Target;

/// How often a transfer that waits for the master looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// All transfers of this worker.
#[derive(Debug)]
pub struct Transfers {
    outgoing: Arc<Outgoing>,
    desk: Mutex<Desk>,
    /// The link has something to send.
    wake: Notify,
    turns: Turns,
    /// Which start of the worker this is, in the names of transfers: the next one begins its own.
    life: u32,
}

/// So often one transfer begins again that its master has forgotten.
const MOST_AGAIN: usize = 32;

#[derive(Debug, Default)]
struct Desk {
    link: Link,
    live: HashMap<TransferId, Arc<Live>>,
    /// Those with unsent parts, each once: one of each in turn is fair.
    ready: VecDeque<Arc<Live>>,
    next: u64,
    /// What was given up: said again to the next link, since one that breaks takes along what it had not sent.
    given_up: VecDeque<TransferId>,
}

/// How many of those are kept, the last ones: what was said long before a link broke has arrived.
const MOST_GIVEN_UP: usize = 64;

/// What there is between us and the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Link {
    #[default]
    None,
    /// It understands transfers.
    Able,
    /// It is of an older version.
    Unable,
}

/// A transfer under way.
#[derive(Debug)]
struct Live {
    id: TransferId,
    token: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    way: Way,
    /// The master's last word.
    over: Option<Result<u64, Failure>>,
}

#[derive(Debug)]
enum Way {
    Sending {
        sent: Sent,
        outbox: Outbox<Part>,
        /// The master said on this link how far it is.
        open: bool,
        /// It stands in `Desk::ready`.
        queued: bool,
    },
    Receiving {
        inbox: Inbox,
        /// Came and is not written yet.
        parts: VecDeque<Part>,
        /// What they cost.
        held: usize,
        /// The last part that was written, and the last that the master was told of.
        taken: u64,
        told: u64,
        /// Written since then.
        untold: usize,
    },
}

impl Transfers {
    /// None yet.
    pub fn new(outgoing: Arc<Outgoing>) -> Arc<Transfers> {
        Arc::new(Transfers {
            outgoing,
            desk: Mutex::default(),
            wake: Notify::new(),
            turns: Turns::new(AT_ONCE),
            // Without chance they are told apart by their commands and numbers.
            life: getrandom::u32().unwrap_or_default(),
        })
    }

    /// Waits until a transfer of the builder that has this directory may be under way.
    pub async fn turn(&self, directory: &Path) -> Turn {
        self.turns.turn(directory).await
    }

    /// A link begins, whose features are these: all that is under way is opened on it anew.
    pub fn linked(&self, features: &[String]) {
        let able = features.iter().any(|feature| feature == FEATURE);
        let mut desk = lock(&self.desk);
        desk.link = if able { Link::Able } else { Link::Unable };
        desk.ready.clear();
        let given_up = if able { desk.given_up.iter().cloned().collect() } else { Vec::new() };
        for transfer in given_up {
            self.outgoing.say(ToMaster::GiveUp { transfer });
        }
        for live in desk.live.values() {
            let mut state = lock(&live.state);
            if let Way::Sending { open, queued, .. } = &mut state.way {
                (*open, *queued) = (false, false);
            }
            if able {
                self.open(live, &state);
            } else {
                state.over.get_or_insert(Err(too_old()));
                live.changed.notify_all();
            }
        }
    }

    /// The link is gone.
    pub fn unlinked(&self) {
        lock(&self.desk).link = Link::None;
    }

    /// The next part to send.
    pub fn next(&self) -> Option<Frames> {
        let mut desk = lock(&self.desk);
        while let Some(live) = desk.ready.pop_front() {
            let mut state = lock(&live.state);
            let Way::Sending { outbox, open, queued, .. } = &mut state.way else { continue };
            *queued = false;
            if !*open {
                continue;
            }
            let Some((number, part)) = outbox.next_unsent() else { continue };
            let message = ToMaster::Part { transfer: live.id.clone(), number, part: part.clone() };
            if outbox.has_unsent() {
                *queued = true;
                desk.ready.push_back(Arc::clone(&live));
            }
            // A part is far smaller than what a message may have.
            return codec::encode(&message).ok();
        }
        None
    }

    /// Waits until [`Transfers::next`] may have something new.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    /// The master has all parts up to `received`, and wants the others.
    pub fn on_ready(&self, id: &TransferId, received: u64) {
        let mut desk = lock(&self.desk);
        let Some(live) = desk.live.get(id).cloned() else { return };
        let mut state = lock(&live.state);
        let State { way: Way::Sending { outbox, open, queued, .. }, over } = &mut *state else { return };
        if received < outbox.acked() {
            let message = "the master does not know the beginning of this upload any more";
            over.get_or_insert(Err(Failure::retryable(BEGIN_AGAIN, message)));
            live.changed.notify_all();
            return;
        }
        match outbox.resume(received) {
            Ok(()) => *open = true,
            Err(error) => {
                over.get_or_insert(Err(Failure::new("io", format!("BUG of the master: {error}"))));
                live.changed.notify_all();
                return;
            }
        }
        if outbox.has_unsent() && !*queued {
            *queued = true;
            desk.ready.push_back(Arc::clone(&live));
            self.wake.notify_one();
        }
    }

    /// The master has written all parts up to `number`.
    pub fn on_taken(&self, id: &TransferId, number: u64) {
        let Some(live) = self.live(id) else { return };
        let mut state = lock(&live.state);
        if let State { way: Way::Sending { outbox, .. }, over } = &mut *state {
            if let Err(error) = outbox.ack(number) {
                over.get_or_insert(Err(Failure::new("io", format!("BUG of the master: {error}"))));
            }
            live.changed.notify_all();
        }
    }

    /// A part came.
    pub fn on_part(&self, id: &TransferId, number: u64, part: Part) {
        let Some(live) = self.live(id) else { return };
        let mut state = lock(&live.state);
        let State { way: Way::Receiving { inbox, parts, held, .. }, over } = &mut *state else { return };
        match inbox.accept(number) {
            Seen::New if *held + part.cost() <= WINDOW => {
                *held += part.cost();
                parts.push_back(part);
            }
            Seen::New => {
                over.get_or_insert(Err(Failure::new("io", "BUG of the master: it sent more than a window")));
            }
            Seen::Duplicate => {}
            Seen::Gap { expected } => {
                let message = format!("part {number} of a file came where {expected} was due");
                over.get_or_insert(Err(Failure::retryable("io", message)));
            }
        }
        live.changed.notify_all();
    }

    /// The master's last word about a transfer.
    pub fn on_over(&self, id: &TransferId, how: Result<u64, Failure>) {
        let Some(live) = self.live(id) else { return };
        lock(&live.state).over.get_or_insert(how);
        live.changed.notify_all();
    }

    fn live(&self, id: &TransferId) -> Option<Arc<Live>> {
        lock(&self.desk).live.get(id).cloned()
    }

    /// Begins a transfer. It ends when the answer is dropped.
    fn begin(self: &Arc<Self>, command: &CommandUid, token: &str, way: Way) -> Result<Under, Failure> {
        let mut desk = lock(&self.desk);
        if desk.link == Link::Unable {
            return Err(too_old());
        }
        desk.next += 1;
        let live = Arc::new(Live {
            id: TransferId(format!("{}.{:08x}.{}", command.0, self.life, desk.next)),
            token: token.to_owned(),
            state: Mutex::new(State { way, over: None }),
            changed: Condvar::new(),
        });
        desk.live.insert(live.id.clone(), Arc::clone(&live));
        self.open(&live, &lock(&live.state));
        drop(desk);
        Ok(Under { transfers: Arc::clone(self), live })
    }

    /// Tells the master of a transfer, and how far it is. Without a link nothing is said: the next one says it.
    fn open(&self, live: &Live, state: &State) {
        let (transfer, token) = (live.id.clone(), live.token.clone());
        match &state.way {
            Way::Sending { sent, .. } => {
                self.outgoing.say(ToMaster::Send { transfer, token, sent: sent.clone() });
            }
            Way::Receiving { inbox, taken, .. } => {
                let again = transfer.clone();
                self.outgoing.say(ToMaster::Receive { transfer, token, received: inbox.seen() });
                self.outgoing.say(ToMaster::Taken { transfer: again, number: *taken });
            }
        }
    }
}

/// Does a whole transfer, from its first byte, and again as long as a new master has to have it from there.
fn whole(mut once: impl FnMut() -> Result<u64, Failure>) -> Result<u64, Failure> {
    for _ in 0..MOST_AGAIN {
        match once() {
            again if is_to_begin_again(&again) => {
                tracing::info!("a transfer begins again: its master is a new one");
            }
            ended => return ended,
        }
    }
    once()
}

fn is_to_begin_again(how: &Result<u64, Failure>) -> bool {
    how.as_ref().is_err_and(|failure| failure.code == BEGIN_AGAIN)
}

fn too_old() -> Failure {
    let message = "the master does not understand transfers of files; renew it";
    Failure { message: message.to_owned(), ..Failure::unsupported("files under way") }
}

/// A transfer of a running command, as its thread has it.
#[derive(Debug)]
struct Under {
    transfers: Arc<Transfers>,
    live: Arc<Live>,
}

impl Under {
    /// Puts a part into the window, and waits for room first.
    fn send(&self, part: Part, work: &Work) -> Result<(), Stop> {
        let cost = part.cost();
        let full = |state: &mut State| match &state.way {
            Way::Sending { outbox, .. } => outbox.bytes() + cost > WINDOW,
            Way::Receiving { .. } => false,
        };
        let mut state = self.wait(work, full)?;
        if let Some(Err(failure)) = &state.over {
            return Err(Stop::Bound(failure.clone()));
        }
        let Way::Sending { outbox, open, queued, .. } = &mut state.way else {
            unreachable!("BUG: a transfer that receives was to send");
        };
        outbox.push(part, cost);
        let wakes = *open && !*queued;
        *queued |= wakes;
        // The desk comes before a transfer, always.
        drop(state);
        if wakes {
            lock(&self.transfers.desk).ready.push_back(Arc::clone(&self.live));
            self.transfers.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for the master's last word.
    fn verdict(&self, work: &Work) -> Result<u64, Stop> {
        let state = self.wait(work, |_| true)?;
        state.over.clone().expect("it was waited for").map_err(Stop::Bound)
    }

    /// The next part, once there is one.
    fn receive(&self, work: &Work) -> Result<Part, Stop> {
        let none = |state: &mut State| match &state.way {
            Way::Receiving { parts, .. } => parts.is_empty(),
            Way::Sending { .. } => false,
        };
        let mut state = self.wait(work, none)?;
        let State { way: Way::Receiving { parts, held, .. }, over } = &mut *state else {
            unreachable!("BUG: a transfer that sends was to receive");
        };
        if let Some(Err(failure)) = over {
            return Err(Stop::Bound(failure.clone()));
        }
        let Some(part) = parts.pop_front() else {
            let message = "BUG of the master: it ended a file that it had not sent to its end";
            return Err(Stop::Bound(Failure::new("io", message)));
        };
        *held -= part.cost();
        Ok(part)
    }

    /// The part that was received last is written; tells the master now and then, and at the end.
    fn taken(&self, cost: usize, last: bool) {
        let mut state = lock(&self.live.state);
        let Way::Receiving { taken, told, untold, .. } = &mut state.way else { return };
        *taken += 1;
        *untold += cost;
        if last || *untold >= ACKNOWLEDGE {
            (*told, *untold) = (*taken, 0);
            let message = ToMaster::Taken { transfer: self.live.id.clone(), number: *taken };
            self.transfers.outgoing.say(message);
        }
    }

    /// Waits as long as `must` says so and there is no last word of the master.
    fn wait(&self, work: &Work, must: impl Fn(&mut State) -> bool) -> Result<MutexGuard<'_, State>, Stop> {
        let mut state = lock(&self.live.state);
        while state.over.is_none() && must(&mut state) {
            work.check()?;
            let waited = self.live.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        let mut desk = lock(&self.transfers.desk);
        desk.live.remove(&self.live.id);
        let state = lock(&self.live.state);
        let finished = match &state.way {
            // What begins again was not over for the master.
            Way::Sending { .. } => state.over.as_ref().is_some_and(|over| !is_to_begin_again(over)),
            Way::Receiving { .. } => false,
        };
        if !finished {
            let transfer = self.live.id.clone();
            desk.given_up.push_back(transfer.clone());
            let too_many = desk.given_up.len().saturating_sub(MOST_GIVEN_UP);
            desk.given_up.drain(..too_many);
            self.transfers.outgoing.say(ToMaster::GiveUp { transfer });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
