//! What a build answers, and how it gets into its place.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::BuildError;

/// A component that was built, or found unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The package's or project's name, and so the stem of the file: what the plugin will be called.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

impl Component {
    /// Puts what was made where its name is the project's. A file with the same bytes keeps its time.
    pub(crate) fn place(name: &str, made: &Path, target_dir: &Path) -> Result<Component, BuildError> {
        let folder = target_dir.join("components");
        let path = folder.join(format!("{name}.wasm"));
        let placed = fs::create_dir_all(&folder).and_then(|()| copy_if_changed(made, &path));
        placed.map_err(|source| BuildError::Write { path: path.clone(), source })?;
        Ok(Component { name: name.to_owned(), path })
    }
}

fn copy_if_changed(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == bytes) { Ok(()) } else { write(to, &bytes) }
}

/// Writes a file that is renamed into place: whoever reads meanwhile has the old one or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}
