//! The hidden command by which a worker puts a program at the head of a session with a terminal.

use std::ffi::OsString;
use std::process::ExitCode;

/// What stands first among the arguments. Not known to clap, so that no help shows it.
const LEAD: &str = "lead-terminal";

/// Becomes the program that the other arguments name, if this is asked for.
pub fn if_asked() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (first, program) = args.split_first()?;
    (first == LEAD).then(|| windlass_worker::lead_terminal(program))
}

/// How a worker starts this program for it: the very file that it runs itself, whatever has taken its name since.
pub fn leader() -> Vec<String> {
    vec!["/proc/self/exe".to_owned(), LEAD.to_owned()]
}
