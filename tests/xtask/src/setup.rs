//! `cargo xtask setup`: what a bare machine lacks to build guests, in every language. The only place that installs
//! anything.
//!
//! Rust: as root where apt knows `rustc-web`, Debian's compiler with its sources, which stand beside rustup's and do
//! not disturb it; elsewhere rustup's wasm target. Then the standard library is built, where that is needed, so that
//! the first `cargo build` does not seem to hang. Without Rust nothing can be built, and setup fails.
//!
//! For the tests of steps: git's large files, which is Debian's git-lfs, as root; pytest, and the source of a project
//! in Python (`tests/python`), both from PyPI into the user's cache directory.
//!
//! C: Debian's clang, as root. Python and JavaScript: a pinned tool from PyPI and npm, in a folder of the user's cache
//! directory. A language whose tool cannot be installed is named with the command that does it by hand, and the rest
//! goes on: only that language's plugins cannot be built then.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use windlass_build::tools::{self, COMPONENTIZE_PY, COMPONENTIZE_QJS};
use windlass_build::{Language, TARGET, Toolchain, ToolchainError};

/// Installs what is missing, and says so.
pub fn run() -> anyhow::Result<()> {
    let mut apt = Apt { updated: false };
    rust(&mut apt)?;
    for language in [Language::C, Language::Python, Language::JavaScript] {
        if let Err(error) = other(language, &mut apt) {
            println!("setup: plugins in {language:?} cannot be built here: {error:#}");
            println!("setup: by hand: {}", tools::install(language));
        }
    }
    if let Err(error) = git_lfs(&mut apt) {
        println!("setup: the step `git` cannot be tested with large files here: {error:#}");
    }
    if let Err(error) = pytest(&mut apt) {
        println!("setup: the step `pytest` cannot be tested here: {error:#}");
    }
    Ok(())
}

/// What `tests/src/python.rs` finds: the tools in a virtual environment, the sources beside it, and what was installed,
/// written last.
fn pytest(apt: &mut Apt) -> anyhow::Result<()> {
    let wanted = concat!(include_str!("../../python/tools.txt"), include_str!("../../python/sources.txt"));
    let folder = tools::folder("python", "tests").context("no cache directory")?;
    let installed = folder.join("installed.txt");
    // A Python that was upgraded leaves its environments behind without their packages.
    let works = succeeds(utf8(&folder.join("venv/bin/python3"))?, &["-m", "pytest", "--version"]);
    if !(works && fs::read_to_string(&installed).is_ok_and(|text| text == wanted)) {
        let (venv, sources) = (folder.join("venv"), folder.join("sources"));
        fresh(&folder)?;
        virtual_environment(&venv, apt)?;
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
        let pip = |words: &[&str], list: &str| -> anyhow::Result<()> {
            let list = here.join(list);
            let words = [words, &["--quiet", "--disable-pip-version-check", "-r", utf8(&list)?]].concat();
            shout(utf8(&venv.join("bin/pip"))?, &words)
        };
        pip(&["install"], "tools.txt")?;
        // pip asks each for its name, by what builds it: that is one of the tools.
        let as_they_are = ["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation"];
        pip(&[as_they_are.as_slice(), &["-d", utf8(&sources)?]].concat(), "sources.txt")?;
        fs::write(&installed, wanted).with_context(|| format!("failed to write {}", installed.display()))?;
    }
    println!("setup: Python's tests are run by {}", folder.join("venv/bin/pytest").display());
    Ok(())
}

fn git_lfs(apt: &mut Apt) -> anyhow::Result<()> {
    if succeeds("git", &["lfs", "version"]) {
        return Ok(());
    }
    if !apt.usable() {
        bail!("git-lfs is missing, and only root can install it, where there is apt");
    }
    apt.install(&["git-lfs"])
}

fn rust(apt: &mut Apt) -> anyhow::Result<()> {
    let mut say = |line: &str| {
        // Cargo's own words are of interest only when it fails, and are in the error then.
        if !line.starts_with(' ') {
            println!("setup: {line}");
        }
    };
    let toolchain = match Toolchain::find(&mut say) {
        Err(ToolchainError::NoStd) => {
            rust_std(apt)?;
            Toolchain::find(&mut say).context("the toolchain is still incomplete")?
        }
        found => found.context("failed to look for a toolchain")?,
    };
    println!("setup: Rust is built by {}", toolchain.describe());
    Ok(())
}

