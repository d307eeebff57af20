//! A TCP relay between a worker and its master, whose cable can be cut and mended.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Relays connections to an address until it is cut.
pub struct Relay {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    open: Vec<TcpStream>,
    /// Bytes that were carried, both ways.
    carried: u64,
    /// After so many all connections end once, the next cut last.
    cuts: Vec<u64>,
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
                for (from, to) in [(&incoming, &outgoing), (&outgoing, &incoming)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    pump(from, to, shared.clone());
                }
                state.open.extend([incoming, outgoing]);
            }
        });
        Relay { address, state }
    }

    /// Ends all connections each time that so many bytes were carried; whoever comes back is let in.
    pub fn cut_after(&self, mut bytes: Vec<u64>) {
        bytes.sort_unstable_by_key(|bytes| std::cmp::Reverse(*bytes));
        self.state.lock().expect("nobody panics with it").cuts = bytes;
    }

    /// How many of those cuts are still to come.
    #[must_use]
    pub fn cuts_left(&self) -> usize {
        self.state.lock().expect("nobody panics with it").cuts.len()
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Ends all connections and takes no new ones.
    pub fn cut(&self) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.cut = true;
        for socket in state.open.drain(..) {
            socket.shutdown(Shutdown::Both).ok();
        }
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.state.lock().expect("nobody panics with it").cut = false;
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, state: Arc<Mutex<State>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
            let mut state = state.lock().expect("nobody panics with it");
            state.carried += read as u64;
            if state.cuts.last().is_some_and(|cut| *cut <= state.carried) {
                state.cuts.pop();
                for socket in state.open.drain(..) {
                    socket.shutdown(Shutdown::Both).ok();
                }
            }
        }
        to.shutdown(Shutdown::Both).ok();
    });
}
