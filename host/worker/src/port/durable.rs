//! The port of a command that can be run again: each call is answered from the command's tape as far as that goes, and
//! a live one is put there with its answer.
//!
//! Messages go to the tape together with what they say, children together with how they are watched over. What is
//! done to files may be done twice if the agent is killed right then: each of those calls comes to the same end again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use windlass_core::time::Timestamp;
use windlass_core::value::{Failure, Origin, Pair};
use windlass_runtime::port::{
    BasePort, ChildEvent, ChildPort, CommandPort, CommandTransfer, Exit, FileEntry, Level, SpawnOptions,
    Stop, TransferOptions,
};

use super::handle::Child;
use super::story::{Asked, Next, Story, args, decode, encode};
use super::{Context, MAX_DIAGNOSTICS, Port};
use crate::spool::tape::{Call, Record};

/// The port of a command, over its tape.
pub struct Durable {
    port: Port,
    told: Told,
}

/// What the component was told, and where that is kept.
#[derive(Clone)]
struct Told {
    context: Arc<Context>,
    story: Arc<Mutex<Story>>,
}

/// How a child's event came to the component.
#[derive(Debug, Serialize, Deserialize)]
enum Took {
    /// The child's next.
    Event,
    /// An interrupt.
    Interrupt(String),
    /// Nothing came in time.
    Idle,
}

/// Answers a call: as it was answered before, or now.
macro_rules! answered {
    ($self:ident, $call:expr, $arguments:expr, $live:expr) => {{
        let args = args($arguments);
        match $self.told.next($call, args) {
            Next::Recorded(answer) => decode(&answer).unwrap_or_else(|| Err(unread())),
            Next::Diverged => Err(diverged()),
            Next::Live => {
                let answer = $live.await;
                $self.told.keep($call, args, encode(&answer));
                answer
            }
        }
    }};
}

impl Durable {
    /// Over the port of a command whose component was told this story.
    pub fn new(port: Port, story: Story) -> Durable {
        let told = Told { context: Arc::clone(&port.context), story: Arc::new(Mutex::new(story)) };
        Durable { port, told }
    }
}

impl Told {
    fn next(&self, call: Call, args: u64) -> Next {
        let mut story = self.lock();
        let next = story.next(call, args);
        if let Some(why) = story.diverged() {
            self.context.break_off(why);
        }
        next
    }

    /// Puts a live call on the tape.
    fn keep(&self, call: Call, args: u64, answer: Vec<u8>) {
        self.context.spool.record(Record::Called { call, args, answer });
    }

