//! Recurses for ever in a step.

use hostile::{recurse, step};

step!("step-recurses", recurse(0).to_string());