fn rust_std(apt: &mut Apt) -> anyhow::Result<()> {
    if apt.knows("rustc-web")? {
        return apt.install(&["rustc-web", "rust-web-src"]);
    }
    if succeeds("rustup", &["--version"]) {
        return shout("rustup", &["target", "add", TARGET]);
    }
    bail!(ToolchainError::NoStd)
}

fn other(language: Language, apt: &mut Apt) -> anyhow::Result<()> {
    let tool = match tools::find(language) {
        Ok(tool) => tool,
        Err(_) => {
            match language {
                Language::Rust => bail!("Rust has a toolchain of its own"),
                Language::C => c(apt)?,
                Language::Python => python(apt)?,
                Language::JavaScript => javascript(apt)?,
            }
            tools::find(language)?
        }
    };
    println!("setup: {language:?} is built by {}", tool.display());
    Ok(())
}

fn c(apt: &mut Apt) -> anyhow::Result<()> {
    if !apt.usable() {
        bail!("clang is missing, and only root can install it, where there is apt");
    }
    apt.install(&["clang"])
}

fn python(apt: &mut Apt) -> anyhow::Result<()> {
    let folder = tools::folder("componentize-py", COMPONENTIZE_PY).context("no cache directory")?;
    virtual_environment(&folder, apt)?;
    let pip = folder.join("bin/pip");
    let package = format!("componentize-py=={COMPONENTIZE_PY}");
    let installed = shout(utf8(&pip)?, &["install", "--quiet", "--disable-pip-version-check", &package]);
    if installed.is_err() {
        drop(fs::remove_dir_all(&folder));
    }
    installed
}

fn virtual_environment(folder: &Path, apt: &mut Apt) -> anyhow::Result<()> {
    let made = || {
        // Scripts of a virtual environment hold its path: it is made where it stays.
        fresh(folder)?;
        shout("python3", &["-m", "venv", utf8(folder)?])
    };
    if made().is_err() {
        if !apt.usable() {
            bail!("`python3 -m venv` failed");
        }
        apt.install(&["python3", "python3-venv"])?;
        made()?;
    }
    Ok(())
}

fn javascript(apt: &mut Apt) -> anyhow::Result<()> {
    if !(succeeds("node", &["--version"]) && succeeds("npm", &["--version"])) {
        if !apt.usable() {
            bail!("node and npm are missing, and only root can install them, where there is apt");
        }
        apt.install(&["nodejs", "npm"])?;
    }
    let folder = tools::folder("componentize-qjs", COMPONENTIZE_QJS).context("no cache directory")?;
    fresh(&folder)?;
    // npm looks for a package above a folder that has none.
    fs::write(folder.join("package.json"), "{ \"private\": true }\n")
        .context("failed to write package.json")?;
    let package = format!("componentize-qjs@{COMPONENTIZE_QJS}");
    let words =
        ["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", utf8(&folder)?, &package];
    let installed = shout("npm", &words);
    if installed.is_err() {
        drop(fs::remove_dir_all(&folder));
    }
    installed
}

/// An empty folder, whatever an interrupted setup left there.
fn fresh(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))
}

fn utf8(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Debian's packages, as root.
struct Apt {
    updated: bool,
}

impl Apt {
    fn usable(&self) -> bool {
        rustix::process::geteuid().is_root() && succeeds("apt-get", &["--version"])
    }

    fn knows(&mut self, package: &str) -> anyhow::Result<bool> {
        if !self.usable() {
            return Ok(false);
        }
        self.update()?;
        Ok(succeeds("apt-cache", &["show", package]))
    }

    fn install(&mut self, packages: &[&str]) -> anyhow::Result<()> {
        self.update()?;
        let words = ["install", "-q", "-y", "--no-install-recommends"];
        shout("apt-get", &[words.as_slice(), packages].concat())
    }

    /// The lists of a fresh machine are empty, so that only after an update apt knows what it has.
    fn update(&mut self) -> anyhow::Result<()> {
        if !self.updated {
            shout("apt-get", &["update", "-q"])?;
            self.updated = true;
        }
        Ok(())
    }
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
