//! `codebase-generator` policy `by-repository`: a codebase for each repository.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_sdk::model::Change;
use windlass_sdk::{CodebaseGenerator, Failure, Hook};

struct ByRepository;

impl Hook for ByRepository {
    const NAME: &'static str = "by-repository";
    const SUMMARY: &'static str = "a codebase for each repository, by its address";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("by-repository.schema.json"));
    type Args = Args;
}

#[derive(Deserialize)]
struct Args {
    #[serde(default)]
    repositories: BTreeMap<String, String>,
    #[serde(default)]
    default: String,
}

impl CodebaseGenerator for ByRepository {
    fn codebase(args: Args, change: Change) -> Result<String, Failure> {
        Ok(codebase(&args, &change.repository).to_owned())
    }
}

fn codebase<'a>(args: &'a Args, repository: &str) -> &'a str {
    let named = args.repositories.iter().filter(|(prefix, _)| begins(repository, prefix));
    named.max_by_key(|(prefix, _)| prefix.len()).map_or(&args.default, |(_, codebase)| codebase)
}

/// Whether `prefix` is the repository or a folder that it is in.
fn begins(repository: &str, prefix: &str) -> bool {
    let Some(rest) = repository.strip_prefix(prefix) else { return false };
    rest.is_empty() || rest == ".git" || rest.starts_with('/') || prefix.ends_with(['/', ':'])
}

windlass_sdk::export!(codebase_generator: ByRepository);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_counts_and_whole_names_only() {
        let args = Args {
            repositories: [("https://x/team", "team"), ("https://x/team/lib", "lib"), ("git@x:", "ssh")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            default: "other".into(),
        };
        for (repository, expected) in [
            ("https://x/team/lib", "lib"),
            ("https://x/team/lib.git", "lib"),
            ("https://x/team/library", "team"),
            ("https://x/teams/lib", "other"),
            ("git@x:team/lib", "ssh"),
            ("", "other"),
        ] {
            assert_eq!(codebase(&args, repository), expected, "{repository}");
        }
    }
}
