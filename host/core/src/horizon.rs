//! How much of history is kept, in Buildbot's units: finished builds of each builder, and changes.

use serde::{Deserialize, Serialize};

/// How many are kept, the newest ones; none: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizons {
    /// Of builds.
    pub builds: Option<u64>,
    /// Of those whose logs have their bytes.
    pub logs: Option<u64>,
    /// Changes, of all sources together.
    #[serde(default)]
    pub changes: Option<u64>,
}
