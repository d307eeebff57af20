//! `git`: brings the exact revision of the source stamp into the work directory.
//!
//! There is no `git clone`: an empty repository that fetches is a clone that can be continued after an accident,
//! and needs no case of its own. What makes the checkout fail is broken on the worker, so it is removed and made
//! anew once; what makes a fetch fail lies elsewhere, and the checkout stays.

use serde::Deserialize;
use windlass_sdk::model::SourceStamp;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Outcome, Value, bad_argument};

use crate::remote::{Ending, Env, Line, Shell, ended};

/// The hook.
pub struct Git;

impl Hook for Git {
    const NAME: &'static str = "git";
    const SUMMARY: &'static str =
        "checks out the exact revision of the source stamp; a failure halts the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("git.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    repourl: Option<String>,
    branch: Option<String>,
    #[serde(default)]
    codebase: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    shallow: Shallow,
    #[serde(default)]
    submodules: bool,
    #[serde(default = "build")]
    workdir: String,
    #[serde(default)]
    env: Env,
    #[serde(default = "twenty_minutes")]
    timeout: Option<f64>,
}

fn build() -> String {
    "build".to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "a default of an optional field")]
fn twenty_minutes() -> Option<f64> {
    Some(1200.0)
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Incremental,
    Full,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Shallow {
    Whether(bool),
    Depth(u32),
}

impl Default for Shallow {
    fn default() -> Shallow {
        Shallow::Whether(false)
    }
}

impl Shallow {
    fn depth(&self) -> Option<u32> {
        match self {
            Shallow::Whether(false) => None,
            Shallow::Whether(true) => Some(1),
            Shallow::Depth(depth) => Some(*depth),
        }
    }
}

impl BuildStep for Git {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let source = Source::of(&args, &step::source_stamps())?;
        let checkout = Checkout { args, source };
        let revision = match checkout.run() {
            Ok(revision) => revision,
            Err(Stop::Ended(what, outcome, why)) => return Ok(ended(&what, outcome, &why)),
            Err(Stop::Failed(failure)) => return Err(failure),
        };
        step::set_property("got_revision", &Value::Text(revision.clone()))?;
        let at = checkout.source.branch.as_deref().map(|branch| format!(" of {branch}")).unwrap_or_default();
        Ok(StepResult::new(Outcome::Success, format!("{}{at}", revision.get(..12).unwrap_or(&revision))))
    }
}

/// What to check out.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    repository: String,
    branch: Option<String>,
    revision: Option<String>,
}

impl Source {
    fn of(args: &Args, stamps: &[SourceStamp]) -> Result<Source, Failure> {
        let stamp = stamps.iter().find(|stamp| stamp.codebase == args.codebase);
        if stamp.is_some_and(|stamp| stamp.has_patch) {
            return Err(Failure::new(
                "unsupported",
                "the source stamp has a patch, which git can't apply yet",
            ));
        }
        let stamped = stamp.map(|stamp| stamp.repository.clone()).filter(|repository| !repository.is_empty());
        let repository = args.repourl.clone().or(stamped).ok_or_else(|| {
            bad_argument(format!(
                "no repository: neither `repourl` nor a source stamp of codebase `{}` names one",
                args.codebase
            ))
        })?;
        let branch = stamp.and_then(|stamp| stamp.branch.clone()).or_else(|| args.branch.clone());
        let revision = stamp.and_then(|stamp| stamp.revision.clone());
        for name in [Some(&repository), branch.as_ref(), revision.as_ref()].into_iter().flatten() {
            if name.starts_with('-') {
                return Err(bad_argument(format!("`{name}` looks like an option of git")));
            }
        }
        Ok(Source { repository, branch, revision })
    }

    /// Whether git reads the repository's files by itself, without another machine.
    fn is_local(&self) -> bool {
        self.repository.starts_with(['/', '.']) || self.repository.starts_with("file://")
    }
}

/// Why there is no checkout.
enum Stop {
    /// The step is over: what was done, how it ended, why.
    Ended(String, Outcome, String),
    /// The step cannot say.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

struct Checkout {
    args: Args,
    source: Source,
}

impl Checkout {
    /// Answers the revision that is checked out.
    fn run(&self) -> Result<String, Stop> {
        match self.check_out() {
            Err(Broken::Here(_)) => {
                let paths = serde_json::json!({ "paths": self.args.workdir });
                step::run_command("rmdir", &paths)?;
                self.check_out().map_err(Broken::stop)
            }
            Err(broken) => Err(broken.stop()),
            Ok(revision) => Ok(revision),
        }
    }

    fn check_out(&self) -> Result<String, Broken> {
        self.here(&["init", "--quiet"])?;
        let revision = match &self.source.revision {
            // The short form of an id may name another commit once more of them are known.
            Some(revision) if is_object_id(revision) && self.has(revision)? => revision.clone(),
            Some(revision) => self.fetch_revision(revision)?,
            None => {
                self.fetch(self.source.branch.as_deref().unwrap_or("HEAD"), self.args.shallow.depth())?;
                "FETCH_HEAD".to_owned()
            }
        };
        self.here(&["checkout", "--quiet", "--force", "--detach", &revision])?;
        if self.args.submodules {
            self.submodules()?;
        }
        let clean = if self.args.mode == Mode::Full { "-ffdx" } else { "-ffd" };
        self.here(&["clean", "--quiet", clean])?;
        self.revision()
    }

    /// A revision that the branch may or may not contain.
    fn fetch_revision(&self, revision: &str) -> Result<String, Broken> {
        let depth = self.args.shallow.depth();
        let branch = self.source.branch.as_deref().unwrap_or("HEAD");
        if depth.is_none() {
            self.fetch(branch, None)?;
            if self.has(revision)? {
                return Ok(revision.to_owned());
            }
        }
        // Not on the branch any more, or not wanted with all that is on it: by its name.
        self.fetch(revision, depth)?;
        Ok("FETCH_HEAD".to_owned())
    }

