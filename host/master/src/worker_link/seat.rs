//! The seat of one configured worker: the task that owns its link and its commands.
//!
//! The seat outlives the link. When a link is cut, commands wait for the same worker to come back
//! (within a grace), and go on from the update that comes next. A worker that comes back without a
//! command, or as another instance, has lost it: the command ends as `worker-lost`, worth a retry.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use windlass_core::digest::Digest;
use windlass_core::value::Failure;
use windlass_protocol::message::{CommandUid, Hello, Start, ToMaster, ToWorker, Update};
use windlass_protocol::session::{Inbox, Seen};

use super::feed::{Ahead, CommandEvent, CommandFeed, FeedSender, NOBODY_WAITS};
use super::wire::{Bulk, Incoming, Outgoing, Wire};
use super::{ConnectedWorker, LinkLimits, Links, Session, Token};
use crate::transfer::{Broken, Line};
use crate::view;
use claim::name_taken;

mod claim;
mod ending;
mod inspect;

/// What a seat is told.
pub(super) enum Order {
    /// Run a command.
    Start { start: Start, feed: FeedSender },
    /// A command that may run still, from before the master's restart.
    Expect { uid: CommandUid, session: Session, seen: u64, feed: FeedSender },
    /// What starts it, should it not run.
    StartExpected { start: Start },
    /// Ask a command to stop.
    Interrupt { uid: CommandUid, reason: String },
    /// Updates are durable.
    Ack { uid: CommandUid, number: u64 },
    /// The owner of a command goes down with the master: nobody interrupts it.
    Part(CommandFeed),
    /// Somebody said hello in the worker's name, with its token.
    Candidate(Box<Candidate>),
    /// Tokens of the worker count no more: close the link if it came by one of them, and say whether it did.
    TokensChanged { done: Option<oneshot::Sender<bool>> },
    /// Say how it stands.
    Inspect { reply: oneshot::Sender<view::DebugLink> },
    /// The worker is configured no more: send it away and end.
    Remove,
    /// The master goes down: say goodbye and end.
    Shutdown,
}

/// A connection whose hello was checked.
pub(super) struct Candidate {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    pub(super) hello: Hello,
    pub(super) features: Vec<String>,
    pub(super) token: Token,
    pub(super) peer: String,
}

/// What others may see of a seat without asking its task.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Connected, or expected back.
    reachable: AtomicBool,
    /// Written at connects, losses and load reports only.
    connected: watch::Sender<Option<ConnectedWorker>>,
    /// The last that was connected: it outlives the link.
    session: Mutex<Session>,
    pub(super) ahead: Arc<Ahead>,
}

impl Shown {
    pub(super) fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Acquire)
    }

    pub(super) fn connected(&self) -> Option<ConnectedWorker> {
        self.connected.borrow().clone()
    }

    pub(super) fn session(&self) -> Session {
        self.session.lock().expect("nobody panics while holding a session").clone()
    }

    /// Resolves once it is connected.
    pub(super) async fn arrival(&self) {
        // The sender is here: an error cannot be.
        drop(self.connected.subscribe().wait_for(Option::is_some).await);
    }

    fn update(&self, change: impl FnOnce(&mut Option<ConnectedWorker>)) {
        self.connected.send_modify(change);
    }
}

/// How a command ends whose worker is gone.
pub(super) fn lost(why: &str) -> Failure {
    Failure::retryable("worker-lost", why)
}

/// Keeps the seat of a worker until it is closed. A panic costs the worker's link and its commands, which
/// end as lost, and nothing else: the seat is there again for the worker's next connection.
pub(super) async fn keep(
    links: Links,
    name: String,
    shown: Arc<Shown>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    loop {
        let seat = Seat::new(links.clone(), name.clone(), Arc::clone(&shown));
        if AssertUnwindSafe(seat.run(&mut orders)).catch_unwind().await.is_ok() {
            return;
        }
        // What the seat held went with it: the link is cut, and feeds without a sender end.
        let reason = "BUG: the master's task for its link panicked";
        tracing::error!(worker = name, reason, "lost the link to a worker");
        shown.reachable.store(false, Ordering::Release);
        shown.update(|shown| *shown = None);
        if let Some(report) = links.report() {
            report.worker_down(&name);
        }
        let event = || view::Event::WorkerLost { worker: name.clone(), reason: reason.to_owned() };
        links.0.parts.events.tell(event);
    }
}

