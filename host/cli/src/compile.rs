//! The hidden command that compiles one component: this program as a child of itself, under limits.

use std::ffi::OsString;
use std::process::ExitCode;

use windlass_runtime::{Compiler, compile_child};

/// What stands first among the arguments of such a child. Not known to clap, so that no help shows it
/// and nothing is set up before the limits are.
const COMPILE: &str = "compile-plugin";

/// Compiles, if this is such a child.
pub fn if_asked() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (first, limits) = args.split_first()?;
    (first == COMPILE).then(|| compile_child(limits))
}

/// Children of this program.
pub fn compiler() -> Compiler {
    Compiler::this_program(&[COMPILE])
}
