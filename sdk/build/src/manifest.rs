//! `plugin.toml`: what a project in C, Python or JavaScript says about itself.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::Deserialize;
use toml::Spanned;

use crate::{HOOKS, Hook, Language, hook};

/// The file's name.
pub const FILE: &str = "plugin.toml";

/// A manifest that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The plugin's name, and so the stem of its file: the folder's name unless said.
    pub name: String,
    /// Never Rust.
    pub language: Language,
    /// At least one, all of them of one side.
    pub hooks: Vec<Hook>,
    /// Relative to the folder; at least one, and exactly one except in C. Other files are found by what these
    /// include or import.
    pub source: Vec<PathBuf>,
    /// Keeps the WASI imports that the language's runtime makes (no effect in C): its clock and random numbers then
    /// are the host's, and what it prints about its own end goes where the host sends it.
    pub wasi: bool,
}

/// Why a manifest was refused: everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It could not be read.
    #[error("failed to read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It says something that makes no sense.
    #[error("`{path}` is not right:{}", lines(problems))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// At least one.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong with a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counts from 1.
    pub line: usize,
    /// Counts from 1, in characters.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Option<Spanned<String>>,
    language: Spanned<String>,
    hooks: Spanned<Vec<Spanned<String>>>,
    source: Spanned<Source>,
    #[serde(default)]
    wasi: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a file's name or a list of such names")]
enum Source {
    One(String),
    Several(Vec<String>),
}

impl Manifest {
    /// Reads the manifest of a project.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn read(project: &Path) -> Result<Manifest, ManifestError> {
        let path = project.join(FILE);
        let text =
            fs::read_to_string(&path).map_err(|source| ManifestError::Read { path: path.clone(), source })?;
        let folder = project.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Manifest::parse(&text, folder).map_err(|problems| ManifestError::Wrong { path, problems })
    }

    /// Checks the text of a manifest; `folder` is the plugin's name where it does not say another.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, folder: &str) -> Result<Manifest, Vec<Problem>> {
        let mut check = Check { text, problems: Vec::new() };
        let raw: Raw = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                check.problem(&error.span().unwrap_or(0..0), error.message().to_owned());
                return Err(check.problems);
            }
        };
        let manifest = Manifest {
            name: check.name(raw.name, folder),
            language: check.language(&raw.language),
            hooks: check.hooks(&raw.hooks),
            source: check.source(&raw.source, raw.language.get_ref()),
            wasi: raw.wasi,
        };
        if check.problems.is_empty() { Ok(manifest) } else { Err(check.problems) }
    }
}

struct Check<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, at: &Range<usize>, message: String) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        self.problems.push(Problem {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            message,
        });
    }

    fn name(&mut self, name: Option<Spanned<String>>, folder: &str) -> String {
        let (at, name, advice) = match name {
            Some(name) => (name.span(), name.into_inner(), "use"),
            None => (0..0, folder.to_owned(), "the folder's; set `name` to"),
        };
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(word) || name.starts_with('-') {
            self.problem(
                &at,
                format!("`{name}` is no name for a plugin: {advice} small letters, digits and `-`"),
            );
        }
        name
    }

    fn language(&mut self, language: &Spanned<String>) -> Language {
        match Language::of_name(language.get_ref()) {
            Some(Language::Rust) => {
                let advice = "a Rust project needs no plugin.toml: it is a Cargo.toml with a `cdylib`";
                self.problem(&language.span(), advice.to_owned());
                Language::Rust
            }
            Some(known) => known,
            None => {
                let message = format!("unknown language `{}`: c, python or js", language.get_ref());
                self.problem(&language.span(), message);
                Language::C
            }
        }
    }

    fn hooks(&mut self, hooks: &Spanned<Vec<Spanned<String>>>) -> Vec<Hook> {
        let mut found: Vec<Hook> = Vec::new();
        for kind in hooks.get_ref() {
            match hook(kind.get_ref()) {
                None => {
                    let message = format!("unknown hook `{}`: {}", kind.get_ref(), nearest(kind.get_ref()));
                    self.problem(&kind.span(), message);
                }
                Some(known) if found.contains(known) => {
                    self.problem(&kind.span(), format!("`{}` stands here twice", known.kind));
                }
                Some(known) => {
                    if found.first().is_some_and(|first| first.on_worker() != known.on_worker()) {
                        let advice = "make two plugins of them: one runs on the master, one on a worker";
                        let first = found[0].kind;
                        let message = format!("`{}` and `{first}` do not go together: {advice}", known.kind);
                        self.problem(&kind.span(), message);
                    }
                    found.push(*known);
                }
            }
        }
        if hooks.get_ref().is_empty() {
            let message = "a plugin offers at least one hook, for example `next-slave`".to_owned();
            self.problem(&hooks.span(), message);
        }
        found
    }

    fn source(&mut self, source: &Spanned<Source>, language: &str) -> Vec<PathBuf> {
        let files = match source.get_ref() {
            Source::One(file) => vec![PathBuf::from(file)],
            Source::Several(files) => files.iter().map(PathBuf::from).collect(),
        };
        let inside = |file: &PathBuf| {
            file.components().all(|part| matches!(part, std::path::Component::Normal(_)))
                && !file.as_os_str().is_empty()
        };
        if let Some(outside) = files.iter().find(|file| !inside(file)) {
            let message = format!("`{}` does not lie in the project's folder", outside.display());
            self.problem(&source.span(), message);
        }
        if files.is_empty() {
            self.problem(&source.span(), "name at least one file".to_owned());
        }
        if files.len() > 1 && language != Language::C.name() {
            let message = "name one file: others are found by what it imports".to_owned();
            self.problem(&source.span(), message);
        }
        files
    }
}

