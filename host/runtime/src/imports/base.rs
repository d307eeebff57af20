//! `windlass:base`: log, clock, interruption, state.

use std::sync::Arc;

use crate::bindings::master::windlass::base::{clock, interruption, log, state, types};
use crate::bounds;
use crate::imports::{Answer, answer};
use crate::port::Level;
use crate::state::{Role, State};

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
        let name = Arc::clone(&self.name);
        let plugin = &*name;
        match (self.base(), level) {
            (Some(port), level) => port.diagnostic(level, message),
            (None, Level::Debug) => tracing::debug!(plugin, "{message}"),
            (None, Level::Info) => tracing::info!(plugin, "{message}"),
            (None, Level::Warn) => tracing::warn!(plugin, "{message}"),
            (None, Level::Error) => tracing::error!(plugin, "{message}"),
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
        Ok(port.load_state(&key).await)
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