struct Seat {
    links: Links,
    limits: LinkLimits,
    name: String,
    shown: Arc<Shown>,
    link: Option<Link>,
    /// Who sits here, or sat here last.
    identity: Option<Session>,
    /// Until when commands wait for a worker whose link was cut.
    expected_until: Option<Instant>,
    commands: HashMap<CommandUid, Command>,
    /// Somebody else who claims the name while the present worker is asked for a sign of life.
    probe: Option<Probe>,
    nonce: u64,
    /// Whose owners are gone with the master: held, so that nobody takes their commands for unwanted.
    parted: Vec<CommandFeed>,
}

struct Link {
    wire: Wire,
    incoming: Incoming,
    token: Token,
    heard: Instant,
    next_ping: Instant,
}

struct Command {
    /// None: it is expected, and its step has not come to it again.
    start: Option<Start>,
    /// The session that it was started in before the master's restart; none: it is this run's.
    session: Option<Session>,
    /// It was put on a link; whether it arrived shows at its first update or the next hello.
    sent: bool,
    inbox: Inbox,
    /// The last number that was acknowledged. It is said again on the next link: the word may be lost
    /// with this one, and a worker whose spool is full waits for it.
    acked: u64,
    /// The number of `Done`, once it came.
    done: Option<u64>,
    interrupt: Option<String>,
    /// None: the owner has gone; updates are acknowledged as they come.
    feed: Option<FeedSender>,
}

impl Command {
    /// Whether its owner still listens. One that has heard `Done` does not, but its commit may be due.
    fn is_wanted(&self) -> bool {
        self.feed.as_ref().is_some_and(FeedSender::is_heard)
    }
}

struct Probe {
    candidate: Box<Candidate>,
    nonce: u64,
    until: Instant,
}

/// What happened, named by the `select!` and handled after it.
enum Happened {
    Order(Option<Order>),
    Message(Result<ToMaster, super::wire::WireError>),
    CaughtUp,
    Deadline,
}

impl Seat {
    fn new(links: Links, name: String, shown: Arc<Shown>) -> Seat {
        let limits = links.0.parts.limits;
        Seat {
            links,
            limits,
            name,
            shown,
            link: None,
            identity: None,
            expected_until: None,
            commands: HashMap::new(),
            probe: None,
            nonce: 0,
            parted: Vec::new(),
        }
    }

    async fn run(mut self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        let ahead = Arc::clone(&self.shown.ahead);
        loop {
            let deadline = self.deadline();
            let paused = ahead.is_full();
            let others = async {
                tokio::select! {
                    message = next_message(&mut self.link), if !paused => Happened::Message(message),
                    () = ahead.caught_up(), if paused => Happened::CaughtUp,
                    () = wait_until(deadline) => Happened::Deadline,
                }
            };
            let happened = tokio::select! {
                // Orders come first: what a worker said that is to be sent away is not handled any more.
                biased;
                order = orders.recv() => Happened::Order(order),
                other = others => other,
            };
            match happened {
                Happened::Order(Some(Order::Remove)) => return self.remove(),
                // None: every handle is gone, and nobody can want a command any more.
                Happened::Order(Some(Order::Shutdown) | None) => return self.shut_down(),
                Happened::Order(Some(order)) => self.on_order(order),
                Happened::Message(Ok(message)) => self.on_message(message),
                Happened::Message(Err(error)) => self.cut(&error.to_string()),
                Happened::CaughtUp => self.heard(),
                Happened::Deadline => self.on_deadline(Instant::now(), paused),
            }
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Start { start, feed } => self.start(start, feed),
            Order::Expect { uid, session, seen, feed } => self.expect(uid, session, seen, feed),
            Order::StartExpected { start } => self.start_expected(start),
            Order::Interrupt { uid, reason } => {
                if let Some(command) = self.commands.get_mut(&uid)
                    && command.done.is_none()
                {
                    command.interrupt = Some(reason.clone());
                    self.send(ToWorker::Interrupt { command: uid, reason });
                }
            }
            Order::Ack { uid, number } => self.ack(uid, number),
            Order::Part(feed) => self.parted.push(feed),
            Order::Candidate(candidate) => self.on_candidate(candidate),
            // Whoever asked may have gone.
            Order::Inspect { reply } => drop(reply.send(self.inspected(Instant::now()))),
            Order::TokensChanged { done } => {
                let closes =
                    self.link.as_ref().is_some_and(|link| !self.links.counts(&self.name, &link.token));
                if closes {
                    self.cut("its token counts no more");
                }
                if let Some(done) = done {
                    // Whoever asked may have gone.
                    done.send(closes).ok();
                }
            }
            Order::Remove | Order::Shutdown => unreachable!("BUG: `run` handles it"),
        }
    }

