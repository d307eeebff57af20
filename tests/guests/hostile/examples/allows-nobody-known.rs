//! Allows workers that were not offered.

use hostile::hook;
use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{CanStartBuild, Failure, NoArgs};

struct Hostile;
hook!(Hostile, "allows-nobody-known", &[]);

impl CanStartBuild for Hostile {
    fn allow(_: NoArgs, _: BuilderInfo, _: Vec<SlaveInfo>, _: BuildRequest) -> Result<Vec<String>, Failure> {
        Ok(vec!["nobody".to_owned()])
    }
}

windlass_sdk::export!(can_start_build: Hostile);
