//! A generation of the past, made again from the digests that a build keeps.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use windlass_core::digest::Digest;

use super::{Generation, key};
use crate::load::LoadError;
use crate::plugin::{BUNDLED, Source};
use crate::runtime::Runtime;

/// Why a generation cannot be made again.
#[derive(Debug, thiserror::Error)]
pub enum ReviveError {
    /// Nobody has the bytes any more.
    #[error("the bytes of plugin `{plugin}` ({}) are gone", digest.short())]
    Gone {
        /// The plugin.
        plugin: String,
        /// The hash of its bytes.
        digest: Digest,
    },
    /// The bytes cannot be read.
    #[error("failed to read the bytes of plugin `{plugin}`")]
    Read {
        /// The plugin.
        plugin: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// What loaded once does not load any more.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Makes the generation whose [`Generation::digests`] were `digests`. What `present` has is taken over; of the others
/// `bytes` finds the bytes. Blocks: call it off the async threads.
pub fn revive<E: Error + Send + Sync + 'static>(
    runtime: &Runtime,
    present: &Generation,
    number: u64,
    digests: &BTreeMap<String, Digest>,
    bytes: impl Fn(&Digest) -> Result<Option<Bytes>, E>,
) -> Result<Generation, ReviveError> {
    let mut plugins = BTreeMap::new();
    for (full, digest) in digests {
        let bundled = full.strip_prefix(BUNDLED).and_then(|rest| rest.strip_prefix(':'));
        let (name, source) = match bundled {
            Some(name) => (name, Source::Bundled),
            None => (full.as_str(), Source::File(format!("{full}.wasm").into())),
        };
        let key = key(&source, name);
        let same = present.plugins.get(&key).filter(|plugin| plugin.digest == *digest);
        let plugin = match same {
            Some(plugin) => Arc::clone(plugin),
            None => {
                let found = bytes(digest)
                    .map_err(|error| ReviveError::Read { plugin: full.clone(), source: error.into() })?;
                let found =
                    found.ok_or_else(|| ReviveError::Gone { plugin: full.clone(), digest: *digest })?;
                runtime.load(name, source, found)?
            }
        };
        plugins.insert(key, plugin);
    }
    Ok(Generation { number, plugins })
}
