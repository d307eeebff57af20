//! A policy whose schema is none.

use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};

struct Policy;

impl Hook for Policy {
    const NAME: &'static str = "bad-schema";
    const SUMMARY: &'static str = "has a bad schema";
    const ARGS_SCHEMA: Option<&'static str> = Some(r#"{"type": "object", "properties": 7}"#);
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
