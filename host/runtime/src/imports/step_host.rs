//! `windlass:master/step-host`: what a running step may do.

use windlass_core::change::Patch;
use windlass_core::value::{Failure, Value};

use crate::bindings::master::windlass::base::types as wit;
use crate::bindings::master::windlass::master::{model, step_host};
use crate::bounds;
use crate::convert::list;
use crate::imports::{Answer, answer};
use crate::port::{Level, StepEvent, StepPort, Submission, TestResult};
use crate::state::State;

const NAME: &str = "windlass:master/step-host";

/// Lines that one call may ask for; the 64 KiB of the answer come first, nearly always.
const MAX_LINES: u32 = 65_536;

impl State {
    fn host(&mut self) -> wasmtime::Result<&mut dyn StepPort> {
        self.step(NAME)
    }

    /// The patch on the source stamp of a codebase. Kept, since it is read piece by piece and all stamps with all
    /// their patches are copied to find it; those of a build do not change.
    fn patch_on(&mut self, codebase: &str) -> wasmtime::Result<Option<&Patch>> {
        let is_kept = self.patch.as_ref().is_some_and(|(of, _)| of == codebase);
        let port = self.host()?;
        if !is_kept {
            let stamp = port.source_stamps().into_iter().find(|stamp| stamp.codebase == codebase);
            self.patch = stamp.and_then(|stamp| Some((stamp.codebase, stamp.patch?)));
        }
        Ok(self.patch.as_ref().map(|(_, patch)| patch))
    }
}

/// Says, where the contract leaves no room for a failure, that a call was passed over.
fn passed_over(port: &mut dyn StepPort, call: &str, failure: &Failure) {
    port.diagnostic(Level::Warn, &format!("`{call}` was passed over: {}", failure.message));
}

impl step_host::Host for State {
    async fn get_property(&mut self, name: String) -> wasmtime::Result<Option<wit::Value>> {
        Ok(self.host()?.get_property(&name).map(wit::Value::from))
    }

    async fn properties(&mut self) -> wasmtime::Result<Vec<wit::Pair>> {
        Ok(list(self.host()?.properties()))
    }

    async fn set_property(&mut self, name: String, value: wit::Value) -> Answer {
        let port = self.host()?;
        let value = Value::from(value);
        let checked = bounds::name("the property's name", &name)
            .and_then(|()| bounds::value(&format!("property `{name}`"), &value));
        answer(checked.and_then(|()| port.set_property(&name, value)))
    }

    async fn render(&mut self, template: String) -> Answer<String> {
        let port = self.host()?;
        answer(bounds::text("the template", &template).and_then(|()| port.render(&template)))
    }

    async fn source_stamps(&mut self) -> wasmtime::Result<Vec<model::SourceStamp>> {
        Ok(list(self.host()?.source_stamps()))
    }

    async fn build(&mut self) -> Answer<step_host::BuildInfo> {
        answer(self.host()?.build())
    }

    async fn patch(&mut self, codebase: String) -> Answer<Option<step_host::PatchInfo>> {
        let patch = self.patch_on(&codebase)?;
        answer(Ok(patch.map(step_host::PatchInfo::from)))
    }

    async fn read_patch(&mut self, codebase: String, offset: u32, max_bytes: u32) -> Answer<Vec<u8>> {
        let patch = self.patch_on(&codebase)?;
        answer(patch.map(|patch| part(&patch.body, offset, max_bytes)).ok_or_else(|| {
            Failure::new("not-found", format!("the source stamp of codebase `{codebase}` has no patch"))
        }))
    }

    async fn changes(&mut self) -> wasmtime::Result<Vec<model::Change>> {
        Ok(list(self.host()?.changes().await))
    }

    async fn add_steps(&mut self, steps: Vec<String>) -> Answer {
        let port = self.host()?;
        let checked = bounds::items("the list of steps", &steps)
            .and_then(|()| steps.iter().try_for_each(|step| bounds::text("a step", step)));
        match checked {
            Ok(()) => answer(port.add_steps(steps).await),
            Err(failure) => answer(Err::<(), _>(failure)),
        }
    }

    async fn submit(&mut self, submission: model::Submission, waited_for: bool) -> Answer<u64> {
        let port = self.host()?;
        let submission = Submission::from(submission);
        match check_submission(&submission) {
            Ok(()) => answer(port.submit(submission, waited_for).await),
            Err(failure) => answer(Err::<u64, _>(failure)),
        }
    }

    async fn summary(&mut self, text: String) -> wasmtime::Result<()> {
        self.host()?.summary(&bounds::line(&text, bounds::MAX_LINE));
        Ok(())
    }

    async fn add_url(&mut self, name: String, url: String) -> wasmtime::Result<()> {
        let port = self.host()?;
        match bounds::name("the link's name", &name).and_then(|()| bounds::link("the link", &url)) {
            Ok(()) => port.add_url(&name, &url),
            Err(failure) => passed_over(port, "add-url", &failure),
        }
        Ok(())
    }

