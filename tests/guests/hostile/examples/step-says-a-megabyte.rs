//! Ends with a summary of four megabytes.

use hostile::step;

step!("step-says-a-megabyte", "<b>x".repeat(1 << 20));