    fn start(&mut self, start: Start, feed: FeedSender) {
        if self.link.is_none() && self.expected_until.is_none() {
            // The grace ended while the order was under way.
            self.tell(&feed, CommandEvent::Lost(lost(&format!("worker `{}` is not connected", self.name))));
            return;
        }
        let uid = start.command.clone();
        let sent = self.send(ToWorker::Start(start.clone()));
        let command = Command {
            start: Some(start),
            session: None,
            sent,
            inbox: Inbox::default(),
            acked: 0,
            done: None,
            interrupt: None,
            feed: Some(feed),
        };
        self.commands.insert(uid, command);
    }

    fn expect(&mut self, uid: CommandUid, session: Session, seen: u64, feed: FeedSender) {
        if self.link.is_none() && self.expected_until.is_none() {
            self.expected_until = Some(Instant::now() + self.links.grace());
            self.shown.reachable.store(true, Ordering::Release);
        }
        let command = Command {
            start: None,
            session: Some(session),
            sent: true,
            inbox: Inbox::resumed(seen),
            acked: seen,
            done: None,
            interrupt: None,
            feed: Some(feed),
        };
        self.commands.insert(uid, command);
    }

    fn start_expected(&mut self, start: Start) {
        let link = self.link.as_ref();
        let Some(command) = self.commands.get_mut(&start.command) else { return };
        if !command.sent
            && let Some(link) = link
        {
            // Its worker came, and knew nothing of it.
            command.sent = link.wire.send(ToWorker::Start(start.clone()));
        }
        command.start = Some(start);
    }

    fn ack(&mut self, uid: CommandUid, number: u64) {
        let Some(command) = self.commands.get_mut(&uid) else { return };
        command.acked = number;
        if command.done.is_some_and(|done| number >= done) {
            self.commands.remove(&uid);
        }
        self.send(ToWorker::Ack { command: uid, number });
    }

    fn on_message(&mut self, message: ToMaster) {
        self.heard();
        match message {
            ToMaster::Update { command, number, update } => self.on_update(command, number, update),
            ToMaster::Need { digest } => self.on_need(digest),
            ToMaster::Pong { nonce } => self.on_pong(nonce),
            ToMaster::Status { load } => {
                self.shown.update(|shown| {
                    if let Some(shown) = shown {
                        shown.load = Some(load);
                    }
                });
                if let Some(report) = self.links.report() {
                    report.worker_load(&self.name, load);
                }
            }
            ToMaster::Draining => {
                tracing::info!(worker = self.name, "worker drains: it takes no more work");
                self.shown.update(|shown| {
                    if let Some(shown) = shown {
                        shown.draining = true;
                    }
                });
                if let Some(report) = self.links.report() {
                    report.worker_down(&self.name);
                }
            }
            ToMaster::Hello(_) => self.cut("the worker said hello twice"),
            ToMaster::Send { transfer, token, sent } => {
                if let Some(line) = self.line() {
                    self.links.transfers().on_send(&self.name, line, transfer, &token, &sent);
                }
            }
            ToMaster::Receive { transfer, token, received } => {
                if let Some(line) = self.line() {
                    self.links.transfers().on_receive(&self.name, line, transfer, &token, received);
                }
            }
            ToMaster::Part { transfer, number, part } => {
                if let Err(Broken(why)) = self.links.transfers().on_part(&self.name, transfer, number, part) {
                    self.cut(&why);
                }
            }
            ToMaster::Taken { transfer, number } => {
                self.links.transfers().on_taken(&self.name, transfer, number);
            }
            ToMaster::GiveUp { transfer } => self.links.transfers().on_give_up(&self.name, transfer),
        }
    }

    fn on_update(&mut self, uid: CommandUid, number: u64, update: Update) {
        let Some(command) = self.commands.get_mut(&uid) else {
            // Acknowledged already, or given up: the worker may forget it, and stop it if it runs.
            self.send(ToWorker::Interrupt { command: uid.clone(), reason: NOBODY_WAITS.to_owned() });
            self.send(ToWorker::Ack { command: uid, number });
            return;
        };
        match command.inbox.accept(number) {
            Seen::New => {}
            Seen::Duplicate => return,
            Seen::Gap { expected } => {
                return self.cut(&format!("update {number} of a command came where {expected} was due"));
            }
        }
        if matches!(update, Update::Done { .. }) {
            command.done = Some(number);
        }
        let wanted =
            command.feed.as_ref().is_some_and(|feed| feed.send(CommandEvent::Update { number, update }));
        if wanted {
            return;
        }
        if command.feed.take().is_some() && command.done.is_none() && command.interrupt.is_none() {
            let reason = NOBODY_WAITS.to_owned();
            self.send(ToWorker::Interrupt { command: uid.clone(), reason });
        }
        self.ack(uid, number);
    }

