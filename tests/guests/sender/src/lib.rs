//! A step that starts commands, and writes down in its log `record` what each of them said and how it ended: a
//! line of JSON for each.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use windlass_sdk::step::{self, Event, StepResult};
use windlass_sdk::{BuildStep, Completion, Failure, Hook, Origin, Outcome, Pair, Value};

/// At a time: a worker is one machine.
const AT_ONCE: usize = 12;

struct Sender;

impl Hook for Sender {
    const NAME: &'static str = "send";
    const SUMMARY: &'static str = "starts the commands of `rows`, some at a time, and records what they say";
    const ARGS_SCHEMA: Option<&'static str> = Some(r#"{"type":"object"}"#);
    type Args = Json;
}

/// A command that was started.
struct Row {
    place: usize,
    /// Log, stream and text, or an update, as they came.
    said: Vec<Json>,
    /// What to do when this text stands in its output: so many interrupts.
    interrupt: Option<(String, u64)>,
}

impl BuildStep for Sender {
    fn run(args: Json) -> Result<StepResult, Failure> {
        // A text: its templates, if any, are the commands' own business.
        let rows: Vec<Json> = serde_json::from_str(args["rows"].as_str().unwrap_or_default())
            .map_err(|error| windlass_sdk::bad_argument(error.to_string()))?;
        let mut rows = rows.into_iter().enumerate();
        let mut running = BTreeMap::new();
        loop {
            while running.len() < AT_ONCE
                && let Some((place, row)) = rows.next()
            {
                begin(place, &row, &mut running)?;
            }
            if running.is_empty() {
                return Ok(StepResult::new(Outcome::Success, "sent"));
            }
            match step::next_event(None) {
                Event::Lines(lines) => {
                    let Some(row) = running.get_mut(&lines.command) else { continue };
                    row.hear(origin(lines.from_stream), &lines.log, &lines.text);
                    row.interrupt_if_due(lines.command)?;
                }
                Event::Update(update) => {
                    let Some(row) = running.get_mut(&update.command) else { continue };
                    row.said.push(json!({ "update": object(&update.values) }));
                }
                Event::Done(end) => {
                    let Some(row) = running.remove(&end.command) else { continue };
                    record(row, end.how)?;
                }
                Event::Interrupt(_) => return Ok(StepResult::new(Outcome::Cancelled, "interrupted")),
                _ => {}
            }
        }
    }
}

fn begin(place: usize, row: &Json, running: &mut BTreeMap<u32, Row>) -> Result<(), Failure> {
    let observe: Vec<String> = row["observe"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|log| Some(log.as_str()?.to_owned()))
        .collect();
    let interrupt =
        row["interrupt_at"].as_str().map(|text| (text.to_owned(), row["interrupts"].as_u64().unwrap_or(1)));
    let begun = Row { place, said: Vec::new(), interrupt };
    match step::start_command(row["command"].as_str().unwrap_or_default(), &row["args"].to_string(), &observe)
    {
        Ok(number) => {
            running.insert(number, begun);
            Ok(())
        }
        Err(failure) => record(begun, Err(failure)),
    }
}

impl Row {
    /// Joins what came in pieces: where output is cut is nobody's promise.
    fn hear(&mut self, origin: &str, log: &str, text: &str) {
        if let Some(last) = self.said.last_mut()
            && last["log"] == log
            && last["origin"] == origin
        {
            let joined = format!("{}{text}", last["text"].as_str().unwrap_or_default());
            last["text"] = joined.into();
        } else {
            self.said.push(json!({ "log": log, "origin": origin, "text": text }));
        }
    }

    fn interrupt_if_due(&mut self, number: u32) -> Result<(), Failure> {
        let due = |(text, _): &mut (String, u64)| {
            // Not where the command itself is shown.
            let heard = |said: &Json| {
                said["origin"] != "header"
                    && said["text"].as_str().is_some_and(|said| said.contains(text.as_str()))
            };
            self.said.iter().any(heard)
        };
        if let Some((_, times)) = self.interrupt.take_if(due) {
            for time in 0..times {
                step::interrupt_command(number, &format!("reason {time}"))?;
            }
        }
        Ok(())
    }
}

fn record(row: Row, how: Result<Completion, Failure>) -> Result<(), Failure> {
    let end = match how {
        Ok(completion) => json!({ "rc": completion.rc, "values": object(&completion.values) }),
        Err(failure) => json!({
            "code": failure.code, "message": failure.message, "retryable": failure.retryable
        }),
    };
    let line = json!({ "row": row.place, "said": row.said, "end": end }).to_string() + "\n";
    // Its own characters count, not its bytes: pieces of at most 32 KiB are cut between them.
    let mut rest = line.as_str();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(32 * 1024));
        step::log_text("record", Origin::Header, piece)?;
        rest = after;
    }
    Ok(())
}

fn object(values: &[Pair]) -> Json {
    let json = |value: &Value| match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Number(value) => (*value).into(),
        Value::Text(value) => value.as_str().into(),
        Value::Json(value) => serde_json::from_str(value).unwrap_or_else(|_| value.as_str().into()),
    };
    values.iter().map(|pair| (pair.name.clone(), json(&pair.value))).collect::<Map<_, _>>().into()
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Stdout => "stdout",
        Origin::Stderr => "stderr",
        Origin::Header => "header",
    }
}

windlass_sdk::export!(build_step: Sender);
