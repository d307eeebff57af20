//! A guest's handle of a child that runs.

use std::sync::Arc;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use windlass_core::value::Failure;
use windlass_runtime::port::{ChildEvent, ChildPort, Exit, Stop};

use super::{Context, sleep};
use crate::child::{Control, Started, interrupted};
use crate::group::Group;
use crate::input::Input;
use crate::output::cut;

/// The guest's handle of a child.
pub(super) struct Child {
    group: Arc<Group>,
    events: mpsc::Receiver<ChildEvent>,
    control: watch::Sender<Control>,
    input: Option<Input>,
    runtime: Handle,
    interrupt: watch::Receiver<Option<String>>,
    told_interrupt: bool,
    /// What was cut off an event that was too large.
    rest: Option<ChildEvent>,
    exited: Option<Exit>,
}

impl Child {
    pub(super) fn new(started: Started, context: Arc<Context>) -> Child {
        let Started { group, events, control, input, terminal } = started;
        let (runtime, interrupt) = (context.runtime.clone(), context.interrupt.clone());
        let input = input.map(|pipe| Input::new(pipe, terminal, context));
        Child {
            group,
            events,
            control,
            input,
            runtime,
            interrupt,
            told_interrupt: false,
            rest: None,
            exited: None,
        }
    }

    /// Its component was told of the interrupt by an earlier agent.
    pub(super) fn knows_of_interrupt(&mut self) {
        self.told_interrupt = true;
    }

    /// Its component was told of its end by an earlier agent.
    pub(super) fn has_exited(&mut self, exit: &Exit) {
        self.rest = None;
        self.exited = Some(exit.clone());
    }

    /// It was signalled by an earlier agent; a kill follows after the grace period, as then.
    pub(super) fn was_stopped(&mut self, how: Stop) {
        if how == Stop::Terminate {
            self.control.send_modify(|control| control.terminated = true);
        }
    }

    /// The next event that the component took before: it is there.
    pub(super) async fn take(&mut self, max_bytes: u32) -> ChildEvent {
        let event = match (self.rest.take(), &self.exited) {
            (Some(rest), _) => Some(rest),
            (None, Some(exit)) => Some(ChildEvent::Exited(exit.clone())),
            (None, None) => self.events.recv().await,
        };
        self.on_taken(event, max_bytes)
    }

    fn on_taken(&mut self, event: Option<ChildEvent>, max_bytes: u32) -> ChildEvent {
        let event = self.on_event(event);
        let (event, rest) = cut(event, usize::try_from(max_bytes).unwrap_or(usize::MAX));
        self.rest = rest;
        event
    }

    /// The end of the events without an exit: the command is over, or the watcher broke off.
    fn on_event(&mut self, event: Option<ChildEvent>) -> ChildEvent {
        let event = event.unwrap_or_else(|| {
            let interrupted = self.interrupt.borrow().is_some();
            let exit = if interrupted { Exit::Interrupted } else { Exit::Signal("lost".to_owned()) };
            ChildEvent::Exited(exit)
        });
        if let ChildEvent::Exited(exit) = &event {
            self.exited = Some(exit.clone());
        }
        event
    }
}

#[async_trait]
impl ChildPort for Child {
    async fn next_event(&mut self, max_bytes: u32, timeout_ms: Option<u32>) -> ChildEvent {
        enum Turn {
            Event(Option<ChildEvent>),
            Interrupt(String),
            Idle,
        }
        let turn = if let Some(rest) = self.rest.take() {
            Turn::Event(Some(rest))
        } else if let Some(exit) = &self.exited {
            return ChildEvent::Exited(exit.clone());
        } else {
            let timeout = timeout_ms.map(|ms| sleep(&self.runtime, ms));
            let timeout = async {
                match timeout {
                    Some(sleep) => sleep.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What came is reported before the time that it took.
                biased;
                reason = interrupted(&mut self.interrupt), if !self.told_interrupt => Turn::Interrupt(reason),
                event = self.events.recv() => Turn::Event(event),
                () = timeout => Turn::Idle,
            }
        };
        match turn {
            Turn::Event(event) => self.on_taken(event, max_bytes),
            Turn::Interrupt(reason) => {
                self.told_interrupt = true;
                ChildEvent::Interrupt(reason)
            }
            Turn::Idle => ChildEvent::Idle,
        }
    }

    async fn wait(&mut self) -> Exit {
        self.rest = None;
        self.control.send_modify(|control| control.waiting = true);
        loop {
            if let Some(exit) = &self.exited {
                return exit.clone();
            }
            let event = self.events.recv().await;
            self.on_event(event);
        }
    }

    async fn write_input(&mut self, data: &[u8]) -> Result<u32, Failure> {
        let input =
            self.input.as_mut().ok_or_else(|| Failure::new("closed", "the child's input is closed"))?;
        let written = input.write(data)?;
        if written == 0 {
            // A guest that asks again at once shall not spin.
            sleep(&self.runtime, 1).await;
        }
        Ok(u32::try_from(written).unwrap_or(u32::MAX))
    }

    fn close_input(&mut self) {
        if let Some(input) = self.input.take() {
            input.close();
        }
    }

    fn stop(&mut self, how: Stop) {
        match how {
            Stop::Interrupt => self.group.signal(Signal::INT),
            Stop::Terminate => {
                self.group.signal(Signal::TERM);
                self.control.send_modify(|control| control.terminated = true);
            }
            Stop::Kill => self.group.signal(Signal::KILL),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exited.is_none() {
            self.group.signal(Signal::KILL);
        }
    }
}
