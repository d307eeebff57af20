//! A policy that never answers.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct Policy;

impl Hook for Policy {
    const NAME: &'static str = "loops";
    const SUMMARY: &'static str = "loops";
    type Args = NoArgs;
}

impl NextSlave for Policy {
    fn choose(
        _: NoArgs,
        _: BuilderInfo,
        _slaves: Vec<SlaveInfo>,
        _: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        let mut rounds = 0_u64;
        while std::hint::black_box(rounds) < u64::MAX {
            rounds += 1;
        }
        Ok(None)
    }
}

windlass_sdk::export!(next_slave: Policy);
