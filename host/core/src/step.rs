//! What a step's outcome does to its build.

use serde::{Deserialize, Serialize};

/// A step's flags, named as Buildbot names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flags {
    /// A failure ends the build (steps with `always_run` still run).
    pub halt_on_failure: bool,
    /// A failure makes the build fail.
    pub flunk_on_failure: bool,
    /// Warnings make the build fail.
    pub flunk_on_warnings: bool,
    /// A failure gives the build warnings.
    pub warn_on_failure: bool,
    /// Warnings give the build warnings.
    pub warn_on_warnings: bool,
    /// Runs even after the build was halted.
    pub always_run: bool,
}

impl Default for Flags {
    /// Buildbot's defaults: a failure flunks the build and does not halt it.
    fn default() -> Flags {
        Flags {
            halt_on_failure: false,
            flunk_on_failure: true,
            flunk_on_warnings: false,
            warn_on_failure: false,
            warn_on_warnings: false,
            always_run: false,
        }
    }
}
