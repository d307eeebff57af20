//! From bytes to a plugin that was checked whole: what the file is, which interfaces it names, that it
//! compiles and links, and what it says of itself.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::{Component, InstancePre};
use windlass_core::digest::Digest;
use windlass_core::policy::FaultKind;

use crate::bounds::quoted;
use crate::cache;
use crate::call::{Guest, trial};
use crate::check;
use crate::compiler::{self, Compiler};
use crate::contract::{self, Shape, Side};
use crate::describe;
use crate::hooks::Indices;
use crate::imports;
use crate::plugin::{BUNDLED, Plugin, Source};
use crate::runtime::Inner;
use crate::state::State;

/// What a trial may take before a plugin counts as broken; an interpreter starts in 2 ms.
pub(crate) const TRIAL_CPU_MS: u64 = 1_000;

/// A plugin that was not loaded.
#[derive(Debug, thiserror::Error)]
#[error("failed to load plugin {plugin} ({origin}, {digest})", plugin = quoted(plugin), digest = digest.short())]
pub struct LoadError {
    /// The plugin's name.
    pub plugin: String,
    /// Its bytes.
    pub digest: Digest,
    /// Where its bytes came from.
    pub origin: Source,
    /// What is wrong with it.
    #[source]
    pub problem: Box<Problem>,
}

