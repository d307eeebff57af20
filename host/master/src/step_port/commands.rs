//! The remote commands of a step: started, watched, interrupted, ended.

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use windlass_core::build::record;
use windlass_core::digest::Digest;
use windlass_core::journal::{Call, Mark, chain};
use windlass_core::policy::HookKind;
use windlass_core::record::Component;
use windlass_core::render::{Scope, render};
use windlass_core::value::{Failure, Origin};
use windlass_protocol::codec::MAX_MESSAGE;
use windlass_protocol::message::{CommandUid, Start, Update};
use windlass_runtime::port::StepEvent;

use super::lines::{Lines, Whole};
use super::replay::{self, Started};
use super::{End, StepContext, StepState, Stop, uid};
use crate::secrets::{MAX_FORMER, MAX_VALUES};
use crate::worker_link::{CommandEvent, CommandFeed, Links, size};

/// The most commands of one step, over its whole run: a step that wants more is a loop gone wild.
const MAX_COMMANDS: usize = 10_000;

/// The most bytes of a command's arguments, environment and grants. With as much for secrets, and for
/// values that were replaced, it is well below what one message may have: a start that is made can be sent.
const MAX_START: usize = 1024 * 1024;
const _: () = assert!(MAX_START + MAX_VALUES + MAX_FORMER <= MAX_MESSAGE / 4 * 3);

/// The most commands of one step at a time: a worker is one machine.
const MAX_AT_ONCE: usize = 256;

/// The most bytes of what a step's commands answered: `wait` may ask for any of them again.
const MAX_ANSWERED: usize = 16 * 1024 * 1024;

/// The most text of events that may wait while the step does not ask for it.
const MAX_QUEUED: usize = 16 * 1024 * 1024;

/// What an event costs beside its text: many small ones are bounded, too.
const EVENT: usize = 128;

/// The first try of a step; a later one names its commands anew.
const ATTEMPT: u32 = 1;

/// A remote command.
pub(super) struct Command {
    uid: CommandUid,
    /// The component and its hook, for the meters.
    digest: Digest,
    hook: String,
    /// None once it has ended.
    feed: Option<CommandFeed>,
    /// The last update that was taken in, and the last that was acknowledged.
    taken: u64,
    acked: u64,
    /// The logs have what the updates up to this one said: those that come again bring nothing new.
    logged: u64,
    /// Over all data of its logs but headers, compared with the worker's at the end.
    hash: Digest,
    observed: BTreeMap<String, Lines>,
    /// Its events that wait to be taken by the step.
    waiting: u64,
    /// Events that the step took before the master's restart, and that come again.
    again: u64,
    /// The last update of which the step took all events, with the hash and the begun lines there; and how many
    /// events of later ones it took.
    at: Mark,
    /// What of that was put into a commit last.
    kept: Mark,
    /// That output was dropped has been said once.
    dropped: bool,
    pub(super) end: Option<End>,
}

impl Command {
    fn new(start: &Start, observe: Vec<String>, mark: Mark) -> Command {
        let mut lines: BTreeMap<_, _> = mark.lines.iter().cloned().collect();
        let observed = observe.into_iter().map(|log| {
            let begun = lines.remove(&log).unwrap_or_default();
            (log, Lines::resumed(begun))
        });
        Command {
            uid: start.command.clone(),
            digest: start.digest,
            hook: start.hook.clone(),
            feed: None,
            taken: mark.number,
            acked: mark.number,
            logged: mark.logged,
            hash: mark.hash,
            observed: observed.collect(),
            waiting: 0,
            again: mark.taken,
            kept: mark.clone(),
            at: mark,
            dropped: false,
            end: None,
        }
    }

    pub(super) fn stop_observing(&mut self) {
        self.observed.clear();
    }

    /// Lets go of it without a word: it runs on.
    pub(super) fn part(&mut self) {
        self.feed.take().into_iter().for_each(CommandFeed::part);
    }

    /// The step took so many of its events, or will never take them.
    pub(super) fn took(&mut self, events: u64) {
        self.waiting -= events;
        self.at.taken += events;
        self.advance();
    }

