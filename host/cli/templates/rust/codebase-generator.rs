//! `codebase-generator` policy `my-plugin`: a codebase is called as its repository's folder.

use windlass_sdk::model::Change;
use windlass_sdk::{CodebaseGenerator, Failure, Hook, NoArgs};

struct Policy;

impl Hook for Policy {
    // What master.toml says, under `[policies]`: `codebase_generator = "my-plugin:my-plugin"`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "the last part of the repository's address, without `.git`";
    type Args = NoArgs;
}

impl CodebaseGenerator for Policy {
    // The answer is the codebase of a change that has just come in. After an error it has none.
    fn codebase(_: NoArgs, change: Change) -> Result<String, Failure> {
        let address = change.repository.trim_end_matches('/');
        let folder = address.rsplit(['/', ':']).next().unwrap_or(address);
        Ok(folder.trim_end_matches(".git").to_owned())
    }
}

windlass_sdk::export!(codebase_generator: Policy);
