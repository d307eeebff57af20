//! What was built: the rows of builds, steps and logs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::SourceStamp;
use crate::digest::Digest;
use crate::excerpt::Cut;
use crate::id::{BuildId, Fence, LogId, RequestId, StepId};
use crate::outcome::Outcome;
use crate::properties::Properties;
use crate::request::Completed;
use crate::test_result::TestCounts;
use crate::time::Timestamp;
use crate::value::{Origin, Value};

/// A component that acted on a build: `plugin:hook` as used, and the exact bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Component {
    /// The kind of the hook: `next-slave`, `build-step`, `slave-command` ...
    pub kind: String,
    /// The qualified name, `plugin:hook`.
    pub hook: String,
    /// The bytes.
    pub digest: Digest,
}

/// One run of a builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildRow {
    /// Its number, unique over all builders: what `windlass build N` takes.
    pub id: BuildId,
    /// Its number within the builder, from 1.
    pub number: u64,
    /// The builder's name.
    pub builder: String,
    /// The requests that it serves.
    pub requests: Vec<RequestId>,
    /// The fence of their claim; every write of this build carries it.
    pub fence: Fence,
    /// The worker's name.
    pub worker: String,
    /// Source stamps, merged, with all changes.
    pub stamps: Vec<SourceStamp>,
    /// The reasons of its requests, each once.
    pub reason: String,
    /// Which generation of plugins it started with.
    pub generation: u64,
    /// Names to digests of the whole map that it keeps for its life: every plugin of its generation
    /// that its steps and commands may use.
    pub plugins: BTreeMap<String, Digest>,
    /// The components that acted on it so far.
    pub components: Vec<Component>,
    /// Properties.
    pub properties: Properties,
    /// When it started.
    pub started: Timestamp,
    /// How and when it ended; none: it runs.
    pub complete: Option<Completed>,
    /// One line about it.
    pub summary: String,
    /// The builder as it was when the build began: what it goes by if it is taken up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
}

/// Somebody wants a running build stopped, or a step of it; kept until the build ends, so that no master forgets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRow {
    /// The build.
    pub build: BuildId,
    /// All of it is to stop.
    pub whole: bool,
    /// The step that ran then, if any did: it is told.
    pub step: Option<StepId>,
    /// Why, for people.
    pub reason: String,
}

impl StopRow {
    /// What both orders together say: a build that is stopped stays so, for the first reason; the step is the newest.
    #[must_use]
    pub fn after(self, before: StopRow) -> StopRow {
        StopRow {
            build: self.build,
            whole: self.whole || before.whole,
            step: self.step.or(before.step),
            reason: if before.whole { before.reason } else { self.reason },
        }
    }
}

/// One step of a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// Its number, unique over all builds.
    pub id: StepId,
    /// The build.
    pub build: BuildId,
    /// Its place in the build, from 0.
    pub position: u32,
    /// Its name, unique in the build.
    pub name: String,
    /// The qualified hook.
    pub hook: String,
    /// The component's bytes.
    pub digest: Digest,
    /// When it started.
    pub started: Timestamp,
    /// So long it waited for its locks then, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waited_ms: u64,
    /// How and when it ended; none: it runs.
    pub complete: Option<Completed>,
    /// One line about it.
    pub summary: String,
    /// Named links.
    pub urls: Vec<(String, String)>,
    /// What the user must read when a plugin or the machinery failed: plugin, digest and call.
    pub fault: Option<String>,
    /// Lists leave it out unless they are asked for all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// The test results that it reported, counted.
    #[serde(default, skip_serializing_if = "TestCounts::is_empty")]
    pub tests: TestCounts,
    /// What components answered while its arguments were rendered and its conditions decided, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub computed: Vec<Computed>,
}

fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

/// What a component answered to the hook `renderer`. The same bytes with the same arguments and properties answer
/// the same, and what is kept here is never asked again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Computed {
    /// For what: `args.env.PATH`, `do_step_if`.
    pub place: String,
    /// The qualified hook.
    pub hook: String,
    /// The component's bytes.
    pub digest: Digest,
    /// Its arguments, as it got them: JSON text.
    pub args: String,
    /// Its answer.
    pub value: Value,
}

impl StepRow {
    /// A step that begins.
    #[must_use]
    pub fn begun(
        id: StepId,
        build: BuildId,
        position: u32,
        name: String,
        hook: String,
        digest: Digest,
        started: Timestamp,
    ) -> StepRow {
        StepRow {
            id,
            build,
            position,
            name,
            hook,
            digest,
            started,
            waited_ms: 0,
            complete: None,
            summary: String::new(),
            urls: Vec::new(),
            fault: None,
            hidden: false,
            tests: TestCounts::default(),
            computed: Vec::new(),
        }
    }
}

/// A log of a step. Its bytes lie in segment files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRow {
    /// Its number.
    pub id: LogId,
    /// The build.
    pub build: BuildId,
    /// The step.
    pub step: StepId,
    /// Its name within the step: `stdio`.
    pub name: String,
    /// No more will come.
    pub finished: bool,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// BLAKE3 of all its bytes but those of headers, once it is finished; the workers' hashes of what they sent
    /// were compared by then. None: its end was never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Digest>,
    /// What was dropped because it was too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Its bytes were removed, because it was too old.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

impl LogRow {
    /// A log that begins.
    #[must_use]
    pub fn begun(id: LogId, build: BuildId, step: StepId, name: String) -> LogRow {
        let (finished, ended, hash, cut, expired) = (false, None, None, None, false);
        LogRow { id, build, step, name, finished, ended, hash, cut, expired }
    }
}

/// A piece of a log, in the order in which it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// Offset of its first byte within the log.
    pub offset: u64,
    /// The stream.
    pub origin: Origin,
    /// The bytes.
    pub data: bytes::Bytes,
}

/// The rows of a build that ends as *retry* because it was cut off: those that this changes.
#[derive(Clone, Debug, PartialEq)]
pub struct CutOff {
    /// The build.
    pub build: BuildRow,
    /// Steps that ran.
    pub steps: Vec<StepRow>,
    /// Logs that were not finished.
    pub logs: Vec<LogRow>,
}

impl CutOff {
    /// Ends a running build with what ran of it; `why` is one line for people.
    #[must_use]
    pub fn new(build: BuildRow, steps: Vec<StepRow>, logs: Vec<LogRow>, at: Timestamp, why: &str) -> CutOff {
        let (complete, summary) = (Some(Completed { outcome: Outcome::Retry, at }), why.to_owned());
        let ran = steps.into_iter().filter(|step| step.complete.is_none());
        CutOff {
            steps: ran.map(|step| StepRow { complete, summary: summary.clone(), ..step }).collect(),
            logs: logs
                .into_iter()
                .filter(|log| !log.finished)
                .map(|log| LogRow { finished: true, ended: Some(at), ..log })
                .collect(),
            build: BuildRow { complete, summary, ..build },
        }
    }
}

/// What a build ends with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildEnd {
    /// The fence of its claim.
    pub fence: Fence,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// One line about it.
    pub summary: String,
}
