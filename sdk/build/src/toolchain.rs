//! Finds what guests are compiled with.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sysroot::{self, SysrootError};
use crate::{TARGET, environment};

/// Debian's compiler: its `rustc-web` package stands beside rustup and does not disturb it.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The sources of its standard library, from the `rust-web-src` package.
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library";

/// The command that installs rustup with its newest toolchain.
pub(crate) const RUSTUP: &str = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh";

/// A compiler with a standard library for wasm, and the linker that makes components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The cargo in use.
    pub(crate) cargo: OsString,
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// A sysroot of our own; none: the compiler's.
    pub(crate) sysroot: Option<PathBuf>,
    /// Makes the components.
    pub(crate) linker: Linker,
}

/// `wasm-component-ld` and the linker that it runs, from the same toolchain: nothing is looked up on the PATH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    pub(crate) component: PathBuf,
    pub(crate) core: PathBuf,
}

/// Why there is no toolchain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolchainError {
    /// Neither of the two is there.
    #[error(
        "no standard library for {TARGET}; get one by either of\n  \
         rustup target add {TARGET}\n  \
         apt-get update && apt-get install -y --no-install-recommends rustc-web rust-web-src   (Debian, as root)\n\
         (in a checkout of windlass, `cargo xtask setup` does what fits)"
    )]
    NoStd,
    /// There is no Rust at all, or rustup without a toolchain.
    #[error(
        "{found}; components in any language are linked by rustup's `wasm-component-ld`; get it by\n  \
         {RUSTUP}\n(where rustup is there already: rustup default stable)"
    )]
    NoRust {
        /// What was found, or not.
        found: String,
    },
    /// The compiler could not be asked.
    #[error("failed to run `{program}`")]
    Run {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The compiler refused to say what it is.
    #[error("`{program}` failed: {output}")]
    Failed {
        /// The program.
        program: String,
        /// What it wrote.
        output: String,
    },
    /// The toolchain has no linker for components.
    #[error(
        "no wasm-component-ld in `{folder}`: Debian's Rust comes without it, rustup's has it from 1.81 on; get it \
         by\n  {RUSTUP}\n(beside Debian's, whose packages may stay)"
    )]
    NoLinker {
        /// Where it should be.
        folder: PathBuf,
    },
    /// The standard library could not be built from Debian's sources.
    #[error("failed to build the standard library for {TARGET}")]
    Sysroot(#[from] SysrootError),
}

impl Toolchain {
    /// Finds it, in the order that the crate's documentation gives. The second way builds the standard library at
    /// its first use, which takes half a minute and is announced.
    ///
    /// # Errors
    /// See [`ToolchainError`].
    pub fn find(progress: &mut dyn FnMut(&str)) -> Result<Toolchain, ToolchainError> {
        // An outer cargo names the two that it uses; a person has them on the PATH.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let rustc = rustc();
        let linker = linker(&rustc)?;
        if has_std(Path::new(&ask(&rustc, &["--print", "target-libdir", "--target", TARGET])?)) {
            return Ok(Toolchain { cargo, rustc, sysroot: None, linker });
        }
        if Path::new(DEBIAN_RUSTC).is_file() && Path::new(DEBIAN_SOURCES).is_dir() {
            let rustc = PathBuf::from(DEBIAN_RUSTC);
            let version = ask(&rustc, &["-vV"])?;
            let sysroot =
                sysroot::find_or_build(&cargo, &rustc, &version, Path::new(DEBIAN_SOURCES), progress)?;
            return Ok(Toolchain { cargo, rustc, sysroot: Some(sysroot), linker });
        }
        Err(ToolchainError::NoStd)
    }

    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.sysroot {
            None => format!("{TARGET} of {}", self.rustc.display()),
            Some(sysroot) => format!("{} with the sysroot {}", self.rustc.display(), sysroot.display()),
        }
    }
}

fn has_std(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

/// The compiler of the active toolchain.
pub(crate) fn rustc() -> PathBuf {
    PathBuf::from(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// The linker of the toolchain that this compiler belongs to.
pub(crate) fn linker(rustc: &Path) -> Result<Linker, ToolchainError> {
    let host = host(&ask(rustc, &["-vV"])?);
    let folder = Path::new(&ask(rustc, &["--print", "sysroot"])?).join("lib/rustlib").join(host).join("bin");
    let component = folder.join("wasm-component-ld");
    let core = folder.join("gcc-ld/wasm-ld");
    if component.is_file() && core.is_file() {
        Ok(Linker { component, core })
    } else {
        Err(ToolchainError::NoLinker { folder })
    }
}

/// The `host:` line of `rustc -vV`.
pub(crate) fn host(version: &str) -> String {
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned()
}

fn ask(rustc: &Path, args: &[&str]) -> Result<String, ToolchainError> {
    let program = rustc.display().to_string();
    let mut command = Command::new(rustc);
    environment::clean(&mut command);
    let output = command.args(args).output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ToolchainError::NoRust { found: format!("`{program}` is not there") },
        _ => ToolchainError::Run { program: program.clone(), source },
    })?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // Rustup stands in for every tool, also where it has nothing to run.
        if output.contains("rustup could not choose") || output.contains("no default is configured") {
            return Err(ToolchainError::NoRust {
                found: format!("`{program}` is rustup's, which has no toolchain"),
            });
        }
        return Err(ToolchainError::Failed { program, output });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
