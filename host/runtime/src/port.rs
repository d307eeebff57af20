//! What a running component needs of its surroundings: traits that the master and the worker
//! implement. Dependencies point at this crate only; it knows neither of them.
//!
//! A port belongs to one run. Its methods take `&mut self`, since a guest makes one call at a time.
//! Blocking methods (`next_event`, `wait`, `sleep`, ...) are cancelled by being dropped.

mod transfer;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use windlass_core::change::{Change, SourceStamp};
use windlass_core::outcome::Outcome;
pub use windlass_core::test_result::TestResult;
use windlass_core::time::Timestamp;
use windlass_core::value::{Completion, Failure, Origin, Pair, Value};

pub use transfer::{CommandTransfer, StepTransfer, TransferOptions};

/// The level of a plugin's own diagnostic message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the levels of `windlass:base/log`")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// What steps and commands share: `windlass:base/{log,clock,interruption,state}`.
#[async_trait]
pub trait BasePort: Send {
    /// A diagnostic message of the plugin.
    fn diagnostic(&mut self, level: Level, message: &str);
    /// The present moment; in a step it moves on only at a blocking call that returns.
    fn now(&mut self) -> Timestamp;
    /// The reason of an interrupt, once there was one.
    fn interrupted(&mut self) -> Option<String>;
    /// Loads a value of this configured use's small state.
    async fn load_state(&mut self, key: &str) -> Option<Vec<u8>>;
    /// Stores or removes one.
    async fn store_state(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), Failure>;
}

/// `windlass:master/model.submission`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the record in wit/")]
pub struct Submission {
    pub builders: Vec<String>,
    pub schedulers: Vec<String>,
    pub stamps: Vec<SourceStamp>,
    pub reason: String,
    pub priority: i32,
    pub properties: Vec<Pair>,
}

/// `windlass:master/step-host.build-info`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of the record in wit/")]
pub struct BuildInfo {
    pub id: u64,
    pub number: u64,
    pub builder: String,
    pub tags: Vec<String>,
    pub worker: String,
    pub requests: Vec<u64>,
    pub reason: String,
    pub started: Timestamp,
}

/// `windlass:master/step-host.step-event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the cases of the variant in wit/")]
pub enum StepEvent {
    /// Whole lines of an observed log.
    Lines {
        command: u32,
        log: String,
        origin: Origin,
        first_line: u64,
        text: String,
    },
    Update {
        command: u32,
        values: Vec<Pair>,
    },
    Done {
        command: u32,
        how: Result<Completion, Failure>,
    },
    BuildsetDone {
        id: u64,
        outcome: Outcome,
    },
    /// Of [`StepPort::start_process`], by its number.
    ProcessDone {
        process: u32,
        how: Result<Completion, Failure>,
    },
    /// Of [`StepPort::set_timer`], by its number.
    Timer(u32),
    Interrupt(String),
    Idle,
}

/// `windlass:master/fetch.request`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of the record in wit/")]
pub struct FetchRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub timeout_ms: Option<u32>,
    pub max_response: u32,
}

