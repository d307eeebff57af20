//! A build that a master took up which was killed: its state, made again from what is durable.
//!
//! The steps that ended are counted once more, by the same rule and in their order, with the flags that the plan gives
//! them. Those that were passed over in between have no row: they were passed over because the build was halted or
//! stopped, and are so again.

use std::collections::BTreeMap;

use super::{Build, State};
use crate::builder::StepSpec;
use crate::id::StepId;
use crate::outcome::Outcome;
use crate::record::{BuildRow, StepRow, StopRow};

/// What is durable of a build that has not ended.
#[derive(Clone, Debug)]
pub struct Durable {
    /// Its row.
    pub row: BuildRow,
    /// Its steps, by position. The last may run.
    pub steps: Vec<StepRow>,
    /// What steps of it added, by the step.
    pub added: BTreeMap<StepId, Vec<StepSpec>>,
    /// That it is to stop, or a step of it.
    pub stop: Option<StopRow>,
}

/// Where a build stands.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one for each build that is taken up, handed over once")]
pub enum Stands {
    /// No step of it has begun: it begins as a new one does.
    New,
    /// Between two steps: it goes on with [`super::Event::Started`].
    Between,
    /// This step runs. Its row says nothing any more of what the step said: it is to say it again.
    Running(StepSpec),
}

/// Why a build cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// A step has a row and is neither in the plan nor among those that were added.
    #[error("its plan has no step `{0}` at that place")]
    NotInPlan(String),
    /// A step follows one that has not ended.
    #[error("its step `{0}` has not ended, and another one follows it")]
    NotTheLast(String),
    /// The build has ended.
    #[error("it has ended")]
    Over,
}

impl Build {
    /// The build as it stood, with the steps of its builder: what it answers from now on is what it would have
    /// answered without the interruption. Whether it is the last try is not known: [`Build::set_last_try`].
    pub fn resume(durable: Durable, plan: &[StepSpec]) -> Result<(Build, Stands), ResumeError> {
        let Durable { row, steps, mut added, stop } = durable;
        if row.complete.is_some() {
            return Err(ResumeError::Over);
        }
        let mut build = Build::new(row, plan);
        if let Some(StopRow { whole: true, reason, .. }) = &stop {
            build.overall = build.overall.worst(Outcome::Cancelled);
            build.stopped = Some(reason.clone());
        }
        let mut stands = if steps.is_empty() { Stands::New } else { Stands::Between };
        for step in steps {
            if let Stands::Running(running) = stands {
                return Err(ResumeError::NotTheLast(running.name));
            }
            let spec = build.pass_to(&step.name)?;
            build.position += 1;
            let Some(complete) = step.complete else {
                build.state = build.running(&spec, step, stop.as_ref());
                stands = Stands::Running(spec);
                continue;
            };
            build.count(&step, complete.outcome, spec.flags, &spec.summary_policy);
            let joined = added.remove(&step.id).unwrap_or_default();
            build.names.extend(joined.iter().map(|spec| spec.name.clone()));
            build.join(joined);
        }
        Ok((build, stands))
    }

    /// Takes the waiting step of this name, and drops those before it.
    fn pass_to(&mut self, name: &str) -> Result<StepSpec, ResumeError> {
        while let Some(spec) = self.waiting.pop_front() {
            if spec.name == name {
                return Ok(spec);
            }
        }
        Err(ResumeError::NotInPlan(name.to_owned()))
    }

    /// The state in which this step runs.
    fn running(&self, spec: &StepSpec, row: StepRow, stop: Option<&StopRow>) -> State {
        // A build that is being stopped begins no step but those that always run: the others were there before.
        let stopped = self.stopped.is_some() && !spec.flags.always_run;
        let interrupted = stopped || stop.is_some_and(|stop| stop.step == Some(row.id));
        let step = StepRow { summary: String::new(), urls: Vec::new(), ..row };
        State::Running { step, flags: spec.flags, policy: spec.summary_policy.clone(), interrupted }
    }
}
