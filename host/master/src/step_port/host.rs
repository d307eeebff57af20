//! The functions of the contract, each a few lines over the state of the run.

use async_trait::async_trait;
use bytes::Bytes;
use windlass_core::build::MAX_STEPS;
use windlass_core::builder::StepSpec;
use windlass_core::change::{Change, SourceStamp};
use windlass_core::journal::{Call, Many};
use windlass_core::policy::HookKind;
use windlass_core::render::{Problem, RenderError, Scope, render};
use windlass_core::time::Timestamp;
use windlass_core::value::{Completion, Failure, MAX_INTEGER, Origin, Pair, Value};
use windlass_runtime::port::{
    BasePort, BuildInfo, FetchRequest, FetchResponse, Level, StepEvent, StepPort, Submission, TestResult,
};

use super::commands::cost;
use super::turn::Turn;
use super::{End, Port, commands, replay};
use crate::plugins::Pinned;

/// The most properties of a build, and the largest name and value that a step may set.
const MAX_PROPERTIES: usize = 1_000;
const MAX_PROPERTY_NAME: usize = 256;
const MAX_PROPERTY_BYTES: usize = 64 * 1024;

/// The most bytes of all of them, as far as steps set them: the build's row holds them.
const MAX_PROPERTIES_BYTES: usize = 1024 * 1024;

/// The longest summary, in characters, and the most links of a step.
const MAX_SUMMARY: usize = 1_000;
const MAX_URLS: usize = 100;

/// The largest step that a step may add, and what all that wait may take up.
const MAX_STEP_JSON: usize = 256 * 1024;
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// The most timers of a step that wait at once.
const MAX_TIMERS: usize = 1_000;

/// The most changes of `changes`.
const MAX_CHANGES: usize = 1_000;

impl Port {
    /// Tells whoever reads the build about a denial, whatever the guest makes of it.
    fn denied(&mut self, failure: Failure) -> Failure {
        let detail = failure.detail.as_deref().unwrap_or_default();
        self.diagnostic(Level::Error, &format!("{}; {detail}", failure.message));
        failure
    }
}

impl Port {
    /// The failure, of which whoever reads the build hears if it is a denial.
    fn told(&mut self, failure: Failure) -> Failure {
        if failure.code == "denied" { self.denied(failure) } else { failure }
    }
}

#[async_trait]
impl BasePort for Port {
    fn diagnostic(&mut self, level: Level, message: &str) {
        let state = self.state();
        match level {
            // Kept out of the build: a chatty plugin would fill its logs.
            Level::Debug => tracing::debug!(build = %state.context.build.id, "a step says: {message}"),
            Level::Info => state.tells("info", message),
            Level::Warn => state.tells("warn", message),
            Level::Error => state.tells("error", message),
        }
    }

    fn now(&mut self) -> Timestamp {
        self.state().now
    }

    fn interrupted(&mut self) -> Option<String> {
        self.state().seen.clone()
    }

    async fn load_state(&mut self, _key: &str) -> Option<Vec<u8>> {
        // The contract gives no `state` to steps.
        None
    }

    async fn store_state(&mut self, _key: &str, _value: Option<Vec<u8>>) -> Result<(), Failure> {
        Err(Failure::unsupported("state of steps"))
    }
}

#[async_trait]
impl StepPort for Port {
    fn get_property(&mut self, name: &str) -> Option<Value> {
        self.state().context.build.properties.get(name).cloned()
    }

    fn properties(&mut self) -> Vec<Pair> {
        self.state().context.build.properties.pairs()
    }

    fn set_property(&mut self, name: &str, value: Value) -> Result<(), Failure> {
        let state = self.state();
        check_property(name, &value)?;
        let properties = &state.context.build.properties;
        let old = properties.get(name);
        if old.is_none() && properties.len() >= MAX_PROPERTIES {
            return Err(Failure::new("quota", format!("a build may have {MAX_PROPERTIES} properties")));
        }
        let others = properties.bytes() - old.map_or(0, Value::bytes);
        // A smaller value always fits: whoever is over the bound already can get below it.
        if value.bytes() > old.map_or(0, Value::bytes) && others + value.bytes() > MAX_PROPERTIES_BYTES {
            let message = format!("the properties of a build may have {MAX_PROPERTIES_BYTES} bytes in all");
            return Err(Failure::new("quota", message));
        }
        let args = replay::args_of(&(name, &value));
        let before = old.cloned().zip(properties.source(name).map(str::to_owned));
        if let Err(diverged) = state.journal.sets(args, name, before) {
            return Err(state.diverged(&diverged.to_string()));
        }
        state.context.build.properties.set(name, value, &state.context.step.name);
        state.dirty = true;
        state.flush_soon();
        Ok(())
    }

