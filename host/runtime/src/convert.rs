//! Between the types of the contract and the host's own, at this edge and nowhere else.

use windlass_core::change::{Change, Patch, SourceStamp};
use windlass_core::outcome::Outcome;
use windlass_core::policy::{BuilderInfo, RequestInfo, SlaveInfo};
use windlass_core::value::{Completion, Failure, MAX_INTEGER, Origin, Pair, Value};

use crate::bindings::master::windlass::base::types as base;
use crate::bindings::master::windlass::master::{model, step_host};
use crate::bindings::worker::windlass::worker::{files, process};
use crate::port;

/// Converts each element.
pub(crate) fn list<A, B: From<A>>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(B::from).collect()
}

/// Converts each element of what others share.
pub(crate) fn each<'a, A, B: From<&'a A>>(items: &'a [A]) -> Vec<B> {
    items.iter().map(B::from).collect()
}

impl From<Value> for base::Value {
    /// Numbers that some guests do not have travel as JSON text.
    fn from(value: Value) -> base::Value {
        match value {
            Value::Null => base::Value::Null,
            Value::Boolean(b) => base::Value::Boolean(b),
            Value::Integer(i) if (-MAX_INTEGER..=MAX_INTEGER).contains(&i) => base::Value::Integer(i),
            Value::Integer(i) => base::Value::Json(i.to_string()),
            Value::Number(n) if n.is_finite() => base::Value::Number(n),
            Value::Number(_) => base::Value::Null,
            Value::Text(text) => base::Value::Text(text),
            Value::Json(text) => base::Value::Json(text),
        }
    }
}

impl From<base::Value> for Value {
    fn from(value: base::Value) -> Value {
        match value {
            base::Value::Null => Value::Null,
            base::Value::Boolean(b) => Value::Boolean(b),
            base::Value::Integer(i) => Value::Integer(i),
            base::Value::Number(n) => Value::Number(n),
            base::Value::Text(text) => Value::Text(text),
            base::Value::Json(text) => Value::Json(text),
        }
    }
}

impl From<Pair> for base::Pair {
    fn from(pair: Pair) -> base::Pair {
        base::Pair { name: pair.name, value: pair.value.into() }
    }
}

impl From<base::Pair> for Pair {
    fn from(pair: base::Pair) -> Pair {
        Pair { name: pair.name, value: pair.value.into() }
    }
}

impl From<Failure> for base::Failure {
    fn from(Failure { code, message, detail, retryable }: Failure) -> base::Failure {
        base::Failure { code, message, detail, retryable }
    }
}

impl From<base::Failure> for Failure {
    fn from(base::Failure { code, message, detail, retryable }: base::Failure) -> Failure {
        Failure { code, message, detail, retryable }
    }
}

impl From<Completion> for base::Completion {
    fn from(completion: Completion) -> base::Completion {
        base::Completion { rc: completion.rc, values: list(completion.values) }
    }
}

impl From<base::Completion> for Completion {
    fn from(completion: base::Completion) -> Completion {
        Completion { rc: completion.rc, values: list(completion.values) }
    }
}

impl From<Outcome> for base::Outcome {
    fn from(outcome: Outcome) -> base::Outcome {
        match outcome {
            Outcome::Success => base::Outcome::Success,
            Outcome::Warnings => base::Outcome::Warnings,
            Outcome::Failure => base::Outcome::Failure,
            Outcome::Skipped => base::Outcome::Skipped,
            Outcome::Exception => base::Outcome::Exception,
            Outcome::Retry => base::Outcome::Retry,
            Outcome::Cancelled => base::Outcome::Cancelled,
        }
    }
}

impl From<base::Outcome> for Outcome {
    fn from(outcome: base::Outcome) -> Outcome {
        match outcome {
            base::Outcome::Success => Outcome::Success,
            base::Outcome::Warnings => Outcome::Warnings,
            base::Outcome::Failure => Outcome::Failure,
            base::Outcome::Skipped => Outcome::Skipped,
            base::Outcome::Exception => Outcome::Exception,
            base::Outcome::Retry => Outcome::Retry,
            base::Outcome::Cancelled => Outcome::Cancelled,
        }
    }
}

