//! The part of [`crate::view`] about orders to build: what somebody asks for, and what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An order to build: `windlass force`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Force {
    /// The builder.
    pub builder: String,
    /// The branch; none: the default one.
    pub branch: Option<String>,
    /// The revision; none: the newest.
    pub revision: Option<String>,
    /// The repository; none: the one that the builder's `git` step names, or the only one polled.
    pub repository: Option<String>,
    /// Properties of the build.
    pub properties: BTreeMap<String, serde_json::Value>,
    /// Why.
    pub reason: Option<String>,
    /// Who.
    pub owner: Option<String>,
    /// Goes on top of the source.
    #[serde(default)]
    pub patch: Option<Patch>,
}

/// A patch to build with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// A unified diff, at most 1 MiB.
    #[serde(with = "base64")]
    pub body: Vec<u8>,
    /// As of `patch -p`.
    #[serde(default = "one")]
    pub level: u32,
    /// Where to apply it, below the source.
    #[serde(default)]
    pub directory: String,
}

fn one() -> u32 {
    1
}

/// Bytes in JSON.
mod base64 {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64.decode(text.as_bytes()).map_err(|error| D::Error::custom(format!("not base64: {error}")))
    }
}

/// What became of a [`Force`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// The buildset.
    pub buildset: u64,
    /// Its requests.
    pub requests: Vec<u64>,
}
