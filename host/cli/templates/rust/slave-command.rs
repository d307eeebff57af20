//! Command `my-plugin`: runs a program on the worker, and tells the step how many lines it wrote.

use serde::Deserialize;
use windlass_sdk::process::{Delivery, Event, Exit, SpawnOptions, Stop, spawn};
use windlass_sdk::{Capability, Completion, Failure, Hook, SlaveCommand};

struct Command;

impl Hook for Command {
    // What a step starts: `start_command("my-plugin:my-plugin", ...)`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "runs a program and counts its lines";
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
    // Asking is not having: master.toml grants it under [grants."my-plugin:my-plugin"], and worker.toml
    // allows it under [allow."my-plugin:my-plugin"]. Ask for no more programs than you need.
    const CAPABILITIES: &'static [Capability] =
        &[Capability { capability: "exec", scope: &["*"], reason: "runs the program that the step names" }];
    type Args = Args;
}

#[derive(Deserialize)]
struct Args {
    command: Vec<String>,
}

impl SlaveCommand for Command {
    // What this answers is what the step gets. An error is what the step is told instead.
    fn run(args: Args) -> Result<Completion, Failure> {
        let options = SpawnOptions::new(&args.command);
        options.workdir("build");
        // All of the output goes to the log `stdio`; we see whole lines of it as well.
        options.tee_to_log("stdio");
        options.deliver(Delivery::Lines);
        let child = spawn(options)?;
        child.close_input();
        let mut lines = 0;
        let exit = loop {
            match child.next_event(64 * 1024, None) {
                Event::Lines(read) => lines += read.text.lines().count() as u64,
                Event::Exited(exit) => break exit,
                Event::Interrupt(_) => child.stop(Stop::Interrupt),
                _ => {}
            }
        };
        match exit {
            Exit::Code(rc) => Ok(Completion::rc(rc).with("lines", lines)),
            other => Err(Failure::new("stopped", format!("the program did not end by itself: {other:?}"))),
        }
    }
}

windlass_sdk::export!(slave_command: Command);
