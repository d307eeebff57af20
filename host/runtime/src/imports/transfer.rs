//! `windlass:master/transfer`: files between a step, its worker and the master. File bytes go from host to
//! host; what enters a guest here is at most 64 KiB a call.

use windlass_core::value::Failure;

use crate::bindings::master::windlass::master::transfer;
use crate::bounds;
use crate::imports::{Answer, answer};
use crate::port::StepPort;
use crate::state::State;

impl State {
    fn transfers(&mut self) -> wasmtime::Result<&mut dyn StepPort> {
        self.step("windlass:master/transfer")
    }
}

impl transfer::Host for State {
    async fn accept(&mut self, name: String, max_bytes: u64) -> Answer<String> {
        let port = self.transfers()?;
        match bounds::name("the artifact's name", &name) {
            Ok(()) => answer(port.accept(&name, max_bytes).await),
            Err(failure) => answer(Err::<String, _>(failure)),
        }
    }

    async fn offer_file(&mut self, path: String) -> Answer<String> {
        let port = self.transfers()?;
        match bounds::path("the path", &path) {
            Ok(()) => answer(port.offer_file(&path).await),
            Err(failure) => answer(Err::<String, _>(failure)),
        }
    }

    async fn offer_bytes(&mut self, name: String, data: Vec<u8>) -> Answer<String> {
        let len = data.len();
        let port = self.transfers()?;
        let offered = match checked(&name, &data) {
            Ok(()) => port.offer_bytes(&name, data).await,
            Err(failure) => Err(failure),
        };
        self.counters.moved(if offered.is_ok() { len } else { 0 });
        answer(offered)
    }

    async fn append(&mut self, name: String, data: Vec<u8>) -> Answer {
        let len = data.len();
        let port = self.transfers()?;
        let appended = match checked(&name, &data) {
            Ok(()) => port.append(&name, data).await,
            Err(failure) => Err(failure),
        };
        self.counters.moved(if appended.is_ok() { len } else { 0 });
        answer(appended)
    }

    async fn read(&mut self, name: String, offset: u64, max_bytes: u32) -> Answer<Vec<u8>> {
        let port = self.transfers()?;
        let most = max_bytes.min(u32::try_from(bounds::MAX_BYTES).expect("64 KiB"));
        let read = match bounds::name("the artifact's name", &name) {
            Ok(()) => port.read_artifact(&name, offset, most).await,
            Err(failure) => Err(failure),
        };
        self.counters.moved(read.as_ref().map_or(0, Vec::len));
        answer(read)
    }
}

fn checked(name: &str, data: &[u8]) -> Result<(), Failure> {
    bounds::name("the name", name)?;
    bounds::blob("the piece", data)
}
