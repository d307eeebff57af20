//! From a TCP connection to a hello that was checked: versions, name, token, each within a deadline.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use windlass_protocol::codec::MAX_FRAME;
use windlass_protocol::hello::{self, Refusal};
use windlass_protocol::message::{Hello, ToMaster, ToWorker};

use super::seat::{Candidate, Order};
use super::wire::{Incoming, Outgoing, halves};
use super::{Handle, Links, Token};

/// How long to wait after an accept that failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most so often is it said that connections are dropped.
const WARN_PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn serve(links: Links, listener: TcpListener) {
    let closing = links.0.closing.clone();
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (place, gives_way, displaced) = links.0.greeting.enter(peer.ip());
                // Strangers shall not fill the log either.
                if displaced && warned.is_none_or(|at| at.elapsed() > WARN_PAUSE) {
                    warned = Some(Instant::now());
                    tracing::warn!(%peer, "too many connections without a hello: the oldest are dropped");
                }
                let greeted = links.clone();
                links.0.tasks.spawn(async move {
                    greet(greeted, stream, peer, gives_way).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a worker's connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn greet(links: Links, stream: TcpStream, peer: SocketAddr, gives_way: CancellationToken) {
    let deadline = links.0.parts.limits.hello;
    let hello = tokio::select! {
        () = links.0.closing.cancelled() => return,
        () = gives_way.cancelled() => return,
        hello = tokio::time::timeout(deadline, receive(stream)) => hello,
    };
    let (outgoing, incoming, hello) = match hello {
        Ok(Ok(received)) => received,
        Ok(Err(why)) => {
            tracing::debug!(%peer, why, "a connection ended without a hello");
            return;
        }
        Err(_elapsed) => {
            tracing::debug!(%peer, "a connection did not say hello in time");
            return;
        }
    };
    match check(&links, &hello) {
        Ok((seat, features, token)) => {
            let candidate = Candidate { outgoing, incoming, hello, features, token, peer: peer.to_string() };
            seat.order(Order::Candidate(Box::new(candidate)));
        }
        Err(refusal) => {
            let (worker, message) = (shown(&hello.name), shown(&refusal.message));
            tracing::warn!(%peer, worker, code = refusal.code, "worker refused: {message}");
            refuse(outgoing, refusal, deadline).await;
        }
    }
}

async fn receive(stream: TcpStream) -> Result<(Outgoing, Incoming, Hello), String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let config = WebSocketConfig::default()
        .max_frame_size(Some(MAX_FRAME))
        .max_message_size(Some(MAX_FRAME))
        .read_buffer_size(MAX_FRAME);
    let socket = accept_async_with_config(stream, Some(config)).await.map_err(|error| error.to_string())?;
    let (outgoing, mut incoming) = halves(socket);
    match incoming.first().await {
        Ok(ToMaster::Hello(hello)) => Ok((outgoing, incoming, hello)),
        Ok(_) => Err("the first message is not a hello".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Checks all that does not depend on who else is connected.
fn check(links: &Links, hello: &Hello) -> Result<(Handle, Vec<String>, Token), Refusal> {
    let features = hello::check(hello)?;
    let name = &hello.name;
    let Some(seat) = links.handle(name) else {
        let message = format!(
            "the master's configuration has no worker `{name}`; add it to master.toml and reconfigure, or \
             correct `name` in worker.toml"
        );
        return Err(Refusal { code: "unknown-worker", message, retry: true });
    };
    let made = links.tokens().find(name, &hello.token).map(Token::Made);
    let configured = seat.token_hash.clone().filter(|hash| windlass_config::verify_token(&hello.token, hash));
    let token = made.or(configured.map(Token::Configured)).ok_or_else(|| bad_token(name))?;
    Ok((seat, features, token))
}

/// The refusal of a token that is unknown, or counts no more.
pub(super) fn bad_token(name: &str) -> Refusal {
    let message = format!(
        "the token of worker `{name}` is none that counts: neither the one whose hash stands in master.toml, nor one of \
         `windlass workers tokens {name}`; copy one of them into the worker's token file, or make one with \
         `windlass workers token {name} --file FILE`"
    );
    Refusal::for_good("bad-token", message)
}

/// Text of a stranger as it may stand in a log: one line, and not a long one.
fn shown(text: &str) -> String {
    text.chars().take(300).flat_map(char::escape_debug).collect()
}

/// Says why, and closes.
pub(super) async fn refuse(outgoing: Outgoing, refusal: Refusal, deadline: Duration) {
    let message =
        ToWorker::Refused { code: refusal.code.to_owned(), message: refusal.message, retry: refusal.retry };
    if tokio::time::timeout(deadline, outgoing.last_word(&message)).await.is_err() {
        tracing::debug!("a refused worker did not take its refusal");
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_strangers_name_is_one_short_line_of_the_log() {
        let text = shown(&format!("a\n\u{1b}[31mERROR {}", "x".repeat(100_000)));
        assert!(text.starts_with("a\\n\\u{1b}[31mERROR") && text.len() < 400, "{text}");
    }
}
