//! The arguments of `shell`, and what must hold of them before anything starts.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_sdk::{Failure, bad_argument};

use crate::json::quote;

/// As the schema says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Args {
    pub command: Line,
    #[serde(default)]
    pub workdir: String,
    #[serde(default)]
    pub env: BTreeMap<String, Option<Variable>>,
    #[serde(default = "stdio")]
    pub log: String,
    #[serde(default)]
    pub logfiles: BTreeMap<String, Followed>,
    pub max_time: Option<f64>,
    #[serde(default = "twenty_minutes")]
    pub timeout: Option<f64>,
    pub max_lines: Option<u32>,
    pub sigterm_time: Option<f64>,
    #[serde(default = "kill")]
    pub interrupt_signal: String,
    pub initial_stdin: Option<String>,
    #[serde(default)]
    pub pty: bool,
    #[serde(default = "yes")]
    pub want_stdout: bool,
    #[serde(default = "yes")]
    pub want_stderr: bool,
    #[serde(default = "yes")]
    pub log_environ: bool,
}

fn stdio() -> String {
    "stdio".to_owned()
}

fn kill() -> String {
    "KILL".to_owned()
}

// The type is the field's.
#[expect(clippy::unnecessary_wraps, reason = "a default of an optional field")]
fn twenty_minutes() -> Option<f64> {
    Some(1200.0)
}

fn yes() -> bool {
    true
}

/// What to run.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Line {
    Shell(String),
    Argv(Vec<String>),
}

/// The value of a variable.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Variable {
    Text(String),
    /// Parts of a search path.
    List(Vec<String>),
}

impl Variable {
    /// As the program gets it.
    pub fn text(&self) -> String {
        match self {
            Variable::Text(text) => text.clone(),
            Variable::List(parts) => parts.join(":"),
        }
    }
}

/// A file to follow.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Followed {
    Path(String),
    More(More),
}

/// The same with more said about it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct More {
    filename: String,
    #[serde(default)]
    follow: bool,
}

impl Followed {
    pub fn path(&self) -> &str {
        match self {
            Followed::Path(path) => path,
            Followed::More(more) => &more.filename,
        }
    }

    fn starts_at_end(&self) -> bool {
        match self {
            Followed::Path(_) => false,
            Followed::More(more) => more.follow,
        }
    }
}

impl Args {
    /// Whether the program gets a terminal. Not with an input: its end is that of a pipe.
    pub fn has_terminal(&self) -> bool {
        self.pty && self.initial_stdin.is_none()
    }

    /// What the types do not say.
    pub fn check(&self) -> Result<(), Failure> {
        let empty = match &self.command {
            Line::Shell(text) => text.is_empty(),
            Line::Argv(argv) => argv.first().is_none_or(String::is_empty),
        };
        if empty {
            return Err(bad_argument("`command` is empty"));
        }
        for (name, limit) in [("timeout", self.timeout), ("max_time", self.max_time)] {
            if limit.is_some_and(|seconds| seconds <= 0.0) {
                return Err(bad_argument(format!(
                    "`{name}` is not more than 0 seconds; null means no limit"
                )));
            }
        }
        let times =
            [("timeout", self.timeout), ("max_time", self.max_time), ("sigterm_time", self.sigterm_time)];
        if let Some((name, _)) = times.into_iter().find(|(_, time)| time.is_some_and(|time| time > LONGEST)) {
            return Err(bad_argument(format!("`{name}` is more than {LONGEST} seconds")));
        }
        if self.sigterm_time.is_some_and(|seconds| seconds < 0.0) {
            return Err(bad_argument("`sigterm_time` is less than 0 seconds"));
        }
        if self.max_lines == Some(0) {
            return Err(bad_argument("`max_lines` is 0; null means no limit"));
        }
        let mut logs = std::iter::once(&self.log).chain(self.logfiles.keys());
        if let Some(log) = logs.find(|log| !is_log_name(log)) {
            return Err(bad_argument(format!(
                "`{}` cannot name a log: up to 100 letters, digits, `.`, `_`, `-` and `+`, no `.` in front",
                log.escape_debug()
            )));
        }
        if self.logfiles.contains_key(&self.log) {
            return Err(bad_argument(format!(
                "the log `{}` gets the program's output, and no file",
                self.log
            )));
        }
        Ok(())
    }
}

/// The longest time in seconds, 49 days: what the host holds in milliseconds.
const LONGEST: f64 = 4_294_967.0;

/// The time as the host takes it. A little is never nothing: a limit would be over before its program began.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
pub fn milliseconds(seconds: f64) -> u32 {
    (seconds * 1000.0).ceil() as u32
}

/// As the master has it, which drops what a log of another name gets.
fn is_log_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    (1..=100).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

/// The files as the host takes them.
pub fn json_object(files: &BTreeMap<String, Followed>) -> String {
    let entry = |(log, file): (&String, &Followed)| {
        let mut entry = String::new();
        quote(&mut entry, log);
        entry.push_str(":{\"path\":");
        quote(&mut entry, file.path());
        format!("{entry},\"from-end\":{}}}", file.starts_at_end())
    };
    format!("{{{}}}", files.iter().map(entry).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_a_json_object() {
        let more = More { filename: "e".into(), follow: true };
        let files = BTreeMap::from([
            ("a\"b".to_owned(), Followed::Path("c\\d\n".to_owned())),
            ("f".to_owned(), Followed::More(more)),
        ]);
        assert_eq!(
            json_object(&files),
            r#"{"a\"b":{"path":"c\\d\u000a","from-end":false},"f":{"path":"e","from-end":true}}"#
        );
    }

    #[test]
    fn a_little_time_is_not_none_and_none_is() {
        let times = [(0.0, 0), (0.000_1, 1), (0.001, 1), (0.3, 300), (1.5, 1_500), (LONGEST, 4_294_967_000)];
        for (seconds, ms) in times {
            assert_eq!(milliseconds(seconds), ms, "{seconds}");
        }
    }

    #[test]
    fn a_list_is_a_search_path() {
        assert_eq!(Variable::List(vec!["/a".into(), "/b".into()]).text(), "/a:/b");
        assert_eq!(Variable::List(vec![]).text(), "");
    }
}
