//! Paths on the worker: one or several of them, where they lie, and those that a pattern finds.

use std::collections::HashSet;

use serde::Deserialize;
use windlass_sdk::Failure;
use windlass_sdk::step;

use crate::remote::{Ending, Stop, ending};

/// One or several, as arguments have them.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum OneOrSeveral {
    /// A text.
    One(String),
    /// A list.
    Several(Vec<String>),
}

impl OneOrSeveral {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            OneOrSeveral::One(one) => std::slice::from_ref(one),
            OneOrSeveral::Several(several) => several,
        }
    }
}

/// A path below a directory, both relative to the builder's. The directory is written as `glob` answers it: without
/// the parts that mean nothing.
pub fn below(directory: &str, path: &str) -> String {
    let root = if directory.starts_with('/') { "/" } else { "" };
    let parts: Vec<&str> = directory.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    match parts.is_empty() {
        true => format!("{root}{path}"),
        false => format!("{root}{}/{path}", parts.join("/")),
    }
}

/// The last part of a path.
pub fn base_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

/// The paths that these patterns find, each once, relative to the builder's directory.
pub fn glob(patterns: impl IntoIterator<Item = String>) -> Result<Result<Vec<String>, Stop>, Failure> {
    let (mut paths, mut seen) = (Vec::new(), HashSet::new());
    for pattern in patterns {
        let (answer, found) = match step::list("glob", &pattern) {
            Ok((completion, found)) => (Ok(completion), found),
            Err(failure) => (Err(failure), Vec::new()),
        };
        match ending(answer)? {
            Ending::Code(0) => paths.extend(found.into_iter().filter(|path| seen.insert(path.clone()))),
            Ending::Code(code) => {
                let why = format!("{pattern}: it cannot be looked for, rc {code}; see the log");
                return Ok(Err((windlass_sdk::Outcome::Failure, why)));
            }
            Ending::Other(outcome, why) => return Ok(Err((outcome, format!("{pattern}: {why}")))),
        }
    }
    Ok(Ok(paths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_without_the_parts_that_mean_nothing() {
        for (directory, path) in [
            ("build", "build/a.xml"),
            ("build/", "build/a.xml"),
            ("./build", "build/a.xml"),
            ("build//./out/", "build/out/a.xml"),
            ("", "a.xml"),
            ("./", "a.xml"),
            // Refused by whoever gets it, and so it must stay what it is.
            ("/tmp", "/tmp/a.xml"),
            ("../x", "../x/a.xml"),
        ] {
            assert_eq!(below(directory, "a.xml"), path, "{directory}");
        }
    }

    #[test]
    fn the_last_part_is_the_name() {
        assert_eq!(base_name("a/b/"), "b");
        assert_eq!(base_name("b"), "b");
    }
}
