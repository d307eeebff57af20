//! A policy with the hook `traps` that does not trap.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct Policy;

impl Hook for Policy {
    const NAME: &'static str = "traps";
    const SUMMARY: &'static str = "does not trap";
    type Args = NoArgs;
}

impl NextSlave for Policy {
    fn choose(
        _: NoArgs,
        _: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        _: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        Ok(slaves.into_iter().next().map(|slave| slave.name))
    }
}

windlass_sdk::export!(next_slave: Policy);
