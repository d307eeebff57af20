//! `master-shell-command`: one program on the master, for those who were granted it.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_sdk::step::{self, Event, StepResult};
use windlass_sdk::{BuildStep, Capability, Failure, Hook, Origin, Outcome, Value, master_process};

use crate::remote::{ended, milliseconds};

/// The hook.
pub struct MasterShellCommand;

impl Hook for MasterShellCommand {
    const NAME: &'static str = "master-shell-command";
    const SUMMARY: &'static str =
        "runs a granted program on the master; an exit code other than 0 is a failure";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("master-shell-command.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    const CAPABILITIES: &'static [Capability] = &[Capability {
        capability: "master-process",
        scope: &["*"],
        reason: "runs the programs that its configuration names",
    }];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    command: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    max_time: Option<f64>,
}

impl BuildStep for MasterShellCommand {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let title = args.command.join(" ");
        step::log_text("stdio", Origin::Header, &format!("{title}\n"))?;
        let env: Vec<(String, String)> = args.env.into_iter().collect();
        let process =
            match master_process::start(&args.command, &env, args.max_time.map(milliseconds), "stdio") {
                Ok(process) => process,
                Err(failure) if failure.code == "spawn-failed" => {
                    return Ok(StepResult::new(Outcome::Failure, failure.message));
                }
                Err(failure) => return Err(failure),
            };
        let mut stopped = None;
        loop {
            match step::next_event(None) {
                Event::ProcessDone(end) if end.process == process => {
                    let completion = end.how?;
                    if let Some(reason) = stopped {
                        return Ok(ended(&title, Outcome::Cancelled, &format!("stopped: {reason}")));
                    }
                    let timed_out = completion.get("timed-out").is_some();
                    return Ok(judged(&title, completion.rc, completion.get("signal"), timed_out));
                }
                Event::Interrupt(reason) => {
                    master_process::stop(process)?;
                    stopped = Some(reason);
                }
                _ => {}
            }
        }
    }
}

fn judged(title: &str, rc: Option<i32>, signal: Option<&Value>, timed_out: bool) -> StepResult {
    match (rc, signal) {
        _ if timed_out => ended(title, Outcome::Failure, "stopped at its limit: max-time"),
        (Some(0), _) => StepResult::new(Outcome::Success, title),
        (Some(rc), _) => ended(title, Outcome::Failure, &format!("exit code {rc}")),
        (None, Some(Value::Integer(signal))) => {
            ended(title, Outcome::Failure, &format!("ended by signal {signal}"))
        }
        (None, _) => ended(title, Outcome::Failure, "ended in an unknown way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exit_code_0_is_a_success() {
        let of = |rc, signal: Option<i64>, late| {
            judged("x", rc, signal.map(Value::Integer).as_ref(), late).summary.unwrap_or_default()
        };
        assert_eq!(judged("x", Some(0), None, false).outcome, Outcome::Success);
        assert_eq!(of(Some(3), None, false), "x: exit code 3");
        assert_eq!(of(None, Some(9), false), "x: ended by signal 9");
        assert_eq!(of(None, Some(15), true), "x: stopped at its limit: max-time");
    }
}
