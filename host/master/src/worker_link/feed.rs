//! What the owner of a command gets: every update once, in order, then the end.
//!
//! The channel itself has no bound, since a full one would hold up the other commands of the same
//! worker. What is bounded is the sum over all commands of a worker: above [`READ_AHEAD`] the link is
//! not read until the owners have caught up, and the worker feels that in its window.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::{Notify, mpsc};
use windlass_core::value::{Failure, Pair};
use windlass_protocol::message::{CommandUid, Update};

use super::seat::Order;

/// How many bytes of updates one worker may have waiting in its feeds.
pub(super) const READ_AHEAD: usize = 8 * 1024 * 1024;

/// What an update costs beside its bytes: many small ones are bounded, too.
const OVERHEAD: usize = 128;

/// Why a command is stopped whose owner has gone.
pub(super) const NOBODY_WAITS: &str = "no build waits for it";

/// Something about a command.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandEvent {
    /// An update; `Update::Done` is the last event.
    Update {
        /// From 1, without gaps.
        number: u64,
        /// What happened.
        update: Update,
    },
    /// The command is lost: its worker is gone for good, or does not know it. The last event.
    Lost(Failure),
}

/// The events of one command. Dropping it before the end interrupts the command.
#[derive(Debug)]
pub struct CommandFeed {
    events: mpsc::UnboundedReceiver<CommandEvent>,
    ahead: Arc<Ahead>,
    /// The seat that is told if the owner goes first; none once the end came.
    seat: Option<(mpsc::UnboundedSender<Order>, CommandUid)>,
}

impl CommandFeed {
    /// The next event; none after the last one. Safe to drop while it waits.
    pub async fn recv(&mut self) -> Option<CommandEvent> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The same for those who wait for several commands at once.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<CommandEvent>> {
        let event = std::task::ready!(self.events.poll_recv(cx));
        if let Some(event) = &event {
            self.ahead.sub(cost(event));
        }
        if let None | Some(CommandEvent::Lost(_) | CommandEvent::Update { update: Update::Done { .. }, .. }) =
            &event
        {
            self.seat = None;
        }
        Poll::Ready(event)
    }
}

impl CommandFeed {
    /// Hears no more of the command, which goes on: its worker keeps what it says until another master asks for it.
    pub(crate) fn part(mut self) {
        if let Some((seat, _)) = self.seat.take() {
            // A seat that is closed has no command that could be interrupted.
            seat.send(Order::Part(self)).ok();
        }
    }
}

impl Drop for CommandFeed {
    fn drop(&mut self) {
        self.events.close();
        while let Ok(event) = self.events.try_recv() {
            self.ahead.sub(cost(&event));
        }
        if let Some((seat, uid)) = self.seat.take() {
            // A seat that is closed has lost the command already.
            seat.send(Order::Interrupt { uid, reason: NOBODY_WAITS.to_owned() }).ok();
        }
    }
}

/// The seat's end of a feed.
#[derive(Debug)]
pub(super) struct FeedSender {
    events: mpsc::UnboundedSender<CommandEvent>,
    ahead: Arc<Ahead>,
}

impl FeedSender {
    /// Whether the owner still has the other end.
    pub(super) fn is_heard(&self) -> bool {
        !self.events.is_closed()
    }

    /// Hands an event over; false: nobody wants it any more.
    pub(super) fn send(&self, event: CommandEvent) -> bool {
        let cost = cost(&event);
        self.ahead.bytes.fetch_add(cost, Ordering::Relaxed);
        let sent = self.events.send(event).is_ok();
        if !sent {
            self.ahead.sub(cost);
        }
        sent
    }
}

pub(super) fn feed(
    ahead: &Arc<Ahead>,
    seat: mpsc::UnboundedSender<Order>,
    uid: CommandUid,
) -> (FeedSender, CommandFeed) {
    let (sender, events) = mpsc::unbounded_channel();
    (
        FeedSender { events: sender, ahead: Arc::clone(ahead) },
        CommandFeed { events, ahead: Arc::clone(ahead), seat: Some((seat, uid)) },
    )
}

/// The feed of a command whose worker is gone for good.
pub(super) fn lost(failure: Failure) -> CommandFeed {
    let (ahead, (sender, events)) = (Arc::<Ahead>::default(), mpsc::unbounded_channel());
    let sender = FeedSender { events: sender, ahead: Arc::clone(&ahead) };
    // The other end is here.
    sender.send(CommandEvent::Lost(failure));
    CommandFeed { events, ahead, seat: None }
}

/// How far the link of one worker is ahead of those who take its updates.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: AtomicUsize,
    caught_up: Notify,
}

impl Ahead {
    pub(super) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > READ_AHEAD
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) as u64
    }

    /// Resolves when the owners may have caught up; look again then.
    pub(super) async fn caught_up(&self) {
        self.caught_up.notified().await;
    }

    fn sub(&self, cost: usize) {
        let before = self.bytes.fetch_sub(cost, Ordering::Relaxed);
        if before > READ_AHEAD && before - cost <= READ_AHEAD {
            // A permit is kept if the seat does not wait yet.
            self.caught_up.notify_one();
        }
    }
}

fn cost(event: &CommandEvent) -> usize {
    OVERHEAD
        + match event {
            CommandEvent::Update { update: Update::Log { data, .. }, .. } => data.len(),
            CommandEvent::Update { update: Update::Values { values }, .. } => size(values),
            CommandEvent::Update { update: Update::Diagnostic { message, .. }, .. } => message.len(),
            CommandEvent::Update { update: Update::Done { how: Ok(done), .. }, .. } => size(&done.values),
            CommandEvent::Update { update: Update::Done { how: Err(failure), .. }, .. } => {
                failure.message.len() + failure.detail.as_ref().map_or(0, String::len)
            }
            CommandEvent::Lost(_) => 0,
        }
}

/// What values cost.
pub(crate) fn size(values: &[Pair]) -> usize {
    values.iter().map(|pair| OVERHEAD + pair.bytes()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_core::value::{Origin, Value};

    fn log(len: usize) -> CommandEvent {
        let data = vec![b'x'; len].into();
        let update = Update::Log { log: "stdio".to_owned(), origin: Origin::Stdout, data };
        CommandEvent::Update { number: 1, update }
    }

    fn feed(ahead: &Arc<Ahead>) -> (FeedSender, CommandFeed) {
        super::feed(ahead, mpsc::unbounded_channel().0, CommandUid("u1".to_owned()))
    }

    #[tokio::test]
    async fn reading_resumes_once_the_owner_has_caught_up() {
        let ahead = Arc::new(Ahead::default());
        let (sender, mut feed) = feed(&ahead);
        assert!(sender.send(log(READ_AHEAD)));
        assert!(ahead.is_full());
        feed.recv().await.unwrap();
        ahead.caught_up().await;
        assert!(!ahead.is_full());
    }

    #[test]
    fn values_cost_what_they_hold() {
        let values = vec![Pair { name: "a".to_owned(), value: Value::Text("x".repeat(60_000)) }];
        let event = CommandEvent::Update { number: 1, update: Update::Values { values } };
        assert!(cost(&event) > 60_000);
    }

    #[tokio::test]
    async fn dropped_feed_gives_its_room_back_and_takes_nothing_more() {
        let ahead = Arc::new(Ahead::default());
        let (sender, feed) = feed(&ahead);
        assert!(sender.send(log(READ_AHEAD)));
        drop(feed);
        assert!(!ahead.is_full());
        assert!(!sender.send(log(READ_AHEAD)));
        assert!(!ahead.is_full());
    }
}
