//! A runtime with a cache of its own, the misbehaving guest, and small questions.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tempfile::TempDir;
use windlass_core::policy::{BuilderInfo, Fault, FaultKind, Lookups, Question, RequestInfo, SlaveInfo};
use windlass_core::time::Timestamp;
use windlass_runtime::plugin::{Plugin, Source};
use windlass_runtime::{Options, Reply, Runtime};

/// A runtime, and the directory of its cache.
pub struct Host {
    pub runtime: Runtime,
    pub dir: TempDir,
}

pub fn host() -> Host {
    host_with(|_| {})
}

/// Its policies have a minute, since a machine under load is slow; `change` may set something else.
pub fn host_with(change: impl FnOnce(&mut Options)) -> Host {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path().join("cache"));
    (options.limits.policy_cpu_ms, options.limits.policy_wall_ms) = (60_000, 60_000);
    change(&mut options);
    Host { runtime: Runtime::new(options).unwrap(), dir }
}

/// The guest of `tests/guests`, built once.
pub fn misbehaving() -> Bytes {
    static BUILT: OnceLock<Bytes> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests");
            // The bundled guests are built there too: what they have in common is compiled once.
            let target: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("guests");
            let built = windlass_build::Builder::new(project).target_dir(target).locked().build().unwrap();
            std::fs::read(&built[0].path).unwrap().into()
        })
        .clone()
}

pub fn bundled(name: &str) -> Bytes {
    let found = windlass_plugins::bundled().iter().find(|bundled| bundled.name == name);
    Bytes::from_static(found.unwrap().bytes)
}

impl Host {
    /// The misbehaving guest, loaded.
    pub fn misbehaving(&self) -> Arc<Plugin> {
        let source = Source::File("plugins/misbehaving.wasm".into());
        self.runtime.load("misbehaving", source, misbehaving()).unwrap()
    }

    /// Asks a `next-slave` policy.
    pub async fn choose(&self, plugin: &Arc<Plugin>, hook: &str) -> Reply {
        self.runtime.ask(plugin, hook, "{}", question(3), Lookups::default()).await
    }

    /// The fault of a policy that must not answer.
    pub async fn fault(&self, plugin: &Arc<Plugin>, hook: &str) -> FaultKind {
        let fault: Fault = self.choose(plugin, hook).await.answer.unwrap_err();
        assert_eq!((fault.plugin.as_str(), fault.call.as_str()), ("misbehaving", "next-slave.choose"));
        assert_eq!(fault.digest, plugin.digest);
        fault.kind
    }
}

/// `slaves` workers `w0`, `w1` ... for one request.
pub fn question(slaves: usize) -> Question {
    let slave = |n| SlaveInfo {
        name: format!("w{n}"),
        running: u32::try_from(n % 4).unwrap(),
        max_builds: Some(4),
        connected_since: Timestamp(1_000),
        last_built: None,
        last_outcome: None,
        load: Some(0.5),
        properties: Vec::new(),
    };
    let builder = BuilderInfo {
        name: "linux".to_owned(),
        tags: vec!["ci".to_owned()],
        pending: 1,
        building: 0,
        highest_priority: Some(0),
        oldest_request: Some(Timestamp(1_000)),
    };
    let request = RequestInfo {
        id: 12,
        buildset: 7,
        builder: "linux".to_owned(),
        stamps: Vec::new(),
        priority: 0,
        submitted: Timestamp(1_000),
        waited_for: false,
        reason: "force".to_owned(),
        properties: Vec::new(),
    };
    Question::NextSlave { builder, slaves: Arc::new((0..slaves).map(slave).collect()), request }
}
