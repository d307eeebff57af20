//! `cargo xtask setup`: what a bare machine lacks to build the guests. The only place that installs anything.
//!
//! As root where apt knows `rustc-web`: Debian's compiler with its sources, which stand beside rustup's and do
//! not disturb it. Elsewhere rustup's wasm target. Then the standard library is built, where that is needed, so
//! that the first `cargo build` does not seem to hang.

use std::process::Command;

use anyhow::{Context, bail};
use windlass_build::{TARGET, Toolchain, ToolchainError};

/// Installs what is missing, and says so.
pub fn run(languages: bool) -> anyhow::Result<()> {
    let mut say = |line: &str| {
        // Cargo's own words are of interest only when it fails, and are in the error then.
        if !line.starts_with(' ') {
            println!("setup: {line}");
        }
    };
    match Toolchain::find(&mut say) {
        Ok(toolchain) => println!("setup: guests are built by {}", toolchain.describe()),
        Err(ToolchainError::NoStd) => {
            install()?;
            let toolchain = Toolchain::find(&mut say).context("the toolchain is still incomplete")?;
            println!("setup: guests are built by {}", toolchain.describe());
        }
        Err(error) => return Err(error).context("failed to look for a toolchain"),
    }
    if languages {
        println!("setup: no other language than Rust is supported yet");
    }
    Ok(())
}

fn install() -> anyhow::Result<()> {
    let debian = rustix::process::geteuid().is_root() && succeeds("apt-get", &["--version"]);
    if debian {
        // The lists of a fresh machine are empty, so that only after an update apt knows what it has.
        shout("apt-get", &["update", "-q"])?;
        if succeeds("apt-cache", &["show", "rustc-web"]) {
            return shout(
                "apt-get",
                &["install", "-q", "-y", "--no-install-recommends", "rustc-web", "rust-web-src"],
            );
        }
    }
    if succeeds("rustup", &["--version"]) {
        return shout("rustup", &["target", "add", TARGET]);
    }
    bail!(ToolchainError::NoStd)
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

/// Runs a program that a person should see at work.
fn shout(program: &str, args: &[&str]) -> anyhow::Result<()> {
    println!("setup: {program} {}", args.join(" "));
    let status = Command::new(program)
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .with_context(|| format!("failed to run {program}"))?;
    if !status.success() {
        bail!("{program} {} failed: {status}", args.join(" "));
    }
    Ok(())
}
