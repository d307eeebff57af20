//! Finds what projects in other languages than Rust are built with. Nothing is installed here: `cargo xtask setup`
//! does that, into [`folder`].

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Language, environment};

/// The version of componentize-py that is known to work.
pub const COMPONENTIZE_PY: &str = "0.25.1";
/// The version of componentize-qjs that is known to work.
pub const COMPONENTIZE_QJS: &str = "0.4.5";

/// A language's tool is not there, or not of use.
#[derive(Debug, thiserror::Error)]
#[error(
    "{found}; get it by\n  {install}\n(in a checkout of windlass, `cargo xtask setup` installs it for all languages)"
)]
pub struct MissingTool {
    /// Whose it is.
    pub language: Language,
    /// What was found, or not.
    pub found: String,
    /// The command that installs it.
    pub install: String,
}

/// The tool of a language: clang, componentize-py or componentize-qjs. Rust's is found by
/// [`Toolchain::find`](crate::Toolchain::find); here it is cargo.
///
/// Looked for in [`folder`] first, where its version is known, then on the PATH.
///
/// # Errors
/// If it is not there.
pub fn find(language: Language) -> Result<PathBuf, MissingTool> {
    let missing = |found: String| MissingTool { language, found, install: install(language) };
    match language {
        Language::Rust => on_path("cargo").ok_or_else(|| missing("no cargo on the PATH".to_owned())),
        Language::C => {
            let clang = on_path("clang").ok_or_else(|| {
                missing("a project in C is built by clang, which is not on the PATH".to_owned())
            })?;
            if makes_wasm(&clang) {
                Ok(clang)
            } else {
                Err(missing(format!("`{}` cannot compile for wasm32", clang.display())))
            }
        }
        Language::Python => ours("componentize-py", COMPONENTIZE_PY, "bin").ok_or_else(|| {
            missing("a project in Python is built by componentize-py, which is not there".to_owned())
        }),
        Language::JavaScript => {
            let tool = ours("componentize-qjs", COMPONENTIZE_QJS, "node_modules/.bin").ok_or_else(|| {
                missing("a project in JavaScript is built by componentize-qjs, which is not there".to_owned())
            })?;
            match on_path("node") {
                Some(_) => Ok(tool),
                None => Err(MissingTool {
                    language,
                    found: "componentize-qjs runs on node, which is not on the PATH".to_owned(),
                    install: "apt-get install -y --no-install-recommends nodejs   (Debian, as root)"
                        .to_owned(),
                }),
            }
        }
    }
}

/// Where `cargo xtask setup` installs a tool of this name and version. None: there is no cache directory.
#[must_use]
pub fn folder(tool: &str, version: &str) -> Option<PathBuf> {
    Some(cache_dir()?.join("tools").join(format!("{tool}-{version}")))
}

/// The command that installs a language's tool by hand.
#[must_use]
pub fn install(language: Language) -> String {
    match language {
        Language::Rust => crate::toolchain::RUSTUP.to_owned(),
        Language::C => {
            "apt-get install -y --no-install-recommends clang   (Debian, as root; elsewhere any clang from 14 on that \
             knows wasm32)"
                .to_owned()
        }
        Language::Python => format!("pip install componentize-py=={COMPONENTIZE_PY}"),
        Language::JavaScript => format!("npm install --global componentize-qjs@{COMPONENTIZE_QJS}"),
    }
}

/// Our folder of the user's cache directory.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("windlass"))
}

fn ours(tool: &str, version: &str, below: &str) -> Option<PathBuf> {
    let installed = folder(tool, version).map(|folder| folder.join(below).join(tool));
    installed.filter(|path| path.is_file()).or_else(|| on_path(tool))
}

fn on_path(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program.as_ref())).find(|file| file.is_file())
}

fn makes_wasm(clang: &Path) -> bool {
    let mut command = Command::new(clang);
    environment::clean(&mut command);
    let targets = command.arg("--print-targets").output();
    targets.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("wasm32"))
}
