//! A step that computes for ever.

use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook, NoArgs};

struct Step;

impl Hook for Step {
    const NAME: &'static str = "step-loops";
    const SUMMARY: &'static str = "loops";
    type Args = NoArgs;
}

impl BuildStep for Step {
    fn run(_: NoArgs) -> Result<StepResult, Failure> {
        let mut rounds = 0_u64;
        while std::hint::black_box(rounds) < u64::MAX {
            rounds += 1;
        }
        Ok(StepResult::new(windlass_sdk::Outcome::Success, "it came to an end"))
    }
}

windlass_sdk::export!(build_step: Step);
