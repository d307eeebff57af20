//! Adds itself to its build, and so for ever.

use hostile::{step, told};

step!("step-adds-itself", {
    let again = r#"{"use": "step-adds-itself:step-adds-itself"}"#.to_owned();
    told(windlass_sdk::step::add_steps(&vec![again; 100]))
});
