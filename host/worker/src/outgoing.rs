//! Control messages on their way to the master: pushed by whoever has one, taken by the link. Without a
//! link they are dropped, since each of them means the present moment.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use windlass_protocol::message::ToMaster;

/// What is to be said next.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// `None`: there is no link.
    messages: Mutex<Option<Vec<ToMaster>>>,
    closing: AtomicBool,
    wake: Notify,
}

impl Outgoing {
    /// A link begins or ends: nothing of an earlier one is left.
    pub fn set_linked(&self, linked: bool) {
        *self.lock() = linked.then(Vec::new);
    }

    /// Says something, if there is a link.
    pub fn say(&self, message: ToMaster) {
        if let Some(messages) = self.lock().as_mut() {
            messages.push(message);
            self.wake.notify_one();
        }
    }

    /// The link is to close once all was said. True if there is one.
    pub fn close(&self) -> bool {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
        self.lock().is_some()
    }

    /// Whether [`Outgoing::close`] was called.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Takes all that waits.
    pub fn take(&self) -> Vec<ToMaster> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Waits until something was said.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<ToMaster>>> {
        self.messages.lock().expect("nobody panics while holding the outgoing messages")
    }
}
