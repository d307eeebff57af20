//! `windlass:worker/process`: children of a slave-command, as resources of its store. A child dies
//! with its handle, and all of them with the store.

use wasmtime::component::Resource;
use windlass_core::value::{Failure, Pair, Value};

use crate::bindings::master::windlass::base::types as wit;
use crate::bindings::worker::windlass::worker::process;
use crate::bounds;
use crate::imports::{Answer, answer};
use crate::port::{ChildEvent, ChildPort, Delivery, SpawnOptions};
use crate::state::State;

const NAME: &str = "windlass:worker/process";

/// Variables and options of one child; beyond it the draft is refused as a whole.
const MAX_SETTINGS: usize = 4096;

/// Bytes of one child's arguments, variables, options and input. Linux takes no more at a spawn.
const MAX_DRAFT: usize = 2 * 1024 * 1024;

/// Drafts that a command may put together at a time; with [`MAX_DRAFT`], what they cost the host, since
/// they lie outside the guest's memory.
const MAX_DRAFTS: usize = 16;

/// A child behind a handle.
pub struct Child(Box<dyn ChildPort>);

/// Spawn options that are still being put together.
pub struct Draft {
    options: SpawnOptions,
    bytes: usize,
    overfull: bool,
}

impl Draft {
    /// Whether `bytes` more fit in. A draft in which something did not is refused at its spawn.
    fn takes(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.overfull |= self.bytes > MAX_DRAFT;
        !self.overfull
    }
}

impl State {
    fn draft(&mut self, draft: &Resource<Draft>) -> wasmtime::Result<&mut Draft> {
        self.called();
        self.hear();
        Ok(self.table.get_mut(draft)?)
    }

    fn child(&mut self, child: &Resource<Child>) -> wasmtime::Result<&mut dyn ChildPort> {
        self.called();
        self.hear();
        Ok(self.table.get_mut(child)?.0.as_mut())
    }
}

impl process::Host for State {
    async fn spawn(&mut self, options: Resource<Draft>) -> Answer<Resource<Child>> {
        let draft = self.table.delete(options)?;
        self.drafts -= 1;
        let port = self.command(NAME)?;
        let spawned = match check(&draft) {
            Ok(()) => port.spawn(draft.options).await,
            Err(failure) => Err(failure),
        };
        match spawned {
            Ok(child) => Ok(Ok(self.table.push(Child(child))?)),
            Err(failure) => self.answer(Err::<Resource<Child>, _>(failure)),
        }
    }
}

impl process::HostSpawnOptions for State {
    async fn new(&mut self, argv: Vec<String>) -> wasmtime::Result<Resource<Draft>> {
        self.called();
        wasmtime::ensure!(
            self.drafts < MAX_DRAFTS,
            "a command may put together {MAX_DRAFTS} children at a time"
        );
        self.drafts += 1;
        let options = SpawnOptions {
            argv: Vec::new(),
            workdir: String::new(),
            env: Vec::new(),
            input: None,
            pty: false,
            max_time_ms: None,
            idle_time_ms: None,
            tee_to_log: None,
            deliver: Delivery::None,
            options: Vec::new(),
        };
        let mut draft = Draft { options, bytes: 0, overfull: false };
        if draft.takes(argv.iter().map(|argument| argument.len() + size_of::<String>()).sum()) {
            draft.options.argv = argv;
        }
        Ok(self.table.push(draft)?)
    }

    async fn workdir(&mut self, draft: Resource<Draft>, path: String) -> wasmtime::Result<()> {
        let draft = self.draft(&draft)?;
        if draft.takes(path.len()) {
            draft.options.workdir = path;
        }
        Ok(())
    }

    async fn env(
        &mut self,
        draft: Resource<Draft>,
        name: String,
        value: Option<String>,
    ) -> wasmtime::Result<()> {
        let draft = self.draft(&draft)?;
        draft.overfull |= draft.options.env.len() >= MAX_SETTINGS;
        if draft.takes(name.len() + value.as_ref().map_or(0, String::len)) {
            draft.options.env.push((name, value));
        }
        Ok(())
    }

    async fn input(&mut self, draft: Resource<Draft>, data: Vec<u8>) -> wasmtime::Result<()> {
        let draft = self.draft(&draft)?;
        if draft.takes(data.len()) {
            draft.options.input = Some(data);
        }
        Ok(())
    }

    async fn pty(&mut self, draft: Resource<Draft>) -> wasmtime::Result<()> {
        self.draft(&draft)?.options.pty = true;
        Ok(())
    }

    async fn max_time_ms(&mut self, draft: Resource<Draft>, ms: u32) -> wasmtime::Result<()> {
        self.draft(&draft)?.options.max_time_ms = Some(ms);
        Ok(())
    }

    async fn idle_time_ms(&mut self, draft: Resource<Draft>, ms: u32) -> wasmtime::Result<()> {
        self.draft(&draft)?.options.idle_time_ms = Some(ms);
        Ok(())
    }

