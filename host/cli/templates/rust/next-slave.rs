//! `next-slave` policy `my-plugin`: the free worker with the fewest builds.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct Policy;

impl Hook for Policy {
    // What master.toml says: `next_slave = "my-plugin:my-plugin"`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "the free worker with the fewest builds, by name among equals";
    type Args = NoArgs;
}

impl NextSlave for Policy {
    // `slaves` are the workers that could take `request`, in the order of the default rule. The answer is
    // the name of one of them, or none: the request waits. An error leaves the choice to the default rule.
    fn choose(
        _: NoArgs,
        _builder: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        _request: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        let chosen = slaves.into_iter().min_by_key(|slave| (slave.running, slave.name.clone()));
        Ok(chosen.map(|slave| slave.name))
    }
}

windlass_sdk::export!(next_slave: Policy);
