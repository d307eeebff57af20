//! Builds projects in C, Python and JavaScript.

use std::path::Path;

use crate::{BuildError, Component, Language, Manifest};

/// The files of a language's SDK, by name, with their text: what a build lays out beside the author's source.
/// Empty for Rust, whose SDK is a crate.
#[must_use]
pub fn sdk_files(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::Rust | Language::C | Language::Python | Language::JavaScript => &[],
    }
}

/// Builds a project, if anything that it is made of changed.
pub fn build(
    project: &Path,
    manifest: &Manifest,
    target_dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Component, BuildError> {
    let _ = (project, target_dir, progress);
    Err(crate::MissingTool {
        language: manifest.language,
        found: "not yet".into(),
        install: crate::tools::install(manifest.language),
    }
    .into())
}
