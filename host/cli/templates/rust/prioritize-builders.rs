//! `prioritize-builders` policy `my-plugin`: builders with the tag `urgent` come first.

use windlass_sdk::model::BuilderInfo;
use windlass_sdk::{Failure, Hook, NoArgs, PrioritizeBuilders};

struct Policy;

impl Hook for Policy {
    // What master.toml says, under `[policies]`: `prioritize_builders = "my-plugin:my-plugin"`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "builders with the tag `urgent`, then the others in the usual order";
    type Args = NoArgs;
}

impl PrioritizeBuilders for Policy {
    // `builders` have something to do, and come in the order of the default rule. The answer is the order
    // in which they are offered workers; those left out wait. An error leaves it to the default rule.
    fn order(_: NoArgs, mut builders: Vec<BuilderInfo>) -> Result<Vec<String>, Failure> {
        // The sort is stable: equals keep their order.
        builders.sort_by_key(|builder| !builder.tags.iter().any(|tag| tag == "urgent"));
        Ok(builders.into_iter().map(|builder| builder.name).collect())
    }
}

windlass_sdk::export!(prioritize_builders: Policy);
