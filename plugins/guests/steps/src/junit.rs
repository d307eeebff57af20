//! `junit`: reads JUnit's XML from the worker into the build's test results.

use serde::Deserialize;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Completion, Failure, Hook, Outcome, Value};

use crate::junit_xml;
use crate::remote::{Ending, Line, Shell, ended, ending};
use crate::shell::below;
use crate::tally::Tally;

/// The log that has the files as they are.
const LOG: &str = "junit";

/// The largest file.
const MAX_FILE: usize = 32 * 1024 * 1024;

/// The most files.
const MAX_FILES: usize = 10_000;

/// The hook.
pub struct Junit;

impl Hook for Junit {
    const NAME: &'static str = "junit";
    const SUMMARY: &'static str = "reads JUnit's XML into the test results; a test that failed is a failure";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("junit.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true), ("warn-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    files: OneOrSeveral,
    #[serde(default = "build")]
    workdir: String,
    #[serde(default)]
    allow_empty: bool,
}

fn build() -> String {
    "build".to_owned()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

impl BuildStep for Junit {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let patterns = match &args.files {
            OneOrSeveral::One(one) => std::slice::from_ref(one),
            OneOrSeveral::Several(several) => several,
        };
        let mut files = Vec::new();
        for pattern in patterns {
            match find(&below(&args.workdir, pattern))? {
                Ok(found) => files.extend(found),
                Err((outcome, why)) => return Ok(ended(pattern, outcome, &why)),
            }
        }
        files.sort();
        files.dedup();
        if files.len() > MAX_FILES {
            let why = format!("{} files, at most {MAX_FILES} are read", files.len());
            return Ok(StepResult::new(Outcome::Failure, why));
        }
        let mut tally = Tally::default();
        for file in &files {
            if let Err((outcome, why)) = read(file, &mut tally)? {
                tally.finish()?;
                return Ok(ended(file, outcome, &why));
            }
        }
        tally.finish()?;
        if files.is_empty() && !args.allow_empty {
            return Ok(StepResult::new(Outcome::Failure, format!("no files: {}", patterns.join(", "))));
        }
        Ok(tally.judge(args.allow_empty))
    }
}

/// How the step ends that could not go on.
type Stop = (Outcome, String);

/// The files of a pattern; one without wildcards is itself, there or not.
fn find(pattern: &str) -> Result<Result<Vec<String>, Stop>, Failure> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(Ok(vec![pattern.to_owned()]));
    }
    let answer = step::run_command("glob", &serde_json::json!({ "path": pattern }));
    let files = answer.as_ref().map(files).unwrap_or_default();
    Ok(match ending(answer)? {
        Ending::Code(0) => Ok(files),
        Ending::Code(code) => Err((Outcome::Failure, format!("rc {code}"))),
        Ending::Other(outcome, why) => Err((outcome, why)),
    })
}

fn files(answer: &Completion) -> Vec<String> {
    match answer.get("files") {
        Some(Value::Json(files)) => serde_json::from_str(files).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Reads a file into the tally. Paths are relative to the builder's directory.
pub fn read(path: &str, tally: &mut Tally) -> Result<Result<(), Stop>, Failure> {
    let shell = Shell { log: LOG.to_owned(), ..Shell::new(Line::argv(["cat", "--", path])) };
    let text = match shell.read(MAX_FILE) {
        Ok((Ending::Code(0), text)) => text,
        Ok((Ending::Code(_), _)) => return Ok(Err((Outcome::Failure, "it cannot be read".to_owned()))),
        Ok((Ending::Other(outcome, why), _)) => return Ok(Err((outcome, why))),
        Err(failure) if failure.code == "too-large" => return Ok(Err((Outcome::Failure, failure.message))),
        Err(failure) => return Err(failure),
    };
    match junit_xml::read(&text) {
        Ok(results) => results.into_iter().try_for_each(|result| tally.add(result)).map(Ok),
        Err(wrong) => Ok(Err((Outcome::Failure, format!("line {} is no XML: {}", wrong.line, wrong.what)))),
    }
}
