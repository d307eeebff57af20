//! The command line: what can be typed, and what `--help` says about it.
//!
//! - `look`: below `windlass debug`; `plugin`: below `windlass plugin`

mod look;
mod plugin;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use windlass_master::view::{RequestFilter, RequestState};

pub use look::{Line, Look};
pub use plugin::{NewPlugin, Plugin};

/// A continuous-integration master and its workers, in which every decision is a plugin.
///
/// Start with `windlass demo`, or with `windlass init ci`, `windlass master ci` and, in another
/// terminal, `windlass worker ci/worker`. Then `windlass --dir ci force hello --wait` runs a build.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, max_term_width = 100, after_long_help = EXIT_CODES)]
pub struct Cli {
    /// The master's directory: where master.toml and its state are, for commands that concern a master
    #[arg(long, global = true, value_name = "DIR", env = "WINDLASS_DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Print JSON for machines instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// The standard input leads to the holder that started this process: given by `windlass worker` alone.
    #[arg(long, hide = true)]
    pub held: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The part of `--help` that lists exit codes. [`crate::exit`] has the same list as code.
const EXIT_CODES: &str = "\
Exit codes:
  0  all was well
  1  what was asked for ran and did not succeed: a build failed, a check found faults
  2  the command line could not be understood
  3  the configuration or a plugin is wrong; nothing was changed
  4  no master answers in this directory
  5  the master refused: no such builder, no such build, busy, a restart is needed
  6  the surroundings failed: a file, the network, a missing tool";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a directory with a configuration to start from
    ///
    /// Writes master.toml, an empty plugins folder, and worker/ with worker.toml and its secret token.
    /// Refuses to touch a directory that has a master.toml.
    #[command(after_help = "Example:\n  windlass init ci && windlass check ci && windlass master ci")]
    Init {
        /// The directory to make
        dir: PathBuf,
    },
    /// Check a configuration and its plugins, and report every fault at once
    ///
    /// Loads what `windlass master` would load, in the same way, and changes nothing.
    Check {
        /// A directory with master.toml or worker.toml, or such a file [default: --dir]
        path: Option<PathBuf>,
    },
    /// Print the JSON schema of a configuration, for editors
    ///
    /// An editor that knows it completes settings and underlines mistakes while you type; `windlass check` finds more.
    #[command(after_help = "Example:\n  windlass schema > master.schema.json\n  \
                            and as the first line of master.toml: #:schema ./master.schema.json")]
    Schema {
        /// Of worker.toml, and not of master.toml
        #[arg(long)]
        worker: bool,
    },
    /// Run the master, in the foreground, until SIGINT or SIGTERM; SIGHUP reconfigures
    Master {
        /// Its directory [default: --dir]
        path: Option<PathBuf>,
    },
    /// Run a worker, in the foreground, until SIGINT or SIGTERM; SIGHUP starts it anew, while its commands run on
    Worker {
        /// A directory with worker.toml, or such a file [default: --dir]
        path: Option<PathBuf>,
    },
    /// Make a secret token for a worker
    ///
    /// Writes the token to a file that only you can read, for worker.toml's `token_file`, and prints
    /// its hash, for master.toml's `token_hash`. The master never needs the token itself.
    Token {
        /// The file to make
        file: PathBuf,
    },
    /// Ask a builder to build
    #[command(after_help = "Examples:\n  windlass force tests --branch main --wait\n  \
                            windlass force tests --revision 0f3c… --property os=linux")]
    Force(Force),
    /// Show the master, its workers, its builders, the locks in use and its policies
    Status {
        /// Also what is of interest only when something is slow, and long texts whole
        #[arg(long, short)]
        verbose: bool,
    },
    /// Show the locks: who holds them, and who waits for whom
    Locks,
    /// Show the workers: who is connected, how busy they are, who is in quarantine
    ///
    /// A worker that is lost before a build got anywhere gets nothing new for a while, longer each time.
    #[command(
        after_help = "Examples:\n  windlass workers release w1    it is mended: let it build again\n  \
                            windlass workers token w1 --file token    a new token, which counts at once"
    )]
    Workers {
        /// What to do with one.
        #[command(subcommand)]
        order: Option<Workers>,
    },
    /// List requests: who waits, at which place and for what
    #[command(
        after_help = "Examples:\n  windlass requests                     what waits, the first ones first\n  \
                            windlass requests --builder tests     only what waits for `tests`\n  \
                            windlass requests --state held        what a policy or a retry holds back, and until when\n  \
                            windlass why 12                       all about request 12"
    )]
    Requests(RequestsOrder),
    /// List builds, the newest first
    Builds {
        /// Only of this builder
        #[arg(long)]
        builder: Option<String>,
        /// Only on this worker
        #[arg(long)]
        worker: Option<String>,
        /// Only those that run
        #[arg(long)]
        running: bool,
        /// How many
        #[arg(long, short = 'n', default_value_t = 20)]
        limit: u32,
    },
    /// Show a build: its steps, its source, and the digest of every component that acted on it
    Build {
        /// Its number
        build: u64,
        /// Its hidden steps, too
        #[arg(long)]
        all: bool,
        /// Only its properties, with what set them
        #[arg(long, conflicts_with = "all")]
        properties: bool,
    },
    /// Show the test results of a build: those that failed with what they said, the others by name
    ///
    /// Exit code 1 if any of those shown failed.
    #[command(after_help = "Examples:\n  windlass tests 12 --failed\n  \
                            windlass tests 12 --step unit --json")]
    Tests {
        /// The build's number
        build: u64,
        /// Only those that failed or broke off
        #[arg(long)]
        failed: bool,
        /// Only of this step
        #[arg(long)]
        step: Option<String>,
    },
    /// Show what a request waits for, or what led to a build: each decision of a policy about it
    ///
    /// When it was, what the policy saw and looked up, what it answered, what was done, and, if it failed, how.
    /// Exit code 1 if `--verify` finds an answer that is not the same again.
    #[command(after_help = "Examples:\n  windlass why 12            request 12, as `force` prints it\n  \
                            windlass why build-7       build 7\n  \
                            windlass why build-7 --verify")]
    Why(WhyOrder),
    /// Withdraw a request that no build serves yet, or take it out of one that serves others, too
    Cancel {
        /// Its number, as `force` prints it
        request: u64,
    },
    /// Stop a running build, or one step of it; it ends as cancelled
    Stop {
        /// Its number
        build: u64,
        /// Only this step, if it is the one that runs
        #[arg(long)]
        step: Option<String>,
        /// Why, for its record
        #[arg(long, default_value = "stopped from the command line")]
        reason: String,
    },
    /// Print the logs of a build
    ///
    /// To a pipe or a file go the bytes as they were written.
    #[command(
        visible_alias = "log",
        after_help = "Examples:\n  windlass logs 12          everything that build 12 said\n  \
                      windlass logs 12 tests    only its step `tests`\n  \
                      windlass logs 12 -f       as it is written, until the build ends\n  \
                      windlass log 12 tests --tail 20\n  \
                      windlass log 12 tests --first 9999999 --lines 10"
    )]
    Logs {
        /// The build's number
        build: u64,
        /// Only of this step
        step: Option<String>,
        /// Only the log of this name
        #[arg(long)]
        log: Option<String>,
        /// Go on until the build has ended
        #[arg(long, short)]
        follow: bool,
        /// From this line of each log on, counted from 0
        #[arg(long, value_name = "LINE", conflicts_with = "tail")]
        first: Option<u64>,
        /// So many lines of each log
        #[arg(long, value_name = "NUMBER", conflicts_with_all = ["tail", "follow"])]
        lines: Option<u64>,
        /// The last so many lines of each log, and with `--follow` what comes after
        #[arg(long, value_name = "NUMBER")]
        tail: Option<u64>,
    },
    /// List what a build left with the master: files and trees, with size and hash
    Artifacts {
        /// The build's number
        build: u64,
    },
    /// Fetch an artifact of a build
    #[command(after_help = "Examples:\n  windlass artifact 12 app.tar.gz -o app.tar.gz\n  \
                            windlass artifact 12 site                 what stands in the tree\n  \
                            windlass artifact 12 site -o copy         all of it\n  \
                            windlass artifact 12 site/index.html | less")]
    Artifact {
        /// The build's number
        build: u64,
        /// The artifact's name, or a path in one that is a tree
        name: String,
        /// Where it goes; a tree makes a new folder [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List the users that the configuration knows, with what they wrote lately
    Users {
        /// Only this one, with all that stands for it
        user: Option<String>,
    },
    /// Load the configuration and the plugins anew, all or nothing
    ///
    /// Running builds keep the components that they started with. On any fault everything stays as
    /// it was, and every fault is shown.
    Reconfig {
        /// Only show what would change
        #[arg(long)]
        plan: bool,
    },
    /// Ask every git poller to look now
    Poll,
    /// Make, build, check, inspect, list and meter plugins
    #[command(subcommand)]
    Plugin(Plugin),
    /// Look into the running master: queues, builds, links, tables, tasks
    ///
    /// Asks for the password whose hash stands in `[debug]` of master.toml. Without a command it goes on asking what to
    /// look at; with one it answers it, for scripts with `--json`.
    #[command(after_help = "Examples:\n  windlass debug\n  \
                            windlass debug --password-file secret build 12\n  \
                            windlass debug --password-file secret --json row builds 12")]
    Debug {
        /// A file with the password that only you can read [default: the terminal is asked]
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// What to look at
        #[command(subcommand)]
        look: Option<Look>,
    },
    /// Make the hash of a password, for `[debug] password_hash` in master.toml
    Password {
        /// A file with the password that only you can read [default: the terminal is asked, twice]
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Watch it work: a master and two workers build a git repository, and a policy is replaced
    ///
    /// Everything happens in a fresh directory and on this machine. Ends with a summary, and with
    /// exit code 0 only if all was well.
    Demo(Demo),
}

/// What to do with a worker.
#[derive(Debug, Subcommand)]
pub enum Workers {
    /// End the quarantine of a worker, and forget why it was
    Release {
        /// Its name
        worker: String,
    },
    /// Make a token for a worker that is configured; it counts at once, beside those that it has
    ///
    /// Writes the token to a new file that only you can read, for worker.toml's `token_file`. The master gets its hash
    /// alone. To replace a token: make another, put it in the place of the worker's file, send the worker SIGHUP, and
    /// revoke the old one; what it builds goes on.
    #[command(after_help = "Example:\n  windlass workers token w1 --file ci/worker/token.new")]
    Token {
        /// Its name
        worker: String,
        /// The file to make
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List the tokens that commands made: when each was made, and when it was used last
    Tokens {
        /// Only of this worker
        worker: Option<String>,
    },
    /// Take tokens away that commands made, and close the link of a worker that came by one
    ///
    /// What runs on the worker waits for it to come by another token, as it does after a cut link.
    Revoke {
        /// Its name
        worker: String,
        /// Only this one, as `windlass workers tokens` prints it [default: all that commands made for it]
        number: Option<u64>,
    },
}

/// Which requests to list.
#[derive(Debug, Args)]
pub struct RequestsOrder {
    /// Only of this builder
    #[arg(long)]
    pub builder: Option<String>,
    /// Which of them
    #[arg(long, value_enum, default_value_t)]
    pub state: State,
    /// How many, 1,000 at most
    #[arg(long, short = 'n', default_value_t = 20)]
    pub limit: u32,
    /// Go on after a page: what it says at its end
    #[arg(long, value_name = "PLACE")]
    pub after: Option<String>,
}

/// Which requests.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum State {
    /// Those that wait, in the order in which they come
    #[default]
    Pending,
    /// Those of them that a policy or a retry holds back for now
    Held,
    /// Those that are being built
    Claimed,
    /// All that there ever were, the newest first
    All,
}

impl From<RequestsOrder> for RequestFilter {
    fn from(order: RequestsOrder) -> RequestFilter {
        let RequestsOrder { builder, state, limit, after } = order;
        let state = match state {
            State::Pending => RequestState::Pending,
            State::Held => RequestState::Held,
            State::Claimed => RequestState::Claimed,
            State::All => RequestState::All,
        };
        RequestFilter { builder, state, after, limit: Some(limit as usize) }
    }
}

/// Asks why.
#[derive(Debug, Args)]
pub struct WhyOrder {
    /// A request's number, or `request-12`, or `build-7`
    #[arg(value_name = "REQUEST|build-BUILD")]
    pub subject: Subject,
    /// Ask the recorded components again with what they saw then, and compare the answers
    #[arg(long)]
    pub verify: bool,
    /// Show exact times, arguments and costs, and long texts whole
    #[arg(long, short)]
    pub verbose: bool,
}

/// What `why` is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A request.
    Request(u64),
    /// A build.
    Build(u64),
}

