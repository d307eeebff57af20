//! A seat as the console shows it.

use tokio::time::Instant;

use super::{Command, Seat};
use crate::view::{DebugCommand, DebugLink};

impl Seat {
    pub(super) fn inspected(&self, now: Instant) -> DebugLink {
        let session = self.identity.clone().unwrap_or_default();
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut commands: Vec<DebugCommand> =
            self.commands.iter().map(|(uid, command)| shown(&uid.0, command)).collect();
        commands.sort_by(|one, other| one.uid.cmp(&other.uid));
        DebugLink {
            worker: self.name.clone(),
            peer: self.shown.connected().map(|connected| connected.peer),
            instance: session.instance,
            epoch: session.epoch,
            heard_ms_ago: self.link.as_ref().map(|link| ms(now.saturating_duration_since(link.heard))),
            waits_ms: self.expected_until.map(|until| ms(until.saturating_duration_since(now))),
            ahead_bytes: self.shown.ahead.bytes(),
            held_back: self.shown.ahead.is_full(),
            commands,
        }
    }
}

fn shown(uid: &str, command: &Command) -> DebugCommand {
    DebugCommand {
        uid: uid.to_owned(),
        sent: command.sent,
        epoch: command.session.as_ref().map(|session| session.epoch),
        seen: command.inbox.seen(),
        acknowledged: command.acked,
        done: command.done,
        interrupt: command.interrupt.clone(),
        wanted: command.is_wanted(),
    }
}