    async fn log_chunk(&mut self, log: String, from_stream: wit::Origin, data: Vec<u8>) -> Answer {
        let len = data.len();
        let port = self.host()?;
        let taken = match bounds::name("the log's name", &log).and_then(|()| bounds::blob("the chunk", &data))
        {
            Ok(()) => port.log(&log, from_stream.into(), data.into()).await,
            Err(failure) => Err(failure),
        };
        self.counters.moved(if taken.is_ok() { len } else { 0 });
        answer(taken)
    }

    async fn log_text(&mut self, log: String, from_stream: wit::Origin, text: String) -> Answer {
        self.log_chunk(log, from_stream, text.into_bytes()).await
    }

    async fn report_tests(&mut self, results: Vec<step_host::TestResult>) -> Answer {
        let port = self.host()?;
        let results: Vec<TestResult> = list(results);
        match check_tests(&results) {
            Ok(()) => answer(port.report_tests(results).await),
            Err(failure) => answer(Err::<(), _>(failure)),
        }
    }

    async fn set_statistic(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        let port = self.host()?;
        let checked = bounds::name("the statistic's name", &name)
            .and_then(|()| bounds::value(&format!("statistic `{name}`"), &Value::Number(value)));
        match checked {
            Ok(()) => port.set_statistic(&name, value),
            Err(failure) => passed_over(port, "set-statistic", &failure),
        }
        Ok(())
    }

    async fn read_log(
        &mut self,
        step: String,
        log: String,
        first_line: u64,
        max_lines: u32,
    ) -> Answer<String> {
        let port = self.host()?;
        match bounds::id("the line", first_line) {
            Ok(()) => answer(port.read_log(&step, &log, first_line, max_lines.min(MAX_LINES)).await),
            Err(failure) => answer(Err::<String, _>(failure)),
        }
    }

    async fn worker_supports(&mut self, command: String) -> wasmtime::Result<Option<String>> {
        Ok(self.host()?.worker_supports(&command).await)
    }

    async fn start_command(&mut self, command: String, args: String, observe: Vec<String>) -> Answer<u32> {
        let port = self.host()?;
        match check_command(&command, &args, &observe) {
            Ok(()) => answer(port.start_command(&command, &args, observe).await),
            Err(failure) => answer(Err::<u32, _>(failure)),
        }
    }

    async fn interrupt_command(&mut self, command: u32, reason: String) -> Answer {
        answer(self.host()?.interrupt_command(command, bounds::cut(&reason, bounds::MAX_BYTES)).await)
    }

    async fn wait(&mut self, command: u32) -> Answer<wit::Completion> {
        answer(self.host()?.wait(command).await)
    }

    async fn next_event(&mut self, timeout_ms: Option<u32>) -> wasmtime::Result<step_host::Event> {
        let event = self.host()?.next_event(timeout_ms).await;
        self.counters.moved(match &event {
            StepEvent::Lines { text, .. } => text.len(),
            StepEvent::Update { values, .. } => bounds::size(values),
            StepEvent::Done { .. }
            | StepEvent::BuildsetDone { .. }
            | StepEvent::ProcessDone { .. }
            | StepEvent::Timer(_)
            | StepEvent::Interrupt(_)
            | StepEvent::Idle => 0,
        });
        Ok(event.into())
    }

    async fn sleep(&mut self, ms: u32) -> Answer {
        answer(self.host()?.sleep(ms).await)
    }

    async fn set_timer(&mut self, after_ms: u32) -> Answer<u32> {
        answer(self.host()?.set_timer(after_ms).await)
    }

    async fn cancel_timer(&mut self, timer: u32) -> wasmtime::Result<()> {
        self.host()?.cancel_timer(timer).await;
        Ok(())
    }
}

fn part(body: &[u8], offset: u32, max_bytes: u32) -> Vec<u8> {
    let rest = body.get(offset as usize..).unwrap_or_default();
    rest[..rest.len().min(max_bytes as usize).min(bounds::MAX_BYTES)].to_vec()
}

fn check_command(command: &str, args: &str, observe: &[String]) -> Result<(), Failure> {
    bounds::name("the command's name", command)?;
    bounds::value("the list of arguments", &Value::Json(args.to_owned()))?;
    bounds::items("the list of observed logs", observe)?;
    observe.iter().try_for_each(|log| bounds::name("an observed log's name", log))
}

fn check_submission(submission: &Submission) -> Result<(), Failure> {
    bounds::items("the list of builders", &submission.builders)?;
    bounds::items("the list of schedulers", &submission.schedulers)?;
    bounds::items("the list of source stamps", &submission.stamps)?;
    bounds::text("the reason", &submission.reason)?;
    for stamp in &submission.stamps {
        bounds::items("the list of changes", &stamp.changes)?;
        stamp.changes.iter().try_for_each(|change| bounds::id("a change", change.0))?;
    }
    bounds::pairs("the properties", &submission.properties)
}

fn check_tests(results: &[TestResult]) -> Result<(), Failure> {
    bounds::items("the list of results", results)?;
    for result in results {
        bounds::items("a test's name", &result.name)?;
        result.name.iter().try_for_each(|part| bounds::path("a test's name", part))?;
        bounds::text("a test's text", &result.text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_beyond_the_end_is_empty() {
        assert_eq!(part(b"abc", 1, 1), b"b");
        assert_eq!(part(b"abc", 1, 9), b"bc");
        assert_eq!(part(b"abc", 9, 9), b"");
    }
}
