//! `windlass:base`: log, clock, interruption, state.

use crate::bindings::master::windlass::base::{clock, interruption, log, state, types};
use crate::bounds;
use crate::imports::{Answer, answer};
use crate::port::Level;
use crate::state::State;

/// Messages that one call of a policy, or of `describe`, may leave in the host's own log: the log is
/// written on the guest's thread, and everybody's messages stand in it. And those of a step or command,
/// which stand beside its build.
const MAX_MESSAGES: usize = 100;
const MAX_OF_RUN: usize = 1_000;
/// How long each may be.
const MAX_MESSAGE: usize = 4 * 1024;

impl types::Host for State {}

impl log::Host for State {
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.called();
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        if level == Level::Error {
            self.said.error(&message);
        }
        self.hear();
        self.tell(level, &message);
        Ok(())
    }
}

impl State {
    /// Tells what the guest wrote to its standard output and error.
    pub(crate) fn hear(&mut self) {
        for (level, line) in self.said.take() {
            self.tell(level, &line);
        }
    }

    /// Tells a message of the guest. Steps and commands tell their port, where it is shown with their
    /// build; the others tell the host's own log.
    pub(crate) fn tell(&mut self, level: Level, message: &str) {
        self.messages += 1;
        let told = self.messages;
        if let Some(port) = self.base() {
            match told {
                ..MAX_OF_RUN => port.diagnostic(level, bounds::cut(message, MAX_MESSAGE)),
                MAX_OF_RUN => port.diagnostic(Level::Warn, "further messages are dropped"),
                _ => {}
            }
            return;
        }
        let plugin = &*self.name;
        // A line break would begin what looks like a line of our own.
        let message = bounds::line(message, MAX_MESSAGE);
        match (told, level) {
            (MAX_MESSAGES, _) => tracing::warn!(plugin, "further messages of this call are dropped"),
            (MAX_MESSAGES.., _) => {}
            (_, Level::Debug) => tracing::debug!(plugin, "{message}"),
            (_, Level::Info) => tracing::info!(plugin, "{message}"),
            (_, Level::Warn) => tracing::warn!(plugin, "{message}"),
            (_, Level::Error) => tracing::error!(plugin, "{message}"),
        }
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