impl From<Origin> for base::Origin {
    fn from(origin: Origin) -> base::Origin {
        match origin {
            Origin::Stdout => base::Origin::Stdout,
            Origin::Stderr => base::Origin::Stderr,
            Origin::Header => base::Origin::Header,
        }
    }
}

impl From<base::Origin> for Origin {
    fn from(origin: base::Origin) -> Origin {
        match origin {
            base::Origin::Stdout => Origin::Stdout,
            base::Origin::Stderr => Origin::Stderr,
            base::Origin::Header => Origin::Header,
        }
    }
}

impl From<SourceStamp> for model::SourceStamp {
    fn from(stamp: SourceStamp) -> model::SourceStamp {
        model::SourceStamp {
            codebase: stamp.codebase,
            project: stamp.project,
            repository: stamp.repository,
            branch: stamp.branch,
            revision: stamp.revision,
            changes: stamp.changes.into_iter().map(|id| id.0).collect(),
            has_patch: stamp.patch.is_some(),
        }
    }
}

impl From<model::SourceStamp> for SourceStamp {
    /// With an empty patch where there is to be one: a guest has not its text.
    fn from(stamp: model::SourceStamp) -> SourceStamp {
        SourceStamp {
            codebase: stamp.codebase,
            project: stamp.project,
            repository: stamp.repository,
            branch: stamp.branch,
            revision: stamp.revision,
            changes: stamp.changes.into_iter().map(windlass_core::id::ChangeId).collect(),
            patch: stamp.has_patch.then(Patch::default),
        }
    }
}

impl From<&Patch> for step_host::PatchInfo {
    fn from(patch: &Patch) -> step_host::PatchInfo {
        step_host::PatchInfo {
            level: patch.level,
            directory: patch.directory.clone(),
            author: patch.author.clone(),
            comment: patch.comment.clone(),
            size: u32::try_from(patch.body.len()).unwrap_or(u32::MAX),
        }
    }
}

impl From<Change> for model::Change {
    fn from(change: Change) -> model::Change {
        model::Change {
            id: change.id.0,
            author: change.author,
            committer: change.committer,
            comments: change.comments,
            codebase: change.codebase,
            project: change.project,
            repository: change.repository,
            branch: change.branch,
            revision: change.revision,
            category: change.category,
            revlink: change.revlink,
            files: change.files,
            when_ms: change.when.0,
            properties: list(change.properties.pairs()),
        }
    }
}

impl From<BuilderInfo> for model::BuilderInfo {
    fn from(builder: BuilderInfo) -> model::BuilderInfo {
        model::BuilderInfo {
            name: builder.name,
            tags: builder.tags,
            pending: builder.pending,
            building: builder.building,
            highest_priority: builder.highest_priority,
            oldest_request_ms: builder.oldest_request.map(|at| at.0),
        }
    }
}

impl From<&SlaveInfo> for model::SlaveInfo {
    fn from(slave: &SlaveInfo) -> model::SlaveInfo {
        model::SlaveInfo {
            name: slave.name.clone(),
            running: slave.running,
            max_builds: slave.max_builds,
            connected_since_ms: slave.connected_since.0,
            last_built_ms: slave.last_built.map(|at| at.0),
            last_outcome: slave.last_outcome.map(base::Outcome::from),
            load: slave.load,
            properties: list(slave.properties.clone()),
        }
    }
}

impl From<RequestInfo> for model::BuildRequest {
    fn from(request: RequestInfo) -> model::BuildRequest {
        model::BuildRequest {
            id: request.id,
            buildset: request.buildset,
            builder: request.builder,
            stamps: list(request.stamps),
            priority: request.priority,
            submitted_ms: request.submitted.0,
            waited_for: request.waited_for,
            reason: request.reason,
            properties: list(request.properties),
        }
    }
}

impl From<model::Submission> for port::Submission {
    fn from(submission: model::Submission) -> port::Submission {
        port::Submission {
            builders: submission.builders,
            schedulers: submission.schedulers,
            stamps: list(submission.stamps),
            reason: submission.reason,
            priority: submission.priority,
            properties: list(submission.properties),
        }
    }
}

impl From<step_host::TestResult> for port::TestResult {
    fn from(result: step_host::TestResult) -> port::TestResult {
        port::TestResult {
            name: result.name,
            outcome: result.outcome.into(),
            text: result.text,
            duration_ms: result.duration_ms,
            log: result.log,
        }
    }
}