impl std::str::FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Subject, String> {
        let (of, number): (fn(u64) -> Subject, &str) = match text.split_once('-') {
            Some(("build", number)) => (Subject::Build, number),
            Some(("request", number)) => (Subject::Request, number),
            Some(_) | None => (Subject::Request, text),
        };
        number.parse().map(of).map_err(|_| "a number is expected, or `request-12`, or `build-7`".to_owned())
    }
}

/// Asks a builder to build.
#[derive(Debug, Args)]
pub struct Force {
    /// The builder
    pub builder: String,
    /// The branch [default: the repository's own]
    #[arg(long)]
    pub branch: Option<String>,
    /// The exact revision [default: the newest of the branch]
    #[arg(long)]
    pub revision: Option<String>,
    /// The repository, where the builder could build several
    #[arg(long)]
    pub repository: Option<String>,
    /// A property of the build; may be given several times
    #[arg(long = "property", value_name = "NAME=VALUE")]
    pub properties: Vec<String>,
    /// A unified diff that goes on top of the source, as `git diff` writes it; `-` reads it from standard input
    #[arg(long, value_name = "FILE")]
    pub patch: Option<PathBuf>,
    /// So many leading parts of the patch's paths are left away
    #[arg(long, value_name = "N", default_value_t = 1, requires = "patch")]
    pub patch_level: u32,
    /// Where the patch applies, below the source
    #[arg(long, value_name = "FOLDER", default_value = "", hide_default_value = true, requires = "patch")]
    pub patch_dir: String,
    /// Why, for its record
    #[arg(long, default_value = "asked from the command line")]
    pub reason: String,
    /// Who asks, for its record; any name [default: the variable USER]
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Wait until it has ended, showing its progress; exit code 1 unless it succeeds
    #[arg(long, short)]
    pub wait: bool,
}

/// The demonstration.
#[derive(Debug, Args)]
pub struct Demo {
    /// The git repository to build: a path or URL [default: the one around the current directory]
    #[arg(long)]
    pub repo: Option<String>,
    /// Leave master and workers running at the end
    #[arg(long)]
    pub stay: bool,
}
