//! What the contract has and this host has not yet: every function answers code `unsupported`.

use windlass_core::value::Failure;

use crate::bindings::master::windlass::master::{fetch, master_process, model, scheduler_host};
use crate::imports::{Answer, answer};
use crate::state::State;

impl State {
    fn unsupported<T>(&self, what: &str) -> Answer<T> {
        self.called();
        answer(Err::<T, _>(Failure::unsupported(what)))
    }
}

impl fetch::Host for State {
    async fn send(&mut self, _request: fetch::Request) -> Answer<fetch::Response> {
        self.unsupported("`fetch.send`")
    }
}

impl master_process::Host for State {
    async fn start(
        &mut self,
        _argv: Vec<String>,
        _env: Vec<(String, String)>,
        _timeout_ms: Option<u32>,
        _to_log: String,
    ) -> Answer<u32> {
        self.unsupported("`master-process.start`")
    }

    async fn stop(&mut self, _process: u32) -> Answer {
        self.unsupported("`master-process.stop`")
    }
}

impl scheduler_host::Host for State {
    async fn submit(&mut self, _submission: model::Submission) -> Answer<u64> {
        self.unsupported("`scheduler-host.submit`")
    }

    async fn set_timer(&mut self, _name: String, _at_ms: Option<u64>) -> wasmtime::Result<()> {
        self.called();
        wasmtime::bail!("this host does not support `scheduler-host.set-timer` yet")
    }
}
