//! The host's side of the contract: one file for each family of imports.
//!
//! Each function counts the call, checks what the guest handed over, converts, and asks the port. What
//! the guest could foresee is a failure; a function that its role must not call is a trap.

mod base;
mod command_host;
mod decision;
mod files;
mod later;
mod outside;
pub(crate) mod process;
mod step_host;
mod transfer;
mod wasi;

use wasmtime::Engine;
use wasmtime::component::Linker;
use windlass_core::value::Failure;

pub(crate) use self::wasi::{define_left_over, is_left_over};
use crate::bindings::master::windlass::base::types as wit;
use crate::bindings::{master, worker};
use crate::convert;
use crate::state::{Host, State};

/// What a function of the contract answers.
type Answer<T = ()> = wasmtime::Result<Result<T, wit::Failure>>;

/// The host's answer as the guest's types have it.
fn answer<A, B: From<A>>(result: Result<A, Failure>) -> Answer<B> {
    Ok(result.map(B::from).map_err(wit::Failure::from))
}

impl State {
    /// The same, where a grant may be missing: a denial is counted.
    fn answer<A, B: From<A>>(&self, result: Result<A, Failure>) -> Answer<B> {
        if matches!(&result, Err(failure) if failure.code == "denied") {
            self.counters.denied();
        }
        answer(result)
    }

    /// The same for lists.
    fn answer_list<A, B: From<A>>(&self, result: Result<Vec<A>, Failure>) -> Answer<Vec<B>> {
        Ok(self.answer::<_, Vec<A>>(result)?.map(convert::list))
    }
}

/// What components with hooks of the master may import.
pub(crate) fn master(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    use master::windlass::master as w;
    let mut linker = shared(engine)?;
    let linked = &mut linker;
    w::model::add_to_linker::<_, Host>(linked, |state| state)?;
    w::decision::add_to_linker::<_, Host>(linked, |state| state)?;
    w::step_host::add_to_linker::<_, Host>(linked, |state| state)?;
    w::transfer::add_to_linker::<_, Host>(linked, |state| state)?;
    w::fetch::add_to_linker::<_, Host>(linked, |state| state)?;
    w::master_process::add_to_linker::<_, Host>(linked, |state| state)?;
    w::scheduler_host::add_to_linker::<_, Host>(linked, |state| state)?;
    Ok(linker)
}

/// What components with hooks of a worker may import.
pub(crate) fn worker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    use worker::windlass::worker as w;
    let mut linker = shared(engine)?;
    let linked = &mut linker;
    w::process::add_to_linker::<_, Host>(linked, |state| state)?;
    w::command_host::add_to_linker::<_, Host>(linked, |state| state)?;
    w::files::add_to_linker::<_, Host>(linked, |state| state)?;
    Ok(linker)
}

fn shared(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    use master::windlass::base as w;
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    let linked = &mut linker;
    w::types::add_to_linker::<_, Host>(linked, |state| state)?;
    w::log::add_to_linker::<_, Host>(linked, |state| state)?;
    w::clock::add_to_linker::<_, Host>(linked, |state| state)?;
    w::interruption::add_to_linker::<_, Host>(linked, |state| state)?;
    w::state::add_to_linker::<_, Host>(linked, |state| state)?;
    Ok(linker)
}