    /// Serves a component. The bytes are read off this task: a file is not a value. They are read once
    /// those before them have gone, so that a worker that asks for everything costs no more.
    fn on_need(&mut self, digest: Digest) {
        let Some(link) = &self.link else { return };
        let (control, bulk, room) = (link.wire.control(), link.wire.bulk(), link.wire.room());
        let (cas, worker) = (self.links.0.parts.cas.clone(), self.name.clone());
        self.links.0.tasks.spawn(async move {
            let room = room.acquire_owned().await.expect("nobody closes it");
            if control.strong_count() == 0 {
                // The worker asks again on its next link.
                return;
            }
            let found = match tokio::task::spawn_blocking(move || cas.get(&digest)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    tracing::error!(%digest, worker, %error, "failed to read a component that a worker needs");
                    None
                }
                Err(error) => {
                    tracing::error!(%digest, worker, %error, "BUG: reading a component broke off");
                    None
                }
            };
            let sent = match (found, bulk.upgrade(), control.upgrade()) {
                (Some(bytes), Some(bulk), _) => bulk.send(Bulk { digest, bytes, _room: room }).is_ok(),
                (None, _, Some(control)) => control.send(ToWorker::NoComponent { digest }).is_ok(),
                (Some(_), None, _) | (None, _, None) => false,
            };
            if !sent {
                tracing::debug!(%digest, worker, "the link went while a component was read for it");
            }
        });
    }

    fn on_deadline(&mut self, now: Instant, paused: bool) {
        if let Some(probe) = self.probe.take_if(|probe| probe.until <= now) {
            if paused {
                // Nobody listened to it: its silence says nothing.
                let peer = self.shown.connected().map(|shown| shown.peer).unwrap_or_default();
                return self.turn_away(probe.candidate, name_taken(&self.name, &peer));
            }
            self.cut("it did not answer while another worker claimed its name");
            let hello = &probe.candidate.hello;
            let identity = Session { instance: hello.instance.clone(), epoch: hello.epoch };
            self.seat(probe.candidate, identity);
        }
        if self.expected_until.is_some_and(|until| until <= now) {
            self.expected_until = None;
            self.shown.reachable.store(false, Ordering::Release);
            self.lose_all("the worker did not come back in time");
        }
        let (keepalive, nonce) = (self.limits.keepalive, self.nonce + 1);
        let Some(link) = &mut self.link else { return };
        if paused {
            // The silence is ours.
            link.heard = now;
        }
        if now >= link.heard + keepalive * 2 {
            return self.cut("it has been silent for too long");
        }
        if now >= link.next_ping {
            self.nonce = nonce;
            link.next_ping = now + keepalive;
            if !link.wire.send(ToWorker::Ping { nonce }) {
                self.cut("it takes nothing from its link");
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let link = self.link.as_ref();
        [
            link.map(|link| link.next_ping),
            link.map(|link| link.heard + self.limits.keepalive * 2),
            self.expected_until,
            self.probe.as_ref().map(|probe| probe.until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn heard(&mut self) {
        if let Some(link) = &mut self.link {
            link.heard = Instant::now();
        }
    }

    /// The link, for transfers.
    fn line(&self) -> Option<Line> {
        let wire = &self.link.as_ref()?.wire;
        Some(Line { control: wire.control(), parts: wire.parts() })
    }

    fn send(&self, message: ToWorker) -> bool {
        self.link.as_ref().is_some_and(|link| link.wire.send(message))
    }

    fn lose(&mut self, uid: &CommandUid, why: &str) {
        let Some(command) = self.commands.remove(uid) else { return };
        if let (Some(feed), None) = (&command.feed, command.done) {
            let when = if !command.sent {
                "before the command was sent to it"
            } else if command.inbox.seen() == 0 {
                "before it answered the start of the command"
            } else {
                "while the command ran"
            };
            let why = format!("worker `{}` was lost {when}: {why}", self.name);
            self.tell(feed, CommandEvent::Lost(lost(&why)));
        }
    }

    fn lose_all(&mut self, why: &str) {
        let uids: Vec<CommandUid> = self.commands.keys().cloned().collect();
        uids.iter().for_each(|uid| self.lose(uid, why));
    }

    fn tell(&self, feed: &FeedSender, event: CommandEvent) {
        if !feed.send(event) {
            tracing::debug!(worker = self.name, "a lost command had no owner any more");
        }
    }
}

async fn next_message(link: &mut Option<Link>) -> Result<ToMaster, super::wire::WireError> {
    match link {
        Some(link) => link.incoming.next().await,
        None => std::future::pending().await,
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
