//! One connection to the master, from the first byte to the last. It only carries: what the master says
//! goes to the owner of the commands, what the commands say comes out of the spool.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use windlass_protocol::codec::{self, DecodeError, Decoder, EncodeError, Frames, MAX_FRAME};
use windlass_protocol::hello::{Refusal, check_welcome};
use windlass_protocol::lanes::Lanes;
use windlass_protocol::message::{Hello, ToMaster, ToWorker};

use crate::commands::Commands;
use crate::outgoing::Outgoing;
use crate::spool::Spool;
use crate::transfer::Transfers;

/// From the first packet to the welcome.
const GREETING: Duration = Duration::from_secs(20);

/// How often the load is told.
const STATUS: Duration = Duration::from_secs(10);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("failed to connect")]
    Connect(#[source] Box<tungstenite::Error>),
    #[error("the master did not answer within {} s", GREETING.as_secs())]
    NoAnswer,
    #[error("the connection broke")]
    Broken(#[source] Box<tungstenite::Error>),
    #[error("the master closed the connection")]
    Closed,
    #[error("the master said goodbye: {reason}")]
    Bye { reason: String },
    #[error("nothing came from the master for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("failed to read what the master sent")]
    Decode(#[source] DecodeError),
    #[error("failed to write a message")]
    Encode(#[source] EncodeError),
    #[error("the master sent {what} before a welcome")]
    Unexpected { what: &'static str },
    #[error("{message} ({code})")]
    Refused { code: String, message: String, retry: bool },
    #[error(transparent)]
    Version(Refusal),
    #[error("the worker left")]
    Left,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Sink = SplitSink<Socket, Message>;

/// A connection whose welcome came.
pub struct Link {
    sink: Sink,
    stream: SplitStream<Socket>,
    decoder: Decoder,
    keepalive: Duration,
}

/// What a link carries between.
#[derive(Clone, Copy)]
pub struct Ends<'a> {
    /// The owner of the commands.
    pub commands: &'a Commands,
    /// What they say.
    pub spool: &'a Spool,
    /// Control messages.
    pub outgoing: &'a Outgoing,
    /// Files under way.
    pub transfers: &'a Transfers,
}

/// Connects and says hello.
pub async fn connect(address: &str, hello: Hello, ends: Ends<'_>) -> Result<Link, LinkError> {
    timeout(GREETING, greet(address, hello, ends)).await.map_err(|_| LinkError::NoAnswer)?
}

async fn greet(address: &str, hello: Hello, ends: Ends<'_>) -> Result<Link, LinkError> {
    // A message is at most one of our frames; buffers are small, since an idle worker has one link.
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME));
    let connected = connect_async_with_config(address, Some(config), true).await;
    let (socket, _) = connected.map_err(|error| LinkError::Connect(Box::new(error)))?;
    let (mut sink, mut stream) = socket.split();
    let hello = codec::encode(&ToMaster::Hello(hello)).map_err(LinkError::Encode)?;
    feed(&mut sink, hello).await?;
    flush(&mut sink).await?;
    let mut decoder = Decoder::default();
    match receive(&mut stream, &mut decoder).await? {
        ToWorker::Welcome { protocol, features, commands, keepalive_ms } => {
            check_welcome(protocol).map_err(LinkError::Version)?;
            ends.outgoing.set_linked(true);
            ends.spool.set_linked(true);
            ends.commands.welcome(commands).await;
            ends.transfers.linked(&features);
            let keepalive = Duration::from_millis(keepalive_ms.max(1));
            Ok(Link { sink, stream, decoder, keepalive })
        }
        ToWorker::Refused { code, message, retry } => Err(LinkError::Refused { code, message, retry }),
        ToWorker::Bye { reason } => Err(LinkError::Bye { reason }),
        ToWorker::Start(_) => Err(LinkError::Unexpected { what: "a command" }),
        ToWorker::Interrupt { .. } => Err(LinkError::Unexpected { what: "an interrupt" }),
        ToWorker::Ack { .. } => Err(LinkError::Unexpected { what: "an acknowledgement" }),
        ToWorker::Component { .. } | ToWorker::NoComponent { .. } => {
            Err(LinkError::Unexpected { what: "a component" })
        }
        ToWorker::Ping { .. } => Err(LinkError::Unexpected { what: "a ping" }),
        ToWorker::Ready { .. } | ToWorker::Part { .. } | ToWorker::Taken { .. } | ToWorker::Over { .. } => {
            Err(LinkError::Unexpected { what: "a part of a file" })
        }
    }
}

impl Link {
    /// Carries until the connection ends; says why it did.
    pub async fn carry(self, ends: Ends<'_>) -> LinkError {
        let Link { sink, mut stream, mut decoder, keepalive } = self;
        let reading = read(&mut stream, &mut decoder, 2 * keepalive, ends);
        let writing = write(sink, ends);
        let telling = tell_load(ends.outgoing);
        // All three go on while one of them waits; the first that ends, ends the connection.
        tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
            never = telling => match never {},
        }
    }
}

async fn read(
    stream: &mut SplitStream<Socket>,
    decoder: &mut Decoder,
    silence: Duration,
    ends: Ends<'_>,
) -> LinkError {
    loop {
        let message = match timeout(silence, receive(stream, decoder)).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) => return error,
            Err(_) => return LinkError::Silent(silence),
        };
        let commands = ends.commands;
        match message {
            ToWorker::Start(start) => commands.start(start).await,
            ToWorker::Interrupt { command, reason } => commands.interrupt(command, reason).await,
            ToWorker::Ack { command, number } => commands.ack(command, number).await,
            ToWorker::Component { digest, offset, total, data } => {
                commands.part(digest, offset, total, data).await;
            }
            ToWorker::NoComponent { digest } => commands.no_component(digest).await,
            ToWorker::Ping { nonce } => ends.outgoing.say(ToMaster::Pong { nonce }),
            ToWorker::Bye { reason } => return LinkError::Bye { reason },
            ToWorker::Refused { code, message, retry } => return LinkError::Refused { code, message, retry },
            ToWorker::Welcome { .. } => return LinkError::Unexpected { what: "a second welcome" },
            ToWorker::Ready { transfer, received } => ends.transfers.on_ready(&transfer, received),
            ToWorker::Part { transfer, number, part } => ends.transfers.on_part(&transfer, number, part),
            ToWorker::Taken { transfer, number } => ends.transfers.on_taken(&transfer, number),
            ToWorker::Over { transfer, how } => ends.transfers.on_over(&transfer, how),
        }
    }
}