/// `windlass:master/fetch.response`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the record in wit/")]
pub struct FetchResponse {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// What a hook that watches or reports needs: `windlass:master/fetch`, beside the base.
#[async_trait]
pub trait ServicePort: BasePort {
    /// Sleeps.
    async fn sleep(&mut self, ms: u32) -> Result<(), Failure>;
    /// Sends a request to another machine, and waits for the answer.
    async fn fetch(&mut self, request: FetchRequest) -> Result<FetchResponse, Failure>;
}

/// What a running build step needs: `windlass:master/{step-host,transfer,fetch,master-process}`.
#[async_trait]
pub trait StepPort: BasePort + StepTransfer {
    /// A property of the build.
    fn get_property(&mut self, name: &str) -> Option<Value>;
    /// All properties, sorted by name.
    fn properties(&mut self) -> Vec<Pair>;
    /// Sets one.
    fn set_property(&mut self, name: &str, value: Value) -> Result<(), Failure>;
    /// Expands `%(prop:name)s` text.
    fn render(&mut self, template: &str) -> Result<String, Failure>;
    /// The build's source stamps.
    fn source_stamps(&mut self) -> Vec<SourceStamp>;
    /// The build in progress.
    fn build(&mut self) -> Result<BuildInfo, Failure> {
        Err(Failure::unsupported("`step-host.build`"))
    }
    /// The changes in them, at most the 1,000 newest, oldest first.
    async fn changes(&mut self) -> Vec<Change>;
    /// Steps to run after this one, as JSON.
    async fn add_steps(&mut self, steps: Vec<String>) -> Result<(), Failure>;
    /// Submits a buildset; its end comes as an event.
    async fn submit(&mut self, submission: Submission, waited_for: bool) -> Result<u64, Failure>;
    /// One line about the step.
    fn summary(&mut self, text: &str);
    /// A named link.
    fn add_url(&mut self, name: &str, url: &str);
    /// Appends to a log of this step. Waits while the store is behind.
    async fn log(&mut self, log: &str, origin: Origin, data: bytes::Bytes) -> Result<(), Failure>;
    /// Reports test results.
    async fn report_tests(&mut self, results: Vec<TestResult>) -> Result<(), Failure>;
    /// Sets a statistic.
    fn set_statistic(&mut self, name: &str, value: f64);
    /// Lines of any log of this build.
    async fn read_log(
        &mut self,
        step: &str,
        log: &str,
        first_line: u64,
        max_lines: u32,
    ) -> Result<String, Failure>;
    /// The version of a command that the worker has.
    async fn worker_supports(&mut self, command: &str) -> Option<String>;
    /// Starts a remote command; answers its number within the step: 0, 1, 2 ...
    async fn start_command(
        &mut self,
        command: &str,
        args: &str,
        observe: Vec<String>,
    ) -> Result<u32, Failure>;
    /// Asks a command to stop.
    async fn interrupt_command(&mut self, command: u32, reason: &str) -> Result<(), Failure>;
    /// Waits for a command's end, dropping its other events and keeping those of others.
    async fn wait(&mut self, command: u32) -> Result<Completion, Failure>;
    /// The next event of any command or of the step.
    async fn next_event(&mut self, timeout_ms: Option<u32>) -> StepEvent;
    /// Sleeps; ends early, with code `interrupted`, at an interrupt.
    async fn sleep(&mut self, ms: u32) -> Result<(), Failure>;
    /// Sets a timer that fires once, as an event; answers its number within the step.
    async fn set_timer(&mut self, after_ms: u32) -> Result<u32, Failure> {
        let _unused = after_ms;
        Err(Failure::unsupported("timers of steps"))
    }
    /// Takes a timer back. One that fired, or never was, is no error.
    async fn cancel_timer(&mut self, timer: u32) {
        let _unused = timer;
    }
    /// Sends a request to another machine, and waits for the answer.
    async fn fetch(&mut self, request: FetchRequest) -> Result<FetchResponse, Failure> {
        let _unused = request;
        Err(Failure::unsupported("`fetch.send`"))
    }
    /// Starts a program on the master; answers its number within the step: 0, 1, 2 ...
    async fn start_process(
        &mut self,
        argv: Vec<String>,
        env: Vec<(String, String)>,
        timeout_ms: Option<u32>,
        log: &str,
    ) -> Result<u32, Failure> {
        let _unused = (argv, env, timeout_ms, log);
        Err(Failure::unsupported("`master-process.start`"))
    }
    /// Stops a program on the master.
    async fn stop_process(&mut self, process: u32) -> Result<(), Failure> {
        let _unused = process;
        Err(Failure::unsupported("`master-process.stop`"))
    }
}

/// `windlass:worker/process.spawn-options`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields of the record in wit/")]
pub struct SpawnOptions {
    pub argv: Vec<String>,
    pub workdir: String,
    pub env: Vec<(String, Option<String>)>,
    pub input: Option<Vec<u8>>,
    pub pty: bool,
    pub max_time_ms: Option<u32>,
    pub idle_time_ms: Option<u32>,
    pub tee_to_log: Option<String>,
    pub deliver: Delivery,
    pub options: Vec<Pair>,
}

/// `windlass:worker/process.delivery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the cases of the enum in wit/")]
pub enum Delivery {
    None,
    Chunks,
    Lines,
}

/// `windlass:worker/process.stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the cases of the enum in wit/")]
pub enum Stop {
    Interrupt,
    Terminate,
    Kill,
}

/// `windlass:worker/process.limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the cases of the enum in wit/")]
pub enum Limit {
    MaxTime,
    IdleTime,
    MaxLines,
}

/// `windlass:worker/process.exit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the cases of the variant in wit/")]
pub enum Exit {
    Code(i32),
    Signal(String),
    TimedOut(Limit),
    Interrupted,
}

/// `windlass:worker/process.event`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the cases of the variant in wit/")]
pub enum ChildEvent {
    Output(Origin, bytes::Bytes),
    Lines(Origin, String),
    Exited(Exit),
    Interrupt(String),
    Idle,
}

/// A child process of a command. Dropping it kills the process group.
#[async_trait]
pub trait ChildPort: Send {
    /// The next event; at most `max_bytes` of output.
    async fn next_event(&mut self, max_bytes: u32, timeout_ms: Option<u32>) -> ChildEvent;
    /// Waits for the exit, discarding output that was not taken.
    async fn wait(&mut self) -> Exit;
    /// Takes what the pipe has room for; never blocks.
    async fn write_input(&mut self, data: &[u8]) -> Result<u32, Failure>;
    /// Closes the child's standard input.
    fn close_input(&mut self);
    /// Signals the process group.
    fn stop(&mut self, how: Stop);
}

/// `windlass:worker/files.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the cases of the enum in wit/")]
pub enum FileKind {
    File,
    Directory,
    Link,
    Other,
}

/// `windlass:worker/files.entry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the record in wit/")]
pub struct FileEntry {
    pub path: String,
    pub kind: FileKind,
    pub size: u64,
    pub mode: u32,
    pub modified: Timestamp,
}

/// What a running slave-command needs: `windlass:worker/{process,command-host,files}`.
#[async_trait]
pub trait CommandPort: BasePort + CommandTransfer {
    /// What its random numbers follow from: drawn for this command, and the same when it is run again.
    fn seed(&self) -> [u8; 32];
    /// Starts a child process.
    async fn spawn(&mut self, options: SpawnOptions) -> Result<Box<dyn ChildPort>, Failure>;
    /// Sleeps; ends early, with code `interrupted`, at an interrupt.
    async fn sleep(&mut self, ms: u32) -> Result<(), Failure>;
    /// Appends to a build log on the master. Waits while the spool is full.
    async fn log(&mut self, log: &str, origin: Origin, data: bytes::Bytes) -> Result<(), Failure>;
    /// A structured update.
    async fn update(&mut self, values: Vec<Pair>) -> Result<(), Failure>;
    /// Makes a directory with its parents.
    async fn make_directory(&mut self, path: &str) -> Result<(), Failure>;
    /// Removes a file or tree.
    async fn remove(&mut self, path: &str) -> Result<(), Failure>;
    /// Copies a file or tree.
    async fn copy(&mut self, from: &str, to: &str) -> Result<(), Failure>;
    /// What stands at a path.
    async fn stat(&mut self, path: &str) -> Result<FileEntry, Failure>;
    /// The entries of a directory, sorted.
    async fn entries(&mut self, directory: &str) -> Result<Vec<FileEntry>, Failure>;
    /// Paths that match, sorted.
    async fn glob(&mut self, pattern: &str) -> Result<Vec<String>, Failure>;
    /// A small file.
    async fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure>;
    /// Writes a small file.
    async fn write(&mut self, path: &str, data: &[u8]) -> Result<(), Failure>;
}
