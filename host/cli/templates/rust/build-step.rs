//! Build step `my-plugin`: runs a program on the worker and counts the warnings in what it says.

use serde::Deserialize;
use windlass_sdk::step::{self, Event, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Origin, Outcome};

struct Step;

impl Hook for Step {
    // What master.toml says: `use = "my-plugin:my-plugin"` and `args = { command = ["make"] }`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "runs a program and counts the lines with `warning`";
    // The configuration's arguments are checked against this before anything runs.
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["command"],
  "properties": {
    "command": {
      "type": "array",
      "items": { "type": "string" },
      "description": "The program and its arguments."
    }
  }
}"#,
    );
    // Unless the configuration says otherwise, warnings of this step are warnings of its build.
    const OPTIONS: &'static [(&'static str, bool)] = &[("warn-on-warnings", true)];
    type Args = Args;
}

#[derive(Deserialize)]
struct Args {
    command: Vec<String>,
}

impl BuildStep for Step {
    fn run(args: Args) -> Result<StepResult, Failure> {
        // `shell` is a command that every worker has; its log `stdio` becomes a log of this step, and we
        // want to see its lines as they come.
        let shell = serde_json::json!({ "command": args.command, "workdir": "build" });
        let command = step::start_command("shell", &shell.to_string(), &["stdio".to_owned()])?;
        let mut warnings = 0;
        let ended = loop {
            match step::next_event(None) {
                // A header says what runs; it is not the program's.
                Event::Lines(lines) if lines.from_stream != Origin::Header => {
                    warnings += lines.text.lines().filter(|line| line.contains("warning")).count() as u64;
                    step::summary(&format!("{warnings} warnings so far"));
                }
                Event::Done(end) => break end.how?,
                // Somebody wants us to stop: the command is asked to, and its end comes as an event.
                Event::Interrupt(reason) => step::interrupt_command(command, &reason)?,
                _ => {}
            }
        };
        // The steps that follow see it as %(prop:warnings)s.
        step::set_property("warnings", &warnings.into())?;
        let outcome = match ended.rc {
            Some(0) if warnings == 0 => Outcome::Success,
            Some(0) => Outcome::Warnings,
            _ => Outcome::Failure,
        };
        Ok(StepResult::new(outcome, format!("{warnings} warnings")))
    }
}

windlass_sdk::export!(build_step: Step);
