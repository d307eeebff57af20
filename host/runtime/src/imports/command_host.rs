//! `windlass:worker/command-host`: what a running slave-command tells the master.

use windlass_core::value::Pair;

use crate::bindings::master::windlass::base::types as wit;
use crate::bindings::worker::windlass::worker::command_host;
use crate::bounds;
use crate::convert::list;
use crate::imports::{Answer, answer};
use crate::state::State;

const NAME: &str = "windlass:worker/command-host";

impl command_host::Host for State {
    async fn sleep(&mut self, ms: u32) -> Answer {
        answer(self.command(NAME)?.sleep(ms).await)
    }

    async fn log_chunk(&mut self, log: String, from_stream: wit::Origin, data: Vec<u8>) -> Answer {
        let len = data.len();
        let port = self.command(NAME)?;
        let taken = match bounds::name("the log's name", &log).and_then(|()| bounds::blob("the chunk", &data))
        {
            Ok(()) => port.log(&log, from_stream.into(), data.into()).await,
            Err(failure) => Err(failure),
        };
        self.counters.moved(if taken.is_ok() { len } else { 0 });
        answer(taken)
    }

    async fn log_text(&mut self, log: String, from_stream: wit::Origin, text: String) -> Answer {
        self.log_chunk(log, from_stream, text.into_bytes()).await
    }

    async fn update(&mut self, values: Vec<wit::Pair>) -> Answer {
        let port = self.command(NAME)?;
        let values: Vec<Pair> = list(values);
        match bounds::pairs("the update", &values) {
            Ok(()) => answer(port.update(values).await),
            Err(failure) => answer(Err::<(), _>(failure)),
        }
    }
}
