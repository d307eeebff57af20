//! From what a guest asks for to what is started: all of it checked, and nothing started yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::process::Signal;
use serde::Deserialize;
use windlass_core::log_name;
use windlass_core::value::{Failure, Pair, Value};
use windlass_runtime::port::SpawnOptions;

use super::{Context, GRACE, Port, milliseconds};
use crate::child::{self, Kept, Ladder, Plan};
use crate::environment;
use crate::follow::Tail;
use crate::grant::Exec;
use crate::group::signal_named;

impl Port {
    /// What to start, and what the log is to say before that.
    pub(super) fn plan(&self, options: SpawnOptions, exec: Exec) -> Result<(Plan, Option<String>), Failure> {
        let bad = |message: String| Failure::new("bad-argument", message);
        let program = options.argv.first().ok_or_else(|| bad("an empty argv names no program".into()))?;
        if options.argv.iter().any(|argument| argument.contains('\0')) {
            return Err(bad("an argument contains a NUL".into()));
        }
        let bad_name = |name: &str| name.is_empty() || name.contains(['=', '\0']);
        let env = &options.env;
        let given = self.context.env.iter().map(|(name, value)| (name, Some(value)));
        for (name, value) in given.chain(env.iter().map(|(name, value)| (name, value.as_ref()))) {
            if bad_name(name) || value.is_some_and(|value| value.contains('\0')) {
                return Err(bad(format!("the variable `{name}` has an impossible name or value")));
            }
        }
        let directory = self.context.root.make_directory(&options.workdir)?;
        let path = self.context.root.path().join(&options.workdir);
        let Context { mark, machine, .. } = &*self.context;
        let expands = options.options.iter().any(|o| o.name == EXPAND && o.value == Value::Boolean(true));
        let mut room = environment::MAX_VARIABLES;
        let mut value = |name: &str, value: &str| {
            if !expands {
                return Ok(value.into());
            }
            environment::expanded(name, value, &machine.base, &mut room).ok_or_else(|| {
                let message = format!("the variable `{name}` is too long once it is expanded");
                Failure::new("too-large", message)
            })
        };
        let given: Vec<_> = (self.context.env.iter())
            .map(|(name, text)| Ok((name.clone(), value(name, text)?)))
            .collect::<Result<_, Failure>>()?;
        let set: Vec<_> = (env.iter())
            .map(|(name, text)| {
                let text = text.as_ref().map(|text| value(name, text)).transpose()?;
                Ok((name.clone(), text))
            })
            .collect::<Result<_, Failure>>()?;
        let variables = environment::of_child(mark, &machine.base, &given, &set, &path);
        let file = match exec {
            Exec::Any if program.contains('/') => program.into(),
            Exec::Any => environment::find_program(program, &variables)
                .ok_or_else(|| not_found(program, "PATH", &variables))?,
            // Granted as a path, which leads where it leads for the worker.
            Exec::Named if program.contains('/') => {
                let path = std::path::PathBuf::from(program);
                if !path.is_absolute() || environment::lies_below(&path, &machine.private) {
                    let message = format!(
                        "`{program}` was granted as a path, but is not absolute or lies below the worker's \
                         directory, where builds write; only `exec = [\"*\"]` allows that"
                    );
                    return Err(Failure::new("denied", message));
                }
                path
            }
            Exec::Named => environment::find_granted(program, &machine.base, &machine.private)
                .ok_or_else(|| not_found(program, "the worker's own PATH", &machine.base))?,
        };
        options.tee_to_log.as_deref().map_or(Ok(()), log_name::check)?;
        let mut kept = Kept {
            began: child::clock(),
            max_time: options.max_time_ms.map(milliseconds),
            idle_time: options.idle_time_ms.map(milliseconds),
            max_lines: None,
            ladder: Ladder { first: Signal::TERM, grace: GRACE, second: Signal::KILL },
            terminal: options.pty,
            log: options.tee_to_log,
            log_stdout: true,
            log_stderr: true,
            deliver: options.deliver,
            follow: Vec::new(),
        };
        let mut follow = Vec::new();
        let mut log_environment = false;
        for Pair { name, value } in &options.options {
            let wrong = |wanted: &str| bad(format!("the option `{name}` takes {wanted}"));
            match (name.as_str(), value) {
                ("max-lines", Value::Integer(lines)) => {
                    kept.max_lines = Some(u64::try_from(*lines).map_err(|_| wrong("a number of lines"))?);
                }
                ("max-lines", _) => return Err(wrong("a number of lines")),
                ("terminate-ms", Value::Integer(ms)) => {
                    let ms = u32::try_from(*ms).map_err(|_| wrong("milliseconds"))?;
                    kept.ladder.grace = milliseconds(ms);
                }
                ("terminate-ms", _) => return Err(wrong("milliseconds")),
                ("stop-signal", Value::Text(signal)) => {
                    kept.ladder.first = signal_named(signal).ok_or_else(|| wrong("the name of a signal"))?;
                }
                ("second-signal", Value::Text(signal)) => {
                    kept.ladder.second = signal_named(signal).ok_or_else(|| wrong("the name of a signal"))?;
                }
                ("stop-signal" | "second-signal", _) => return Err(wrong("the name of a signal")),
                ("want-stdout", Value::Boolean(wanted)) => kept.log_stdout = *wanted,
                ("want-stderr", Value::Boolean(wanted)) => kept.log_stderr = *wanted,
                ("log-environment", Value::Boolean(wanted)) => log_environment = *wanted,
                (EXPAND, Value::Boolean(_)) => {}
                ("want-stdout" | "want-stderr" | "log-environment" | EXPAND, _) => {
                    return Err(wrong("true or false"));
                }
                ("follow", Value::Json(files)) => {
                    let files = serde_json::from_str(files)
                        .map_err(|error| bad(format!("the option `follow` is not understood: {error}")))?;
                    follow = self.tails(files, &options.workdir, exec)?;
                }
                ("follow", _) => return Err(wrong("JSON")),
                _ => return Err(bad(format!("`{name}` is no option of a child; there are {OPTIONS}"))),
            }
        }
        let header = log_environment.then(|| shown(&variables));
        let (argv, input) = (options.argv, options.input);
        kept.follow = follow.iter().map(Tail::kept).collect();
        Ok((Plan { program: file, argv, directory, variables, input, follow, kept }, header))
    }