    fn render(&mut self, template: &str) -> Result<String, Failure> {
        let context = &self.state().context;
        let (build, own) = (&context.build, &context.own_templates);
        let scope = Scope {
            properties: &build.properties,
            stamps: &build.stamps,
            worker: &context.given.worker,
            secrets: own.allowed(),
        };
        match render(template, scope) {
            Ok(text) => Ok(text),
            Err(RenderError { problem: Problem::SecretDenied(name), .. }) => {
                let failure = own.denied("render", &name, &context.secrets.placeholders);
                Err(self.denied(failure))
            }
            Err(error) => Err(Failure::new("bad-argument", error.to_string())),
        }
    }

    fn source_stamps(&mut self) -> Vec<SourceStamp> {
        self.state().context.build.stamps.clone()
    }

    fn build(&mut self) -> Result<BuildInfo, Failure> {
        let context = &self.state().context;
        let build = &context.build;
        Ok(BuildInfo {
            id: build.id.0,
            number: build.number,
            builder: build.builder.clone(),
            tags: context.builder.tags.clone(),
            worker: build.worker.clone(),
            requests: build.requests.iter().map(|request| request.0).collect(),
            reason: build.reason.clone(),
            started: build.started,
        })
    }

    async fn changes(&mut self) -> Vec<Change> {
        let context = &self.state().context;
        crate::build_driver::changes(&context.store, &context.build, MAX_CHANGES)
    }

    async fn add_steps(&mut self, steps: Vec<String>) -> Result<(), Failure> {
        let state = self.state();
        if state.context.steps + state.added.len() + steps.len() > MAX_STEPS {
            return Err(Failure::new("quota", format!("a build may have {MAX_STEPS} steps")));
        }
        let waiting: usize =
            state.context.waiting_bytes + state.added.iter().map(StepSpec::bytes).sum::<usize>();
        if waiting + steps.iter().map(String::len).sum::<usize>() > MAX_WAITING_BYTES {
            let message = format!("the steps that wait may take up {MAX_WAITING_BYTES} bytes");
            return Err(Failure::new("quota", message));
        }
        let mut added = Vec::with_capacity(steps.len());
        for json in &steps {
            // Each is checked for some tenths of a second at the most; others have their turns in between.
            tokio::task::yield_now().await;
            let state = self.state();
            if json.len() > MAX_STEP_JSON {
                let message = format!("a step may be described in {MAX_STEP_JSON} bytes");
                return Err(Failure::new("too-large", message));
            }
            let pinned = Pinned { generation: &state.context.generation, known: &state.context.hooks };
            let locks = &state.context.config.locks;
            let spec = windlass_config::step_from_json(json, &pinned, locks);
            let spec = spec.map_err(|message| Failure::new("bad-argument", message))?;
            let own = &state.context.own_templates;
            let denied = spec.secrets().into_iter().find(|name| own.allowed().get(name).is_none());
            if let Some(name) = denied {
                let failure = own.denied("add-steps", &name, &state.context.secrets.placeholders);
                return Err(self.denied(failure));
            }
            added.push(spec);
        }
        self.state().added.extend(added);
        Ok(())
    }

    async fn submit(&mut self, submission: Submission, waited_for: bool) -> Result<u64, Failure> {
        let state = self.state();
        let args = replay::args_of(&(&submission, waited_for));
        if let Some(before) = state.replayed::<Result<u64, Failure>>(Call::Submit, args)? {
            if let Ok(id) = before {
                state.submitted_before(id, waited_for).await?;
            }
            return before;
        }
        let submitted = state.submit(submission, waited_for, args).await;
        if submitted.is_err() {
            // One that went well went down with its buildset.
            state.record(Call::Submit, args, &submitted);
        }
        submitted
    }

    fn summary(&mut self, text: &str) {
        let state = self.state();
        state.context.step.summary = text.chars().take(MAX_SUMMARY).collect();
        state.dirty = true;
        state.flush_soon();
    }

    fn add_url(&mut self, name: &str, url: &str) {
        let state = self.state();
        let urls = &mut state.context.step.urls;
        if urls.len() == MAX_URLS {
            return state
                .tells("warn", &format!("`add-url` was passed over: a step may have {MAX_URLS} links"));
        }
        urls.push((name.to_owned(), url.to_owned()));
        state.dirty = true;
        state.flush_soon();
    }

