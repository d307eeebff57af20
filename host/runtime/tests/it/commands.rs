//! The bundled commands, driven through a scripted port.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use windlass_core::policy::FaultKind;
use windlass_core::time::Timestamp;
use windlass_core::value::{Failure, Origin, Pair};
use windlass_runtime::Gauge;
use windlass_runtime::plugin::Source;
use windlass_runtime::port::{
    BasePort, ChildEvent, ChildPort, CommandPort, CommandTransfer, Exit, FileEntry, Level, SpawnOptions, Stop,
};

use crate::fixtures::{bundled, host};

type Did = Arc<Mutex<Vec<String>>>;

#[derive(Default)]
struct Worker {
    did: Did,
    refuse: bool,
}

struct Program(Did);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("dropped".to_owned());
    }
}

#[async_trait]
impl ChildPort for Program {
    async fn next_event(&mut self, _: u32, _: Option<u32>) -> ChildEvent {
        ChildEvent::Exited(Exit::Code(3))
    }
    async fn wait(&mut self) -> Exit {
        Exit::Code(3)
    }
    async fn write_input(&mut self, data: &[u8]) -> Result<u32, Failure> {
        Ok(u32::try_from(data.len()).unwrap())
    }
    fn close_input(&mut self) {}
    fn stop(&mut self, _: Stop) {}
}

#[async_trait]
impl BasePort for Worker {
    fn diagnostic(&mut self, _: Level, _: &str) {}
    fn now(&mut self) -> Timestamp {
        Timestamp(1)
    }
    fn interrupted(&mut self) -> Option<String> {
        None
    }
    async fn load_state(&mut self, _: &str) -> Option<Vec<u8>> {
        None
    }
    async fn store_state(&mut self, _: &str, _: Option<Vec<u8>>) -> Result<(), Failure> {
        Ok(())
    }
}

fn io<T>() -> Result<T, Failure> {
    Err(Failure::new("io", "not in this test"))
}

impl CommandTransfer for Worker {}

#[async_trait]
impl CommandPort for Worker {
    fn seed(&self) -> [u8; 32] {
        [7; 32]
    }
    async fn spawn(&mut self, options: SpawnOptions) -> Result<Box<dyn ChildPort>, Failure> {
        if self.refuse {
            return Err(Failure::new("denied", "the worker does not allow it"));
        }
        let said = format!("spawn {:?} in {:?} to {:?}", options.argv, options.workdir, options.tee_to_log);
        self.did.lock().unwrap().push(said);
        Ok(Box::new(Program(Arc::clone(&self.did))))
    }
    async fn sleep(&mut self, _: u32) -> Result<(), Failure> {
        Ok(())
    }
    async fn log(&mut self, _: &str, _: Origin, _: Bytes) -> Result<(), Failure> {
        Ok(())
    }
    async fn update(&mut self, _: Vec<Pair>) -> Result<(), Failure> {
        Ok(())
    }
    async fn make_directory(&mut self, path: &str) -> Result<(), Failure> {
        self.did.lock().unwrap().push(format!("mkdir {path}"));
        Ok(())
    }
    async fn remove(&mut self, _: &str) -> Result<(), Failure> {
        io()
    }
    async fn copy(&mut self, _: &str, _: &str) -> Result<(), Failure> {
        io()
    }
    async fn stat(&mut self, _: &str) -> Result<FileEntry, Failure> {
        io()
    }
    async fn entries(&mut self, _: &str) -> Result<Vec<FileEntry>, Failure> {
        io()
    }
    async fn glob(&mut self, _: &str) -> Result<Vec<String>, Failure> {
        io()
    }
    async fn read(&mut self, _: &str) -> Result<Vec<u8>, Failure> {
        io()
    }
    async fn write(&mut self, _: &str, _: &[u8]) -> Result<(), Failure> {
        io()
    }
}

#[tokio::test]
async fn shell_spawns_through_the_port_and_its_child_goes_with_its_store() {
    let host = host();
    let plugin = host.runtime.load("commands", Source::Bundled, bundled("commands")).unwrap();
    let worker = Worker::default();
    let did = Arc::clone(&worker.did);
    let args = r#"{"command": ["make", "all"], "workdir": "build"}"#;
    let end =
        host.runtime.run_command(&plugin, "shell", args, "a test", Box::new(worker), &Gauge::default()).await;
    assert_eq!(end.result.unwrap().rc, Some(3));
    let did = did.lock().unwrap();
    assert_eq!(did[0], r#"spawn ["make", "all"] in "build" to Some("stdio")"#);
    assert_eq!(did.last().map(String::as_str), Some("dropped"));
}

#[tokio::test]
async fn a_commands_own_failure_is_no_trap() {
    let host = host();
    let plugin = host.runtime.load("commands", Source::Bundled, bundled("commands")).unwrap();
    let worker = Worker { refuse: true, ..Worker::default() };
    let end = host
        .runtime
        .run_command(
            &plugin,
            "shell",
            r#"{"command": "true"}"#,
            "a test",
            Box::new(worker),
            &Gauge::default(),
        )
        .await;
    match end.result.unwrap_err().kind {
        FaultKind::Failed(failure) => assert_eq!(failure.code, "denied"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn files_are_asked_of_the_port() {
    let host = host();
    let plugin = host.runtime.load("commands", Source::Bundled, bundled("commands")).unwrap();
    let worker = Worker::default();
    let did = Arc::clone(&worker.did);
    let end = host
        .runtime
        .run_command(&plugin, "mkdir", r#"{"paths": ["a/b"]}"#, "a test", Box::new(worker), &Gauge::default())
        .await;
    assert_eq!(end.result.unwrap().rc, Some(0));
    assert_eq!(*did.lock().unwrap(), ["mkdir a/b"]);
}
