//! Components in C, Python and JavaScript, built from `tests/guests/{c,python,js}` at the first use and cheap when
//! unchanged. Another version of one is made from the same source with words replaced.

use std::path::{Path, PathBuf};
use std::{fs, io};

use windlass_build::Builder;
use windlass_core::text::chain;

use crate::fixtures::target_dir;

/// The bytes of the component that `tests/guests/PROJECT` makes.
///
/// # Panics
/// If it can't be built; a missing tool is named, with what installs it.
#[must_use]
pub fn component(project: &str) -> Vec<u8> {
    build(&guests().join(project))
}

/// The same from another version of the project: each `(old, new)` is replaced in its files.
///
/// # Panics
/// If it can't be built, or an `old` stands nowhere.
#[must_use]
pub fn version(project: &str, replaced: &[(&str, &str)]) -> Vec<u8> {
    let named = replaced.iter().map(|(_, new)| *new).collect::<String>();
    let name: String = named.chars().filter(char::is_ascii_alphanumeric).collect();
    let copy = target_dir().join("versions").join(project).join(name.to_lowercase());
    let written = copy_replaced(&guests().join(project), &copy, replaced);
    written.unwrap_or_else(|error| panic!("a version of {project}: {error}"));
    build(&copy)
}

fn build(project: &Path) -> Vec<u8> {
    let mut said = Vec::new();
    // A folder of its own for each project: versions of one have the same name.
    let target = target_dir().join("languages").join(project.strip_prefix("/").expect("an absolute path"));
    let built = Builder::new(project).target_dir(target).progress(|line| said.push(line.to_owned())).build();
    match built {
        Ok(built) => fs::read(&built[0].path).expect("the component was just built"),
        Err(error) => panic!("{}\n{}", chain(&error), said.join("\n")),
    }
}

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

fn copy_replaced(from: &Path, to: &Path, replaced: &[(&str, &str)]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut missing: Vec<&str> = replaced.iter().map(|(old, _)| *old).collect();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let mut text = fs::read_to_string(entry.path())?;
        for (old, new) in replaced {
            if text.contains(old) {
                missing.retain(|other| other != old);
                text = text.replace(old, new);
            }
        }
        // The same text keeps its file: two tests may want the same version at once.
        let file = to.join(entry.file_name());
        if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
            let new = to.join(format!(".{}", std::process::id()));
            fs::write(&new, text)?;
            fs::rename(new, file)?;
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(io::Error::other(format!("nothing says {missing:?}"))) }
}
