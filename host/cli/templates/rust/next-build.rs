//! `next-build` policy `my-plugin`: what somebody waits for comes first.

use windlass_sdk::model::{BuildRequest, BuilderInfo};
use windlass_sdk::{Failure, Hook, NextBuild, NoArgs};

struct Policy;

impl Hook for Policy {
    // What master.toml says: `next_build = "my-plugin:my-plugin"`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "requests that a running build waits for, then the usual order";
    type Args = NoArgs;
}

impl NextBuild for Policy {
    // `requests` come in the order of the default rule: priority, then age. The answer is the id of one of
    // them, or none: none of them now. An error leaves the choice to the default rule.
    fn choose(_: NoArgs, _builder: BuilderInfo, requests: Vec<BuildRequest>) -> Result<Option<u64>, Failure> {
        let urgent = requests.iter().find(|request| request.waited_for);
        Ok(urgent.or(requests.first()).map(|request| request.id))
    }
}

windlass_sdk::export!(next_build: Policy);