/// The next message; frames that are no message of ours are skipped.
async fn receive(stream: &mut SplitStream<Socket>, decoder: &mut Decoder) -> Result<ToWorker, LinkError> {
    loop {
        match stream.next().await {
            Some(Ok(Message::Binary(frame))) => {
                if let Some(message) = decoder.push(&frame).map_err(LinkError::Decode)? {
                    return Ok(message);
                }
            }
            Some(Ok(Message::Close(_))) | None => return Err(LinkError::Closed),
            Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => return Err(LinkError::Broken(Box::new(error))),
        }
    }
}

/// Sends what there is, control first, and flushes when there is no more: what comes together goes out
/// together, and nothing waits for company.
async fn write(mut sink: Sink, ends: Ends<'_>) -> LinkError {
    let mut lanes: Lanes<Frames> = Lanes::default();
    loop {
        if let Err(error) = fill(&mut lanes, ends) {
            return error;
        }
        if lanes.is_empty() {
            if let Err(error) = flush(&mut sink).await {
                return error;
            }
            if ends.outgoing.is_closing() {
                return match sink.close().await {
                    Ok(()) => LinkError::Left,
                    Err(error) => LinkError::Broken(Box::new(error)),
                };
            }
            tokio::select! {
                () = ends.spool.wait() => {}
                () = ends.outgoing.wait() => {}
                () = ends.transfers.wait() => {}
            }
        } else if let Some(frames) = lanes.pop()
            && let Err(error) = feed(&mut sink, frames).await
        {
            return error;
        }
    }
}

/// Takes all control messages, and as much bulk as may wait here.
fn fill(lanes: &mut Lanes<Frames>, ends: Ends<'_>) -> Result<(), LinkError> {
    for message in ends.outgoing.take() {
        lanes.push_control(codec::encode(&message).map_err(LinkError::Encode)?);
    }
    while lanes.has_room() {
        // What commands say and files that they send take turns.
        let next = [ends.spool.next(), ends.transfers.next()];
        if next.iter().all(Option::is_none) {
            break;
        }
        for frames in next.into_iter().flatten() {
            let bytes = frames.bytes();
            lanes.push_bulk(frames, bytes);
        }
    }
    Ok(())
}

async fn feed(sink: &mut Sink, frames: Frames) -> Result<(), LinkError> {
    for frame in frames {
        sink.feed(Message::Binary(frame)).await.map_err(|error| LinkError::Broken(Box::new(error)))?;
    }
    Ok(())
}

async fn flush(sink: &mut Sink) -> Result<(), LinkError> {
    sink.flush().await.map_err(|error| LinkError::Broken(Box::new(error)))
}

async fn tell_load(outgoing: &Outgoing) -> std::convert::Infallible {
    let mut ticks = tokio::time::interval(STATUS);
    loop {
        ticks.tick().await;
        if let Some(load) = load() {
            outgoing.say(ToMaster::Status { load });
        }
    }
}

/// The load average over one minute for each processor.
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Some(load / processors as f64)
}