    async fn log(&mut self, log: &str, origin: Origin, data: Bytes) -> Result<(), Failure> {
        let state = self.state();
        state.logs.takes(log)?;
        let args = replay::args(&[log.as_bytes(), &[origin as u8], &data]);
        if let Some(before) = state.made_before(Many::Messages, args)? {
            return before;
        }
        // Room first: what is in a log, and what the journal says of it, go down together.
        let mut moved = false;
        while !state.has_room() {
            state.flush();
            state.turn(None).await;
            moved = true;
        }
        // The journal knows of it before it can be on its way into a commit.
        state.put(log, origin, data)?;
        let went = match state.fault.as_ref().or(state.flooded.as_ref()) {
            Some(fault) => Err(Failure::new("quota", fault.clone())),
            None => Ok(()),
        };
        if went.is_err() || moved && state.seen != state.interrupted {
            state.record(Call::Log, args, &went);
        } else {
            state.journal.made(Many::Messages, args);
        }
        state.flush_soon();
        went
    }

    async fn report_tests(&mut self, results: Vec<TestResult>) -> Result<(), Failure> {
        self.state().report(results).await
    }

    fn set_statistic(&mut self, name: &str, value: f64) {
        self.state().figure(name, value);
    }

    async fn read_log(
        &mut self,
        step: &str,
        log: &str,
        first_line: u64,
        max_lines: u32,
    ) -> Result<String, Failure> {
        let state = self.state();
        let args = replay::args_of(&(step, log, first_line, max_lines));
        if let Some(before) = state.replayed(Call::ReadLog, args)? {
            return before;
        }
        let read = state.read_log(step, log, first_line, max_lines).await;
        state.record(Call::ReadLog, args, &read);
        read
    }

    async fn worker_supports(&mut self, command: &str) -> Option<String> {
        // Commands travel to the worker by digest: it has those of the build's generation, exactly.
        let resolved = self.state().context.generation.resolve(HookKind::SlaveCommand, command).ok()?;
        Some(resolved.plugin.digest.short())
    }

    async fn start_command(
        &mut self,
        command: &str,
        args: &str,
        observe: Vec<String>,
    ) -> Result<u32, Failure> {
        self.state().start(command, args, observe).await
    }

    async fn interrupt_command(&mut self, command: u32, reason: &str) -> Result<(), Failure> {
        let state = self.state();
        if command as usize >= state.commands.len() {
            return Err(no_such_command(command));
        }
        state.interrupt(command, reason);
        Ok(())
    }

    async fn wait(&mut self, command: u32) -> Result<Completion, Failure> {
        let state = self.state();
        if command as usize >= state.commands.len() {
            return Err(no_such_command(command));
        }
        let args = replay::args_of(&command);
        if let Some(end) = state.replayed::<End>(Call::Wait, args)? {
            state.has_ended(command, end.clone());
            return end;
        }
        let mut asked = false;
        loop {
            if let Some(end) = state.ended(command) {
                state.now = state.context.clock.now();
                state.record(Call::Wait, args, &end);
                return end;
            }
            if let (false, Some(reason)) = (asked, state.interrupted.clone()) {
                state.interrupt(command, &reason);
                asked = true;
            }
            state.turn(None).await;
            state.forget_events(command);
        }
    }

    async fn next_event(&mut self, timeout_ms: Option<u32>) -> StepEvent {
        let state = self.state();
        let args = replay::args_of(&timeout_ms);
        match state.replayed::<StepEvent>(Call::NextEvent, args) {
            Ok(None) => {}
            Ok(Some(event)) => {
                state.took_before(&event);
                return event;
            }
            Err(diverged) => return StepEvent::Interrupt(diverged.message),
        }
        let deadline = timeout_ms.map(|ms| state.after(ms));
        let event = loop {
            if let Some(event) = state.events.pop_front() {
                break event;
            }
            if state.turn(deadline).await == Turn::TimeIsUp {
                break state.events.pop_front().unwrap_or(StepEvent::Idle);
            }
        };
        state.now = state.context.clock.now();
        state.queued -= cost(&event);
        if let Some(command) = commands::of(&event) {
            state.commands[command as usize].took(1);
        }
        state.record(Call::NextEvent, args, &event);
        event
    }

