//! A policy that traps.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct Policy;

impl Hook for Policy {
    const NAME: &'static str = "traps";
    const SUMMARY: &'static str = "traps";
    type Args = NoArgs;
}

impl NextSlave for Policy {
    fn choose(
        _: NoArgs,
        _: BuilderInfo,
        _slaves: Vec<SlaveInfo>,
        _: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        panic!("this policy traps")
    }
}

windlass_sdk::export!(next_slave: Policy);