    /// Where the step took all there was, nothing before is needed again.
    fn advance(&mut self) {
        if self.waiting == 0 && self.again == 0 && self.taken > self.at.number {
            let lines = self.observed.iter().map(|(log, lines)| (log.clone(), lines.begun().clone()));
            let (number, hash, lines) = (self.taken, self.hash, lines.collect());
            self.at = Mark { number, hash, lines, ..Mark::default() };
        }
    }

    /// How far it is, for a commit that has all that it said; none: as far as the last one knows.
    pub(super) fn progress(&mut self) -> Option<Mark> {
        let logged = self.taken.max(self.logged);
        if self.kept.number == self.at.number
            && self.kept.taken == self.at.taken
            && self.kept.logged == logged
        {
            return None;
        }
        let mark = Mark { logged, ..self.at.clone() };
        self.kept.clone_from(&mark);
        Some(mark)
    }
}

/// An update that may be acknowledged once what came before it is durable.
#[derive(Debug)]
pub(crate) struct Acked {
    uid: CommandUid,
    number: u64,
}

/// What can be acknowledged after the next commit: where the step may be taken up, what it needs no more; else all
/// that the commit has.
pub(super) fn acks(commands: &mut [Command], is_over: bool) -> Vec<Acked> {
    commands
        .iter_mut()
        .filter_map(|command| {
            let number = if is_over { command.taken } else { command.at.number };
            (number > command.acked).then(|| {
                command.acked = number;
                Acked { uid: command.uid.clone(), number }
            })
        })
        .collect()
}

/// Takes back what was to be acknowledged: the next commit that goes through speaks for it.
pub(super) fn hold_back(commands: &mut [Command], acks: &[Acked]) {
    for command in commands.iter_mut().filter(|command| acks.iter().any(|ack| ack.uid == command.uid)) {
        command.acked = 0;
    }
}

/// Acknowledges. Call it after the commit only.
pub(crate) fn acknowledge(links: &Links, worker: &str, acks: Vec<Acked>) {
    for Acked { uid, number } in acks {
        links.ack(worker, &uid, number);
    }
}

/// The next event of any command that has one; never one of several that are ready is lost.
pub(super) fn poll(commands: &mut [Command], cx: &mut Context<'_>) -> Poll<(usize, Option<CommandEvent>)> {
    for (index, command) in commands.iter_mut().enumerate() {
        if let Some(feed) = &mut command.feed
            && let Poll::Ready(event) = feed.poll_recv(cx)
        {
            return Poll::Ready((index, event));
        }
    }
    Poll::Pending
}

impl StepState {
    /// Whether the step may start one more.
    fn may_start(&self) -> Result<(), Failure> {
        if let Some(reason) = &self.interrupted {
            // A step of a build that is being stopped cleans up by steps that always run, not by
            // commands of its own.
            return Err(Failure::new("interrupted", reason.clone()));
        }
        if let Some(reason) = &self.worker_lost {
            return Err(Failure::retryable("worker-lost", reason.clone()));
        }
        if self.commands.len() == MAX_COMMANDS {
            return Err(Failure::new("quota", format!("a step may start {MAX_COMMANDS} commands")));
        }
        if self.running == MAX_AT_ONCE {
            let message = format!("{MAX_AT_ONCE} commands of a step may run at once; wait for one of them");
            return Err(Failure::new("quota", message));
        }
        Ok(())
    }

