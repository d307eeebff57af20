//! What a step writes into its build and reads from it: logs, and messages for whoever looks at it.

use bytes::Bytes;
use windlass_core::id::LogId;
use windlass_core::journal::Many;
use windlass_core::value::{Failure, Origin};

use super::logs::Appended;
use super::{StepState, replay};
use crate::view;

/// The most messages of a step, and the bytes of each: nothing holds back a step that writes them.
const MAX_DIAGNOSTICS: usize = 1_000;
const MAX_MESSAGE: usize = 4 * 1024;

/// The most text of `read-log`.
const MAX_READ: usize = 64 * 1024;

impl StepState {
    /// Reads lines of a log of the build.
    pub(super) async fn read_log(
        &mut self,
        step: &str,
        log: &str,
        first_line: u64,
        max_lines: u32,
    ) -> Result<String, Failure> {
        self.make_durable().await;
        let id = self.find_log(step, log)?;
        let pieces = self
            .context
            .store
            .read_log_lines(id, first_line, u64::from(max_lines), MAX_READ)
            .map_err(|error| Failure::new("io", error.to_string()))?;
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.iter().copied()).collect();
        self.now = self.context.clock.now();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A message that the component makes by a call of its own, unless the log has it from before the master's
    /// restart.
    pub(super) fn tells(&mut self, level: &str, message: &str) {
        let args = replay::args(&[level.as_bytes(), message.as_bytes()]);
        match self.made_before(Many::Messages, args) {
            Ok(None) => {
                self.journal.made(Many::Messages, args);
                self.tell(level, message);
            }
            Ok(Some(_)) => self.told += 1,
            // It has been said, and the step ends by it.
            Err(_) => {}
        }
    }

    /// Appends to a log and sees to it that it goes down soon.
    pub(super) fn append(&mut self, log: &str, origin: Origin, data: Bytes) -> Result<(), Failure> {
        self.put(log, origin, data)?;
        self.flush_soon();
        Ok(())
    }

    /// Appends to a log. Nothing goes down before the next flush.
    pub(super) fn put(&mut self, log: &str, origin: Origin, data: Bytes) -> Result<(), Failure> {
        let store = &self.context.store;
        if self.logs.append(log, origin, data, || store.ids().next_log())? == Appended::Begun {
            let (build, position) = (self.context.build.id.0, self.context.step.position);
            let log = log.to_owned();
            self.context.events.tell(|| view::Event::LogStarted { build, position, log });
        }
        if let Some(why) = self.logs.flood().filter(|_| self.flooded.is_none()).map(str::to_owned) {
            self.stop_flood(why);
        }
        Ok(())
    }

    /// Writes a message of the step, or of a command of it, into the build. Nothing holds back who writes them:
    /// they have a bound.
    pub(super) fn tell(&mut self, level: &str, message: &str) {
        self.told += 1;
        let (level, message) = match self.told {
            ..MAX_DIAGNOSTICS => (level, &message[..message.floor_char_boundary(MAX_MESSAGE)]),
            MAX_DIAGNOSTICS => ("warn", "further messages of this step are dropped"),
            _ => return,
        };
        let text = format!("{level}: {message}\n");
        if let Err(failure) = self.append("diagnostics", Origin::Header, text.into()) {
            tracing::warn!(build = %self.context.build.id, %failure, "a message was dropped: {message}");
        }
    }

    fn find_log(&self, step: &str, log: &str) -> Result<LogId, Failure> {
        let context = &self.context;
        if step == context.step.name {
            let found = self.logs.id(log);
            return found.ok_or_else(|| Failure::new("not-found", format!("this step has no log `{log}`")));
        }
        let io = |error: windlass_store::ReadError| Failure::new("io", error.to_string());
        let steps = context.store.steps(context.build.id).map_err(io)?;
        let Some(row) = steps.into_iter().find(|row| row.name == step) else {
            return Err(Failure::new("not-found", format!("this build has no step `{step}`")));
        };
        let logs = context.store.logs(context.build.id).map_err(io)?;
        let found = logs.into_iter().find(|candidate| candidate.step == row.id && candidate.name == log);
        found
            .map(|found| found.id)
            .ok_or_else(|| Failure::new("not-found", format!("step `{step}` has no log `{log}`")))
    }
}
