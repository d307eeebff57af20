//! The events of a step: those that it took before the master's restart, and those that nobody asks for any more.

use windlass_runtime::port::StepEvent;

use super::commands::cost;
use super::{End, StepState};

impl StepState {
    /// The step took this event before the master's restart.
    pub(super) fn took_before(&mut self, event: &StepEvent) {
        match event {
            StepEvent::Done { command, how } => self.has_ended(*command, how.clone()),
            StepEvent::BuildsetDone { id, .. } => self.child_ended_before(*id),
            StepEvent::Timer(timer) => drop(self.timers.remove(timer)),
            StepEvent::ProcessDone { .. } => self.processes.ended_before(),
            StepEvent::Lines { .. }
            | StepEvent::Update { .. }
            | StepEvent::Interrupt(_)
            | StepEvent::Idle => {}
        }
    }

    /// How a command ended; its events are forgotten with that.
    pub(super) fn ended(&mut self, command: u32) -> Option<End> {
        let end = self.commands[command as usize].end.clone()?;
        self.forget_events(command);
        Some(end)
    }

    pub(super) fn forget_events(&mut self, command: u32) {
        let queued = &mut self.queued;
        let mut forgotten = 0;
        self.events.retain(|event| match event {
            StepEvent::Lines { command: of, .. }
            | StepEvent::Update { command: of, .. }
            | StepEvent::Done { command: of, .. }
                if *of == command =>
            {
                *queued -= cost(event);
                forgotten += 1;
                false
            }
            StepEvent::Lines { .. }
            | StepEvent::Update { .. }
            | StepEvent::Done { .. }
            | StepEvent::BuildsetDone { .. }
            | StepEvent::ProcessDone { .. }
            | StepEvent::Timer(_)
            | StepEvent::Interrupt(_)
            | StepEvent::Idle => true,
        });
        self.commands[command as usize].took(forgotten);
    }
}