    /// What starts a command, and its number within the step.
    async fn prepare(&mut self, command: &str, args: &str) -> Result<(u32, Start), Failure> {
        let resolved = self
            .context
            .generation
            .resolve(HookKind::SlaveCommand, command)
            .map_err(|error| Failure::new("not-found", error.to_string()))?;
        let qualified = resolved.qualified();
        let ordinal = u32::try_from(self.commands.len()).expect("there are at most MAX_COMMANDS");
        let uid = uid::derive(&self.context.build, self.context.step.id, ATTEMPT, ordinal);
        let env = self.environment()?;
        let secrets = self.read_secrets().await?;
        let start = Start {
            command: uid,
            hook: resolved.hook,
            plugin: resolved.plugin.qualifier().to_owned(),
            digest: resolved.plugin.digest,
            args: args.to_owned(),
            builddir: self.context.builder.builddir.clone(),
            env,
            grants: self
                .context
                .config
                .grants
                .get(&qualified)
                .into_iter()
                .flatten()
                .map(|(capability, scope)| (capability.clone(), scope.clone()))
                .collect(),
            secrets,
        };
        if said(&start) > MAX_START {
            let message = format!(
                "the arguments, the environment and the grants of a command may have {MAX_START} bytes"
            );
            return Err(Failure::new("too-large", message));
        }
        let component = Component {
            kind: HookKind::SlaveCommand.as_str().to_owned(),
            hook: qualified,
            digest: start.digest,
        };
        if !self.context.build.components.contains(&component) {
            record(&mut self.context.build.components, component);
            (self.dirty, self.rows_due) = (true, true);
        }

        Ok((ordinal, start))
    }

