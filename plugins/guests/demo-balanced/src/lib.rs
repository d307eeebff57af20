//! `next-slave` policy `placement`, as the demo starts with it: the worker with the least to do.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct Placement;

impl Hook for Placement {
    const NAME: &'static str = "placement";
    const SUMMARY: &'static str = "the worker with the least to do";
    type Args = NoArgs;
}

impl NextSlave for Placement {
    fn choose(
        _: NoArgs,
        _: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        _: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        Ok(windlass_load::least_loaded(&slaves).map(|slave| slave.name.clone()))
    }
}

windlass_sdk::export!(next_slave: Placement);
