//! `shell`: runs a program. Its output goes from the process to the log and never enters this guest.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_sdk::command::log_text;
use windlass_sdk::process::{Child, Delivery, Exit, Limit, SpawnOptions, spawn};
use windlass_sdk::{Capability, Completion, Failure, Hook, Origin, SlaveCommand, Value};

/// The hook.
pub struct Shell;

impl Hook for Shell {
    const NAME: &'static str = "shell";
    const SUMMARY: &'static str = "runs a program and sends its output to a log";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("shell.schema.json"));
    const CAPABILITIES: &'static [Capability] = &[
        Capability {
            capability: "exec",
            scope: &["*"],
            reason: "runs what the steps of the configuration say",
        },
        Capability {
            capability: "secret",
            scope: &["*"],
            reason: "hands secrets to the program, in its environment or its input, where the steps say so",
        },
    ];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    command: Line,
    #[serde(default)]
    workdir: String,
    #[serde(default)]
    env: BTreeMap<String, Option<String>>,
    #[serde(default = "stdio")]
    log: String,
    #[serde(default)]
    logfiles: BTreeMap<String, String>,
    max_time_s: Option<f64>,
    #[serde(default = "twenty_minutes")]
    idle_time_s: Option<f64>,
    max_lines: Option<u32>,
    terminate_s: Option<f64>,
    input: Option<String>,
    #[serde(default)]
    pty: bool,
    #[serde(default = "yes")]
    want_stdout: bool,
    #[serde(default = "yes")]
    want_stderr: bool,
    #[serde(default)]
    log_environment: bool,
}

fn stdio() -> String {
    "stdio".to_owned()
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
enum Line {
    Shell(String),
    Argv(Vec<String>),
}

impl SlaveCommand for Shell {
    fn run(args: Args) -> Result<Completion, Failure> {
        let say = |text: String| log_text(&args.log, Origin::Header, &text);
        say(format!("$ {}\n", shown(&args.command)))?;
        if !args.workdir.is_empty() {
            say(format!("  in {}\n", args.workdir))?;
        }
        let child = match start(&args) {
            Ok(child) => child,
            Err(failure) => {
                say(format!("could not start it: {}\n", failure.message))?;
                return Err(failure);
            }
        };
        let exit = child.wait();
        say(format!("{}\n", told(&exit, &args)))?;
        Ok(completion(exit))
    }
}

fn start(args: &Args) -> Result<Child, Failure> {
    let argv = match &args.command {
        Line::Shell(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
        Line::Argv(argv) => argv.clone(),
    };
    let options = SpawnOptions::new(&argv);
    options.tee_to_log(&args.log);
    options.deliver(Delivery::None);
    if !args.workdir.is_empty() {
        options.workdir(&args.workdir);
    }
    for (name, value) in &args.env {
        options.env(name, value.as_deref());
    }
    if let Some(seconds) = args.max_time_s {
        options.max_time_ms(milliseconds(seconds));
    }
    if let Some(seconds) = args.idle_time_s {
        options.idle_time_ms(milliseconds(seconds));
    }
    // Without anything to read a program that asks for input sees its end and does not wait for ever.
    options.input(args.input.as_deref().unwrap_or_default().as_bytes());
    if args.pty {
        options.pty();
    }
    let set = |name: &str, value: Value| options.set(name, &value);
    if let Some(lines) = args.max_lines {
        set("max-lines", lines.into());
    }
    if let Some(seconds) = args.terminate_s {
        set("terminate-ms", milliseconds(seconds).into());
    }
    if !args.want_stdout {
        set("want-stdout", false.into());
    }
    if !args.want_stderr {
        set("want-stderr", false.into());
    }
    if !args.logfiles.is_empty() {
        set("follow", Value::Json(json_object(&args.logfiles)));
    }
    if args.log_environment {
        set("log-environment", true.into());
    }
    spawn(options)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn milliseconds(seconds: f64) -> u32 {
    (seconds * 1000.0) as u32
}

/// How the end of the program is told to the step.
fn completion(exit: Exit) -> Completion {
    let none = Completion { rc: None, values: Vec::new() };
    match exit {
        Exit::Code(code) => Completion::rc(code),
        Exit::Signal(signal) => none.with("signal", signal),
        Exit::TimedOut(limit) => none.with("timed-out", limit_name(limit)),
        Exit::Interrupted => none.with("interrupted", true),
        Exit::Other(other) => none.with("other", other.name),
    }
}

fn limit_name(limit: Limit) -> &'static str {
    match limit {
        Limit::MaxTime => "max-time",
        Limit::IdleTime => "idle-time",
        Limit::MaxLines => "max-lines",
    }
}

/// How the end of the program is told to people. No times: the log of the same program stays the same.
fn told(exit: &Exit, args: &Args) -> String {
    let seconds = |limit: Option<f64>| limit.unwrap_or_default();
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("ended by {signal}"),
        Exit::TimedOut(Limit::MaxTime) => {
            format!("stopped: it took more than {} s", seconds(args.max_time_s))
        }
        Exit::TimedOut(Limit::IdleTime) => format!("stopped: no output for {} s", seconds(args.idle_time_s)),
        Exit::TimedOut(Limit::MaxLines) => {
            format!("stopped: it wrote more than {} lines", args.max_lines.unwrap_or_default())
        }
        Exit::Interrupted => "interrupted".to_owned(),
        Exit::Other(other) => format!("ended: {}", other.name),
    }
}

/// The command as one could type it.
fn shown(command: &Line) -> String {
    match command {
        Line::Shell(text) => text.clone(),
        Line::Argv(argv) => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@,+%^~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A JSON object of texts. A whole JSON writer for this one place would be a tenth of the component.
fn json_object(entries: &BTreeMap<String, String>) -> String {
    let quote = |text: &str| {
        let mut quoted = String::from('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => quoted.push(c),
            }
        }
        quoted + "\""
    };
    let entries: Vec<_> =
        entries.iter().map(|(key, value)| format!("{}:{}", quote(key), quote(value))).collect();
    format!("{{{}}}", entries.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_could_type_it() {
        let argv = ["git", "log", "--format=%h", "it's", "", "a b"].map(str::to_owned).to_vec();
        assert_eq!(shown(&Line::Argv(argv)), r"git log --format=%h 'it'\''s' '' 'a b'");
        assert_eq!(shown(&Line::Shell("a | b".into())), "a | b");
    }

    #[test]
    fn only_an_exit_code_is_an_rc() {
        assert_eq!(completion(Exit::Code(3)), Completion::rc(3));
        let timed_out = completion(Exit::TimedOut(Limit::IdleTime));
        assert_eq!(
            (timed_out.rc, timed_out.get("timed-out")),
            (None, Some(&Value::Text("idle-time".into())))
        );
        assert_eq!(completion(Exit::Signal("SIGKILL".into())).get("signal"), Some(&"SIGKILL".into()));
    }

    #[test]
    fn log_files_become_a_json_object() {
        let files = BTreeMap::from([("a\"b".to_owned(), "c\\d\n".to_owned())]);
        assert_eq!(json_object(&files), r#"{"a\"b":"c\\d\u000a"}"#);
    }
}
