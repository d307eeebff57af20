//! What the contract has and this host has not yet: every function answers code `unsupported`.

use windlass_core::value::Failure;

use crate::bindings::master::windlass::master::{model, scheduler_host};
use crate::imports::{Answer, answer};
use crate::state::State;

impl State {
    fn unsupported<T>(&self, what: &str) -> Answer<T> {
        self.called();
        answer(Err::<T, _>(Failure::unsupported(what)))
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
