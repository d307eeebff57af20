//! A TCP relay between a worker and its master, whose cable can be cut and mended, be slow, say things twice, or swallow
//! what it is given, both ways or one.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::stutter::Stutter;

/// What befalls a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// All connections end; whoever comes back is let in.
    Cut,
    /// Nothing comes through the connections any more, and nobody is told, not even of an end. Whoever connects anew
    /// gets through.
    HalfOpen,
    /// The same one way only.
    Deaf(Way),
    /// From now on each piece comes so much later.
    Delay(Duration),
    /// So many messages from now on come twice, each right after itself.
    Twice(u32),
}

/// The ways through a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What the worker says.
    ToMaster,
    /// What the master says.
    ToWorker,
}

/// Relays connections to an address until it is cut.
pub struct Relay {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    open: Vec<TcpStream>,
    /// Connections that there were.
    connections: u64,
    /// So many of them, from the first, swallow everything: what the worker says, what the master says.
    swallowing: [u64; 2],
    delay: Duration,
    /// So many messages more come twice.
    twice: u32,
    /// Bytes that were carried, both ways.
    carried: u64,
    /// What is to come after so many bytes, the next last.
    troubles: Vec<(u64, Trouble)>,
}

impl State {
    fn befall(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Cut => self.end_all(),
            Trouble::HalfOpen => self.swallowing = [self.connections; 2],
            Trouble::Deaf(way) => self.swallowing[way as usize] = self.connections,
            Trouble::Delay(delay) => self.delay = delay,
            Trouble::Twice(messages) => self.twice += messages,
        }
    }

    fn end_all(&mut self) {
        for socket in self.open.drain(..) {
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Relay {
    /// A relay to `target`, at a port of its own.
    #[must_use]
    pub fn to(target: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("it is bound").to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, target) = (state.clone(), target.to_owned());
        std::thread::spawn(move || {
            for incoming in listener.incoming().flatten() {
                let mut state = shared.lock().expect("nobody panics with it");
                // A cut cable: whoever comes is dropped.
                if state.cut {
                    continue;
                }
                let Ok(outgoing) = TcpStream::connect(&target) else { continue };
                state.connections += 1;
                for (way, from, to) in
                    [(Way::ToMaster, &incoming, &outgoing), (Way::ToWorker, &outgoing, &incoming)]
                {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    Pump { way, connection: state.connections, state: shared.clone() }.start(from, to);
                }
                state.open.extend([incoming, outgoing]);
            }
        });
        Relay { address, state }
    }

    /// Ends all connections each time that so many bytes were carried; whoever comes back is let in.
    pub fn cut_after(&self, bytes: Vec<u64>) {
        self.befall(bytes.into_iter().map(|bytes| (bytes, Trouble::Cut)).collect());
    }

    /// How many of those cuts are still to come.
    #[must_use]
    pub fn cuts_left(&self) -> usize {
        self.state().troubles.len()
    }

    /// Has each trouble come once so many bytes were carried.
    pub fn befall(&self, mut troubles: Vec<(u64, Trouble)>) {
        troubles.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        self.state().troubles = troubles;
    }

    /// Bytes that were carried so far, both ways.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.state().carried
    }

    /// Connections that there were so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state().connections
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Ends all connections and takes no new ones.
    pub fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        state.end_all();
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.state().cut = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}

/// One way of one connection.
struct Pump {
    way: Way,
    connection: u64,
    state: Arc<Mutex<State>>,
}

impl Pump {
    fn start(self, mut from: TcpStream, mut to: TcpStream) {
        std::thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            let mut stutter = Stutter::default();
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let delay = self.state().delay;
                if !delay.is_zero() {
                    std::thread::park_timeout(delay);
                }
                if self.swallows() {
                    continue;
                }
                let carried = stutter.take(&buffer[..read], || self.comes_twice());
                if to.write_all(&carried).is_err() {
                    break;
                }
                let mut state = self.state();
                state.carried += read as u64;
                let carried = state.carried;
                if let Some((_, trouble)) = state.troubles.pop_if(|(bytes, _)| *bytes <= carried) {
                    state.befall(trouble);
                }
            }
            if !self.swallows() {
                to.shutdown(Shutdown::Both).ok();
            }
        });
    }

    fn swallows(&self) -> bool {
        self.state().swallowing[self.way as usize] >= self.connection
    }

    /// Whether the message that ends now comes twice.
    fn comes_twice(&self) -> bool {
        let mut state = self.state();
        let twice = state.twice > 0;
        state.twice = state.twice.saturating_sub(1);
        twice
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}
