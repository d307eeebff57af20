//! `can-start-build` policy `my-plugin`: no build starts on a worker that is busy with something else.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{CanStartBuild, Failure, Hook, NoArgs};

struct Policy;

impl Hook for Policy {
    // What master.toml says: `can_start_build = "my-plugin:my-plugin"`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "only on workers whose load is below 4";
    type Args = NoArgs;
}

impl CanStartBuild for Policy {
    // The answer names those of `slaves` that may take `request` now; with none it waits, and is asked
    // about again. After an error nobody may.
    fn allow(
        _: NoArgs,
        _builder: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        _request: BuildRequest,
    ) -> Result<Vec<String>, Failure> {
        // A worker that has not reported its load yet counts as idle.
        let calm = slaves.into_iter().filter(|slave| slave.load.unwrap_or(0.0) < 4.0);
        Ok(calm.map(|slave| slave.name).collect())
    }
}

windlass_sdk::export!(can_start_build: Policy);
