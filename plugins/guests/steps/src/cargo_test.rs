//! `cargo-test`: runs `cargo test`, and reads its results.

use serde::Deserialize;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Origin};

use crate::judge::worst;
use crate::libtest::Reader;
use crate::remote::{Ending, Line, STDIO};
use crate::shell::{self, args_property, command_property, needs_a_list, shell_schema};
use crate::tally::Tally;

/// What cargo ends with when tests failed, and when nothing could be compiled.
const FAILED: i32 = 101;

/// The hook.
pub struct CargoTest;

impl Hook for CargoTest {
    const NAME: &'static str = "cargo-test";
    const SUMMARY: &'static str = "runs `cargo test` and reads its results; a test that failed is a failure";
    const ARGS_SCHEMA: Option<&'static str> = Some(shell_schema!(
        needs_a_list!(),
        command_property!(r#""default": ["cargo", "test"], "#),
        args_property!(),
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
    #[serde(default)]
    allow_empty: bool,
    #[serde(flatten)]
    shell: shell::Args,
}

impl BuildStep for CargoTest {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let (title, command) = args.line();
        let mut shell = args.shell.shell(command)?;
        // Its words are read: no colours in between.
        shell.env.entry("CARGO_TERM_COLOR".to_owned()).or_insert_with(|| "never".into());
        args.shell.make_logs()?;
        let (mut reader, mut tally) = (Reader::default(), Tally::default());
        let ending = shell.watch(&[STDIO], |lines| {
            if lines.from_stream == Origin::Header {
                return Ok(());
            }
            let before = tally.total();
            for line in lines.text.lines() {
                reader.read(line).into_iter().try_for_each(|result| tally.add(result))?;
            }
            if tally.total() > before {
                step::summary(&tally.line());
            }
            Ok(())
        })?;
        reader.take().into_iter().try_for_each(|result| tally.add(result))?;
        tally.finish()?;
        let Ending::Code(code) = ending else { return Ok(args.shell.judge(&title, ending)) };
        let ran = args.shell.judge(&title, Ending::Code(code));
        let tests = tally.judge(args.allow_empty);
        Ok(match (tally.total(), code) {
            // It did not come to tests.
            (0, code) if code != 0 => ran,
            (_, 0 | FAILED) => StepResult { outcome: worst(tests.outcome, ran.outcome), ..tests },
            (_, _) => StepResult::new(
                worst(tests.outcome, ran.outcome),
                [tests.summary, ran.summary].map(Option::unwrap_or_default).join("; "),
            ),
        })
    }
}

impl Args {
    /// What it is called, and what is run: with both streams as one, since which program runs is said on one of them,
    /// and what its tests do on the other.
    fn line(&self) -> (String, Line) {
        let command = self.command.clone().unwrap_or_else(|| Line::argv(["cargo", "test"]));
        let mut argv = match command {
            Line::Shell(text) => {
                return (Line::Shell(text.clone()).title(), Line::Shell(format!("exec 2>&1\n{text}")));
            }
            Line::Argv(argv) => argv,
        };
        if let Some(Line::Argv(more)) = &self.args {
            argv.extend(more.iter().cloned());
        }
        let title = Line::Argv(argv.clone()).title();
        let both = ["/bin/sh", "-c", "exec \"$@\" 2>&1", "sh"].map(str::to_owned);
        (title, Line::Argv(both.into_iter().chain(argv).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_come_in_their_order() {
        let args: Args = serde_json::from_str(r#"{"args":["--lib"]}"#).expect("they fit");
        let (title, line) = args.line();
        assert_eq!(title, "cargo test --lib");
        assert_eq!(line, Line::argv(["/bin/sh", "-c", "exec \"$@\" 2>&1", "sh", "cargo", "test", "--lib"]));
    }
}