    async fn tee_to_log(&mut self, draft: Resource<Draft>, log: String) -> wasmtime::Result<()> {
        let draft = self.draft(&draft)?;
        if draft.takes(log.len()) {
            draft.options.tee_to_log = Some(log);
        }
        Ok(())
    }

    async fn deliver(&mut self, draft: Resource<Draft>, how: process::Delivery) -> wasmtime::Result<()> {
        self.draft(&draft)?.options.deliver = how.into();
        Ok(())
    }

    async fn set(&mut self, draft: Resource<Draft>, name: String, value: wit::Value) -> wasmtime::Result<()> {
        let draft = self.draft(&draft)?;
        draft.overfull |= draft.options.options.len() >= MAX_SETTINGS;
        let value = Value::from(value);
        let len = match &value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => 0,
        };
        if draft.takes(name.len() + len) {
            draft.options.options.push(Pair { name, value });
        }
        Ok(())
    }

    async fn drop(&mut self, draft: Resource<Draft>) -> wasmtime::Result<()> {
        self.table.delete(draft)?;
        self.drafts -= 1;
        Ok(())
    }
}

impl process::HostChild for State {
    async fn next_event(
        &mut self,
        child: Resource<Child>,
        max_bytes: u32,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<process::Event> {
        let max_bytes = max_bytes.clamp(1, bounds::MAX_BYTES as u32);
        let event = self.child(&child)?.next_event(max_bytes, timeout_ms).await;
        self.counters.moved(match &event {
            ChildEvent::Output(_, data) => data.len(),
            ChildEvent::Lines(_, text) => text.len(),
            ChildEvent::Exited(_) | ChildEvent::Interrupt(_) | ChildEvent::Idle => 0,
        });
        Ok(event.into())
    }

    async fn wait(&mut self, child: Resource<Child>) -> wasmtime::Result<process::Exit> {
        Ok(self.child(&child)?.wait().await.into())
    }

    async fn write_input(&mut self, child: Resource<Child>, data: Vec<u8>) -> Answer<u32> {
        let child = self.child(&child)?;
        match bounds::blob("the input", &data) {
            Ok(()) => answer(child.write_input(&data).await),
            Err(failure) => answer(Err::<u32, _>(failure)),
        }
    }

    async fn close_input(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        self.child(&child)?.close_input();
        Ok(())
    }

    async fn stop(&mut self, child: Resource<Child>, how: process::Stop) -> wasmtime::Result<()> {
        self.child(&child)?.stop(how.into());
        Ok(())
    }

    async fn drop(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        self.table.delete(child)?;
        Ok(())
    }
}

fn check(draft: &Draft) -> Result<(), Failure> {
    let options = &draft.options;
    if draft.overfull {
        let message = format!(
            "at most {MAX_SETTINGS} variables, {MAX_SETTINGS} options and {MAX_DRAFT} bytes in all are taken"
        );
        return Err(Failure::new("too-large", message));
    }
    match options.argv.first() {
        None => return Err(Failure::new("bad-argument", "the argument list is empty")),
        Some(program) if program.is_empty() => {
            return Err(Failure::new("bad-argument", "the program has no name"));
        }
        Some(_) => {}
    }
    bounds::items("the argument list", &options.argv)?;
    for argument in &options.argv {
        bounds::text("an argument", argument)?;
        no_nul("an argument", argument)?;
    }
    bounds::path("the working directory", &options.workdir)?;
    for (name, value) in &options.env {
        bounds::name("a variable's name", name)?;
        if name.contains('=') {
            return Err(Failure::new("bad-argument", format!("the variable `{name}` has a `=` in its name")));
        }
        let value = value.as_deref().unwrap_or_default();
        bounds::text("a variable's value", value)?;
        no_nul("a variable's value", value)?;
    }
    bounds::blob("the input", options.input.as_deref().unwrap_or_default())?;
    if let Some(log) = &options.tee_to_log {
        bounds::name("the log's name", log)?;
    }
    bounds::pairs("the options", &options.options)
}

fn no_nul(what: &str, text: &str) -> Result<(), Failure> {
    if text.contains('\0') {
        return Err(Failure::new("bad-argument", format!("{what} has a NUL in it")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: a command of a few lines filled the host's memory. Cause: what a draft is given lies
    /// outside the guest's memory, and was looked at only at the spawn. Cure: it is counted as it comes.
    #[test]
    fn a_draft_takes_no_more_than_a_spawn_could_use() {
        let options = SpawnOptions {
            argv: vec!["true".to_owned()],
            workdir: String::new(),
            env: Vec::new(),
            input: None,
            pty: false,
            max_time_ms: None,
            idle_time_ms: None,
            tee_to_log: None,
            deliver: Delivery::None,
            options: Vec::new(),
        };
        let mut draft = Draft { options, bytes: 0, overfull: false };
        assert!(draft.takes(MAX_DRAFT) && check(&draft).is_ok());
        assert!(!draft.takes(1));
        assert!(!draft.takes(0), "what came later would be without what came before");
        assert_eq!(check(&draft).unwrap_err().code, "too-large");
    }
}