    /// Starts a command: durable first, sent after.
    pub(super) async fn start(
        &mut self,
        command: &str,
        args: &str,
        observe: Vec<String>,
    ) -> Result<u32, Failure> {
        let call = replay::args_of(&(command, args, &observe));
        let before = self.replayed(Call::StartCommand, call)?;
        if let Some(Started::Refused(failure)) = before {
            return Err(failure);
        }
        if let Some(Started::Command { number, .. }) = before {
            let prepared = self.prepare(command, args).await;
            return self.start_again(number, prepared, observe);
        }
        let prepared = match self.may_start() {
            Ok(()) => self.prepare(command, args).await,
            Err(refused) => Err(refused),
        };
        let (ordinal, start) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                self.record(Call::StartCommand, call, &Started::Refused(failure.clone()));
                return Err(failure);
            }
        };
        let worker = self.context.build.worker.clone();
        // Also without a link just now: whoever comes back as this one without the command never had it.
        let session = self.context.links.session(&worker);
        let uid = start.command.clone();
        self.record(Call::StartCommand, call, &Started::Command { number: ordinal, uid, session });
        self.make_durable().await;
        if let Some(fault) = &self.fault {
            return Err(Failure::new("io", fault.clone()));
        }
        let mut command = Command::new(&start, observe, Mark::default());
        match self.context.links.start_command(&worker, start) {
            Ok(feed) => {
                command.feed = Some(feed);
                self.running += 1;
            }
            Err(lost) => {
                self.worker_lost.get_or_insert_with(|| lost.message.clone());
                command.end = Some(Err(lost.clone()));
                command.waiting = 1;
                self.events.push_back(StepEvent::Done { command: ordinal, how: Err(lost) });
            }
        }
        self.commands.push(command);
        Ok(ordinal)
    }

    /// Comes to a command again that was started before the master's restart.
    fn start_again(
        &mut self,
        number: u32,
        prepared: Result<(u32, Start), Failure>,
        observe: Vec<String>,
    ) -> Result<u32, Failure> {
        let (ordinal, start) = prepared.map_err(|failure| {
            self.diverged(&format!("command {number} was started, and cannot be prepared again: {failure}"))
        })?;
        if ordinal != number {
            return Err(self.diverged(&format!("command {number} comes as number {ordinal}")));
        }
        let mut command = Command::new(&start, observe, self.mark_of(number));
        command.feed = self.feeds.remove(&number);
        self.context.links.start_expected(&self.context.build.worker, start);
        self.running += 1;
        self.commands.push(command);
        Ok(number)
    }

    /// A command's end, as the journal has it.
    pub(super) fn has_ended(&mut self, number: u32, how: End) {
        let Some(command) = self.commands.get_mut(number as usize).filter(|command| command.end.is_none())
        else {
            return;
        };
        command.feed = None;
        command.observed = BTreeMap::new();
        self.answered += how.as_ref().map_or(0, |completion| size(&completion.values));
        // The others hear of it when the step goes on: some of them it has not come to again.
        if let Some(reason) = loss(&how) {
            self.worker_lost.get_or_insert_with(|| reason.to_owned());
        }
        command.end = Some(how);
        self.running -= 1;
    }

    fn environment(&self) -> Result<Vec<(String, String)>, Failure> {
        let build = &self.context.build;
        let (properties, stamps) = (&build.properties, &build.stamps);
        let (worker, secrets) = (&self.context.given.worker, &self.context.secrets.placeholders);
        let scope = Scope { properties, stamps, worker, secrets };
        let pair = |(name, value): (&String, &serde_json::Value)| {
            let value = match (value.as_str(), self.context.given.env.get(name)) {
                (Some(template), _) => render(template, scope).map_err(|e| {
                    Failure::new("bad-argument", format!("the builder's `env`, `{name}`: {e}"))
                })?,
                (None, rendered) => rendered.cloned().unwrap_or_default(),
            };
            Ok((name.clone(), value))
        };
        self.context.builder.env.iter().map(pair).collect()
    }

    /// Asks a command to stop. One that has ended, or never was, is left alone.
    pub(super) fn interrupt(&mut self, number: u32, reason: &str) {
        if let Some(command) = self.commands.get(number as usize)
            && command.end.is_none()
        {
            self.context.links.interrupt(&self.context.build.worker, &command.uid, reason);
        }
    }

    /// Asks all of them to stop.
    pub(super) fn interrupt_commands(&mut self, reason: &str) {
        for number in 0..u32::try_from(self.commands.len()).expect("numbers of commands are u32") {
            self.interrupt(number, reason);
        }
    }

    /// Takes in what a command did.
    pub(super) fn on_command(&mut self, index: usize, event: Option<CommandEvent>) {
        let number = u32::try_from(index).expect("numbers of commands are u32");
        match event {
            Some(CommandEvent::Update { number: update_number, update }) => {
                self.on_update(number, index, update_number, update);
                self.commands[index].advance();
            }
            // The links go down with the master, and the command runs on: the next one hears of it.
            Some(CommandEvent::Lost(_)) | None if *self.context.stop.borrow() == Stop::Shutdown => {
                self.commands[index].feed = None;
            }
            Some(CommandEvent::Lost(failure)) => self.on_end(number, index, Err(failure)),
            None => {
                let lost = Failure::retryable("worker-lost", "the link ended without a word");
                self.on_end(number, index, Err(lost));
            }
        }
    }

    fn on_update(&mut self, number: u32, index: usize, update_number: u64, update: Update) {
        let command = &mut self.commands[index];
        let is_new = update_number > command.logged;
        command.taken = update_number;
        match update {
            Update::Log { log, origin, data } => {
                if origin != Origin::Header {
                    command.hash = chain(command.hash, &data);
                }
                let whole = command.observed.get_mut(&log).map(|lines| lines.push(origin, &data));
                // First the events: what is appended may be on its way into a commit at once.
                for whole in whole.into_iter().flatten() {
                    self.queue_lines(index, number, &log, whole);
                }
                if is_new
                    && let Err(failure) = self.append(&log, origin, data)
                    && !std::mem::replace(&mut self.commands[index].dropped, true)
                {
                    self.tell("error", &format!("output of a command was dropped: {failure}"));
                }
            }
            Update::Values { values } => {
                self.queue_of(index, StepEvent::Update { command: number, values });
                self.flush_soon();
            }
            Update::Diagnostic { level, message } if is_new => self.tell(&level, &message),
            Update::Diagnostic { .. } => self.told += 1,
            Update::Done { how, log_hash, usage } => {
                if let Some(usage) = usage {
                    let StepContext { runtime, used, .. } = &self.context;
                    let Command { digest, hook, .. } = &self.commands[index];
                    runtime.count_elsewhere(*digest, &format!("{used}: {hook}"), usage);
                }
                let how = if self.commands[index].hash == log_hash {
                    how
                } else {
                    let message = "the output that arrived is not the output that the worker sent";
                    Err(Failure::retryable("io", message))
                };
                self.on_end(number, index, how);
            }
        }
    }

    fn on_end(&mut self, number: u32, index: usize, how: End) {
        let command = &mut self.commands[index];
        command.feed = None;
        let last: Vec<_> = command
            .observed
            .iter_mut()
            .map(|(log, lines)| (log.clone(), lines.finish()))
            .filter(|(_, whole)| !whole.is_empty())
            .collect();
        command.observed = BTreeMap::new();
        command.end = Some(how.clone());
        self.running -= 1;
        self.answered += how.as_ref().map_or(0, |completion| size(&completion.values));
        if self.answered > MAX_ANSWERED {
            self.break_off("the answers of the step's commands take up more than 16 MiB");
        }
        for (log, whole) in last {
            for whole in whole {
                self.queue_lines(index, number, &log, whole);
            }
        }
        if let Some(reason) = loss(&how) {
            let reason = self.worker_lost.get_or_insert_with(|| reason.to_owned()).clone();
            // The build is tried again from its beginning. Another command, on the next start of the worker, may wait
            // for what this one was to do.
            self.interrupt_commands(&reason);
        }
        self.queue_of(index, StepEvent::Done { command: number, how });
    }

    fn queue_lines(&mut self, index: usize, command: u32, log: &str, whole: Whole) {
        let Whole { origin, first_line, text } = whole;
        self.queue_of(index, StepEvent::Lines { command, log: log.to_owned(), origin, first_line, text });
    }

    /// Puts an event of a command behind the others, unless the step took it before the master's restart.
    fn queue_of(&mut self, index: usize, event: StepEvent) {
        let command = &mut self.commands[index];
        if command.again > 0 {
            command.again -= 1;
            return;
        }
        command.waiting += 1;
        self.queue(event);
    }

    /// Puts an event behind the others.
    pub(super) fn queue(&mut self, event: StepEvent) {
        self.queued += cost(&event);
        if self.queued > MAX_QUEUED {
            self.queued -= cost(&event);
            return self
                .break_off("the step left more than 16 MiB of observed lines, updates and timers unread");
        }
        self.events.push_back(event);
    }
}

