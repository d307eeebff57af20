//! What a step waits for before it runs: its locks.
//!
//! The wait is seen in the step's line, and breaks off when the build is to stop. What the step got is given back
//! after its end is recorded, by dropping it; a master that is killed has forgotten all of it.

use windlass_core::builder::StepSpec;
use windlass_core::outcome::Outcome;
use windlass_core::persist::Persist;
use windlass_core::record::StepRow;

use super::run::{Driver, Halt, commit};
use super::step::{Ended, exception};
use crate::dispatcher::{Standing, StepLocks};
use crate::step_port::Stop;

impl Driver<'_> {
    /// Waits until the step has its locks. The inner error is how it ended instead. `begun` are the rows that say
    /// that it began: they go down when it has to wait, so that the wait can be seen.
    pub(super) async fn lock(
        &mut self,
        spec: &StepSpec,
        step: &mut StepRow,
        begun: &mut Vec<Persist>,
    ) -> Result<Result<Option<StepLocks>, Ended>, Halt> {
        let Some(report) = self.builds.0.report.get().filter(|_| !spec.locks.is_empty()) else {
            return Ok(Ok(None));
        };
        let mut locks = report.lock_step(step.build, &step.name, &spec.locks);
        let asked = self.builds.0.parts.clock.now();
        let mut what = "asked for its locks".to_owned();
        let mut answers = true;
        loop {
            let standing = tokio::select! {
                standing = locks.changed(), if answers => standing,
                changed = self.stop.changed() => {
                    let stop = if changed.is_err() { Stop::Shutdown } else { self.stop.borrow().clone() };
                    match stop {
                        Stop::No => continue,
                        Stop::Step { step: other, .. } if other != step.id => continue,
                        Stop::Step { .. } | Stop::Cancel(_) => {}
                        Stop::Shutdown => return Err(Halt::Left),
                    }
                    self.heed_stop();
                    let summary = Some(format!("was stopped while it {what}"));
                    return Ok(Err(Ended { outcome: Outcome::Cancelled, summary, fault: None }));
                }
            };
            match standing {
                Some(Standing::Asked) => {}
                Some(Standing::Held) => {
                    self.note_wait(step, self.builds.0.parts.clock.now().ms_since(asked), begun);
                    return Ok(Ok(Some(locks)));
                }
                Some(Standing::Refused(circle)) => {
                    let fault = format!("step `{}` would wait for ever: {circle}", step.name);
                    return Ok(Err(exception(fault)));
                }
                Some(Standing::Waits(text)) => {
                    self.show_wait(step, &text, begun).await?;
                    what = text;
                }
                // The master goes down, and will say so.
                None => answers = false,
            }
        }
    }

    /// Notes in the step's row how long it waited: its time begins now, also for a master that takes it up.
    fn note_wait(&self, step: &mut StepRow, ms: u64, begun: &mut Vec<Persist>) {
        if ms == 0 {
            return;
        }
        step.waited_ms += ms;
        begun.retain(|row| !matches!(row, Persist::PutStep { step: old, .. } if old.id == step.id));
        begun.push(Persist::PutStep { fence: self.build.row().fence, step: step.clone() });
    }

    /// Records what the step waits for. Its next row, which comes with the first that it does, has no such line.
    async fn show_wait(&mut self, step: &StepRow, text: &str, begun: &mut Vec<Persist>) -> Result<(), Halt> {
        let fence = self.build.row().fence;
        let waiting = StepRow { summary: text.to_owned(), ..step.clone() };
        let mut rows = std::mem::replace(begun, vec![Persist::PutStep { fence, step: step.clone() }]);
        rows.retain(|row| !matches!(row, Persist::PutStep { step: old, .. } if old.id == step.id));
        rows.push(Persist::PutStep { fence, step: waiting });
        commit(self.builds, self.build.row(), rows).await
    }
}
