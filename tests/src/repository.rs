//! A real git repository in a directory of its own.

use std::path::Path;
use std::process::Command;

/// A git repository with the branch `main`.
pub struct Repository(tempfile::TempDir);

impl Repository {
    /// An empty one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Repository {
        let repository = Repository(tempfile::tempdir().expect("a temporary directory"));
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        repository
    }

    /// Its path, which git can clone.
    #[must_use]
    pub fn url(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and commits it: the revision.
    pub fn commit(&self, file: &str, text: &str, message: &str) -> String {
        std::fs::write(self.0.path().join(file), text).expect("the directory is ours");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in it, untouched by what the machine's user has configured.
    pub fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.0.path())
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "Ana"), ("GIT_AUTHOR_EMAIL", "ana@example.org")])
            .envs([("GIT_COMMITTER_NAME", "Ben"), ("GIT_COMMITTER_EMAIL", "ben@example.org")])
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }
}