/// The bytes of a start whose number others decide. Secrets have a bound of their own.
fn said(start: &Start) -> usize {
    let env = start.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let scopes = start.grants.iter().flat_map(|(_, scope)| scope).map(String::len).sum::<usize>();
    start.args.len() + env + scopes
}

/// Why the worker was lost, where a command ended by that.
fn loss(how: &End) -> Option<&str> {
    how.as_ref().err().filter(|failure| failure.code == "worker-lost").map(|failure| failure.message.as_str())
}

/// The command that an event is of.
pub(super) fn of(event: &StepEvent) -> Option<u32> {
    match event {
        StepEvent::Lines { command, .. }
        | StepEvent::Update { command, .. }
        | StepEvent::Done { command, .. } => Some(*command),
        StepEvent::BuildsetDone { .. }
        | StepEvent::ProcessDone { .. }
        | StepEvent::Timer(_)
        | StepEvent::Interrupt(_)
        | StepEvent::Idle => None,
    }
}

/// What an event counts for while it waits. An end waits, too, and is never refused.
pub(super) fn cost(event: &StepEvent) -> usize {
    match event {
        StepEvent::Lines { text, .. } => EVENT + text.len(),
        StepEvent::Update { values, .. } => EVENT + size(values),
        StepEvent::Timer(_) => EVENT,
        StepEvent::Done { .. }
        | StepEvent::BuildsetDone { .. }
        | StepEvent::ProcessDone { .. }
        | StepEvent::Interrupt(_)
        | StepEvent::Idle => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_lost_where_a_command_ended_by_that_and_not_where_it_failed() {
        assert_eq!(loss(&Err(Failure::retryable("worker-lost", "gone"))), Some("gone"));
        assert_eq!(loss(&Err(Failure::retryable("io", "broken"))), None);
        assert_eq!(loss(&Ok(windlass_core::value::Completion::default())), None);
    }
}
