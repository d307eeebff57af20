//! What can be typed below `windlass plugin`.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use windlass_build::Language;

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Make a project in a new folder: a small plugin that works as it is
    #[command(after_help = "Example:\n  windlass plugin new my-policy --lang python --hook next-slave && \
                            windlass plugin check my-policy")]
    New(NewPlugin),
    /// Build a plugin project into a component
    ///
    /// A project is a Cargo.toml (Rust) or a plugin.toml (C, Python, JavaScript) with its sources. A tool
    /// that is missing is named with the command that installs it.
    #[command(
        after_help = "Example:\n  windlass plugin build my-policy --out ci/plugins && windlass --dir ci reconfig"
    )]
    Build {
        /// The project's directory
        #[arg(default_value = ".")]
        project: PathBuf,
        /// Where the component goes
        #[arg(long, default_value = ".")]
        out: PathBuf,
        /// Where everything goes that is made on the way [default: `target` in the project]
        #[arg(long, value_name = "DIR", env = "WINDLASS_TARGET_DIR")]
        target_dir: Option<PathBuf>,
    },
    /// Say all that a master would say of components, without one
    ///
    /// Takes component files, folders of them, and projects, which are built first. Reports every error
    /// of every file, what hosts with another contract would say, and what loads and is probably not
    /// meant. Exit code 3 if anything would not load.
    Check {
        /// Files and folders
        #[arg(default_value = ".")]
        paths: Vec<PathBuf>,
        /// Where projects are built [default: `target` in each]
        #[arg(long, value_name = "DIR", env = "WINDLASS_TARGET_DIR")]
        target_dir: Option<PathBuf>,
    },
    /// Show what a component offers, asks for and is made of
    Inspect {
        /// A component, or the name of a bundled one
        file: String,
    },
    /// List the plugins of the running master, with their hooks and who uses them
    List,
    /// Show what plugins cost, by their bytes and by their uses, the dearest first
    Stats {
        /// Only of this one
        plugin: Option<String>,
    },
}

/// A plugin project to make.
#[derive(Debug, Args)]
pub struct NewPlugin {
    /// What the plugin and its hook are called, in kebab-case
    pub name: String,
    /// The language
    #[arg(long, value_parser = languages())]
    pub lang: Language,
    /// The kind of hook
    #[arg(long, value_parser = hooks())]
    pub hook: String,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

fn hooks() -> PossibleValuesParser {
    PossibleValuesParser::new(crate::plugin::kinds().map(|(kind, does)| PossibleValue::new(kind).help(does)))
}

fn languages() -> impl TypedValueParser<Value = Language> {
    PossibleValuesParser::new(Language::ALL.map(Language::name))
        .map(|name| Language::of_name(&name).expect("one of these names"))
}
