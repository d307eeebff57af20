//! `windlass:master/fetch` and `windlass:master/master-process`: what a step reaches beyond its build, and a reporter
//! beyond the master.

use windlass_core::value::Failure;

use crate::bindings::master::windlass::master::{fetch, master_process};
use crate::bounds;
use crate::imports::{Answer, answer};
use crate::port::{FetchRequest, FetchResponse, StepPort};
use crate::state::State;

impl State {
    /// Steps and reporters; a trap in any other role.
    async fn fetch(&mut self, request: FetchRequest) -> wasmtime::Result<Result<FetchResponse, Failure>> {
        match self.service() {
            Some(port) => Ok(port.fetch(request).await),
            None => Ok(self.step("windlass:master/fetch")?.fetch(request).await),
        }
    }

    fn processes(&mut self) -> wasmtime::Result<&mut dyn StepPort> {
        self.step("windlass:master/master-process")
    }
}

impl fetch::Host for State {
    async fn send(&mut self, request: fetch::Request) -> Answer<fetch::Response> {
        let sent = request.body.len();
        let fetched = match check_request(&request) {
            Ok(()) => self.fetch(request.into()).await?,
            Err(failure) => Err(failure),
        };
        // Of a request that was refused nothing left, and nothing came.
        self.counters.moved(fetched.as_ref().map_or(0, |response| sent + response.body.len()));
        self.answer(fetched)
    }
}

impl master_process::Host for State {
    async fn start(
        &mut self,
        argv: Vec<String>,
        env: Vec<(String, String)>,
        timeout_ms: Option<u32>,
        to_log: String,
    ) -> Answer<u32> {
        let port = self.processes()?;
        let started = match check_program(&argv, &env, &to_log) {
            Ok(()) => port.start_process(argv, env, timeout_ms, &to_log).await,
            Err(failure) => Err(failure),
        };
        self.answer(started)
    }

    async fn stop(&mut self, process: u32) -> Answer {
        answer(self.processes()?.stop_process(process).await)
    }
}

fn check_request(request: &fetch::Request) -> Result<(), Failure> {
    bounds::name("the method", &request.method)?;
    bounds::text("the URL", &request.url)?;
    bounds::items("the list of headers", &request.headers)?;
    for (name, value) in &request.headers {
        bounds::name("a header's name", name)?;
        bounds::blob("a header's value", value)?;
    }
    Ok(())
}

fn check_program(argv: &[String], env: &[(String, String)], log: &str) -> Result<(), Failure> {
    bounds::items("the arguments", argv)?;
    argv.iter().try_for_each(|argument| bounds::text("an argument", argument))?;
    bounds::items("the environment", env)?;
    for (name, value) in env {
        bounds::name("a variable's name", name)?;
        bounds::text("a variable's value", value)?;
    }
    bounds::name("the log's name", log)
}

impl From<fetch::Request> for FetchRequest {
    fn from(request: fetch::Request) -> FetchRequest {
        FetchRequest {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            timeout_ms: request.timeout_ms,
            max_response: request.max_response,
        }
    }
}

impl From<FetchResponse> for fetch::Response {
    fn from(response: FetchResponse) -> fetch::Response {
        fetch::Response { status: response.status, headers: response.headers, body: response.body }
    }
}
