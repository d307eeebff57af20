//! `next-slave` policy `least-loaded`: the worker with the least to do.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct LeastLoaded;

impl Hook for LeastLoaded {
    const NAME: &'static str = "least-loaded";
    const SUMMARY: &'static str = "the worker with the fewest builds in relation to what it may run";
    type Args = NoArgs;
}

impl NextSlave for LeastLoaded {
    fn choose(
        _: NoArgs,
        _: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        _: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        Ok(windlass_load::least_loaded(&slaves).map(|slave| slave.name.clone()))
    }
}

windlass_sdk::export!(next_slave: LeastLoaded);
