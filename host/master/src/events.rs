//! What happens, told to whoever listens: progress streams, and tests that wait for a state.

use tokio::sync::broadcast;

use crate::view::Event;

/// How many events a slow listener may lag behind before it misses some: about ten seconds of the
/// busiest master. Listeners are told how many they missed and read the state afresh.
const BACKLOG: usize = 16_384;

/// The one place where events are told. Cheap to clone; telling never waits.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Events {
        Events(broadcast::Sender::new(BACKLOG))
    }
}

impl Events {
    /// Tells everyone who listens. The event is only made if somebody does.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if self.0.receiver_count() > 0 {
            // An error only says that the last listener has just left.
            self.0.send(event()).ok();
        }
    }

    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// A listener to events.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Event>);

impl Listener {
    /// The next event; none once the master has gone. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(events)) => Some(Event::Missed { events }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
