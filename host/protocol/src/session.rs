//! Numbered updates that survive a lost connection. The sender keeps each until it is acknowledged and
//! offers it again after a reconnect; the receiver tells what is new from what it has.
//!
//! One [`Outbox`] and one [`Inbox`] for each command, not for each connection: a connection comes and
//! goes. The numbers start at 1 and have no gaps, so a number says all that was received.

use std::collections::VecDeque;

/// The sender's side: what was not acknowledged yet, in order.
#[derive(Debug)]
pub struct Outbox<T> {
    /// Updates `acked + 1 ..= acked + held.len()`.
    held: VecDeque<(T, usize)>,
    acked: u64,
    /// The last number that was handed to the present connection.
    sent: u64,
    bytes: usize,
}

impl<T> Default for Outbox<T> {
    fn default() -> Outbox<T> {
        Outbox { held: VecDeque::new(), acked: 0, sent: 0, bytes: 0 }
    }
}

/// An acknowledgement or a claim of what was received that names a number never given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("number {claimed} was never sent; the last is {last}")]
pub struct NeverSent {
    /// What the peer named.
    pub claimed: u64,
    /// The last number there is.
    pub last: u64,
}

impl<T> Outbox<T> {
    /// One that goes on where another ended: everything up to `acked` is acknowledged.
    #[must_use]
    pub fn resumed(acked: u64) -> Outbox<T> {
        Outbox { acked, sent: acked, ..Outbox::default() }
    }

    /// The number that the next update gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.last() + 1
    }

    /// The number of the last update; 0 if there was none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.acked + self.held.len() as u64
    }

    /// The last acknowledged number.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// How many bytes are held, as told by `push`.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps an update of `bytes` and numbers it.
    pub fn push(&mut self, update: T, bytes: usize) -> u64 {
        self.bytes += bytes;
        self.held.push_back((update, bytes));
        self.last()
    }

    /// The next update that the present connection has not carried.
    pub fn next_unsent(&mut self) -> Option<(u64, &T)> {
        let at = usize::try_from(self.sent - self.acked).expect("held updates are counted in a usize");
        let (update, _) = self.held.get(at)?;
        self.sent += 1;
        Some((self.sent, update))
    }

    /// Whether [`Outbox::next_unsent`] has something.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.sent < self.last()
    }

    /// A new connection: the peer has everything up to `received`; the rest is unsent again.
    pub fn resume(&mut self, received: u64) -> Result<(), NeverSent> {
        if received > self.last() {
            return Err(NeverSent { claimed: received, last: self.last() });
        }
        // What the peer has in hand but did not acknowledge may be lost with it: it stays held.
        self.sent = received.max(self.acked);
        Ok(())
    }

    /// Forgets what is durable at the peer: everything up to `number`. An old number is no error.
    pub fn ack(&mut self, number: u64) -> Result<(), NeverSent> {
        if number > self.last() {
            return Err(NeverSent { claimed: number, last: self.last() });
        }
        while self.acked < number {
            let (_, bytes) = self.held.pop_front().expect("every number above `acked` is held");
            self.bytes -= bytes;
            self.acked += 1;
        }
        self.sent = self.sent.max(self.acked);
        Ok(())
    }

    /// The held updates, oldest first.
    pub fn held(&self) -> impl Iterator<Item = &T> {
        self.held.iter().map(|(update, _)| update)
    }

    /// The same, to be kept in another way.
    pub fn held_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.held.iter_mut().map(|(update, _)| update)
    }
}

/// The receiver's side: what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inbox {
    seen: u64,
}

/// What a number means to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The next one: handle it.
    New,
    /// It was seen before: drop it, and acknowledge again what is durable.
    Duplicate,
    /// Updates are missing before it: the connection is broken, start a new one.
    Gap {
        /// The number that should have come.
        expected: u64,
    },
}

impl Inbox {
    /// After a restart: everything up to `seen` is durable.
    #[must_use]
    pub fn resumed(seen: u64) -> Inbox {
        Inbox { seen }
    }

