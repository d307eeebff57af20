//! Turns a plugin project into components: one `.wasm` file for each.
//!
//! ```no_run
//! let components = windlass_build::Builder::new("plugins/guests").build()?;
//! for component in components {
//!     println!("{} {}", component.name, component.path.display());
//! }
//! # Ok::<(), windlass_build::BuildError>(())
//! ```
//!
//! A Rust project needs no WASI: it is compiled for `wasm32-unknown-unknown` and linked by
//! `wasm-component-ld`, which comes with every rustup toolchain, straight into a component. The standard
//! library comes from the first of these that is there ([`Toolchain::find`]):
//!
//! 1. the active toolchain, if its wasm target is installed;
//! 2. Debian's `rustc-web` and `rust-web-src`, from which std is built once into a cached sysroot.
//!
//! Nothing is ever installed here. Paths of the machine are mapped away, so that the same sources give the same
//! bytes wherever they are built. It works inside a build script too, also under clippy: what an outer cargo says to
//! its children through the environment does not reach the inner one.
//!
//! # Other languages
//!
//! With the cargo feature `languages` (on in the command line and the tests, off where only the first-party
//! components are built) a project in C, Python or JavaScript is a folder with a [`manifest`], `plugin.toml`, and its
//! source:
//!
//! ```toml
//! language = "python"              # or "c", "js"
//! hooks = ["next-slave"]           # kinds; the component's world is made from them
//! source = "alphabetical.py"       # of C also a list
//! # name = "alphabetical"          # the folder's unless said
//! # wasi = false                   # whether the language's runtime may import WASI
//! ```
//!
//! Nothing else is needed: the [`contract`] and the SDK of each language ([`sdk_files`]) are embedded here and laid
//! out for the tool in `projects/NAME` below the target directory, where an author's editor finds them after the first
//! build: the world and the contract in `wit`, the SDK in `sdk`, generated bindings in `bindings`. What each language
//! is built with is found by [`tools`]. A project is built again only if one of its files, the contract, the SDK or the tool
//! changed: what componentize-py and componentize-qjs make is not the same bytes each time, and other bytes are
//! another plugin.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod component;
#[cfg(feature = "languages")]
pub mod contract;
mod environment;
#[cfg(feature = "languages")]
mod hook;
mod language;
#[cfg(feature = "languages")]
mod languages;
#[cfg(feature = "languages")]
pub mod manifest;
mod neutral;
mod run;
mod rust;
mod sysroot;
mod toolchain;
pub mod tools;

use std::io;
use std::path::{Path, PathBuf};

pub use component::Component;
#[cfg(feature = "languages")]
pub use hook::{HOOKS, Hook, hook};
pub use language::Language;
#[cfg(feature = "languages")]
pub use languages::sdk_files;
#[cfg(feature = "languages")]
pub use manifest::{Manifest, ManifestError};
pub use sysroot::SysrootError;
pub use toolchain::{Toolchain, ToolchainError};
pub use tools::MissingTool;

/// What guests are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Builds one project with default settings.
///
/// # Errors
/// See [`BuildError`].
pub fn build(project: &Path) -> Result<Vec<Component>, BuildError> {
    Builder::new(project).build()
}

/// How a project is built.
pub struct Builder<'a> {
    project: PathBuf,
    target_dir: Option<PathBuf>,
    locked: bool,
    examples: bool,
    progress: Box<dyn FnMut(&str) + 'a>,
}

