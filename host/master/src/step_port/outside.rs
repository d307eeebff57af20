//! What a step reaches beyond its build: other machines over HTTP.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use windlass_core::value::Failure;
use windlass_protocol::message::Secret;
use windlass_runtime::port::{FetchRequest, FetchResponse};

use super::StepState;
use crate::fetch;
use crate::fetch::filling::{self, Values};

/// What may be sent again where nobody knows whether it arrived (RFC 9110, 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

impl StepState {
    /// Sends a request to a host that was granted. Placeholders of secrets in its headers are filled in; the step
    /// never sees their values, not even if the answer repeats them.
    pub(super) async fn fetch(&mut self, mut request: FetchRequest) -> Result<FetchResponse, Failure> {
        let host = fetch::host(&request)?;
        self.context.rights.check("fetch", &host)?;
        let values = self.fill_in(&mut request).await?;
        if !IDEMPOTENT.iter().any(|method| request.method.eq_ignore_ascii_case(method)) {
            self.journal.once(format!("it sent a {} request to {host}", request.method));
        }
        self.before_effects().await?;
        // A step runs on a thread of guests, which has no sockets.
        let exchange = AbortOnDropHandle::new(self.context.io.spawn(fetch::send(request)));
        let fetched = self.meanwhile(exchange).await;
        self.now = self.context.clock.now();
        let mut response = fetched?.unwrap_or_else(|panic| {
            Err(Failure::new("io", format!("BUG: the exchange panicked: {panic}")))
        })?;
        values.mask(&mut response);
        Ok(response)
    }

    /// What the step said before is durable when something outside hears of it: after a kill nothing happened without
    /// a trace.
    pub(super) async fn before_effects(&mut self) -> Result<(), Failure> {
        self.make_durable().await;
        self.fault.as_ref().map_or(Ok(()), |fault| Err(Failure::new("io", fault.clone())))
    }

    /// Waits for `work` while all that the step has under way goes on. The step's interrupt, a new one or one that it was
    /// told of before, and its deadline end the wait, and drop `work`.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = T> + Send) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        loop {
            if let Some(reason) = &self.interrupted {
                return Err(Failure::new("interrupted", reason.clone()));
            }
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = self.turn(None) => {}
            }
        }
    }

    /// The build's secrets, as they are now.
    pub(super) async fn read_secrets(&mut self) -> Result<Vec<Secret>, Failure> {
        let (secrets, config) = (Arc::clone(&self.context.secrets), Arc::clone(&self.context.config));
        if self.behind {
            // A step that is taken up stands still until it has come to where it stood.
            return secrets.beside(&config).await;
        }
        // A program that prints one may take its time.
        self.meanwhile(async move { secrets.beside(&config).await }).await?
    }

    /// Whether a text has the placeholder of one of the build's secrets in it.
    pub(super) fn names_secret(&self, text: &str) -> bool {
        filling::names_one(&self.context.secrets.placeholders, text)
    }

    /// Puts values in the place of their placeholders.
    async fn fill_in(&mut self, request: &mut FetchRequest) -> Result<Values, Failure> {
        match filling::check(request, &self.context.secrets.placeholders)? {
            true => Values::fill_in(request, self.read_secrets().await?, &self.context.rights),
            false => Ok(Values::default()),
        }
    }
}