    /// The files to follow, as they are before the child.
    fn tails(
        &self,
        files: BTreeMap<String, Wanted>,
        workdir: &str,
        exec: Exec,
    ) -> Result<Vec<Tail>, Failure> {
        if exec == Exec::Named && !files.is_empty() {
            // Who may run any program may run one that reads them.
            let denied = |failure| self.context.denied("spawn-options.set", failure);
            self.context.grants.files().map_err(denied)?;
        }
        if files.len() > MAX_FOLLOWED {
            let message = format!("at most {MAX_FOLLOWED} files of a child can be followed");
            return Err(Failure::new("too-large", message));
        }
        let tail = |(log, wanted): (String, Wanted)| {
            log_name::check(&log)?;
            let (path, from_end) = match wanted {
                Wanted::Path(path) => (path, false),
                Wanted::More(More { path, from_end }) => (path, from_end),
            };
            if path.starts_with('/') {
                let message =
                    format!("the file `{path}` is to be followed: its path begins at the working directory");
                return Err(Failure::new("bad-argument", message));
            }
            let path = if workdir.is_empty() { path } else { format!("{workdir}/{path}") };
            Tail::new(Arc::clone(&self.context.root), log, path, from_end)
        };
        files.into_iter().map(tail).collect()
    }
}

/// A file to follow: `"path"`, or `{"path": "path", "from-end": true}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Wanted {
    Path(String),
    More(More),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct More {
    path: String,
    #[serde(default)]
    from_end: bool,
}

/// Files of one child that are followed.
const MAX_FOLLOWED: usize = 64;

/// `${NAME}` in values of variables stands for the worker's own.
const EXPAND: &str = "expand-environment";

fn not_found(program: &str, what: &str, variables: &environment::Variables) -> Failure {
    let path = variables.get(std::ffi::OsStr::new("PATH"));
    let path = path.map_or_else(String::new, |path| path.to_string_lossy().into_owned());
    Failure::new("spawn-failed", format!("there is no program `{program}` in {what} ({path})"))
}

/// The most bytes of a header that shows variables: a reader looks for a few of them, and each start writes one.
const MAX_SHOWN: usize = 64 * 1024;

/// The variables of a child for a reader, whole ones only: a part of one may be a part of a secret.
fn shown(variables: &environment::Variables) -> String {
    let mut text = "  environment:\n".to_owned();
    let mut more = 0;
    // The mark is the worker's, another for each command, and says nothing to a reader.
    for (name, value) in variables.iter().filter(|(name, _)| *name != environment::MARK) {
        if text.len() + name.len() + value.len() > MAX_SHOWN {
            more += 1;
            continue;
        }
        text += &format!("    {}={}\n", name.to_string_lossy(), value.to_string_lossy());
    }
    if more > 0 {
        text += &format!("    ... {more} more variables\n");
    }
    text
}

const OPTIONS: &str = "max-lines, terminate-ms, stop-signal, second-signal, want-stdout, want-stderr, follow, expand-environment and \
     log-environment";
