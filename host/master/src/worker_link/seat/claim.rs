//! Who gets a seat: a worker that comes, comes back, or claims the name of another.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use windlass_protocol::hello::Refusal;
use windlass_protocol::message::{CommandUid, Loss, PROTOCOL, ToWorker};

use super::super::ConnectedWorker;
use super::super::accept::{bad_token, refuse};
use super::super::wire::Wire;
use super::{Candidate, Link, Probe, Seat, Session, Token};
use crate::dispatcher::WorkerUp;
use crate::view;

impl Seat {
    pub(super) fn on_pong(&mut self, nonce: u64) {
        if let Some(probe) = self.probe.take_if(|probe| probe.nonce == nonce) {
            let peer = self.shown.connected().map(|shown| shown.peer).unwrap_or_default();
            self.turn_away(probe.candidate, name_taken(&self.name, &peer));
        }
    }

    pub(super) fn on_candidate(&mut self, candidate: Box<Candidate>) {
        let claims = Session { instance: candidate.hello.instance.clone(), epoch: candidate.hello.epoch };
        match (&self.link, &self.identity) {
            (_, Some(seated)) if seated.instance == claims.instance => {
                if claims.epoch < seated.epoch {
                    let refusal = Refusal::for_good(
                        "name-taken",
                        format!(
                            "a newer start of worker `{}` in the same directory has taken over",
                            self.name
                        ),
                    );
                    self.turn_away(candidate, refusal);
                } else {
                    self.seat(candidate, claims);
                }
            }
            (Some(_), _) if self.probe.is_some() => {
                let refusal = name_taken(&self.name, "another worker that came at the same moment");
                self.turn_away(candidate, refusal);
            }
            (Some(link), _) => {
                self.nonce += 1;
                link.wire.send(ToWorker::Ping { nonce: self.nonce });
                let until = Instant::now() + self.limits.probe;
                self.probe = Some(Probe { candidate, nonce: self.nonce, until });
            }
            (None, _) => self.seat(candidate, claims),
        }
    }

    /// Gives the seat to a connection: the commands that it knows go on, the others are lost.
    pub(super) fn seat(&mut self, candidate: Box<Candidate>, identity: Session) {
        if !self.links.counts(&self.name, &candidate.token) {
            // It does not count any more since the hello was checked.
            return self.turn_away(candidate, bad_token(&self.name));
        }
        let Candidate { outgoing, incoming, hello, features, token, peer } = *candidate;
        let was_up = self.link.is_some();
        self.links.transfers().on_link(&self.name);
        if let Some(old) = self.link.take() {
            // What waits there is said again here, as far as it still matters.
            old.wire.cut(Some(ToWorker::Bye { reason: "replaced".to_owned() }));
        }
        let same = self.identity.as_ref().is_some_and(|old| old.instance == identity.instance);
        let same_start = self.identity.as_ref() == Some(&identity);
        let known: HashMap<&CommandUid, u64> =
            hello.commands.iter().map(|(uid, number)| (uid, *number)).collect();

        // Nobody waits for these: the worker stops what it is not told to go on with.
        self.commands.retain(|_, command| command.done.is_some() || command.is_wanted());
        let (mut resumed, mut again, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (uid, command) in &mut self.commands {
            let before = command.session.as_ref();
            let same = before.map_or(same, |before| before.instance == identity.instance);
            let same_start = before.map_or(same_start, |before| *before == identity);
            let known = same && known.contains_key(uid);
            let never_ran = !command.sent || (same_start && command.inbox.seen() == 0);
            if known {
                command.session = None;
                resumed.push((uid.clone(), command.inbox.seen()));
            } else if command.done.is_some() {
                // All of it is here; what is left is its owner's commit.
            } else if never_ran {
                // One that is expected is sent when its step has come to it.
                (command.sent, command.session) = (command.start.is_some(), None);
                again.extend(command.start.clone());
            } else {
                gone.push(uid.clone());
            }
        }
        for uid in gone {
            self.lose(&uid, lost_by(hello.lost));
        }

        let wire = Wire::spawn(outgoing, self.limits.keepalive * 2, &self.links.0.tasks);
        wire.send(ToWorker::Welcome {
            protocol: PROTOCOL,
            features,
            commands: resumed.clone(),
            keepalive_ms: u64::try_from(self.limits.keepalive.as_millis()).unwrap_or(u64::MAX),
        });
        for (uid, _) in resumed {
            let Some(command) = self.commands.get(&uid) else { continue };
            if command.acked > 0 {
                wire.send(ToWorker::Ack { command: uid.clone(), number: command.acked });
            }
            if let Some(reason) = command.interrupt.clone() {
                wire.send(ToWorker::Interrupt { command: uid, reason });
            }
        }
        for start in again {
            let uid = start.command.clone();
            wire.send(ToWorker::Start(start));
            if let Some(reason) = self.commands.get(&uid).and_then(|command| command.interrupt.clone()) {
                wire.send(ToWorker::Interrupt { command: uid, reason });
            }
        }

        let now = Instant::now();
        self.link = Some(Link {
            wire,
            incoming,
            token: token.clone(),
            heard: now,
            next_ping: now + self.limits.keepalive,
        });
        self.shown.session.lock().expect("nobody panics while holding a session").clone_from(&identity);
        self.identity = Some(identity);
        self.expected_until = None;
        let since = self.links.0.parts.clock.now();
        let made = match token {
            Token::Configured(_) => None,
            Token::Made(number) => Some(number),
        };
        if let Some(number) = made {
            self.links.tokens().came(&self.name, number, since);
        }
        tracing::info!(worker = self.name, peer, version = hello.version, "worker connected");
        self.shown.reachable.store(true, Ordering::Release);
        self.shown.update(|shown| {
            *shown = Some(ConnectedWorker {
                name: self.name.clone(),
                since,
                version: hello.version,
                peer,
                facts: hello.facts.clone(),
                load: None,
                draining: false,
                session: Session { instance: hello.instance.clone(), epoch: hello.epoch },
                token: made,
            });
        });
        if let Some(report) = self.links.report() {
            if was_up {
                report.worker_down(&self.name);
            }
            report.worker_up(WorkerUp { name: self.name.clone(), since, facts: hello.facts });
        }
        self.links.0.parts.events.tell(|| view::Event::WorkerConnected { worker: self.name.clone() });
    }

    /// Tells a candidate why it does not get the seat.
    pub(super) fn turn_away(&self, candidate: Box<Candidate>, refusal: Refusal) {
        tracing::warn!(
            worker = self.name,
            peer = candidate.peer,
            code = refusal.code,
            "worker refused: {}",
            refusal.message
        );
        self.links.0.tasks.spawn(refuse(candidate.outgoing, refusal, self.limits.hello));
    }
}

/// Why a worker that came back does not know a command.
fn lost_by(loss: Option<Loss>) -> &'static str {
    match loss {
        Some(Loss::WorkerKilled) => "the holder of its worker was killed, and the command with it",
        Some(Loss::MachineRestarted) => {
            "the worker's machine was started anew, and the command ended with it"
        }
        None => "the worker came back without the command",
    }
}

pub(super) fn name_taken(name: &str, holder: &str) -> Refusal {
    Refusal {
        code: "name-taken",
        message: format!(
            "a worker named `{name}` is connected already, from {holder}; stop that one, or give this one a \
             name of its own in both configurations"
        ),
        retry: true,
    }
}