    fn lock(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn diverged() -> Failure {
    Failure::new("diverged", "the command is not deterministic, and ends")
}

fn unread() -> Failure {
    Failure::new("io", "what an earlier version of this worker answered is not understood")
}

#[async_trait]
impl BasePort for Durable {
    fn diagnostic(&mut self, level: Level, message: &str) {
        if self.port.diagnostics >= MAX_DIAGNOSTICS {
            return;
        }
        let args = args(&(level as u8, message));
        match self.told.next(Call::Diagnostic, args) {
            Next::Recorded(_) => self.port.diagnostics += 1,
            Next::Diverged => {}
            Next::Live => {
                self.port.along.push(Record::Called { call: Call::Diagnostic, args, answer: Vec::new() });
                self.port.diagnostic(level, message);
            }
        }
    }

    fn now(&mut self) -> Timestamp {
        match self.told.next(Call::Now, 0) {
            Next::Recorded(answer) => Timestamp(decode(&answer).unwrap_or_default()),
            Next::Diverged => self.port.now(),
            Next::Live => {
                let now = self.port.now();
                self.told.keep(Call::Now, 0, encode(&now.0));
                now
            }
        }
    }

    fn interrupted(&mut self) -> Option<String> {
        let mut story = self.told.lock();
        match story.asks() {
            Asked::Yes => self.port.interrupted(),
            Asked::No => None,
            Asked::Now(asked) => {
                let reason = self.port.interrupted()?;
                story.hears();
                self.told.context.spool.record(Record::Heard { asked });
                Some(reason)
            }
        }
    }

    async fn load_state(&mut self, key: &str) -> Option<Vec<u8>> {
        self.port.load_state(key).await
    }

    async fn store_state(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), Failure> {
        self.port.store_state(key, value).await
    }
}

#[async_trait]
impl CommandPort for Durable {
    fn seed(&self) -> [u8; 32] {
        self.port.seed()
    }

    async fn spawn(&mut self, options: SpawnOptions) -> Result<Box<dyn ChildPort>, Failure> {
        let args = args(&options);
        let child = match self.told.next(Call::Spawn, args) {
            Next::Diverged => return Err(diverged()),
            Next::Recorded(answer) => {
                let spawned: Result<u32, Failure> = decode(&answer).unwrap_or_else(|| Err(unread()));
                self.port.again(spawned?)?
            }
            Next::Live => {
                let along = |answer: &Result<u32, Failure>| Record::Called {
                    call: Call::Spawn,
                    args,
                    answer: encode(answer),
                };
                match self.port.start(options, along).await {
                    Ok(child) => child,
                    Err(failure) => {
                        self.told.context.spool.record(along(&Err(failure.clone())));
                        return Err(failure);
                    }
                }
            }
        };
        Ok(Box::new(DurableChild { child, told: self.told.clone() }))
    }

    async fn sleep(&mut self, ms: u32) -> Result<(), Failure> {
        answered!(self, Call::Sleep, &ms, self.port.sleep(ms))
    }

    async fn log(&mut self, log: &str, origin: Origin, data: Bytes) -> Result<(), Failure> {
        let args = args(&(log, origin, &data));
        match self.told.next(Call::Log, args) {
            Next::Recorded(answer) => decode(&answer).unwrap_or_else(|| Err(unread())),
            Next::Diverged => Err(diverged()),
            Next::Live => {
                self.port.along.push(Record::Called { call: Call::Log, args, answer: encode(&done()) });
                let answer = self.port.log(log, origin, data).await;
                self.put(Call::Log, args, &answer);
                answer
            }
        }
    }

    async fn update(&mut self, values: Vec<Pair>) -> Result<(), Failure> {
        let args = args(&values);
        match self.told.next(Call::Update, args) {
            Next::Recorded(answer) => decode(&answer).unwrap_or_else(|| Err(unread())),
            Next::Diverged => Err(diverged()),
            Next::Live => {
                self.port.along.push(Record::Called { call: Call::Update, args, answer: encode(&done()) });
                let answer = self.port.update(values).await;
                self.put(Call::Update, args, &answer);
                answer
            }
        }
    }

    async fn make_directory(&mut self, path: &str) -> Result<(), Failure> {
        answered!(self, Call::MakeDirectory, &path, self.port.make_directory(path))
    }

    async fn remove(&mut self, path: &str) -> Result<(), Failure> {
        answered!(self, Call::Remove, &path, self.port.remove(path))
    }

    async fn copy(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        answered!(self, Call::Copy, &(from, to), self.port.copy(from, to))
    }

    async fn stat(&mut self, path: &str) -> Result<FileEntry, Failure> {
        answered!(self, Call::Stat, &path, self.port.stat(path))
    }

    async fn entries(&mut self, directory: &str) -> Result<Vec<FileEntry>, Failure> {
        answered!(self, Call::Entries, &directory, self.port.entries(directory))
    }

    async fn glob(&mut self, pattern: &str) -> Result<Vec<String>, Failure> {
        answered!(self, Call::Glob, &pattern, self.port.glob(pattern))
    }

    async fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        answered!(self, Call::Read, &path, self.port.read(path))
    }

    async fn write(&mut self, path: &str, data: &[u8]) -> Result<(), Failure> {
        answered!(self, Call::Write, &(path, data), self.port.write(path, data))
    }
}

#[async_trait]
impl CommandTransfer for Durable {
    async fn send_file(&mut self, token: &str, path: &str, options: TransferOptions) -> Result<u64, Failure> {
        let of = (token, path, options.max_bytes, options.keep_times, options.compression.clone());
        answered!(self, Call::SendFile, &of, self.port.send_file(token, path, options))
    }

