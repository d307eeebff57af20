//! Chooses a request that does not exist.

use hostile::hook;
use windlass_sdk::model::{BuildRequest, BuilderInfo};
use windlass_sdk::{Failure, NextBuild, NoArgs};

struct Hostile;
hook!(Hostile, "builds-a-ghost", &[]);

impl NextBuild for Hostile {
    fn choose(_: NoArgs, _: BuilderInfo, _: Vec<BuildRequest>) -> Result<Option<u64>, Failure> {
        Ok(Some(u64::MAX))
    }
}

windlass_sdk::export!(next_build: Hostile);
