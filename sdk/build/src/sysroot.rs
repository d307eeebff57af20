//! The standard library for wasm, built once from Debian's sources into a cache of the user's.
//!
//! An empty crate is compiled with `-Zbuild-std`; std's own dependencies are vendored in the source package, so
//! that no network is needed. The libraries that come out are the sysroot. It is made in a folder beside its place
//! and renamed, under a lock: whoever finds it finds it whole, and two that want it at once build it once.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{TARGET, environment, run, toolchain, tools};

/// Changes when the recipe does, so that no sysroot of an older recipe is found.
const RECIPE: &str = "1";

const MANIFEST: &str = r#"[package]
name = "probe"
version = "0.0.0"
edition = "2024"
[lib]
path = "lib.rs"
[profile.release]
opt-level = "s"
panic = "abort"
[workspace]
"#;

/// Why the standard library could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SysrootError {
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no place to keep it: neither XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// A file or folder of it could not be made.
    #[error("failed to make `{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The compiler said no.
    #[error("the compilation failed")]
    Compile(#[source] Box<crate::BuildError>),
}

/// The sysroot for this compiler.
pub fn find_or_build(
    cargo: &OsStr,
    rustc: &Path,
    version: &str,
    sources: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, SysrootError> {
    let cache = tools::cache_dir().ok_or(SysrootError::NoCache)?.join("sysroot");
    let key = blake3::hash(format!("{RECIPE}\n{TARGET}\n{version}").as_bytes()).to_hex();
    let place = cache.join(&key[..16]);
    if place.is_dir() {
        return Ok(place);
    }
    fs::create_dir_all(&cache).map_err(at(&cache))?;
    let lock_path = cache.join(format!("{}.lock", &key[..16]));
    let lock = File::create(&lock_path).map_err(at(&lock_path))?;
    if lock.try_lock().is_err() {
        progress("waiting for another process that builds the standard library for wasm");
        lock.lock().map_err(at(&lock_path))?;
    }
    if place.is_dir() {
        return Ok(place);
    }
    progress("building the standard library for wasm: once for this compiler, about half a minute");
    let work = Work::new(cache.join(format!("{}.tmp", &key[..16])))?;
    compile(cargo, rustc, sources, &work.0, progress)?;
    collect(rustc, version, &work.0)?;
    fs::rename(work.0.join("sysroot"), &place).map_err(at(&place))?;
    Ok(place)
}

/// The folder in which a sysroot is made; removed at the end, whatever the end.
struct Work(PathBuf);

impl Work {
    fn new(path: PathBuf) -> Result<Work, SysrootError> {
        // Left over from a process that was killed: the lock says that nobody works there.
        if path.exists() {
            fs::remove_dir_all(&path).map_err(at(&path))?;
        }
        fs::create_dir_all(&path).map_err(at(&path))?;
        Ok(Work(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What stays is removed by the next one that builds.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn compile(
    cargo: &OsStr,
    rustc: &Path,
    sources: &Path,
    work: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), SysrootError> {
    for (name, text) in [("Cargo.toml", MANIFEST), ("lib.rs", "#![no_std]\n")] {
        fs::write(work.join(name), text).map_err(at(&work.join(name)))?;
    }
    let mut command = Command::new(cargo);
    environment::clean(&mut command);
    // Bitcode, since guests are linked with LTO.
    let flags = ["-Cembed-bitcode=yes".to_owned(), format!("--remap-path-prefix={}=/build", work.display())];
    let vendor = sources.join("vendor");
    command
        .current_dir(work)
        .args(["build", "--offline", "--release", "--color", "never", "--target", TARGET])
        .args(["-Zbuild-std=std,panic_abort", "--target-dir"])
        .arg(work.join("target"))
        .args(["--config", "source.crates-io.replace-with=\"vendor\"", "--config"])
        .arg(format!("source.vendor.directory={:?}", vendor.display().to_string()))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_HOME", work.join("home"))
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1");
    run::run(command, progress).map_err(|error| SysrootError::Compile(Box::new(error)))?;
    Ok(())
}

/// Lays out what was compiled as a sysroot.
fn collect(rustc: &Path, version: &str, work: &Path) -> Result<(), SysrootError> {
    let libraries = work.join("sysroot/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&libraries).map_err(at(&libraries))?;
    let compiled = work.join("target").join(TARGET).join("release/deps");
    for entry in fs::read_dir(&compiled).map_err(at(&compiled))? {
        let entry = entry.map_err(at(&compiled))?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("lib") && text.ends_with(".rlib") && !text.starts_with("libprobe") {
            fs::copy(entry.path(), libraries.join(&name)).map_err(at(&entry.path()))?;
        }
    }
    let host = toolchain::host(version);
    let hosts = Path::new("lib/rustlib").join(&host);
    // `/usr/bin/rustc` belongs to `/usr`.
    let native = rustc.ancestors().nth(2).unwrap_or(Path::new("/usr")).join(&hosts);
    let link = work.join("sysroot").join(&hosts);
    std::os::unix::fs::symlink(&native, &link).map_err(at(&link))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SysrootError + use<> {
    let path = path.to_owned();
    move |source| SysrootError::Io { path, source }
}
