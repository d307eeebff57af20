//! What a reporter needs of its surroundings during one call: other machines over HTTP, by its rights, and its secrets in
//! headers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use windlass_config::config;
use windlass_core::text::tame;
use windlass_core::time::Timestamp;
use windlass_core::value::Failure;
use windlass_runtime::port::{BasePort, FetchRequest, FetchResponse, Level, ServicePort};

use crate::clock::Clock;
use crate::fetch;
use crate::fetch::filling::{self, Values};
use crate::secrets::BuildSecrets;
use crate::step_port::rights::Rights;

/// Diagnostics of one call that go into the master's own log.
const MAX_MESSAGES: usize = 100;

/// The surroundings of one call.
pub(super) struct Port {
    pub reporter: String,
    pub rights: Rights,
    pub secrets: Arc<BuildSecrets>,
    pub config: Arc<config::Master>,
    pub clock: Arc<dyn Clock>,
    /// A call runs on a thread of guests, which has no sockets.
    pub io: Handle,
    /// The right to read secrets, one for all calls of the reporter.
    pub reading: Arc<Semaphore>,
    /// Diagnostics so far.
    pub said: usize,
}

impl Port {
    async fn send(&mut self, mut request: FetchRequest) -> Result<FetchResponse, Failure> {
        let host = fetch::host(&request)?;
        self.rights.check("fetch", &host)?;
        let values = match filling::check(&request, &self.secrets.placeholders)? {
            true => {
                let (secrets, config) = (Arc::clone(&self.secrets), Arc::clone(&self.config));
                // A read that hangs takes its thread for ever: the next call waits for it, rather than take another.
                let alone = Arc::clone(&self.reading).acquire_owned().await.expect("nobody closes it");
                let read = self.io.spawn(async move {
                    let _alone = alone;
                    secrets.beside(&config).await
                });
                let read = read.await.unwrap_or_else(|panic| Err(broken(&panic)));
                // A file that is not there yet, a program that failed: the event waits.
                let read = read.map_err(|failure| Failure { retryable: true, ..failure })?;
                Values::fill_in(&mut request, read, &self.rights)?
            }
            false => Values::default(),
        };
        let exchange = AbortOnDropHandle::new(self.io.spawn(fetch::send(request)));
        let mut response = exchange.await.unwrap_or_else(|panic| Err(broken(&panic)))?;
        values.mask(&mut response);
        Ok(response)
    }
}

fn broken(panic: &tokio::task::JoinError) -> Failure {
    Failure::retryable("io", format!("BUG: the exchange panicked: {panic}"))
}

#[async_trait]
impl BasePort for Port {
    fn diagnostic(&mut self, level: Level, message: &str) {
        self.said += 1;
        let (reporter, message) = (&*self.reporter, tame(message));
        match (self.said, level) {
            (MAX_MESSAGES, _) => tracing::warn!(reporter, "further messages of this call are dropped"),
            (MAX_MESSAGES.., _) => {}
            (_, Level::Debug) => tracing::debug!(reporter, "{message}"),
            (_, Level::Info) => tracing::info!(reporter, "{message}"),
            (_, Level::Warn) => tracing::warn!(reporter, "{message}"),
            (_, Level::Error) => tracing::error!(reporter, "{message}"),
        }
    }

    fn now(&mut self) -> Timestamp {
        self.clock.now()
    }

    /// A call that is not wanted any more is dropped.
    fn interrupted(&mut self) -> Option<String> {
        None
    }

    async fn load_state(&mut self, _key: &str) -> Option<Vec<u8>> {
        None
    }

    async fn store_state(&mut self, _key: &str, _value: Option<Vec<u8>>) -> Result<(), Failure> {
        Err(Failure::unsupported("the state of reporters"))
    }
}

#[async_trait]
impl ServicePort for Port {
    async fn sleep(&mut self, ms: u32) -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
        Ok(())
    }

    async fn fetch(&mut self, request: FetchRequest) -> Result<FetchResponse, Failure> {
        self.send(request).await
    }
}
