//! How the bytes of finished logs are kept, and for how long.

use serde::{Deserialize, Serialize};

use crate::horizon::Horizons;

/// How they are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// As they are.
    None,
    /// By Zstandard.
    #[default]
    Zstd,
    /// By gzip.
    Gzip,
}

impl Method {
    /// The method of this name, as `log_compression_method` has it. Buildbot's names for what is not offered here
    /// are not among them.
    #[must_use]
    pub fn named(name: &str) -> Option<Method> {
        match name {
            "none" | "raw" => Some(Method::None),
            "zstd" => Some(Method::Zstd),
            "gzip" | "gz" => Some(Method::Gzip),
            _ => None,
        }
    }
}

/// How finished logs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// How they are compressed.
    pub method: Method,
    /// A log with fewer bytes stays as it is.
    pub limit: u64,
    /// So long after its end the bytes of a log are removed; none: never.
    pub horizon_ms: Option<u64>,
    /// How many builds are kept, and how many of them with their logs.
    #[serde(default)]
    pub horizons: Horizons,
}

impl Default for Keeping {
    /// Buildbot's limit.
    fn default() -> Keeping {
        Keeping { method: Method::default(), limit: 4096, horizon_ms: None, horizons: Horizons::default() }
    }
}
