//! The languages that a plugin may be written in.

/// A language that a project may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// A `Cargo.toml` with a `cdylib`; no manifest of ours.
    Rust,
    /// Compiled by clang.
    C,
    /// Made a component by componentize-py.
    Python,
    /// Made a component by componentize-qjs.
    JavaScript,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 4] = [Language::Rust, Language::C, Language::Python, Language::JavaScript];

    /// As manifests and command lines have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::C => "c",
            Language::Python => "python",
            Language::JavaScript => "js",
        }
    }

    /// The language of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.name() == name)
    }
}
