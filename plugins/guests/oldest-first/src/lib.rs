//! `prioritize-builders` policy `oldest-first`: whose request has waited longest comes first.

use windlass_sdk::model::BuilderInfo;
use windlass_sdk::{Failure, Hook, NoArgs, PrioritizeBuilders};

struct OldestFirst;

impl Hook for OldestFirst {
    const NAME: &'static str = "oldest-first";
    const SUMMARY: &'static str = "the builder whose request has waited longest, whatever the priorities";
    type Args = NoArgs;
}

impl PrioritizeBuilders for OldestFirst {
    fn order(_: NoArgs, mut builders: Vec<BuilderInfo>) -> Result<Vec<String>, Failure> {
        builders.sort_by_key(|builder| builder.oldest_request_ms.unwrap_or(u64::MAX));
        Ok(builders.into_iter().map(|builder| builder.name).collect())
    }
}

windlass_sdk::export!(prioritize_builders: OldestFirst);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_request_leads_and_builders_without_any_come_last() {
        let builder = |name: &str, oldest: Option<u64>| BuilderInfo {
            name: name.into(),
            tags: vec![],
            pending: 0,
            building: 0,
            highest_priority: None,
            oldest_request_ms: oldest,
        };
        let builders = vec![builder("none", None), builder("young", Some(9)), builder("old", Some(3))];
        assert_eq!(OldestFirst::order(NoArgs, builders).expect("it never fails"), ["old", "young", "none"]);
    }
}
