//! Orders builders that do not exist and no others.

use hostile::hook;
use windlass_sdk::model::BuilderInfo;
use windlass_sdk::{Failure, NoArgs, PrioritizeBuilders};

struct Hostile;
hook!(Hostile, "orders-ghosts", &[]);

impl PrioritizeBuilders for Hostile {
    fn order(_: NoArgs, _: Vec<BuilderInfo>) -> Result<Vec<String>, Failure> {
        Ok((0..9_000).map(|n| format!("ghost-{n}")).collect())
    }
}

windlass_sdk::export!(prioritize_builders: Hostile);