/// What an unknown kind was probably meant to be, or else all of them.
fn nearest(kind: &str) -> String {
    let close = HOOKS.iter().map(|hook| (strsim::jaro_winkler(kind, hook.kind), hook.kind));
    match close.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, name)) if score > 0.8 => format!("did you mean `{name}`?"),
        _ => {
            let names: Vec<_> = HOOKS.iter().map(|hook| hook.kind).collect();
            format!("there are {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let problems = Manifest::parse(text, "folder").unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_manifest_says_what_to_build_and_is_named_like_its_folder() {
        let text = "language = \"python\"\nhooks = [\"next-slave\", \"merge-requests\"]\nsource = \"alphabetical.py\"\n";
        let manifest = Manifest::parse(text, "alphabetical").unwrap();
        assert_eq!(manifest.name, "alphabetical");
        assert_eq!(manifest.language, Language::Python);
        assert_eq!(
            manifest.hooks.iter().map(|hook| hook.kind).collect::<Vec<_>>(),
            ["next-slave", "merge-requests"]
        );
        assert_eq!(manifest.source, [PathBuf::from("alphabetical.py")]);
        assert!(!manifest.wasi);
        let c = "name = \"x\"\nlanguage = \"c\"\nhooks = [\"slave-command\"]\nsource = [\"a.c\", \"b/c.c\"]\nwasi = true";
        assert_eq!(Manifest::parse(c, "folder").unwrap().source.len(), 2);
    }

    #[test]
    fn everything_wrong_is_said_at_once_with_its_place() {
        let said = said(
            "name = \"My Plugin\"\nlanguage = \"perl\"\nhooks = [\"next-slav\", \"build-step\", \"slave-command\"]\n\
             source = \"../x.py\"\n",
        );
        for part in [
            "line 1, column 8: `My Plugin` is no name",
            "line 2, column 12: unknown language `perl`",
            "line 3, column 10: unknown hook `next-slav`: did you mean `next-slave`?",
            "line 3, column 37: `slave-command` and `build-step` do not go together",
            "line 4, column 10: `../x.py` does not lie",
        ] {
            assert!(said.contains(part), "no `{part}` in:\n{said}");
        }
    }

    #[test]
    fn what_is_no_toml_or_no_manifest_has_a_line() {
        assert!(said("language = \"c\"\nhooks = [\n").starts_with("line "), "{}", said("hooks = [\n"));
        let unknown = said("language = \"c\"\nhooks = [\"next-slave\"]\nsource = \"a.c\"\nsorce = 1\n");
        assert!(unknown.contains("line 4") && unknown.contains("sorce"), "{unknown}");
        let missing = said("language = \"c\"\n");
        assert!(missing.contains("hooks"), "{missing}");
    }

    #[test]
    fn the_folder_s_name_must_do_where_there_is_no_other() {
        let text = "language = \"js\"\nhooks = [\"next-slave\"]\nsource = \"a.js\"\n";
        let problems = Manifest::parse(text, "My Folder").unwrap_err();
        assert!(problems[0].message.contains("set `name`"), "{problems:?}");
    }
}
