//! What the benches compare with: wasmtime and nothing else, asked as the contract has it.

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};

#[path = "../../src/engine_config.rs"]
mod engine_config;

mod bindings {
    #![allow(missing_docs, reason = "generated from wit/, documented there")]
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "windlass:master/all-hooks",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}
use bindings::exports::windlass::master::next_slave;
use bindings::windlass::master::model;

pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What the guest is asked, in its own types.
pub struct Question {
    builder: model::BuilderInfo,
    slaves: Vec<model::SlaveInfo>,
    request: model::BuildRequest,
}

impl Question {
    pub fn of(candidates: usize) -> Question {
        let slave = |n| model::SlaveInfo {
            name: worker(n),
            running: 0,
            max_builds: Some(4),
            connected_since_ms: 1_000,
            last_built_ms: None,
            last_outcome: None,
            load: None,
            properties: Vec::new(),
        };
        Question {
            builder: model::BuilderInfo {
                name: "linux".to_owned(),
                tags: vec!["ci".to_owned()],
                pending: 1,
                building: 0,
                highest_priority: Some(0),
                oldest_request_ms: Some(1_000),
            },
            slaves: (0..candidates).map(slave).collect(),
            request: model::BuildRequest {
                id: 12,
                buildset: 7,
                builder: "linux".to_owned(),
                stamps: Vec::new(),
                priority: 0,
                submitted_ms: 1_000,
                waited_for: false,
                reason: "force".to_owned(),
                properties: Vec::new(),
            },
        }
    }
}

pub fn worker(n: usize) -> String {
    format!("worker-{n:04}")
}

/// wasmtime and nothing else.
pub struct Bare {
    engine: Engine,
    pre: InstancePre<()>,
    indices: next_slave::GuestIndices,
}

impl Bare {
    pub fn new(bytes: &[u8]) -> Result<Bare, Failed> {
        let engine = Engine::new(&engine_config::config())?;
        let component = Component::new(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        // No policy calls any of them in this run.
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        let indices = next_slave::GuestIndices::new(&pre)?;
        Ok(Bare { engine, pre, indices })
    }

    /// Asks in an instance of its own; answers the store in which that still lives.
    pub async fn ask(&self, hook: &str, question: &Question) -> Result<Store<()>, Failed> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let guest = self.indices.load(&mut store, &instance)?;
        let Question { builder, slaves, request } = question;
        let chosen = guest.call_choose(&mut store, hook, "{}", builder, slaves, request).await?;
        chosen.map_err(|failure| format!("{failure:?}"))?.ok_or("it chooses nobody")?;
        Ok(store)
    }
}
