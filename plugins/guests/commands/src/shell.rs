//! `shell`: runs a program. Its output goes from the process to the log and never enters this guest.

mod args;
mod told;

use windlass_sdk::command::log_text;
use windlass_sdk::process::{Child, Delivery, Exit, Limit, SpawnOptions, spawn};
use windlass_sdk::{Capability, Completion, Failure, Hook, Origin, SlaveCommand, Value, clock};

use args::{Args, Line, json_object, milliseconds};

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

impl SlaveCommand for Shell {
    fn run(args: Args) -> Result<Completion, Failure> {
        args.check()?;
        let say = |text: &str| log_text(&args.log, Origin::Header, text);
        say(&told::begin(&args))?;
        let begun = clock::now();
        let child = match start(&args) {
            Ok(child) => child,
            Err(failure) => {
                say(&format!("could not start it: {}\n", failure.message))?;
                return Err(failure);
            }
        };
        let exit = child.wait();
        say(&told::end(&exit, &args))?;
        #[expect(clippy::cast_precision_loss, reason = "no command runs for 2^52 milliseconds")]
        let elapsed = clock::now().saturating_sub(begun) as f64 / 1000.0;
        Ok(completion(exit).with("elapsed", Value::Number(elapsed)))
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
    let set = |name: &str, value: Value| options.set(name, &value);
    for (name, value) in &args.env {
        options.env(name, value.as_ref().map(args::Variable::text).as_deref());
    }
    set("expand-environment", true.into());
    if let Some(seconds) = args.max_time {
        options.max_time_ms(milliseconds(seconds));
    }
    if let Some(seconds) = args.timeout {
        options.idle_time_ms(milliseconds(seconds));
    }
    // Without anything to read a program that asks for input sees its end and does not wait for ever.
    options.input(args.initial_stdin.as_deref().unwrap_or_default().as_bytes());
    if args.has_terminal() {
        options.pty();
    }
    if let Some(lines) = args.max_lines {
        set("max-lines", lines.into());
    }
    // First asked to end, if that is wanted, and then the signal of the configuration; the host kills in any case.
    match args.sigterm_time {
        Some(seconds) => {
            set("stop-signal", "TERM".into());
            set("terminate-ms", milliseconds(seconds).into());
            set("second-signal", args.interrupt_signal.as_str().into());
        }
        None => {
            set("stop-signal", args.interrupt_signal.as_str().into());
            set("terminate-ms", 5_000_u32.into());
        }
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
    if args.log_environ {
        set("log-environment", true.into());
    }
    spawn(options)
}

/// What `rc` is where the program came to no exit code of its own. Never 0: whatever it said when it was stopped.
const STOPPED: i32 = -1;

/// How the end of the program is told to the step.
fn completion(exit: Exit) -> Completion {
    let stopped = Completion::rc(STOPPED);
    match exit {
        Exit::Code(code) => Completion::rc(code),
        Exit::Signal(signal) => stopped.with("signal", signal),
        Exit::TimedOut(limit) => stopped.with("timed-out", limit_name(limit)),
        Exit::Interrupted => stopped.with("interrupted", true),
        Exit::Other(other) => stopped.with("other", other.name),
    }
}

fn limit_name(limit: Limit) -> &'static str {
    match limit {
        Limit::MaxTime => "max-time",
        Limit::IdleTime => "idle-time",
        Limit::MaxLines => "max-lines",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_end_by_itself_has_no_exit_code_of_its_own_and_is_never_a_success() {
        assert_eq!(completion(Exit::Code(3)), Completion::rc(3));
        let timed_out = completion(Exit::TimedOut(Limit::IdleTime));
        assert_eq!(
            (timed_out.rc, timed_out.get("timed-out")),
            (Some(-1), Some(&Value::Text("idle-time".into())))
        );
        assert_eq!(completion(Exit::Signal("SIGKILL".into())).get("signal"), Some(&"SIGKILL".into()));
        assert_eq!(completion(Exit::Interrupted).rc, Some(-1));
    }
}
