//! How much of history is kept, in Buildbot's unit: finished builds of each builder.

use serde::{Deserialize, Serialize};

/// How many are kept, the newest ones; none: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizons {
    /// Of builds.
    pub builds: Option<u64>,
    /// Of those whose logs have their bytes.
    pub logs: Option<u64>,
}
