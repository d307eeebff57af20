//! A policy that takes all the memory there is.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct Policy;

impl Hook for Policy {
    const NAME: &'static str = "hog";
    const SUMMARY: &'static str = "takes all memory";
    type Args = NoArgs;
}

impl NextSlave for Policy {
    fn choose(
        _: NoArgs,
        _: BuilderInfo,
        _slaves: Vec<SlaveInfo>,
        _: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        let mut hoard = Vec::new();
        loop {
            hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }
}

windlass_sdk::export!(next_slave: Policy);
