//! Chores of the project: setup, the WIT check, the dependency audit, benchmarks
fn main() {}
