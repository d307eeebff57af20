//! Builds projects in C, Python and JavaScript: lays out what the language's tool needs, and runs it if anything
//! changed since the last time.

mod c;
mod javascript;
mod python;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use crate::{BuildError, Component, Language, Manifest, component, contract, environment, run, tools};

/// Changes when the recipes here do, so that what older ones made is made anew.
const RECIPE: &str = "1";

/// The files of a language's SDK, by name, with their text: what a build lays out beside the author's source.
/// Empty for Rust, whose SDK is a crate.
#[must_use]
pub fn sdk_files(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::Rust => &[],
        Language::C => &c::SDK,
        Language::Python => &python::SDK,
        Language::JavaScript => &javascript::SDK,
    }
}

/// Builds a project, if anything that it is made of changed.
pub fn build(
    project: &Path,
    manifest: &Manifest,
    target_dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Component, BuildError> {
    if let Some(none) = manifest.source.iter().map(|file| project.join(file)).find(|path| !path.is_file()) {
        return Err(BuildError::NoSource { path: none });
    }
    let tool = tools::find(manifest.language)?;
    let work = target_dir.join("projects").join(&manifest.name);
    fs::create_dir_all(&work).map_err(failed(&work))?;
    // Two tests may build the same project at once: the second finds what the first has made.
    let lock = work.join("lock");
    File::create(&lock).and_then(|lock| lock.lock().map(|()| lock)).map_err(failed(&lock)).and_then(|_held| {
        let made = work.join("component.wasm");
        let key = key(project, manifest, &tool, target_dir)?;
        let stamp = work.join("key");
        if !made.is_file() || fs::read_to_string(&stamp).ok().as_ref() != Some(&key) {
            let project = Project { folder: project, manifest, work: &work, tool: &tool };
            project.make(&made, progress)?;
            component::write(&stamp, key.as_bytes()).map_err(failed(&stamp))?;
        }
        Component::place(&manifest.name, &made, target_dir)
    })
}

/// A project with everything that is known about how to build it.
struct Project<'a> {
    folder: &'a Path,
    manifest: &'a Manifest,
    /// Where everything is laid out.
    work: &'a Path,
    tool: &'a Path,
}

impl Project<'_> {
    fn make(&self, made: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
        for left_over in ["wit", "sdk", "bindings", "source"] {
            match fs::remove_dir_all(self.work.join(left_over)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&self.work.join(left_over))(error));
                }
                _ => {}
            }
        }
        let wit = self.wit();
        contract::write(&wit, &self.manifest.hooks).map_err(failed(&wit))?;
        self.write(sdk_files(self.manifest.language), "sdk")?;
        let new = made.with_extension("new");
        match self.manifest.language {
            Language::Rust => unreachable!("a checked manifest is not of Rust"),
            Language::C => c::make(self, &new, progress)?,
            Language::Python => python::make(self, &new, progress)?,
            Language::JavaScript => javascript::make(self, &new, progress)?,
        }
        fs::rename(&new, made).map_err(failed(made))
    }

    fn wit(&self) -> PathBuf {
        self.work.join("wit")
    }

    /// Writes files into a folder of the work directory, and answers it.
    fn write(&self, files: &[(&str, impl AsRef<[u8]>)], folder: &str) -> Result<PathBuf, BuildError> {
        let folder = self.work.join(folder);
        for (name, contents) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&folder))
                .and_then(|()| fs::write(&path, contents.as_ref()))
                .map_err(failed(&path))?;
        }
        Ok(folder)
    }

    /// Copies the project's files, for a tool that has to see them beside others.
    fn copy_source(&self, to: &Path) -> Result<(), BuildError> {
        for file in files(self.folder, self.work)? {
            let (from, to) = (self.folder.join(&file), to.join(&file));
            fs::create_dir_all(to.parent().unwrap_or(&to))
                .and_then(|()| fs::copy(&from, &to))
                .map_err(failed(&to))?;
        }
        Ok(())
    }

    /// Runs the tool. What it says on the way to success is shown; what it says when it fails is the error, `tidy`ed.
    fn run(
        &self,
        command: Command,
        progress: &mut dyn FnMut(&str),
        tidy: impl FnOnce(&str) -> String,
    ) -> Result<(), BuildError> {
        let mut said = Vec::new();
        match run::run(command, &mut |line| said.push(line.to_owned())) {
            Ok(_) => {
                said.iter().for_each(|line| progress(line));
                Ok(())
            }
            Err(BuildError::Failed { output, .. }) => Err(BuildError::Refused {
                project: self.manifest.name.clone(),
                tool: self.tool.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                output: tidy(&output),
            }),
            Err(other) => Err(other),
        }
    }

    /// A command in the project's folder that does not see what an outer cargo put in the environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        environment::clean(&mut command);
        command.current_dir(self.folder);
        command
    }
}

/// Names the contents of everything that a component is made of.
fn key(project: &Path, manifest: &Manifest, tool: &Path, target_dir: &Path) -> Result<String, BuildError> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(RECIPE.as_bytes());
    add(format!("{manifest:?}").as_bytes());
    add(identity(tool).as_bytes());
    for (name, text) in contract::FILES.iter().chain(sdk_files(manifest.language)) {
        add(name.as_bytes());
        add(text.as_bytes());
    }
    for file in files(project, target_dir)? {
        let path = project.join(&file);
        add(file.as_os_str().as_encoded_bytes());
        add(&fs::read(&path).map_err(failed(&path))?);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Tells a tool from another version of it, without running it.
fn identity(tool: &Path) -> String {
    let file = tool.canonicalize().unwrap_or_else(|_| tool.to_owned());
    let about = fs::metadata(&file).ok();
    let changed = about.as_ref().and_then(|about| about.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let size = about.as_ref().map(fs::Metadata::len);
    format!("{} {size:?} {changed:?}", file.display())
}

/// The files of a project, relative to it and sorted: all but components, what is hidden, `target`, and `not`.
fn files(project: &Path, not: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = project.join(&folder);
        for entry in fs::read_dir(&path).map_err(failed(&path))? {
            let entry = entry.map_err(failed(&path))?;
            let name = entry.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".");
            let made = ["target", "__pycache__"].iter().any(|made| name == *made)
                || Path::new(&name).extension().is_some_and(|end| end == "wasm")
                || entry.path() == not;
            if hidden || made {
                continue;
            }
            let kind = fs::metadata(entry.path()).map_err(failed(&entry.path()))?;
            let relative = folder.join(name);
            if kind.is_dir() {
                folders.push(relative);
            } else if kind.is_file() {
                found.push(relative);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BuildError + use<> {
    let path = path.to_owned();
    move |source| BuildError::Write { path, source }
}
