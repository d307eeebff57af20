//! `plugin`: from an empty folder to a live component, and what it costs once it is live.

mod anatomy;
mod build;
mod check;
mod inspect;
mod list;
mod new;
mod stats;

pub use new::kinds;

use std::path::Path;
use std::sync::Arc;

use anstyle::Style;
use anyhow::Context as _;
use windlass_runtime::plugin::{Plugin, Source};
use windlass_runtime::{LoadError, Options, Runtime};
use windlass_web::client::Client;

use crate::args::Plugin as Order;
use crate::compile::Cache;
use crate::exit::{Exit, Failed};
use crate::output::size;
use crate::waiting::Waiting;

const PLAIN: Style = Style::new();

/// From this size on, whoever waits for a component to be compiled wants to know.
const LARGE: usize = 4 << 20;

/// `windlass plugin ...`; only some of them need a master.
pub async fn plugin(
    order: Order,
    client: impl FnOnce() -> Result<Client, Failed>,
    json: bool,
) -> Result<Exit, Failed> {
    match order {
        Order::New(project) => new::new(&project, json),
        Order::Build { project, out, target_dir } => {
            build::build(&project, &out, target_dir.as_deref(), json)
        }
        Order::Check { paths, target_dir } => check::check(&paths, target_dir.as_deref(), json),
        Order::Inspect { file } => inspect::inspect(&file, json),
        Order::List => list::list(&client()?, json).await,
        Order::Stats { plugin } => stats::stats(&client()?, plugin.as_deref(), json).await,
    }
}

/// A component and where it came from.
struct File {
    name: String,
    source: Source,
    bytes: Vec<u8>,
}

impl File {
    /// A file, named by its stem as in a plugins folder.
    fn read(path: &Path) -> Result<File, Failed> {
        let bytes = std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        Ok(File { name, source: Source::File(path.to_owned()), bytes })
    }

    /// A bundled component.
    fn bundled(bundled: &windlass_plugins::Bundled) -> File {
        File { name: bundled.name.to_owned(), source: Source::Bundled, bytes: bundled.bytes.to_vec() }
    }
}

/// Loads components as a master does.
struct Loader {
    runtime: Runtime,
    _cache: Cache,
}

impl Loader {
    fn start() -> Result<Loader, Failed> {
        let cache = Cache::open().context("failed to make a directory to compile in")?;
        let compiler = crate::compile::compiler();
        let options = Options { guest_threads: 1, compiler, ..Options::new(cache.folder()) };
        let runtime = Runtime::new(options).context("failed to start the engine")?;
        Ok(Loader { runtime, _cache: cache })
    }

    fn load(&self, file: File) -> Result<Arc<Plugin>, LoadError> {
        let waiting = (file.bytes.len() > LARGE).then(|| {
            let size = size(file.bytes.len() as u64);
            Waiting::begin(format!("loading {}, {size}: it is compiled the first time, some 20 s", file.name))
        });
        let loaded = self.runtime.load(&file.name, file.source, file.bytes.into());
        drop(waiting);
        loaded
    }
}