/// What is wrong with a plugin. "It" is the component.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("another plugin has the same name")]
    SameName,
    #[error("a plugin's file may not be called {}: {why}", quoted(.name))]
    BadName { name: String, why: &'static str },
    #[error("the file is empty")]
    Empty,
    #[error("it has {len} bytes, and at most {limit} are taken")]
    TooLarge { len: u64, limit: u64 },
    #[error("it has {count} {what}, and at most {limit} are taken")]
    TooMany { what: &'static str, count: u64, limit: u64 },
    #[error("it is the text form of WebAssembly; `wasm-tools parse` makes the binary form")]
    Text,
    #[error(
        "it is a core module, not a component; `windlass plugin build` makes a component of a project, \
         `wasm-tools component new` of a module"
    )]
    CoreModule,
    #[error(
        "it is compiled already, and native code is not taken from here; put the component itself into \
         the folder, windlass compiles it"
    )]
    Precompiled,
    #[error("it is a native program, not a component")]
    Native,
    #[error("it is not WebAssembly")]
    NotWasm,
    #[error(
        "it ends too early, after {len} bytes: an incomplete copy? (write a copy under another name, then rename it)"
    )]
    Truncated { len: u64 },
    #[error("it is not valid at byte {offset}: {message}")]
    Invalid { offset: u64, message: String },
    #[error("it exports no hook; the hooks of this host are {}", contract::known_hooks())]
    NoHook,
    #[error(
        "it exports {}, which is no hook of this host; the hooks are {}",
        quoted(export),
        contract::known_hooks()
    )]
    UnknownHook { export: String },
    #[error("it does not export `windlass:base/plugin@{}`, which says what it is", contract::VERSION)]
    NoDescription,
    #[error("it wants {}, and this host has version {}", quoted(wanted), contract::VERSION)]
    OtherVersion { wanted: String },
    #[error("it imports {}, which this host does not know; it has {}", quoted(import), known.join(", "))]
    UnknownImport { import: String, known: Vec<String> },
    #[error("it imports {}, and this host has WASI 0.2 only", quoted(import))]
    OtherWasi { import: String },
    #[error("it imports {}, and only `windlass:*` and `wasi:*` are to be had here", quoted(import))]
    ForeignImport { import: String },
    #[error(
        "a component serves one side: `{master}` is for the master and `{worker}` for a worker; make two"
    )]
    TwoSides { master: String, worker: String },
    #[error("it cannot be compiled within {limit}, which is what a component of its size gets")]
    Compiling { limit: String },
    #[error("it cannot be compiled")]
    Compile(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it does not fit this host")]
    Link(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("its `{interface}` has other types than this host's")]
    Types {
        interface: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("failed to ask it what it is, by `plugin.describe`")]
    Describe(#[source] Box<FaultKind>),
    #[error("{0}")]
    Description(String),
    #[error("{}", several(.0))]
    Several(Vec<Problem>),
}

/// Problems that are named one by one; a component may have thousands.
const MAX_NAMED: usize = 20;

fn several(problems: &[Problem]) -> String {
    let mut texts: Vec<String> = problems.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if problems.len() > MAX_NAMED {
        texts.push(format!("and {} more", problems.len() - MAX_NAMED));
    }
    texts.join("; ")
}

impl Problem {
    /// Several as one.
    pub(crate) fn all(mut problems: Vec<Problem>) -> Problem {
        match problems.pop() {
            Some(only) if problems.is_empty() => only,
            last => {
                problems.extend(last);
                Problem::Several(problems)
            }
        }
    }
}

/// What calls need of a plugin.
pub(crate) struct Prepared {
    pub(crate) pre: InstancePre<State>,
    pub(crate) indices: Indices,
}

/// Loads a component. Blocks for as long as compiling takes.
pub(crate) fn load(
    inner: &Arc<Inner>,
    name: &str,
    origin: Source,
    bytes: &Bytes,
) -> Result<Arc<Plugin>, LoadError> {
    let digest = Digest::of(bytes);
    match checked(inner, name, &origin, digest, bytes) {
        Ok((prepared, described)) => Ok(Arc::new(Plugin {
            name: name.to_owned(),
            digest,
            bytes_len: bytes.len() as u64,
            source: origin,
            hooks: described.hooks,
            capabilities: described.capabilities,
            prepared,
        })),
        Err(problem) => {
            Err(LoadError { plugin: name.to_owned(), digest, origin, problem: Box::new(problem) })
        }
    }
}

fn checked(
    inner: &Arc<Inner>,
    name: &str,
    origin: &Source,
    digest: Digest,
    bytes: &[u8],
) -> Result<(Prepared, describe::Described), Problem> {
    check_name(name, origin)?;
    let header = check::header(bytes, inner.limits.component_bytes)?;
    let shape = contract::check(&header.imports, &header.exports).map_err(Problem::all)?;
    let component = compile(inner, digest, bytes)?;
    let pre = link(inner, &shape, &header, &component)?;
    let indices = Indices::probe(&pre, &shape.hooks)?;
    let prepared = Prepared { pre, indices };
    let used = "loading".to_owned();
    let guest = Guest { name: Arc::from(name), digest, pre: prepared.pre.clone(), used };
    let description = trial(inner, guest, prepared.indices.clone())?;
    let described = describe::check(name, description, &shape.hooks).map_err(Problem::all)?;
    Ok((prepared, described))
}

/// A name that can stand before the colon of a qualified hook name.
fn check_name(name: &str, origin: &Source) -> Result<(), Problem> {
    let bad = |why| Err(Problem::BadName { name: name.to_owned(), why });
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(fits) {
        return bad("letters, digits, `-`, `_` and `.` are what configurations can name");
    }
    match origin {
        Source::File(_) if name == BUNDLED => bad("that is the name of the bundled plugins"),
        Source::File(_) | Source::Bundled | Source::Master => Ok(()),
    }
}

fn compile(inner: &Inner, digest: Digest, bytes: &[u8]) -> Result<Component, Problem> {
    if let Some(component) = inner.cache.get(&inner.engine, &digest) {
        return Ok(component);
    }
    // One at a time: the compiler uses all processors by itself, and memory by the gigabyte.
    let _turn = inner.compiling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let artefact = match &inner.compiler {
        Compiler::Child { program, args } => compiler::in_child(program, args, bytes)?,
        Compiler::InProcess => {
            check::validate(bytes)?;
            inner.engine.precompile_component(bytes).map_err(|error| Problem::Compile(error.into()))?
        }
    };
    if let Err(error) = inner.cache.put(&digest, &artefact) {
        tracing::warn!(%digest, %error, "a compiled component was not cached");
    }
    cache::deserialize(&inner.engine, &artefact).map_err(|error| Problem::Compile(error.into()))
}

fn link(
    inner: &Inner,
    shape: &Shape,
    header: &check::Header,
    component: &Component,
) -> Result<InstancePre<State>, Problem> {
    let linker = match shape.side {
        Side::Master => &inner.master,
        Side::Worker => &inner.worker,
    };
    let linked = if header.imports.iter().any(|import| imports::is_left_over(import)) {
        let mut linker = linker.clone();
        imports::define_left_over(&mut linker, component).and_then(|()| linker.instantiate_pre(component))
    } else {
        linker.instantiate_pre(component)
    };
    linked.map_err(|error| Problem::Link(error.into()))
}
