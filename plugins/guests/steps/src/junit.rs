//! `junit`: reads JUnit's XML from the worker into the build's test results.

use serde::Deserialize;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook, Outcome};

use crate::junit_xml;
use crate::paths::{self, OneOrSeveral, below};
use crate::remote::{Ending, Line, Shell, Stop, ended};
use crate::tally::Tally;

/// The log that has the files as they are.
const LOG: &str = "junit";

/// The largest file.
const MAX_FILE: usize = 32 * 1024 * 1024;

/// The most files: each may become a command, of which a step has 10,000.
const MAX_FILES: usize = 9_000;

/// So many files are read by one command.
const AT_ONCE: usize = 100;

/// And so many bytes: of more, each is read by itself.
const MAX_AT_ONCE: usize = 8 * 1024 * 1024;

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

impl BuildStep for Junit {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let paths = args.files.all().iter().map(|path| below(&args.workdir, path));
        // One without wildcards is itself, there or not.
        let (patterns, mut files): (Vec<_>, Vec<_>) = paths.partition(|path| path.contains(['*', '?', '[']));
        match paths::glob(patterns)? {
            Ok(found) => files.extend(found),
            Err((outcome, why)) => return Ok(StepResult::new(outcome, why)),
        }
        files.sort();
        files.dedup();
        if files.len() > MAX_FILES {
            let why = format!("{} files, at most {MAX_FILES} are read", files.len());
            return Ok(StepResult::new(Outcome::Failure, why));
        }
        let mut tally = Tally::default();
        for files in files.chunks(AT_ONCE) {
            match read_at_once(files, &mut tally)? {
                Ok(true) => continue,
                Ok(false) => {}
                Err((outcome, why)) => {
                    tally.finish()?;
                    return Ok(ended("cat", outcome, &why));
                }
            }
            for file in files {
                if let Err((outcome, why)) = read(file, &mut tally)? {
                    tally.finish()?;
                    return Ok(ended(file, outcome, &why));
                }
            }
        }
        tally.finish()?;
        if files.is_empty() && !args.allow_empty {
            return Ok(StepResult::new(
                Outcome::Failure,
                format!("no files: {}", args.files.all().join(", ")),
            ));
        }
        Ok(tally.judge(args.allow_empty))
    }
}

/// Reads files into the tally by one command. False: something is wrong with one of them, and nothing was taken.
fn read_at_once(files: &[String], tally: &mut Tally) -> Result<Result<bool, Stop>, Failure> {
    if files.len() < 2 {
        return Ok(Ok(false));
    }
    let text = match cat(files).read(MAX_AT_ONCE) {
        Ok((Ending::Code(0), text)) => text,
        Ok((Ending::Code(_), _)) => return Ok(Ok(false)),
        Ok((Ending::Other(outcome, why), _)) => return Ok(Err((outcome, why))),
        Err(failure) if failure.code == "too-large" => return Ok(Ok(false)),
        Err(failure) => return Err(failure),
    };
    let Some(results) = junit_xml::read_several(&text, files.len()) else { return Ok(Ok(false)) };
    results.into_iter().try_for_each(|result| tally.add(result))?;
    Ok(Ok(true))
}

/// Reads a file into the tally. Paths are relative to the builder's directory.
pub fn read(path: &str, tally: &mut Tally) -> Result<Result<(), Stop>, Failure> {
    let text = match cat(&[path.to_owned()]).read(MAX_FILE) {
        Ok((Ending::Code(0), text)) => text,
        Ok((Ending::Code(_), _)) => return Ok(Err((Outcome::Failure, "it cannot be read".to_owned()))),
        Ok((Ending::Other(outcome, why), _)) => return Ok(Err((outcome, why))),
        Err(failure) if failure.code == "too-large" => return Ok(Err((Outcome::Failure, failure.message))),
        Err(failure) => return Err(failure),
    };
    match junit_xml::read(&text) {
        Ok(results) => results.into_iter().try_for_each(|result| tally.add(result)).map(Ok),
        Err(wrong) => Ok(Err((Outcome::Failure, wrong))),
    }
}

fn cat(paths: &[String]) -> Shell {
    let argv = ["cat", "--"].map(str::to_owned).into_iter().chain(paths.iter().cloned());
    Shell { log: LOG.to_owned(), ..Shell::new(Line::Argv(argv.collect())) }
}
