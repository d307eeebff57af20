//! Connections on their way to a hello. A flood of strangers costs no more than so many of them, and can
//! not keep a worker out: the newest comes in, and the oldest that has said nothing gives way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;

/// Connections that may be on their way at once.
const MAX_ALL: usize = 256;

/// Of them, those from one address: one machine does not push out the others.
const MAX_OF_ADDRESS: usize = 64;

/// Who is on the way.
#[derive(Debug, Default)]
pub(super) struct Greeting(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By number, so the oldest comes first.
    guests: BTreeMap<u64, (IpAddr, CancellationToken)>,
    last: u64,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    greeting: Arc<Greeting>,
    number: u64,
}

impl Greeting {
    /// A place for a connection from `address`; the token is cancelled when it has to give way. True if
    /// another one had to for its sake.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> (Place, CancellationToken, bool) {
        let (mut inner, gives_way) = (self.lock(), CancellationToken::new());
        let displaced = inner.make_room(network(address));
        inner.last += 1;
        let number = inner.last;
        inner.guests.insert(number, (network(address), gives_way.clone()));
        drop(inner);
        (Place { greeting: Arc::clone(self), number }, gives_way, displaced)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics while holding the list of guests")
    }
}

impl Inner {
    /// The oldest gives way: of those from the same network, or of those from the network with most.
    fn make_room(&mut self, network: IpAddr) -> bool {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (of, _) in self.guests.values() {
            *counts.entry(*of).or_default() += 1;
        }
        let crowded = if counts.get(&network).is_some_and(|count| *count >= MAX_OF_ADDRESS) {
            network
        } else if self.guests.len() >= MAX_ALL {
            counts.into_iter().max_by_key(|(_, count)| *count).map_or(network, |(of, _)| of)
        } else {
            return false;
        };
        let oldest = self.guests.iter().find(|(_, (of, _))| *of == crowded).map(|(number, _)| *number);
        if let Some((_, gives_way)) = oldest.and_then(|number| self.guests.remove(&number)) {
            gives_way.cancel();
        }
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.greeting.lock().guests.remove(&self.number);
    }
}

/// What one owner of addresses has many of counts as one: an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        short => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_displaces_its_own_and_many_the_largest_crowd() {
        let greeting = Arc::new(Greeting::default());
        let enter = |address: &str| greeting.enter(address.parse().unwrap());
        let (worker, worker_gone, _) = enter("192.0.2.1");
        let crowd: Vec<_> = (0..MAX_OF_ADDRESS).map(|_| enter("192.0.2.2")).collect();
        let (_newest, _, displaced) = enter("192.0.2.2");
        assert!(displaced && crowd[0].1.is_cancelled() && !crowd[1].1.is_cancelled());
        let others: Vec<_> = (0..200).map(|n| enter(&format!("198.51.100.{n}"))).collect();
        assert!(!worker_gone.is_cancelled() && others.iter().all(|(_, gone, _)| !gone.is_cancelled()));
        assert_eq!(greeting.lock().guests.len(), MAX_ALL);
        drop((worker, others, crowd));
        assert_eq!(greeting.lock().guests.len(), 1);
    }

    #[test]
    fn the_addresses_of_one_network_are_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
