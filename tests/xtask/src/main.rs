//! Chores of the project: `cargo xtask help` lists them.

mod audit;
mod kept;
mod setup;
mod wit_check;

use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <chore>

  setup      makes this machine able to build plugins in every language; does nothing when it is
  wit-check  the contract in wit/ parses, every item of it is documented, and what was published stands
  audit      licences, duplicates and the number of dependencies are as decided
  help       this text
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["setup"] => setup::run(),
        ["wit-check"] => wit_check::run(root()).and_then(|()| kept::run(root())),
        ["audit"] => audit::run(root()),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("xtask lives in tests/xtask")
}
