//! The windlass binary: arguments to one of the crates below; prints; exit codes
fn main() {}
