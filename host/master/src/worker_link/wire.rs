//! The sending half of a connection. Control messages overtake components and files, and at most one part
//! of either lies between the two.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use windlass_core::digest::Digest;
use windlass_protocol::codec::{self, Decoder};
use windlass_protocol::message::{ToMaster, ToWorker};

/// The largest part of a component in one message.
const PART: usize = 32 * 1024;

/// Frames that a hello may have: some thousand commands fit in. Whoever has not shown a token yet is
/// given no more memory.
const HELLO_FRAMES: usize = 4;

/// Components whose bytes wait for one worker: it may ask as often as it likes.
const COMPONENTS: usize = 2;

/// Parts of files that wait unsent: with what a component has on its way they keep the wire busy, and a control
/// message never stands behind more.
const PARTS: usize = 2;

/// Why a connection ended, for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the worker closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Socket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("the worker sent what is no message: {0}")]
    Decode(#[from] codec::DecodeError),
    #[error("the worker sent text where messages are binary")]
    Text,
    #[error("a first message of more than {HELLO_FRAMES} frames")]
    LongHello,
}

/// The receiving half.
pub(super) struct Incoming {
    stream: SplitStream<WebSocketStream<TcpStream>>,
    decoder: Decoder,
}

impl Incoming {
    /// The first message, from a stranger.
    pub(super) async fn first(&mut self) -> Result<ToMaster, WireError> {
        for _ in 0..HELLO_FRAMES {
            if let Some(message) = self.frame().await? {
                return Ok(message);
            }
        }
        Err(WireError::LongHello)
    }

    /// The next message. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> Result<ToMaster, WireError> {
        loop {
            if let Some(message) = self.frame().await? {
                return Ok(message);
            }
        }
    }

    /// The message that the next frame ends, if it ends one.
    async fn frame(&mut self) -> Result<Option<ToMaster>, WireError> {
        loop {
            let frame = match self.stream.next().await {
                None | Some(Ok(Message::Close(_))) => return Err(WireError::Closed),
                Some(Err(error)) => return Err(WireError::Socket(Box::new(error))),
                Some(Ok(Message::Binary(frame))) => frame,
                // Pings of WebSocket itself are answered by the library; ours are messages.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Text(_))) => return Err(WireError::Text),
            };
            return Ok(self.decoder.push(&frame)?);
        }
    }
}

/// The sending half, to be handed to [`Wire::spawn`] or used for a refusal.
pub(super) struct Outgoing(SplitSink<WebSocketStream<TcpStream>, Message>);

pub(super) fn halves(socket: WebSocketStream<TcpStream>) -> (Outgoing, Incoming) {
    let (sink, stream) = socket.split();
    (Outgoing(sink), Incoming { stream, decoder: Decoder::default() })
}

impl Outgoing {
    /// Sends one message and closes the connection, as far as the peer lets it.
    pub(super) async fn last_word(mut self, message: &ToWorker) {
        // Whoever does not listen any more misses the reason, and nothing else.
        if self.feed(message).await.is_ok() {
            self.0.close().await.ok();
        }
    }

    async fn feed(&mut self, message: &ToWorker) -> Result<(), WireError> {
        let frames = match codec::encode(message) {
            Ok(frames) => frames,
            Err(error) => {
                tracing::error!(%error, "a message to a worker cannot be sent");
                return Ok(());
            }
        };
        for frame in frames {
            self.0.feed(Message::Binary(frame)).await.map_err(|e| WireError::Socket(Box::new(e)))?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), WireError> {
        self.0.flush().await.map_err(|e| WireError::Socket(Box::new(e)))
    }
}

/// A component on its way, and the right to keep its bytes meanwhile.
#[derive(Debug)]
pub(super) struct Bulk {
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
    /// Given back when this is dropped.
    pub(super) _room: OwnedSemaphorePermit,
}

/// What the seat holds of the sending half. Dropping it sends what waits and closes the connection; see [`Wire::cut`].
#[derive(Debug)]
pub(super) struct Wire {
    /// Ends it before what waits is sent; with a last word, perhaps.
    cut: mpsc::Sender<Option<ToWorker>>,
    /// Unbounded: a peer that does not read is cut off by the deadline of the writer.
    control: mpsc::UnboundedSender<ToWorker>,
    /// Unbounded, and held to [`COMPONENTS`] by `room`.
    bulk: mpsc::UnboundedSender<Bulk>,
    room: Arc<Semaphore>,
    /// Parts of files that go to the worker.
    parts: mpsc::Sender<ToWorker>,
}

impl Wire {
    /// Starts the task that sends. A peer that takes nothing for `stall` is given up.
    pub(super) fn spawn(outgoing: Outgoing, stall: Duration, tasks: &tokio_util::task::TaskTracker) -> Wire {
        let (control, control_inbox) = mpsc::unbounded_channel();
        let (bulk, bulk_inbox) = mpsc::unbounded_channel();
        let (parts, parts_inbox) = mpsc::channel(PARTS);
        let (cut, is_cut) = mpsc::channel(1);
        let waiting = Waiting { control: control_inbox, bulk: bulk_inbox, parts: parts_inbox };
        tasks.spawn(write(outgoing, stall, is_cut, waiting));
        Wire { cut, control, bulk, room: Arc::new(Semaphore::new(COMPONENTS)), parts }
    }

