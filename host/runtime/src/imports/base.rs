//! `windlass:base`: log, clock, interruption, state.

use crate::bindings::master::windlass::base::{clock, interruption, log, state, types};
use crate::bounds;
use crate::imports::{Answer, answer};
use crate::port::Level;
use crate::state::{Role, State};

/// Messages that one call of a policy, or of `describe`, may leave in the host's own log, and how long
/// each may be: the log is written on the guest's thread, and everybody's messages stand in it.
const MAX_MESSAGES: usize = 100;
const MAX_MESSAGE: usize = 4 * 1024;

impl types::Host for State {}

impl log::Host for State {
    /// Steps and commands tell their port, where it is shown with their build; the others tell the
    /// host's own log.
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.called();
        let message = bounds::cut(&message, bounds::MAX_BYTES);
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        if let Some(port) = self.base() {
            port.diagnostic(level, message);
            return Ok(());
        }
        self.messages += 1;
        let plugin = &*self.name;
        // A line break would begin what looks like a line of our own.
        let message = bounds::cut(message, MAX_MESSAGE).replace(['\n', '\r'], " ");
        match (self.messages, level) {
            (MAX_MESSAGES, _) => tracing::warn!(plugin, "further messages of this call are dropped"),
            (MAX_MESSAGES.., _) => {}
            (_, Level::Debug) => tracing::debug!(plugin, "{message}"),
            (_, Level::Info) => tracing::info!(plugin, "{message}"),
            (_, Level::Warn) => tracing::warn!(plugin, "{message}"),
            (_, Level::Error) => tracing::error!(plugin, "{message}"),
        }
        Ok(())
    }
}

impl clock::Host for State {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.running("windlass:base/clock")?.now().0)
    }
}

impl interruption::Host for State {
    async fn interrupted(&mut self) -> wasmtime::Result<Option<String>> {
        self.called();
        Ok(self.base().and_then(|port| port.interrupted()))
    }
}

impl state::Host for State {
    async fn load(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let port = self.running("windlass:base/state")?;
        match bounds::name("the key", &key) {
            Ok(()) => Ok(port.load_state(&key).await),
            // Nothing can be stored under it.
            Err(_) => Ok(None),
        }
    }

    async fn store(&mut self, key: String, value: Option<Vec<u8>>) -> Answer {
        let port = self.running("windlass:base/state")?;
        let checked = bounds::name("the key", &key)
            .and_then(|()| bounds::blob("the value", value.as_deref().unwrap_or_default()));
        if let Err(failure) = checked {
            return answer(Err::<(), _>(failure));
        }
        answer(port.store_state(&key, value).await)
    }
}

impl State {
    /// Whether this is a policy, which must be a pure function.
    pub(super) fn is_pure(&self) -> bool {
        matches!(self.role, Role::Policy(_))
    }
}