    async fn sleep(&mut self, ms: u32) -> Result<(), Failure> {
        let state = self.state();
        let args = replay::args_of(&ms);
        if let Some(before) = state.replayed(Call::Sleep, args)? {
            return before;
        }
        let deadline = state.after(ms);
        let slept = loop {
            if let Some(reason) = &state.interrupted {
                break Err(Failure::new("interrupted", reason.clone()));
            }
            if state.turn(Some(deadline)).await == Turn::TimeIsUp {
                break Ok(());
            }
        };
        state.now = state.context.clock.now();
        state.record(Call::Sleep, args, &slept);
        slept
    }

    async fn set_timer(&mut self, after_ms: u32) -> Result<u32, Failure> {
        let state = self.state();
        if state.timers.len() == MAX_TIMERS {
            return Err(Failure::new("quota", format!("{MAX_TIMERS} timers of a step may wait at once")));
        }
        let number = state.next_timer;
        state.next_timer = state.next_timer.wrapping_add(1);
        let at = state.after(after_ms);
        state.timers.insert(number, at);
        Ok(number)
    }

    async fn fetch(&mut self, request: FetchRequest) -> Result<FetchResponse, Failure> {
        let state = self.state();
        let args = replay::args_of(&(&request.method, &request.url, &request.headers, &request.body));
        let fetched = match state.replayed(Call::Fetch, args)? {
            Some(before) => before,
            None => {
                let fetched = state.fetch(request).await;
                state.record(Call::Fetch, args, &fetched);
                fetched
            }
        };
        // What it is told of stands behind the call in the journal.
        fetched.map_err(|failure| self.told(failure))
    }

    async fn start_process(
        &mut self,
        argv: Vec<String>,
        env: Vec<(String, String)>,
        timeout_ms: Option<u32>,
        log: &str,
    ) -> Result<u32, Failure> {
        let state = self.state();
        let args = replay::args_of(&(&argv, &env, timeout_ms, log));
        let started = match state.replayed(Call::StartProcess, args)? {
            Some(before) => {
                state.processes.started_before(&before, log);
                before
            }
            None => {
                let started = state.start_process(&argv, &env, timeout_ms, log).await;
                state.record(Call::StartProcess, args, &started);
                started
            }
        };
        started.map_err(|failure| self.told(failure))
    }

    async fn stop_process(&mut self, process: u32) -> Result<(), Failure> {
        self.state().stop_process(process)
    }

    async fn cancel_timer(&mut self, timer: u32) {
        let state = self.state();
        state.timers.remove(&timer);
        let queued = &mut state.queued;
        state.events.retain(|event| {
            let stays = *event != StepEvent::Timer(timer);
            *queued -= if stays { 0 } else { cost(event) };
            stays
        });
    }
}

fn no_such_command(command: u32) -> Failure {
    Failure::new("not-found", format!("this step has started no command {command}"))
}

fn check_property(name: &str, value: &Value) -> Result<(), Failure> {
    if name.is_empty() || name.len() > MAX_PROPERTY_NAME {
        let message = format!("a property's name has 1 to {MAX_PROPERTY_NAME} bytes");
        return Err(Failure::new("bad-argument", message));
    }
    let refuse = |message: String| Err(Failure::new("bad-argument", format!("property `{name}`: {message}")));
    match value {
        Value::Integer(i) if !(-MAX_INTEGER..=MAX_INTEGER).contains(i) => {
            refuse(format!("an integer lies between -{MAX_INTEGER} and {MAX_INTEGER}; pass {i} as JSON"))
        }
        Value::Number(n) if !n.is_finite() => refuse(format!("{n} is not a finite number")),
        Value::Text(text) | Value::Json(text) if text.len() > MAX_PROPERTY_BYTES => Err(Failure::new(
            "too-large",
            format!("property `{name}`: a value has at most {MAX_PROPERTY_BYTES} bytes"),
        )),
        Value::Json(text) => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => Ok(()),
            Err(error) => refuse(format!("it is not JSON: {error}")),
        },
        Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Number(_) | Value::Text(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_no_guest_could_read_back_are_refused() {
        let ok = |value| check_property("p", &value).unwrap();
        ok(Value::Integer(MAX_INTEGER));
        ok(Value::Json("{\"a\":[1]}".to_owned()));
        let refuse =
            |name: &str, value, code| assert_eq!(check_property(name, &value).unwrap_err().code, code);
        refuse("", Value::Null, "bad-argument");
        refuse("p", Value::Integer(MAX_INTEGER + 1), "bad-argument");
        refuse("p", Value::Number(f64::NAN), "bad-argument");
        refuse("p", Value::Json("{".to_owned()), "bad-argument");
        refuse("p", Value::Text("x".repeat(MAX_PROPERTY_BYTES + 1)), "too-large");
    }
}
