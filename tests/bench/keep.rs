//! Keeps the contract and components built against it as a published version, before a release:
//!
//!     cargo run -p windlass-tests --example keep -- VERSION
//!
//! From then on `cargo xtask wit-check` compares the contract with it, and `it/kept.rs` builds with the components.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [version] = &words[..] else {
        eprintln!("usage: keep VERSION, as the packages of wit/ have it");
        return ExitCode::FAILURE;
    };
    match windlass_tests::kept::keep(version) {
        Ok(folder) => {
            println!("kept: {}", folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
