//! The checkout: git, command by command.

use windlass_sdk::step;
use windlass_sdk::{Failure, Outcome};

use super::source::Source;
use super::{Args, Method, is_whole};
use crate::remote::{self, Ending, Line, Shell, milliseconds};

/// Where the checkout stands that is copied, in the builder's directory.
const COPIED: &str = "source";

/// Why there is no checkout.
pub(super) enum Stop {
    /// The step is over: what was done, how it ended, why.
    Ended(String, Outcome, String),
    /// The step cannot say.
    Failed(Failure),
}

impl Stop {
    pub(super) fn of(what: impl Into<String>, (outcome, why): remote::Stop) -> Stop {
        Stop::Ended(what.into(), outcome, why)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

/// A checkout that is to be made.
pub(super) struct Checkout {
    pub(super) args: Args,
    pub(super) source: Source,
    pub(super) method: Option<Method>,
}

impl Checkout {
    /// Answers the revision that is checked out.
    pub(super) fn run(&self) -> Result<String, Stop> {
        if self.method == Some(Method::Clobber) {
            remove(self.dir())?;
        }
        let revision = match self.check_out() {
            Err(Broken::Here(_)) if !is_whole(self.dir()) => {
                remove(self.dir())?;
                self.check_out().map_err(Broken::stop)?
            }
            Err(broken) => return Err(broken.stop()),
            Ok(revision) => revision,
        };
        if self.method == Some(Method::Copy) {
            remove(&self.args.workdir)?;
            let copy = serde_json::json!({ "from_path": COPIED, "to_path": self.args.workdir });
            remote::command("cpdir", &copy)?.map_err(|stop| Stop::of("copy of the checkout", stop))?;
        }
        Ok(revision)
    }

    /// Where git works.
    pub(super) fn dir(&self) -> &str {
        if self.method == Some(Method::Copy) { COPIED } else { &self.args.workdir }
    }

    fn check_out(&self) -> Result<String, Broken> {
        self.here(&["init", "--quiet"])?;
        let revision = match &self.source.revision {
            // The short form of an id may name another commit once more of them are known.
            Some(revision) if is_object_id(revision) && self.has(revision)? && !self.lacks_history()? => {
                revision.clone()
            }
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
        if self.args.lfs {
            self.large_files()?;
        }
        self.clean()?;
        self.apply_patch()?;
        self.revision()
    }

    /// Removes what the last build left.
    fn clean(&self) -> Result<(), Broken> {
        let what = match self.method {
            None | Some(Method::Clobber) => return Ok(()),
            Some(Method::Clean) => "-ffd",
            Some(Method::Fresh | Method::Copy) => "-ffdx",
        };
        self.here(&["clean", "--quiet", what])?;
        if self.args.submodules {
            let inside = format!("git clean --quiet {what}");
            self.here(&["submodule", "--quiet", "foreach", "--recursive", &inside])?;
        }
        Ok(())
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

    /// Fetches, and again as often as the arguments say.
    fn fetch(&self, what: &str, depth: Option<u32>) -> Result<(), Broken> {
        self.again(|| self.fetch_once(what, depth))
    }

    /// Does what needs another machine, and again as often as the arguments say.
    fn again(&self, once: impl Fn() -> Result<(), Broken>) -> Result<(), Broken> {
        let mut left = self.args.retry.map_or(0, |retry| retry.count);
        loop {
            match once() {
                Err(Broken::There(Stop::Ended(title, Outcome::Failure, why))) if left > 0 => {
                    let delay = self.args.retry.map_or(0.0, |retry| retry.delay);
                    step::summary(&format!("{title}: {why}; again in {delay} s, {left} more"));
                    step::sleep(milliseconds(delay))?;
                    left -= 1;
                }
                done => return done,
            }
        }
    }

    fn fetch_once(&self, what: &str, depth: Option<u32>) -> Result<(), Broken> {
        let history = match depth {
            Some(depth) => Some(format!("--depth={depth}")),
            None => self.lacks_history()?.then(|| "--unshallow".to_owned()),
        };
        let tags = if self.args.tags { "--tags" } else { "--no-tags" };
        let mut words = vec!["fetch", "--quiet", "--force", tags];
        words.extend(history.as_deref());
        if self.source.is_local() {
            // A repository of another user on this machine: whoever configured its address trusts it. Git hands
            // no configuration on to the program that reads it, so that program is told itself.
            words.extend(["--upload-pack", "git -c 'safe.directory=*' upload-pack"]);
        }
        let kept = format!("{what}:{}", kept_as(self.source.branch.as_deref().unwrap_or("HEAD")));
        words.extend(["--", &self.source.repository, &kept]);
        let title = format!("git fetch of {what} from {}", self.source.repository);
        self.there(&words, title)
    }

    /// Whether an earlier `shallow` left a checkout that begins in the middle, although all is wanted by now.
    fn lacks_history(&self) -> Result<bool, Broken> {
        if self.args.shallow.depth().is_some() {
            return Ok(false);
        }
        let (ending, text) = self.git(&["rev-parse", "--is-shallow-repository"]).read(1 << 16)?;
        match ending {
            Ending::Code(0) => Ok(text.trim() == "true"),
            Ending::Code(code) => Err(Broken::Here(Stop::Ended(
                "git rev-parse".into(),
                Outcome::Failure,
                format!("exit code {code}"),
            ))),
            Ending::Other(outcome, why) => {
                Err(Broken::There(Stop::Ended("git rev-parse".into(), outcome, why)))
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
        self.again(|| self.there(&words, "git submodule update".to_owned()))
    }

    /// Puts the contents of large files in the place of their pointers.
    fn large_files(&self) -> Result<(), Broken> {
        self.there(&["lfs", "version"], "git lfs, which this worker may lack".to_owned())?;
        self.here(&["lfs", "install", "--local", "--skip-smudge"])?;
        self.here(&["config", "remote.origin.url", &self.source.repository])?;
        self.again(|| self.there(&["lfs", "fetch", "origin", "HEAD"], "git lfs fetch".to_owned()))?;
        self.there(&["lfs", "checkout"], "git lfs checkout".to_owned())
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

    /// Runs a git whose failure has its reason elsewhere.
    fn there(&self, words: &[&str], title: String) -> Result<(), Broken> {
        match self.git(words).run()? {
            Ending::Code(0) => Ok(()),
            Ending::Code(code) => {
                Err(Broken::There(Stop::Ended(title, Outcome::Failure, format!("exit code {code}"))))
            }
            Ending::Other(outcome, why) => Err(Broken::There(Stop::Ended(title, outcome, why))),
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

    pub(super) fn git(&self, words: &[&str]) -> Shell {
        // What git packs and prunes after a fetch is part of that fetch: behind its back, it would be ended with it.
        let mut argv = ["git", "-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"]
            .map(str::to_owned)
            .to_vec();
        for (name, value) in &self.args.config {
            argv.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        argv.extend(words.iter().map(|&word| word.to_owned()));
        let mut env = self.args.env.clone();
        // Nobody is there to answer.
        env.entry("GIT_TERMINAL_PROMPT".to_owned()).or_insert_with(|| "0".into());
        // Large files come at their own time, from the right place, and only if they are wanted: a machine that
        // installs git-lfs for everybody would fetch them while git checks out, and knows nobody to fetch them from.
        env.insert("GIT_LFS_SKIP_SMUDGE".to_owned(), "1".into());
        Shell {
            workdir: self.dir().to_owned(),
            env,
            timeout: self.args.timeout,
            ..Shell::new(Line::Argv(argv))
        }
    }
}

/// Where the reason lies.
pub(super) enum Broken {
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

/// Removes a checkout.
fn remove(path: &str) -> Result<(), Stop> {
    remote::remove(path)?.map_err(|stop| Stop::of(format!("removal of {path}"), stop))
}

/// The ref that keeps what was fetched of a branch. A fetch asks for what no ref leads to: with none at all, each one
/// would bring all of the history again. A branch `a` does not keep `a/b` from having one, too.
fn kept_as(branch: &str) -> String {
    format!("refs/windlass/{}", branch.replace('%', "%25").replace('/', "%2F"))
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

    #[test]
    fn ids_are_whole_or_short_and_names_are_neither() {
        assert!(is_object_id(&"0af".repeat(13).chars().chain(['1']).collect::<String>()));
        assert!(!is_object_id("main"));
        assert!(!is_object_id("abc1234") && is_commit_id("abc1234"));
        assert!(!is_commit_id("v1.0") && !is_commit_id("main"));
    }

    #[test]
    fn each_branch_is_kept_by_a_ref_that_stands_in_nobodys_way() {
        assert_eq!(kept_as("main"), "refs/windlass/main");
        assert_ne!(kept_as("a/b"), kept_as("a%2Fb"));
        assert!(!kept_as("refs/pull/1/head")["refs/windlass/".len()..].contains('/'));
    }
}
