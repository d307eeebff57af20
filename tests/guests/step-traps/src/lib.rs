//! A step that traps.

use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook, NoArgs};

struct Step;

impl Hook for Step {
    const NAME: &'static str = "step-traps";
    const SUMMARY: &'static str = "traps";
    type Args = NoArgs;
}

impl BuildStep for Step {
    fn run(_: NoArgs) -> Result<StepResult, Failure> {
        panic!("this step traps")
    }
}

windlass_sdk::export!(build_step: Step);
