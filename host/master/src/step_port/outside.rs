//! What a step reaches beyond its build: other machines over HTTP.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use windlass_core::value::Failure;
use windlass_protocol::message::Secret;
use windlass_runtime::port::{FetchRequest, FetchResponse};

use super::StepState;
use crate::fetch;

/// What may be sent again where nobody knows whether it arrived (RFC 9110, 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// What stands in an answer where it repeats a secret.
const MASKED: &[u8] = b"<secret>";

impl StepState {
    /// Sends a request to a host that was granted. Placeholders of secrets in its headers are filled in; the step
    /// never sees their values, not even if the answer repeats them.
    pub(super) async fn fetch(&mut self, mut request: FetchRequest) -> Result<FetchResponse, Failure> {
        let host = fetch::host(&request)?;
        self.context.rights.check("fetch", &host)?;
        if self.names_secret(&request.url) || self.names_secret(&String::from_utf8_lossy(&request.body)) {
            let message = "a secret goes into a header of a request, not into its URL or body";
            return Err(Failure::new("denied", message));
        }
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
        for value in &values {
            mask(&mut response.body, value);
            response.headers.iter_mut().for_each(|(_, header)| mask(header, value));
        }
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
        self.context.secrets.placeholders.iter().any(|(_, placeholder)| text.contains(placeholder))
    }

    /// Puts values in the place of their placeholders: the values, longest first.
    async fn fill_in(&mut self, request: &mut FetchRequest) -> Result<Vec<Vec<u8>>, Failure> {
        let named = |(_, value): &(String, Vec<u8>)| self.names_secret(&String::from_utf8_lossy(value));
        if !request.headers.iter().any(named) {
            return Ok(Vec::new());
        }
        let mut values = Vec::new();
        for secret in self.read_secrets().await? {
            for (_, header) in &mut request.headers {
                let filled = replaced(header, secret.placeholder.as_bytes(), &secret.value.0);
                if let Some(filled) = filled {
                    self.context.rights.check("secret", &secret.name)?;
                    *header = filled;
                }
            }
            values.push(secret.value.0.to_vec());
        }
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Ok(values)
    }
}

fn mask(text: &mut Vec<u8>, value: &[u8]) {
    if let Some(masked) = replaced(text, value, MASKED) {
        *text = masked;
    }
}

/// `text` with another part in each place of `part`; none: it is nowhere.
fn replaced(text: &[u8], part: &[u8], by: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    let find = |rest: &[u8]| rest.windows(part.len()).position(|window| window == part);
    while let Some(at) = find(rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(by);
        rest = &rest[at + part.len()..];
    }
    if rest.len() == text.len() {
        return None;
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_replaced() {
        assert_eq!(replaced(b"a-x-b-x", b"-x", b"!").as_deref(), Some(&b"a!-b!"[..]));
        assert_eq!(replaced(b"ab", b"x", b"!"), None);
        assert_eq!(replaced(b"", b"x", b"!"), None);
    }
}
