//! Builds the first-party components, if anything that they are made of changed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, error, fs};

use windlass_build::{Builder, Component};

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn error::Error>> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    for source in ["guests", "../wit", "../sdk/rust/src", "../sdk/rust/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", here.join(source).display());
    }
    // `target/<profile>/build/<package>/out`: all profiles share the guests, which are always optimised.
    let target = out.ancestors().nth(4).unwrap_or(&out).join("guests");
    let components = Builder::new(here.join("guests")).target_dir(target).locked().build()?;

    // Those of the demo are files in a plugins folder, not bundled.
    let (demo, bundled) = components.iter().partition(|component| component.name.starts_with("demo-"));
    fs::write(out.join("bundled.rs"), table(bundled, &out)?)?;
    fs::write(out.join("demo.rs"), table(demo, &out)?)?;
    Ok(())
}

/// The Rust text of a list of components.
fn table(components: Vec<&Component>, out: &Path) -> Result<String, Box<dyn error::Error>> {
    let mut table = String::from("&[\n");
    for component in components {
        // A copy of our own: another build may replace the shared file while the compiler reads it.
        let copy = out.join(format!("{}.wasm", component.name));
        copy_if_changed(&component.path, &copy)?;
        writeln!(table, "    Bundled {{ name: {:?}, bytes: include_bytes!({copy:?}) }},", component.name)?;
    }
    table.push_str("]\n");
    Ok(table)
}

fn copy_if_changed(from: &Path, to: &Path) -> std::io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == bytes) { Ok(()) } else { fs::write(to, bytes) }
}

/// What cargo shows of a build script that failed is what it wrote to standard error.
fn report(error: &dyn error::Error) {
    eprintln!("error: failed to build the first-party components");
    let mut source = Some(error);
    while let Some(error) = source {
        eprintln!("  caused by: {error}");
        source = error.source();
    }
}
