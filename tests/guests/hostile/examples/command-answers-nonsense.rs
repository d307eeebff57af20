//! Ends with values that no value may be.

use hostile::hook;
use windlass_sdk::{Completion, Failure, NoArgs, SlaveCommand, Value};

struct Hostile;
hook!(Hostile, "command-answers-nonsense", &[]);

impl SlaveCommand for Hostile {
    fn run(_: NoArgs) -> Result<Completion, Failure> {
        Ok(Completion::rc(0).with("n", Value::Number(f64::INFINITY)))
    }
}

windlass_sdk::export!(slave_command: Hostile);
