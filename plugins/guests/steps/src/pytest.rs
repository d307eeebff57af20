//! `pytest`: runs pytest, and reads what it writes for JUnit.

use serde::Deserialize;
use windlass_sdk::step::StepResult;
use windlass_sdk::{BuildStep, Failure, Hook, Outcome};

use crate::judge::worst;
use crate::junit;
use crate::remote::{Ending, Line, ended, remove};
use crate::shell::{self, args_property, command_property, needs_a_list, shell_schema};
use crate::tally::Tally;

/// What pytest ends with when it found no tests.
const NOTHING_FOUND: i32 = 5;

/// And when tests failed.
const TESTS_FAILED: i32 = 1;

/// The hook.
pub struct Pytest;

impl Hook for Pytest {
    const NAME: &'static str = "pytest";
    const SUMMARY: &'static str = "runs pytest and reads its results; a test that failed is a failure";
    const ARGS_SCHEMA: Option<&'static str> = Some(shell_schema!(
        needs_a_list!(),
        command_property!(r#""default": ["python3", "-m", "pytest"], "#),
        args_property!(),
        r#""junit_file": {"x-no-secrets": "it is a path", "type": "string", "minLength": 1, "default": ".windlass-pytest.xml", "description": "Where the results go, relative to `workdir`; removed before and after."}"#,
        r#""allow_empty": {"type": "boolean", "default": false, "description": "No tests are a success."}"#,
    ));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true), ("warn-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    command: Option<Line>,
    args: Option<Line>,
    #[serde(default = "file")]
    junit_file: String,
    #[serde(default)]
    allow_empty: bool,
    #[serde(flatten)]
    shell: shell::Args,
}

fn file() -> String {
    ".windlass-pytest.xml".to_owned()
}

impl BuildStep for Pytest {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let path = args.shell.below(&args.junit_file);
        // What an earlier build left is not what this one tested.
        if let Err((outcome, why)) = remove(&path)? {
            return Ok(ended(&format!("removal of {path}"), outcome, &why));
        }
        let command = args.line();
        let title = command.title();
        let shell = args.shell.shell(command)?;
        args.shell.make_logs()?;
        let ending = shell.run()?;
        let code = match ending {
            Ending::Code(code) => code,
            Ending::Other(..) => return Ok(args.shell.judge(&title, ending)),
        };
        if code == NOTHING_FOUND && args.allow_empty {
            tidy(&path)?;
            return Ok(StepResult::new(Outcome::Success, "no tests"));
        }
        let mut tally = Tally::default();
        let read = junit::read(&path, &mut tally)?;
        tally.finish()?;
        tidy(&path)?;
        let ran = args.shell.judge(&title, Ending::Code(code));
        Ok(match read {
            // It did not come to writing them.
            Err(_) if ran.outcome != Outcome::Success => ran,
            Err((outcome, why)) => StepResult::new(outcome, format!("{}: {why}", args.junit_file)),
            Ok(()) => both(&tally.judge(args.allow_empty), &ran, code),
        })
    }
}

/// What the tests say and what their runner says, as one.
fn both(tests: &StepResult, ran: &StepResult, code: i32) -> StepResult {
    let outcome = worst(tests.outcome, ran.outcome);
    let line = |result: &StepResult| result.summary.clone().unwrap_or_default();
    match code {
        // The results say why.
        0 | TESTS_FAILED | NOTHING_FOUND => StepResult::new(outcome, line(tests)),
        _ => StepResult::new(outcome, format!("{}; {}", line(tests), line(ran))),
    }
}

/// If it stays, the next build will say so.
fn tidy(path: &str) -> Result<(), Failure> {
    remove(path).map(drop)
}

impl Args {
    fn line(&self) -> Line {
        let command = self.command.clone();
        let command = command.unwrap_or_else(|| Line::argv(["python3", "-m", "pytest"]));
        let mut argv = match command {
            Line::Argv(argv) => argv,
            Line::Shell(text) => {
                return Line::Shell(format!(
                    "{text} --junitxml='{}'",
                    self.junit_file.replace('\'', r"'\''")
                ));
            }
        };
        argv.push(format!("--junitxml={}", self.junit_file));
        if let Some(Line::Argv(more)) = &self.args {
            argv.extend(more.iter().cloned());
        }
        Line::Argv(argv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: &str) -> Line {
        serde_json::from_str::<Args>(json).expect("they fit").line()
    }

    #[test]
    fn pytest_is_told_where_its_results_go() {
        let usual = Line::argv(["python3", "-m", "pytest", "--junitxml=.windlass-pytest.xml", "-k", "1"]);
        assert_eq!(line(r#"{"args":["-k",1]}"#), usual);
        assert_eq!(
            line(r#"{"command":"tox --","junit_file":"it's.xml"}"#),
            Line::Shell(r"tox -- --junitxml='it'\''s.xml'".into())
        );
    }
}
