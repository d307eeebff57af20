//! What to check out: from the build's source stamp, with the arguments in its gaps.

use windlass_sdk::model::SourceStamp;
use windlass_sdk::{Failure, bad_argument};

use super::Args;

/// Where the source is, and which of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// As git names it.
    pub repository: String,
    /// None: the repository's default one.
    pub branch: Option<String>,
    /// None: the newest of the branch.
    pub revision: Option<String>,
    /// Whether a patch goes on top.
    pub has_patch: bool,
}

impl Source {
    /// What these arguments mean under these stamps.
    pub fn of(args: &Args, stamps: &[SourceStamp]) -> Result<Source, Failure> {
        let stamp = stamps.iter().find(|stamp| stamp.codebase == args.codebase);
        let stamped = stamp.map(|stamp| stamp.repository.clone()).filter(|repository| !repository.is_empty());
        let repository = args.repourl.clone().or(stamped).ok_or_else(|| {
            bad_argument(format!(
                "no repository: neither `repourl` nor a source stamp of codebase `{}` names one",
                args.codebase
            ))
        })?;
        let branch = stamp.and_then(|stamp| stamp.branch.clone()).or_else(|| args.branch.clone());
        let revision = stamp.filter(|_| !args.always_use_latest).and_then(|stamp| stamp.revision.clone());
        for name in [Some(&repository), branch.as_ref(), revision.as_ref()].into_iter().flatten() {
            if name.starts_with('-') {
                return Err(bad_argument(format!("`{name}` looks like an option of git")));
            }
        }
        Ok(Source { repository, branch, revision, has_patch: stamp.is_some_and(|stamp| stamp.has_patch) })
    }

    /// Whether git reads the repository's files by itself, without another machine.
    pub fn is_local(&self) -> bool {
        self.repository.starts_with(['/', '.']) || self.repository.starts_with("file://")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(json: &str) -> Args {
        serde_json::from_str(json).expect("the arguments fit")
    }

    fn stamp() -> SourceStamp {
        SourceStamp {
            codebase: String::new(),
            project: String::new(),
            repository: "/srv/repo".into(),
            branch: Some("main".into()),
            revision: Some("a".repeat(40)),
            changes: vec![],
            has_patch: false,
        }
    }

    #[test]
    fn the_source_stamp_says_what_and_arguments_fill_the_gaps() {
        let source = Source::of(&args(r#"{"branch":"dev"}"#), &[stamp()]).expect("it is complete");
        assert_eq!(source.branch.as_deref(), Some("main"));
        assert!(source.is_local());
        let bare = SourceStamp { branch: None, revision: None, ..stamp() };
        let source =
            Source::of(&args(r#"{"branch":"dev","repourl":"https://x/y"}"#), &[bare]).expect("complete");
        assert_eq!((source.repository.as_str(), source.branch.as_deref()), ("https://x/y", Some("dev")));
        assert!(!source.is_local());
    }

    #[test]
    fn the_newest_is_taken_where_that_is_wanted_whatever_the_stamp_says() {
        let source = Source::of(&args(r#"{"always_use_latest":true}"#), &[stamp()]).expect("complete");
        assert_eq!((source.branch.as_deref(), source.revision), (Some("main"), None));
    }

    #[test]
    fn each_codebase_has_its_own_stamp() {
        let lib = SourceStamp { codebase: "lib".into(), repository: "/srv/lib".into(), ..stamp() };
        let source = Source::of(&args(r#"{"codebase":"lib"}"#), &[stamp(), lib]).expect("complete");
        assert_eq!(source.repository, "/srv/lib");
    }

    #[test]
    fn nothing_to_check_out_and_options_in_disguise_are_refused() {
        for (args, stamps) in [
            (args("{}"), vec![]),
            (args("{}"), vec![SourceStamp { branch: Some("--upload-pack=x".into()), ..stamp() }]),
        ] {
            assert_eq!(Source::of(&args, &stamps).expect_err("it is refused").code, "bad-argument");
        }
    }
}