    fn fetch(&self, what: &str, depth: Option<u32>) -> Result<(), Broken> {
        let depth = depth.map(|depth| format!("--depth={depth}"));
        let mut words = vec!["fetch", "--quiet", "--force", "--no-tags"];
        words.extend(depth.as_deref());
        if self.source.is_local() {
            // A repository of another user on this machine: whoever configured its address trusts it. Git hands
            // no configuration on to the program that reads it, so that program is told itself.
            words.extend(["--upload-pack", "git -c 'safe.directory=*' upload-pack"]);
        }
        words.extend(["--", &self.source.repository, what]);
        match self.git(&words).run()? {
            Ending::Code(0) => Ok(()),
            Ending::Code(code) => Err(Broken::There(Stop::Ended(
                format!("git fetch of {what} from {}", self.source.repository),
                Outcome::Failure,
                format!("exit code {code}"),
            ))),
            Ending::Other(outcome, why) => {
                Err(Broken::There(Stop::Ended(format!("git fetch of {what}"), outcome, why)))
            }
        }
    }

    /// Whether the commit is here. A branch or tag of that name does not count: it may have moved.
    fn has(&self, revision: &str) -> Result<bool, Broken> {
        if !is_commit_id(revision) {
            return Ok(false);
        }
        let commit = format!("{revision}^{{commit}}");
        match self.git(&["rev-parse", "--quiet", "--verify", &commit]).run()? {
            Ending::Code(code) => Ok(code == 0),
            Ending::Other(outcome, why) => {
                Err(Broken::There(Stop::Ended("git rev-parse".into(), outcome, why)))
            }
        }
    }

    fn submodules(&self) -> Result<(), Broken> {
        // Submodules with a relative address are found from here.
        self.here(&["config", "remote.origin.url", &self.source.repository])?;
        self.here(&["submodule", "--quiet", "sync", "--recursive"])?;
        let mut words = vec![];
        if self.source.is_local() {
            words.extend(["-c", "protocol.file.allow=always"]);
        }
        words.extend(["submodule", "--quiet", "update", "--init", "--recursive", "--force"]);
        match self.git(&words).run()? {
            Ending::Code(0) => Ok(()),
            Ending::Code(code) => Err(Broken::There(Stop::Ended(
                "git submodule update".into(),
                Outcome::Failure,
                format!("exit code {code}"),
            ))),
            Ending::Other(outcome, why) => {
                Err(Broken::There(Stop::Ended("git submodule update".into(), outcome, why)))
            }
        }
    }

    fn revision(&self) -> Result<String, Broken> {
        let (ending, text) = self.git(&["rev-parse", "HEAD"]).read(1 << 16)?;
        let line = text.lines().map(str::trim).find(|line| is_object_id(line));
        match (ending, line) {
            (Ending::Code(0), Some(line)) => Ok(line.to_owned()),
            (Ending::Other(outcome, why), _) => {
                Err(Broken::There(Stop::Ended("git rev-parse HEAD".into(), outcome, why)))
            }
            (Ending::Code(code), _) => Err(Broken::Here(Stop::Ended(
                "git rev-parse HEAD".into(),
                Outcome::Failure,
                format!("exit code {code} and no revision"),
            ))),
        }
    }

    /// Runs a git whose failure means that the checkout is broken.
    fn here(&self, words: &[&str]) -> Result<(), Broken> {
        let title = || format!("git {}", words[0]);
        match self.git(words).run()? {
            Ending::Code(0) => Ok(()),
            Ending::Code(code) => {
                Err(Broken::Here(Stop::Ended(title(), Outcome::Failure, format!("exit code {code}"))))
            }
            Ending::Other(outcome, why) => Err(Broken::There(Stop::Ended(title(), outcome, why))),
        }
    }

    fn git(&self, words: &[&str]) -> Shell {
        let argv = std::iter::once(&"git").chain(words).map(|&word| word.to_owned()).collect();
        let mut env = self.args.env.clone();
        // Nobody is there to answer.
        env.entry("GIT_TERMINAL_PROMPT".to_owned()).or_insert_with(|| "0".into());
        Shell {
            workdir: self.args.workdir.clone(),
            env,
            idle_time_s: self.args.timeout,
            ..Shell::new(Line::Argv(argv))
        }
    }
}

/// Where the reason lies.
enum Broken {
    /// In the checkout on the worker: a new one may help.
    Here(Stop),
    /// Elsewhere.
    There(Stop),
}

impl Broken {
    fn stop(self) -> Stop {
        match self {
            Broken::Here(stop) | Broken::There(stop) => stop,
        }
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Broken {
        Broken::There(Stop::Failed(failure))
    }
}

fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// An id or the beginning of one, as people write it.
fn is_commit_id(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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
    fn nothing_to_check_out_and_options_in_disguise_are_refused() {
        for (args, stamps) in [
            (args("{}"), vec![]),
            (args("{}"), vec![SourceStamp { branch: Some("--upload-pack=x".into()), ..stamp() }]),
        ] {
            assert_eq!(Source::of(&args, &stamps).expect_err("it is refused").code, "bad-argument");
        }
    }

    #[test]
    fn ids_are_whole_or_short_and_names_are_neither() {
        assert!(is_object_id(&"0af".repeat(13).chars().chain(['1']).collect::<String>()));
        assert!(!is_object_id("main"));
        assert!(!is_object_id("abc1234") && is_commit_id("abc1234"));
        assert!(!is_commit_id("v1.0") && !is_commit_id("main"));
    }
}
