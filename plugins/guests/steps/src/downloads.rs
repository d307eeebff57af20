//! `file-download`, `string-download` and `json-properties-download`: from the master to the worker.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Pair, Value, transfer};

use crate::paths::below;
use crate::transfer::{ended, run};

/// A transfer that fails ends the build, as Buildbot has it.
const HALTS: &[(&str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];

/// The most that is offered in one call.
const PIECE: usize = 60 * 1024;

/// Where the file goes.
#[derive(Deserialize)]
struct Target {
    worker_dest: String,
    #[serde(default = "build")]
    workdir: String,
    mode: Option<Mode>,
    max_size: Option<u64>,
}

fn build() -> String {
    "build".to_owned()
}

/// Permission bits: `"0755"` or `"0o755"`, as one writes them, or the number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mode {
    Number(u32),
    Text(String),
}

impl Target {
    fn download(&self, token: &str) -> Result<StepResult, Failure> {
        let mode = match &self.mode {
            None => None,
            Some(Mode::Number(mode)) => Some(*mode),
            // The schema lets octal digits through alone.
            Some(Mode::Text(digits)) => u32::from_str_radix(digits.trim_start_matches("0o"), 8).ok(),
        };
        let args = json!({
            "path": below(&self.workdir, &self.worker_dest),
            "token": token,
            "max_bytes": self.max_size,
            "mode": mode,
        });
        Ok(ended(run("download-file", &args)?, &format!("downloading {}", self.worker_dest)))
    }
}

/// The hook `file-download`.
pub struct FileDownload;

/// As the schema says.
#[derive(Deserialize)]
pub struct FromFile {
    master_src: String,
    #[serde(flatten)]
    target: Target,
}

impl Hook for FileDownload {
    const NAME: &'static str = "file-download";
    const SUMMARY: &'static str = "puts a file of the master's public folder on the worker";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("file-download.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = HALTS;
    type Args = FromFile;
}

impl BuildStep for FileDownload {
    fn run(args: FromFile) -> Result<StepResult, Failure> {
        match transfer::offer_file(&args.master_src) {
            Ok(token) => args.target.download(&token),
            // What the step was to find out, and no accident.
            Err(failure) if failure.code == "not-found" => {
                Ok(StepResult::new(windlass_sdk::Outcome::Failure, failure.message))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// The hook `string-download`.
pub struct StringDownload;

/// As the schema says.
#[derive(Deserialize)]
pub struct FromText {
    s: String,
    #[serde(flatten)]
    target: Target,
}

impl Hook for StringDownload {
    const NAME: &'static str = "string-download";
    const SUMMARY: &'static str = "writes a text into a file on the worker";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("string-download.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = HALTS;
    type Args = FromText;
}

impl BuildStep for StringDownload {
    fn run(args: FromText) -> Result<StepResult, Failure> {
        args.target.download(&offered(&args.s)?)
    }
}

/// The hook `json-properties-download`.
pub struct JsonPropertiesDownload;

/// As the schema says.
#[derive(Deserialize)]
pub struct FromProperties {
    #[serde(flatten)]
    target: Target,
}

impl Hook for JsonPropertiesDownload {
    const NAME: &'static str = "json-properties-download";
    const SUMMARY: &'static str =
        "writes the properties and source stamps of the build into a JSON file on the worker";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("json-properties-download.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = HALTS;
    type Args = FromProperties;
}

impl BuildStep for JsonPropertiesDownload {
    fn run(args: FromProperties) -> Result<StepResult, Failure> {
        let properties: BTreeMap<String, Json> =
            step::properties().into_iter().map(|Pair { name, value }| (name, of_value(value))).collect();
        let stamps: Vec<Json> = step::source_stamps()
            .into_iter()
            .map(|stamp| {
                json!({
                    "codebase": stamp.codebase,
                    "project": stamp.project,
                    "repository": stamp.repository,
                    "branch": stamp.branch,
                    "revision": stamp.revision,
                    "has_patch": stamp.has_patch,
                })
            })
            .collect();
        let text = json!({ "properties": properties, "sourcestamps": stamps }).to_string();
        args.target.download(&offered(&text)?)
    }
}

/// A token for a text, handed over in pieces of the size that one call takes.
fn offered(text: &str) -> Result<String, Failure> {
    let mut token = transfer::offer_bytes("file", &[])?;
    for piece in text.as_bytes().chunks(PIECE) {
        token = transfer::offer_bytes("file", piece)?;
    }
    Ok(token)
}

fn of_value(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Integer(value) => value.into(),
        Value::Number(value) => value.into(),
        Value::Text(value) => value.into(),
        // What the host says is JSON is JSON.
        Value::Json(text) => serde_json::from_str(&text).unwrap_or(Json::String(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_kinds() {
        assert_eq!(of_value(Value::Json("[1,{\"a\":null}]".into())), json!([1, { "a": null }]));
        assert_eq!(of_value(Value::Text("1".into())), json!("1"));
        assert_eq!(of_value(Value::Integer(1)), json!(1));
    }
}