impl From<port::BuildInfo> for step_host::BuildInfo {
    fn from(build: port::BuildInfo) -> step_host::BuildInfo {
        step_host::BuildInfo {
            id: build.id,
            number: build.number,
            builder: build.builder,
            tags: build.tags,
            worker: build.worker,
            requests: build.requests,
            reason: build.reason,
            started_ms: build.started.0,
        }
    }
}

impl From<port::StepEvent> for step_host::Event {
    fn from(event: port::StepEvent) -> step_host::Event {
        use step_host::Event as To;
        match event {
            port::StepEvent::Lines { command, log, origin, first_line, text } => {
                To::Lines(step_host::LogLines { command, log, from_stream: origin.into(), first_line, text })
            }
            port::StepEvent::Update { command, values } => {
                To::Update(step_host::CommandUpdate { command, values: list(values) })
            }
            port::StepEvent::Done { command, how } => To::Done(step_host::CommandEnd {
                command,
                how: how.map(base::Completion::from).map_err(base::Failure::from),
            }),
            port::StepEvent::BuildsetDone { id, outcome } => {
                To::BuildsetDone(step_host::BuildsetEnd { id, outcome: outcome.into() })
            }
            port::StepEvent::ProcessDone { process, how } => To::ProcessDone(step_host::ProcessEnd {
                process,
                how: how.map(base::Completion::from).map_err(base::Failure::from),
            }),
            port::StepEvent::Timer(timer) => To::Timer(timer),
            port::StepEvent::Interrupt(reason) => To::Interrupt(reason),
            port::StepEvent::Idle => To::Idle,
        }
    }
}

impl From<process::Delivery> for port::Delivery {
    fn from(delivery: process::Delivery) -> port::Delivery {
        match delivery {
            process::Delivery::None => port::Delivery::None,
            process::Delivery::Chunks => port::Delivery::Chunks,
            process::Delivery::Lines => port::Delivery::Lines,
        }
    }
}

impl From<process::Stop> for port::Stop {
    fn from(stop: process::Stop) -> port::Stop {
        match stop {
            process::Stop::Interrupt => port::Stop::Interrupt,
            process::Stop::Terminate => port::Stop::Terminate,
            process::Stop::Kill => port::Stop::Kill,
        }
    }
}

impl From<port::Exit> for process::Exit {
    fn from(exit: port::Exit) -> process::Exit {
        match exit {
            port::Exit::Code(code) => process::Exit::Code(code),
            port::Exit::Signal(name) => process::Exit::Signal(name),
            port::Exit::TimedOut(limit) => process::Exit::TimedOut(match limit {
                port::Limit::MaxTime => process::Limit::MaxTime,
                port::Limit::IdleTime => process::Limit::IdleTime,
                port::Limit::MaxLines => process::Limit::MaxLines,
            }),
            port::Exit::Interrupted => process::Exit::Interrupted,
        }
    }
}

impl From<port::ChildEvent> for process::Event {
    fn from(event: port::ChildEvent) -> process::Event {
        match event {
            port::ChildEvent::Output(origin, data) => {
                process::Event::Output(process::OutputChunk { from_stream: origin.into(), data: data.into() })
            }
            port::ChildEvent::Lines(origin, text) => {
                process::Event::Lines(process::OutputLines { from_stream: origin.into(), text })
            }
            port::ChildEvent::Exited(exit) => process::Event::Exited(exit.into()),
            port::ChildEvent::Interrupt(reason) => process::Event::Interrupt(reason),
            port::ChildEvent::Idle => process::Event::Idle,
        }
    }
}

impl From<port::FileEntry> for files::Entry {
    fn from(entry: port::FileEntry) -> files::Entry {
        files::Entry {
            path: entry.path,
            kind: match entry.kind {
                port::FileKind::File => files::Kind::File,
                port::FileKind::Directory => files::Kind::Directory,
                port::FileKind::Link => files::Kind::Link,
                port::FileKind::Other => files::Kind::Other,
            },
            size: entry.size,
            mode: entry.mode,
            modified_ms: entry.modified.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_beyond_what_every_guest_holds_travel_as_json() {
        let to = base::Value::from(Value::Integer(MAX_INTEGER + 1));
        assert!(matches!(to, base::Value::Json(text) if text == "9007199254740992"));
    }
}