    /// The last number seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes note of an update that arrived.
    pub fn accept(&mut self, number: u64) -> Seen {
        if number <= self.seen {
            Seen::Duplicate
        } else if number == self.seen + 1 {
            self.seen = number;
            Seen::New
        } else {
            Seen::Gap { expected: self.seen + 1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_update_is_held_until_it_is_acknowledged() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push("a", 10), 1);
        assert_eq!(outbox.push("b", 5), 2);
        assert_eq!(outbox.bytes(), 15);
        assert_eq!(outbox.next_unsent(), Some((1, &"a")));
        outbox.ack(1).unwrap();
        outbox.ack(1).unwrap();
        assert_eq!((outbox.bytes(), outbox.acked(), outbox.last()), (5, 1, 2));
        assert_eq!(outbox.next_unsent(), Some((2, &"b")));
        assert_eq!(outbox.next_unsent(), None);
        assert_eq!(outbox.ack(3), Err(NeverSent { claimed: 3, last: 2 }));
        assert_eq!(outbox.resume(3), Err(NeverSent { claimed: 3, last: 2 }));
    }

    #[test]
    fn a_new_connection_carries_what_the_peer_lacks() {
        let mut outbox = Outbox::default();
        for n in 1..=4 {
            outbox.push(n, 1);
        }
        while outbox.next_unsent().is_some() {}
        outbox.ack(1).unwrap();
        outbox.resume(2).unwrap();
        assert_eq!(outbox.next_unsent(), Some((3, &3)));
        // A master that lost what it had not made durable asks from there.
        outbox.resume(0).unwrap();
        assert_eq!(outbox.next_unsent(), Some((2, &2)));
    }

    #[test]
    fn a_receiver_tells_new_from_seen_and_notices_a_gap() {
        let mut inbox = Inbox::resumed(4);
        assert_eq!(inbox.accept(4), Seen::Duplicate);
        assert_eq!(inbox.accept(5), Seen::New);
        assert_eq!(inbox.accept(7), Seen::Gap { expected: 6 });
        assert_eq!(inbox.seen(), 5);
    }

    /// What can happen between a worker that produces and a master that makes things durable.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Produce,
        Send,
        Deliver,
        Commit,
        Ack,
        /// The connection breaks; everything in flight, both ways, is gone.
        Cut,
        /// The master restarts: what was not committed is gone as well.
        Restart,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => Just(Act::Produce),
            4 => Just(Act::Send),
            4 => Just(Act::Deliver),
            2 => Just(Act::Commit),
            2 => Just(Act::Ack),
            1 => Just(Act::Cut),
            1 => Just(Act::Restart),
        ]
    }

    #[derive(Default)]
    struct World {
        produced: u64,
        outbox: Outbox<u64>,
        wire: VecDeque<(u64, u64)>,
        acks: VecDeque<u64>,
        inbox: Inbox,
        /// What the master has in memory, and how much of that is durable.
        received: Vec<u64>,
        durable: usize,
    }

    impl World {
        fn on(&mut self, act: Act) {
            match act {
                Act::Produce => {
                    self.produced += 1;
                    assert_eq!(self.outbox.push(self.produced, 3), self.produced);
                }
                Act::Send => {
                    if let Some((number, update)) = self.outbox.next_unsent() {
                        self.wire.push_back((number, *update));
                    }
                }
                Act::Deliver => {
                    if let Some((number, update)) = self.wire.pop_front() {
                        match self.inbox.accept(number) {
                            Seen::New => self.received.push(update),
                            Seen::Duplicate => {}
                            Seen::Gap { expected } => panic!("{number} came, {expected} was due"),
                        }
                    }
                    if let Some(number) = self.acks.pop_front() {
                        self.outbox.ack(number).unwrap();
                    }
                }
                Act::Commit => self.durable = self.received.len(),
                Act::Ack => self.acks.push_back(self.durable as u64),
                Act::Cut => self.reconnect(),
                Act::Restart => {
                    self.received.truncate(self.durable);
                    self.inbox = Inbox::resumed(self.durable as u64);
                    self.reconnect();
                }
            }
            let held = self.produced - self.outbox.acked();
            assert_eq!(self.outbox.bytes() as u64, 3 * held, "bytes are those of what is held");
            assert!(self.outbox.acked() <= self.durable as u64, "nothing is forgotten before it is durable");
        }

        fn reconnect(&mut self) {
            self.wire.clear();
            self.acks.clear();
            self.outbox.resume(self.inbox.seen()).unwrap();
        }
    }

    proptest! {
        #[test]
        fn everything_arrives_once_and_in_order_over_a_link_that_breaks(
            acts in prop::collection::vec(act(), 0..400)
        ) {
            let mut world = World::default();
            for act in acts {
                world.on(act);
            }
            // In the end a link that holds brings the rest.
            world.on(Act::Cut);
            while world.outbox.acked() < world.produced {
                for act in [Act::Send, Act::Deliver, Act::Commit, Act::Ack] {
                    world.on(act);
                }
            }
            prop_assert_eq!(world.received, (1..=world.produced).collect::<Vec<_>>());
            prop_assert_eq!(world.outbox.bytes(), 0);
        }
    }
}
