//! From what a guest asks for to what is started: all of it checked, and nothing started yet.

use std::sync::Arc;

use rustix::process::Signal;
use windlass_core::value::{Failure, Origin, Pair, Value};
use windlass_runtime::port::SpawnOptions;

use super::{Context, GRACE, Port, milliseconds};
use crate::child::Plan;
use crate::environment;
use crate::grant::Exec;
use crate::group::signal_named;

impl Port {
    pub(super) fn plan(&self, options: SpawnOptions, exec: Exec) -> Result<Plan, Failure> {
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
        if options.pty {
            return Err(Failure::unsupported("a terminal for a child (pty)"));
        }
        let directory = self.context.root.make_directory(&options.workdir)?;
        let path = self.context.root.path().join(&options.workdir);
        let Context { mark, machine, .. } = &*self.context;
        let variables = environment::of_child(mark, &machine.base, &self.context.env, env, &path);
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
        let mut plan = Plan {
            program: file,
            argv: options.argv,
            directory,
            variables,
            input: options.input,
            max_time: options.max_time_ms.map(milliseconds),
            idle_time: options.idle_time_ms.map(milliseconds),
            max_lines: None,
            grace: GRACE,
            stop_signal: Signal::TERM,
            log: options.tee_to_log,
            log_stdout: true,
            log_stderr: true,
            deliver: options.deliver,
            mask: self.context.secrets.as_ref().map(|secrets| Arc::clone(secrets.mask())),
        };
        let mut log_environment = false;
        for Pair { name, value } in &options.options {
            let wrong = |wanted: &str| bad(format!("the option `{name}` takes {wanted}"));
            match (name.as_str(), value) {
                ("max-lines", Value::Integer(lines)) => {
                    plan.max_lines = Some(u64::try_from(*lines).map_err(|_| wrong("a number of lines"))?);
                }
                ("max-lines", _) => return Err(wrong("a number of lines")),
                ("terminate-ms", Value::Integer(ms)) => {
                    let ms = u32::try_from(*ms).map_err(|_| wrong("milliseconds"))?;
                    plan.grace = milliseconds(ms);
                }
                ("terminate-ms", _) => return Err(wrong("milliseconds")),
                ("stop-signal", Value::Text(signal)) => {
                    plan.stop_signal = signal_named(signal).ok_or_else(|| wrong("the name of a signal"))?;
                }
                ("stop-signal", _) => return Err(wrong("the name of a signal")),
                ("want-stdout", Value::Boolean(wanted)) => plan.log_stdout = *wanted,
                ("want-stderr", Value::Boolean(wanted)) => plan.log_stderr = *wanted,
                ("log-environment", Value::Boolean(wanted)) => log_environment = *wanted,
                ("want-stdout" | "want-stderr" | "log-environment", _) => return Err(wrong("true or false")),
                ("follow", _) => return Err(Failure::unsupported("files that are followed into logs")),
                _ => return Err(bad(format!("`{name}` is no option of a child; there are {OPTIONS}"))),
            }
        }
        if let Some(log) = plan.log.as_ref().filter(|_| log_environment) {
            let line = |(name, value): (&std::ffi::OsString, &std::ffi::OsString)| {
                format!("  {}={}\n", name.to_string_lossy(), value.to_string_lossy())
            };
            let text = format!("environment:\n{}", plan.variables.iter().map(line).collect::<String>());
            self.context.spool.log(log, Origin::Header, self.context.masked(text.into()));
        }
        Ok(plan)
    }
}

fn not_found(program: &str, what: &str, variables: &environment::Variables) -> Failure {
    let path = variables.get(std::ffi::OsStr::new("PATH"));
    let path = path.map_or_else(String::new, |path| path.to_string_lossy().into_owned());
    Failure::new("spawn-failed", format!("there is no program `{program}` in {what} ({path})"))
}

const OPTIONS: &str =
    "max-lines, terminate-ms, stop-signal, want-stdout, want-stderr, follow and log-environment";
