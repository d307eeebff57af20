//! A step that does what its arguments say, and leaves what came of it in properties.

use serde_json::Value as Json;
use windlass_sdk::step::{self, Event, StepResult};
use windlass_sdk::{BuildStep, Completion, Failure, Hook, Outcome, transfer};

struct Courier;

impl Hook for Courier {
    const NAME: &'static str = "carry";
    const SUMMARY: &'static str = "renders `render`, adds `add`, appends `append` to `notes`, reads `read`, starts `command` with `args`";
    const ARGS_SCHEMA: Option<&'static str> = Some(r#"{"type":"object"}"#);
    type Args = Json;
}

impl BuildStep for Courier {
    fn run(args: Json) -> Result<StepResult, Failure> {
        if let Some(words) = args["render"].as_array() {
            // In pieces: the configuration's own check would find the whole.
            let template: String = words.iter().filter_map(Json::as_str).collect();
            keep("rendered", &step::render(&template).unwrap_or_else(|failure| told(&failure)))?;
        }
        if let Some(words) = args["add"].as_array() {
            let added: String = words.iter().filter_map(Json::as_str).collect();
            let answer = step::add_steps(&[added]);
            keep("added", &answer.map_or_else(|failure| told(&failure), |()| "yes".to_owned()))?;
        }
        if let Some(name) = args["accept"].as_str() {
            keep("token", &transfer::accept(name, u64::MAX).unwrap_or_else(|failure| told(&failure)))?;
        }
        if let Some(pieces) = args["append"].as_array() {
            let mut pieces = pieces.iter().filter_map(Json::as_str);
            let answer = pieces.try_for_each(|piece| transfer::append("notes", piece.as_bytes()));
            keep("appended", &answer.map_or_else(|failure| told(&failure), |()| "yes".to_owned()))?;
        }
        if let Some(name) = args["read"].as_str() {
            let answer =
                transfer::read(name, 0, 1_000).map(|data| String::from_utf8_lossy(&data).into_owned());
            keep("read", &answer.unwrap_or_else(|failure| told(&failure)))?;
        }
        if let Some(command) = args["command"].as_str() {
            let answer = carry(command, &args["args"].to_string())?;
            keep("end", &answer.map_or_else(|failure| told(&failure), |done| format!("rc {:?}", done.rc)))?;
        }
        Ok(StepResult::new(Outcome::Success, "carried"))
    }
}

/// Runs a command; its updates become properties.
fn carry(command: &str, args: &str) -> Result<Result<Completion, Failure>, Failure> {
    let number = match step::start_command(command, args, &[]) {
        Ok(number) => number,
        Err(failure) => return Ok(Err(failure)),
    };
    loop {
        match step::next_event(None) {
            Event::Update(update) => {
                for pair in update.values {
                    step::set_property(&pair.name, &pair.value)?;
                }
            }
            Event::Done(end) if end.command == number => return Ok(end.how),
            _ => {}
        }
    }
}

fn keep(name: &str, text: &str) -> Result<(), Failure> {
    step::set_property(name, &text.into())
}

fn told(failure: &Failure) -> String {
    let detail = failure.detail.as_deref().unwrap_or_default();
    format!("{}: {}; {detail}", failure.code, failure.message)
}

windlass_sdk::export!(build_step: Courier);