    /// Closes the connection: nothing of what waits is sent, nor the rest of what is being sent. A last word is said if
    /// nothing is just being sent.
    pub(super) fn cut(self, last_word: Option<ToWorker>) {
        // One that has ended is as good as cut.
        self.cut.try_send(last_word).ok();
    }

    /// Sends a message before all bulk; false: the connection is gone.
    pub(super) fn send(&self, message: ToWorker) -> bool {
        self.control.send(message).is_ok()
    }

    /// Where a component can be put from another task, as long as the seat holds the wire.
    pub(super) fn bulk(&self) -> mpsc::WeakUnboundedSender<Bulk> {
        self.bulk.downgrade()
    }

    /// Where parts of files can be put from another task, as long as the seat holds the wire.
    pub(super) fn parts(&self) -> mpsc::WeakSender<ToWorker> {
        self.parts.downgrade()
    }

    /// What gives the room for a component before its bytes are read.
    pub(super) fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.room)
    }

    /// Where messages can be put from another task, as long as the seat holds the wire.
    pub(super) fn control(&self) -> mpsc::WeakUnboundedSender<ToWorker> {
        self.control.downgrade()
    }
}

/// What is to be sent, as it comes.
struct Waiting {
    control: mpsc::UnboundedReceiver<ToWorker>,
    bulk: mpsc::UnboundedReceiver<Bulk>,
    parts: mpsc::Receiver<ToWorker>,
}

async fn write(
    mut outgoing: Outgoing,
    stall: Duration,
    mut cut: mpsc::Receiver<Option<ToWorker>>,
    mut waiting: Waiting,
) {
    enum Next {
        Cut(Option<ToWorker>),
        Control(Option<ToWorker>),
        Component(Option<Bulk>),
        Part,
        OfFile(Option<ToWorker>),
    }
    let Waiting { control, bulk, parts } = &mut waiting;
    let mut transfer: Option<(Bulk, usize)> = None;
    loop {
        let next = tokio::select! {
            biased;
            Some(last_word) = cut.recv() => Next::Cut(last_word),
            message = control.recv() => Next::Control(message),
            () = std::future::ready(()), if transfer.is_some() => Next::Part,
            component = bulk.recv(), if transfer.is_none() => Next::Component(component),
            part = parts.recv(), if transfer.is_none() => Next::OfFile(part),
        };
        let sending = tokio::time::timeout(stall, async {
            match next {
                Next::Cut(None) => return Ok(End::Cut),
                Next::Cut(Some(last_word)) => {
                    outgoing.feed(&last_word).await?;
                    return Ok(End::Close);
                }
                // The seat let go of the wire, or of its last clone: what it said has been sent.
                Next::Control(None) | Next::Component(None) | Next::OfFile(None) => return Ok(End::Close),
                Next::Control(Some(message)) => {
                    outgoing.feed(&message).await?;
                    // What waits behind it goes out in the same write.
                    while let Ok(message) = control.try_recv() {
                        outgoing.feed(&message).await?;
                    }
                }
                Next::OfFile(Some(part)) => outgoing.feed(&part).await?,
                Next::Component(Some(component)) => transfer = Some((component, 0)),
                Next::Part => {
                    let (component, offset) = transfer.take().expect("checked by the select");
                    let Bulk { digest, bytes, _room: _ } = &component;
                    let end = bytes.len().min(offset + PART);
                    let part = ToWorker::Component {
                        digest: *digest,
                        offset: offset as u64,
                        total: bytes.len() as u64,
                        data: bytes.slice(offset..end),
                    };
                    outgoing.feed(&part).await?;
                    if end < bytes.len() {
                        transfer = Some((component, end));
                    }
                }
            }
            outgoing.flush().await?;
            Ok::<End, WireError>(End::NotYet)
        });
        let sent = tokio::select! {
            biased;
            Some(_) = cut.recv() => return,
            sent = sending => sent,
        };
        match sent {
            Ok(Ok(End::NotYet)) => {}
            Ok(Ok(End::Close)) => break,
            Ok(Ok(End::Cut)) => return,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a link cannot be written to");
                return;
            }
            Err(_elapsed) => {
                tracing::debug!("a worker takes nothing from its link");
                return;
            }
        }
    }
    if tokio::time::timeout(stall, outgoing.0.close()).await.is_err() {
        tracing::debug!("a worker did not let its link be closed");
    }
}

/// Whether the sending ends.
enum End {
    NotYet,
    /// In good order.
    Close,
    /// With nothing more.
    Cut,
}