    async fn send_tree(&mut self, token: &str, path: &str, options: TransferOptions) -> Result<u64, Failure> {
        let of = (token, path, options.max_bytes, options.keep_times, options.compression.clone());
        answered!(self, Call::SendTree, &of, self.port.send_tree(token, path, options))
    }

    async fn receive_file(
        &mut self,
        token: &str,
        path: &str,
        mode: Option<u32>,
        max_bytes: Option<u64>,
    ) -> Result<u64, Failure> {
        let of = (token, path, mode, max_bytes);
        answered!(self, Call::ReceiveFile, &of, self.port.receive_file(token, path, mode, max_bytes))
    }
}

impl Durable {
    /// What a message said went to the tape with it; one that was refused has said nothing.
    fn put(&mut self, call: Call, args: u64, answer: &Result<(), Failure>) {
        if !self.port.along.is_empty() {
            self.port.along.clear();
            self.told.keep(call, args, encode(answer));
        }
    }
}

fn done() -> Result<(), Failure> {
    Ok(())
}

/// A child, over the tape of its command.
struct DurableChild {
    child: Child,
    told: Told,
}

#[async_trait]
impl ChildPort for DurableChild {
    async fn next_event(&mut self, max_bytes: u32, timeout_ms: Option<u32>) -> ChildEvent {
        let args = args(&(max_bytes, timeout_ms));
        match self.told.next(Call::NextEvent, args) {
            Next::Recorded(answer) => match decode(&answer) {
                Some(Took::Interrupt(reason)) => {
                    self.child.knows_of_interrupt();
                    ChildEvent::Interrupt(reason)
                }
                Some(Took::Idle) | None => ChildEvent::Idle,
                // It stands on the tape, and so it waits there already.
                Some(Took::Event) => self.child.take(max_bytes).await,
            },
            Next::Diverged => ChildEvent::Exited(Exit::Interrupted),
            Next::Live => {
                let event = self.child.next_event(max_bytes, timeout_ms).await;
                let took = match &event {
                    ChildEvent::Interrupt(reason) => Took::Interrupt(reason.clone()),
                    ChildEvent::Idle => Took::Idle,
                    ChildEvent::Output(..) | ChildEvent::Lines(..) | ChildEvent::Exited(_) => Took::Event,
                };
                self.told.keep(Call::NextEvent, args, encode(&took));
                event
            }
        }
    }

    async fn wait(&mut self) -> Exit {
        match self.told.next(Call::Wait, 0) {
            Next::Recorded(answer) => {
                let exit = decode(&answer).unwrap_or(Exit::Signal("lost".to_owned()));
                self.child.has_exited(&exit);
                exit
            }
            Next::Diverged => Exit::Interrupted,
            Next::Live => {
                let exit = self.child.wait().await;
                self.told.keep(Call::Wait, 0, encode(&exit));
                exit
            }
        }
    }

    async fn write_input(&mut self, data: &[u8]) -> Result<u32, Failure> {
        let args = args(&data);
        match self.told.next(Call::WriteInput, args) {
            Next::Recorded(answer) => decode(&answer).unwrap_or_else(|| Err(unread())),
            Next::Diverged => Err(diverged()),
            Next::Live => {
                // Between a write and its record nobody knows how much the program got.
                let why = "its component writes to the input of a program".to_owned();
                self.told.context.spool.record(Record::Volatile { why });
                self.child.write_input(data).await
            }
        }
    }

    fn close_input(&mut self) {
        match self.told.next(Call::CloseInput, 0) {
            Next::Diverged => {}
            // Closed twice is closed.
            Next::Recorded(_) => self.child.close_input(),
            Next::Live => {
                self.child.close_input();
                self.told.keep(Call::CloseInput, 0, Vec::new());
            }
        }
    }

    fn stop(&mut self, how: Stop) {
        match self.told.next(Call::Stop, args(&how)) {
            Next::Diverged => {}
            Next::Recorded(_) => self.child.was_stopped(how),
            Next::Live => {
                self.child.stop(how);
                self.told.keep(Call::Stop, args(&how), Vec::new());
            }
        }
    }
}
