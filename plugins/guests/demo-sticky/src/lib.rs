//! `next-slave` policy `placement`, as the demo replaces it: the worker that built this builder last.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct Placement;

impl Hook for Placement {
    const NAME: &'static str = "placement";
    const SUMMARY: &'static str = "the worker that built this builder last, whose checkout is warm";
    type Args = NoArgs;
}

impl NextSlave for Placement {
    fn choose(
        _: NoArgs,
        _: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        _: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        let warm =
            slaves.iter().filter(|slave| slave.last_built_ms.is_some()).max_by_key(|s| s.last_built_ms);
        Ok(warm.or_else(|| windlass_load::least_loaded(&slaves)).map(|slave| slave.name.clone()))
    }
}

windlass_sdk::export!(next_slave: Placement);