impl<'a> Builder<'a> {
    /// A build of the project in this folder: a cargo workspace, or a single package.
    pub fn new(project: impl Into<PathBuf>) -> Builder<'a> {
        Builder {
            project: project.into(),
            target_dir: None,
            locked: false,
            examples: false,
            progress: Box::new(|_| {}),
        }
    }

    /// Where everything goes that is made on the way; `target` in the project unless said. Several projects may
    /// share one folder, and then share what they have in common.
    #[must_use]
    pub fn target_dir(mut self, folder: impl Into<PathBuf>) -> Builder<'a> {
        self.target_dir = Some(folder.into());
        self
    }

    /// Refuses to change `Cargo.lock`.
    #[must_use]
    pub fn locked(mut self) -> Builder<'a> {
        self.locked = true;
        self
    }

    /// Builds the examples of a Rust project, too: each that is a `cdylib` is a component, named like the example.
    #[must_use]
    pub fn examples(mut self) -> Builder<'a> {
        self.examples = true;
        self
    }

    /// Gets a line of text about each thing that takes its time. The standard library, built at first use, is
    /// announced as taking half a minute.
    #[must_use]
    pub fn progress(mut self, progress: impl FnMut(&str) + 'a) -> Builder<'a> {
        self.progress = Box::new(progress);
        self
    }

    /// Builds, and answers the components sorted by name. What did not change costs a look by cargo, 0.2 s in all.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(mut self) -> Result<Vec<Component>, BuildError> {
        let project = self
            .project
            .canonicalize()
            .map_err(|source| BuildError::NoProject { path: self.project.clone(), source })?;
        if project.join("plugin.toml").is_file() {
            return self.build_other(&project);
        }
        if !project.join("Cargo.toml").is_file() {
            return Err(BuildError::UnknownLanguage { path: project });
        }
        let toolchain = Toolchain::find(&mut *self.progress)?;
        let target_dir = self.target_dir.unwrap_or_else(|| project.join("target"));
        rust::build(&project, &target_dir, self.locked, self.examples, &toolchain, &mut *self.progress)
    }

    #[cfg(feature = "languages")]
    fn build_other(mut self, project: &Path) -> Result<Vec<Component>, BuildError> {
        let target_dir = self.target_dir.unwrap_or_else(|| project.join("target"));
        let manifest = Manifest::read(project)?;
        Ok(vec![languages::build(project, &manifest, &target_dir, &mut *self.progress)?])
    }

    #[cfg(not(feature = "languages"))]
    fn build_other(self, project: &Path) -> Result<Vec<Component>, BuildError> {
        Err(BuildError::RustOnly { path: project.to_owned() })
    }
}

/// Why a project gave no components.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The folder is not there.
    #[error("failed to find the project `{path}`")]
    NoProject {
        /// As it was given.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder holds nothing that we know how to build.
    #[error("no plugin project in `{path}`: it has neither a Cargo.toml nor a plugin.toml")]
    UnknownLanguage {
        /// The folder.
        path: PathBuf,
    },
    /// It is in another language than Rust.
    #[error("`{path}` is not in Rust, and this windlass-build was compiled without its feature `languages`")]
    RustOnly {
        /// The folder.
        path: PathBuf,
    },
    /// Its `plugin.toml` is not right.
    #[cfg(feature = "languages")]
    #[error("no manifest that could be followed")]
    Manifest(#[from] ManifestError),
    /// What its language is built with is not there.
    #[error("failed to find what builds it")]
    MissingTool(#[from] MissingTool),
    /// A file that the manifest names is not there.
    #[error("no file `{path}`, which plugin.toml names as `source`")]
    NoSource {
        /// The file.
        path: PathBuf,
    },
    /// The bindings could not be made from the contract.
    #[cfg(feature = "languages")]
    #[error("failed to make bindings: {message}")]
    Bindings {
        /// What the generator said.
        message: String,
    },
    /// There is nothing to build it with.
    #[error("failed to find a toolchain for {TARGET}")]
    Toolchain(#[from] ToolchainError),
    /// Cargo could not be run at all.
    #[error("failed to run `{command}`")]
    Run {
        /// The command line.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Cargo said no; its words are in the error.
    #[error("`{command}` failed:\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// The end of what it wrote.
        output: String,
    },
    /// A tool of another language said no to the author's code; its words are in the error.
    #[error("{tool} refused `{project}`:\n{output}")]
    Refused {
        /// The tool.
        tool: String,
        /// The plugin's name.
        project: String,
        /// What it said, with file and line.
        output: String,
    },
    /// Cargo answered something that we do not understand.
    #[error("failed to understand what `{command}` answered")]
    Answer {
        /// The command line.
        command: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The project builds, but no package of it makes a component.
    #[error("no package in `{path}` makes a component: add `crate-type = [\"cdylib\"]` to its `[lib]`")]
    NoComponent {
        /// The folder.
        path: PathBuf,
    },
    /// A component could not be put in its place.
    #[error("failed to write the component `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
