//! `git` as a subprocess: no shell, no questions to a terminal, bounded in time and output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use windlass_core::change::Change;
use windlass_core::digest::Digest;
use windlass_core::id::ChangeId;
use windlass_core::properties::Properties;
use windlass_core::time::Timestamp;

/// A question to a remote or to the mirror.
const ASK: Duration = Duration::from_secs(60);
/// A fetch; the first one of a large repository takes its time.
const FETCH: Duration = Duration::from_secs(900);
/// The most that one answer of git may have: a list of a million revisions fits.
const MAX_OUTPUT: u64 = 64 << 20;
/// What is kept of git's complaints.
const MAX_COMPLAINT: u64 = 8 << 10;

/// Why git gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It did not start.
    #[error("failed to run git; is it installed?")]
    Spawn(#[source] std::io::Error),
    /// Its pipes broke.
    #[error("failed to read from `git {0}`")]
    Pipe(&'static str, #[source] std::io::Error),
    /// It said no.
    #[error("`git {what}` failed: {complaint}")]
    Failed {
        /// The subcommand.
        what: &'static str,
        /// What it wrote to its standard error.
        complaint: String,
    },
    /// It took too long.
    #[error("`git {what}` took longer than {} s", .after.as_secs())]
    Slow {
        /// The subcommand.
        what: &'static str,
        /// The bound.
        after: Duration,
    },
    /// It said more than is sane.
    #[error("`git {0}` answered more than {MAX_OUTPUT} bytes")]
    TooMuch(&'static str),
    /// Its answer makes no sense.
    #[error("the answer of `git {what}` cannot be read: {why}")]
    Unreadable {
        /// The subcommand.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The mirror's directory cannot be made.
    #[error("failed to make `{path}`", path = path.display())]
    Mirror {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What a remote has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remote {
    /// The branch that its `HEAD` stands for.
    pub default: Option<String>,
    /// Revisions by branch.
    pub heads: BTreeMap<String, String>,
}

/// Asks a remote for its default branch and its branches.
pub(super) async fn remote(repository: &str) -> Result<Remote, GitError> {
    let mut command = git(None);
    command.args(["ls-remote", "--symref", "--", repository, "HEAD", "refs/heads/*"]);
    let text = run("ls-remote", command, None, ASK).await?;
    let mut remote = Remote::default();
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((value, name)) = line.split_once('\t') else { continue };
        if let Some(target) = value.strip_prefix("ref: ") {
            remote.default = target.strip_prefix("refs/heads/").map(str::to_owned);
        } else if let Some(branch) = name.strip_prefix("refs/heads/") {
            remote.heads.insert(branch.to_owned(), value.to_owned());
        }
    }
    Ok(remote)
}

/// A bare clone that only its poller uses.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    folder: PathBuf,
}

impl Mirror {
    pub fn new(folder: PathBuf) -> Mirror {
        Mirror { folder }
    }

    /// Fetches these branches and answers where they are now.
    pub async fn fetch(
        &self,
        repository: &str,
        branches: &[String],
    ) -> Result<BTreeMap<String, String>, GitError> {
        if !self.folder.join("HEAD").is_file() {
            let made = tokio::fs::create_dir_all(&self.folder).await;
            made.map_err(|source| GitError::Mirror { path: self.folder.clone(), source })?;
            let mut command = git(None);
            command.args(["init", "--bare", "--quiet", "--"]).arg(&self.folder);
            run("init", command, None, ASK).await?;
        }
        let mut command = git(Some(&self.folder));
        // What git tidies up by itself, it tidies up before it exits: nothing stays behind us.
        command.args(["-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"]);
        command.args(["fetch", "--quiet", "--no-tags", "--force", "--no-write-fetch-head", "--", repository]);
        // Flat names of our own: a branch `a/b` can come where a branch `a` was.
        let kept = |branch: &str| format!("refs/watched/{}", Digest::of(branch.as_bytes()).short());
        command.args(branches.iter().map(|branch| format!("+refs/heads/{branch}:{}", kept(branch))));
        let fetched = run("fetch", command, None, FETCH).await;
        if let Err(GitError::Failed { complaint, .. }) = &fetched
            && (complaint.contains(".lock'") || complaint.contains("not a git repository"))
        {
            // A git that was killed left it so, for ever. All that is in it can be fetched again.
            tracing::warn!(mirror = %self.folder.display(), complaint, "a mirror is damaged; it is made anew");
            let gone = tokio::fs::remove_dir_all(&self.folder).await;
            gone.map_err(|source| GitError::Mirror { path: self.folder.clone(), source })?;
        }
        fetched?;
        let mut command = git(Some(&self.folder));
        command.args(["for-each-ref", "--format=%(objectname) %(refname)", "refs/watched/"]);
        let text = run("for-each-ref", command, None, ASK).await?;
        let text = String::from_utf8_lossy(&text);
        let found: BTreeMap<&str, &str> =
            text.lines().filter_map(|line| line.split_once(' ')).map(|(head, name)| (name, head)).collect();
        let head = |branch: &String| Some((branch.clone(), (*found.get(kept(branch).as_str())?).to_owned()));
        Ok(branches.iter().filter_map(head).collect())
    }

    /// Whether the mirror has this commit.
    pub async fn has(&self, revision: &str) -> Result<bool, GitError> {
        let mut command = git(Some(&self.folder));
        command.args(["cat-file", "-e", &format!("{revision}^{{commit}}")]);
        match run("cat-file", command, None, ASK).await {
            Ok(_) => Ok(true),
            Err(GitError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The revisions of a branch's own line up to `head` that none of `known` reaches, oldest first.
    pub async fn between(&self, known: &[&str], head: &str) -> Result<Vec<String>, GitError> {
        let mut command = git(Some(&self.folder));
        command.args(["rev-list", "--reverse", "--first-parent", head]);
        command.args(known.iter().map(|revision| format!("^{revision}"))).arg("--");
        let text = run("rev-list", command, None, ASK).await?;
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    /// These commits, in this order, as changes without a repository, branch or number.
    pub async fn changes(&self, revisions: &[String]) -> Result<Vec<Change>, GitError> {
        let mut command = git(Some(&self.folder));
        command.args(["-c", "i18n.logOutputEncoding=UTF-8"]);
        command.args(["log", "--no-walk=unsorted", "--stdin", "-z", "--first-parent", "-m", "--name-only"]);
        command.args(["--no-renames", "--no-ext-diff", "--no-color", "--no-show-signature"]);
        command.arg("--format=%x01%H%x00%an <%ae>%x00%cn <%ce>%x00%ct%x00%B%x00");
        let input = revisions.iter().flat_map(|r| [r.as_str(), "\n"]).collect::<String>();
        let text = run("log", command, Some(input.into_bytes()), ASK).await?;
        parse_log(&text, revisions).map_err(|why| GitError::Unreadable { what: "log", why })
    }
}

/// Reads what [`Mirror::changes`] asks for: fields that end in NUL; an empty one; the files, the first
/// after a line break. The next commit begins with its own hash, which no file's name can foretell.
fn parse_log(text: &[u8], revisions: &[String]) -> Result<Vec<Change>, String> {
    let text = String::from_utf8_lossy(text);
    let mut fields = text.split('\0').peekable();
    let mut changes = Vec::with_capacity(revisions.len());
    for (place, revision) in revisions.iter().enumerate() {
        let mut field = |what: &str| fields.next().ok_or_else(|| format!("{revision} has no {what}"));
        let begin = field("beginning")?;
        if begin.strip_prefix('\u{1}') != Some(revision) {
            return Err(format!("expected {revision}, got `{begin}`"));
        }
        let author = field("author")?.to_owned();
        let committer = field("committer")?.to_owned();
        let when = field("time")?;
        let seconds: u64 = when.parse().map_err(|_| format!("{revision} was committed at `{when}`"))?;
        let comments = field("message")?.trim_end().to_owned();
        field("end")?;
        let next = revisions.get(place + 1).map(|next| format!("\u{1}{next}"));
        let mut files = Vec::new();
        while let Some(name) = fields.next_if(|name| Some(*name) != next.as_deref()) {
            let name = if files.is_empty() { name.strip_prefix('\n').unwrap_or(name) } else { name };
            if !name.is_empty() {
                files.push(name.to_owned());
            }
        }
        changes.push(Change {
            id: ChangeId::default(),
            author,
            committer: Some(committer),
            comments,
            codebase: String::new(),
            project: String::new(),
            repository: String::new(),
            branch: None,
            revision: Some(revision.clone()),
            category: None,
            revlink: None,
            files,
            when: Timestamp(seconds.saturating_mul(1_000)),
            properties: Properties::default(),
        });
    }
    Ok(changes)
}

fn git(folder: Option<&Path>) -> Command {
    let mut command = Command::new("git");
    if let Some(folder) = folder {
        command.arg("--git-dir").arg(folder);
    }
    // Whatever surrounds the master, it is not in somebody's repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"] {
        command.env_remove(name);
    }
    crate::secrets::take_out(command.as_std_mut());
    command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
    if std::env::var_os("GIT_SSH_COMMAND").is_none() {
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    command
}

/// Runs git to its end. Dropping the future kills it; what it had started for a transport ends with
/// its pipes.
async fn run(
    what: &'static str,
    mut command: Command,
    input: Option<Vec<u8>>,
    after: Duration,
) -> Result<Vec<u8>, GitError> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(GitError::Spawn)?;
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().expect("it was piped");
    let stderr = child.stderr.take().expect("it was piped");
    let work = async {
        let write = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input)
                && let Err(error) = stdin.write_all(&input).await
                && error.kind() != std::io::ErrorKind::BrokenPipe
            {
                return Err(error);
            }
            Ok(())
        };
        // A git that ends early says why on its standard error: its broken pipe is not the news.
        let (written, output, complaint) =
            tokio::join!(write, read(stdout, MAX_OUTPUT), read(stderr, MAX_COMPLAINT));
        written?;
        Ok::<_, std::io::Error>((output?, complaint?, child.wait().await?))
    };
    let done = tokio::time::timeout(after, work).await.map_err(|_| GitError::Slow { what, after })?;
    let ((output, whole), (complaint, _), status) = done.map_err(|source| GitError::Pipe(what, source))?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let complaint = complaint.trim();
        let complaint = if complaint.is_empty() { status.to_string() } else { complaint.replace('\n', "; ") };
        return Err(GitError::Failed { what, complaint });
    }
    if whole { Ok(output) } else { Err(GitError::TooMuch(what)) }
}

/// Reads to the end and keeps at most `limit` bytes; says whether that is all.
async fn read(mut from: impl AsyncRead + Unpin, limit: u64) -> std::io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    (&mut from).take(limit).read_to_end(&mut kept).await?;
    let dropped = tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok((kept, dropped == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_reads_back_with_messages_and_files_of_any_shape() {
        let revisions = ["aa".to_owned(), "bb".to_owned(), "cc".to_owned()];
        let text = "\u{1}aa\0Ana <a@b>\0Bo <b@c>\x0012\0one\n\nbody\n\0\0\na\0\u{1}zz\0\
                    \u{1}bb\0Ana <a@b>\0Ana <a@b>\x0013\0empty\n\0\0\
                    \u{1}cc\0Ana <a@b>\0Ana <a@b>\x0014\0\0\0\nd e/f\0";
        let changes = parse_log(text.as_bytes(), &revisions).unwrap();
        let shown: Vec<_> =
            changes.iter().map(|c| (c.comments.as_str(), c.files.join("|"), c.when.0)).collect();
        assert_eq!(
            shown,
            [
                ("one\n\nbody", "a|\u{1}zz".to_owned(), 12_000),
                ("empty", String::new(), 13_000),
                ("", "d e/f".to_owned(), 14_000),
            ]
        );
        assert_eq!(changes[0].committer.as_deref(), Some("Bo <b@c>"));
    }

    #[test]
    fn an_answer_that_lacks_a_commit_is_an_error() {
        let error = parse_log(b"\x01aa\0x", &["bb".to_owned()]).unwrap_err();
        assert!(error.contains("bb"), "{error}");
    }
}
