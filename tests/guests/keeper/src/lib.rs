//! A command that looks at all it is shown, and tells it backwards: no mask finds a value in that.

use serde_json::Value as Json;
use windlass_sdk::command::{log_text, update};
use windlass_sdk::process::{Delivery, Event, SpawnOptions, spawn};
use windlass_sdk::{Capability, Completion, Failure, Hook, Origin, Pair, SlaveCommand, files};

struct Keeper;

impl Hook for Keeper {
    const NAME: &'static str = "keep";
    const SUMMARY: &'static str = "hands `text` to a script, and tells backwards what it saw of it";
    const ARGS_SCHEMA: Option<&'static str> = Some(r#"{"type":"object"}"#);
    const CAPABILITIES: &'static [Capability] = &[
        Capability { capability: "exec", scope: &["*"], reason: "runs the script" },
        Capability { capability: "files", scope: &[], reason: "reads what the script wrote" },
        Capability { capability: "secret", scope: &["token"], reason: "hands it to the script" },
    ];
    type Args = Json;
}

impl SlaveCommand for Keeper {
    fn run(args: Json) -> Result<Completion, Failure> {
        let text = args["text"].as_str().unwrap_or_default();
        if let Some(path) = args["write"].as_str() {
            files::write(path, text.as_bytes())?;
        }
        let script = args["script"].as_str().unwrap_or("true");
        let options = SpawnOptions::new(&["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()]);
        options.tee_to_log("stdio");
        options.deliver(Delivery::Lines);
        options.env("TOKEN", Some(text));
        options.set("log-environment", &true.into());
        let child = spawn(options)?;
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            rest = &rest[child.write_input(rest)? as usize..];
        }
        child.close_input();
        let mut seen = format!("{text}\n");
        let exit = loop {
            match child.next_event(1 << 16, None) {
                Event::Lines(lines) => seen += &lines.text,
                Event::Exited(exit) => break exit,
                _ => {}
            }
        };
        if let Ok(left) = files::read("left") {
            seen += &String::from_utf8_lossy(&left);
        }
        log_text("said", Origin::Header, text)?;
        update(&[
            Pair::new("straight", seen.clone()),
            Pair::new("backwards", seen.chars().rev().collect::<String>()),
        ])?;
        match exit {
            windlass_sdk::process::Exit::Code(code) => Ok(Completion::rc(code)),
            _ => Err(Failure::new("odd", format!("it did not end by itself: {text}"))),
        }
    }
}

windlass_sdk::export!(slave_command: Keeper);
