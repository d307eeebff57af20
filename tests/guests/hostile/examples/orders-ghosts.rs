//! Orders builders that do not exist before the others.

use hostile::hook;
use windlass_sdk::model::BuilderInfo;
use windlass_sdk::{Failure, NoArgs, PrioritizeBuilders};

struct Hostile;
hook!(Hostile, "orders-ghosts", &[]);

impl PrioritizeBuilders for Hostile {
    fn order(_: NoArgs, builders: Vec<BuilderInfo>) -> Result<Vec<String>, Failure> {
        let ghosts = (0..9_000).map(|n| format!("ghost-{n}"));
        Ok(ghosts.chain(builders.into_iter().map(|builder| builder.name)).collect())
    }
}

windlass_sdk::export!(prioritize_builders: Hostile);
