//! `compile`: `make all` unless told otherwise, with its warnings counted.

use serde::Deserialize;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Origin, Outcome, Value};

use crate::remote::{Ending, Line, STDIO, Shell, Stop, ended};
use crate::shell::{self, command_property, shell_schema};
use crate::warnings::{Finder, Suppression};

/// The property that sums up the warnings of all steps of a build.
const PROPERTY: &str = "warnings-count";

/// The log of all warnings that count.
const LOG: &str = "warnings";

/// The largest file of suppressions.
const MAX_SUPPRESSIONS: usize = 1024 * 1024;

/// The hook.
pub struct Compile;

impl Hook for Compile {
    const NAME: &'static str = "compile";
    const SUMMARY: &'static str =
        "compiles, `make all` unless told otherwise, and counts warnings; a failure halts the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(shell_schema!(
        "",
        command_property!(r#""default": ["make", "all"], "#),
        r#""warning_pattern": {"x-no-secrets": "it is an expression", "type": ["string", "null"], "default": "(?i)warning[: ]", "description": "A regular expression that finds something in each line that is a warning; empty or null: none is."}"#,
        r#""warning_extractor": {"x-no-secrets": "it is an expression", "type": "string", "minLength": 1, "description": "A regular expression with groups `file`, `line` and `text`, or three of them in this order; unless given, it reads `FILE:LINE: TEXT` and `FILE:LINE:COLUMN: TEXT`."}"#,
        r#""directory_enter_pattern": {"x-no-secrets": "it is an expression", "type": "string", "minLength": 1, "description": "A regular expression for lines that say which directory is entered, in its first group; unless given, as `make` says it."}"#,
        r#""directory_leave_pattern": {"x-no-secrets": "it is an expression", "type": "string", "minLength": 1, "description": "The same for lines that say that it is left."}"#,
        r#""suppression_file": {"x-no-secrets": "it is a path", "type": "string", "minLength": 1, "description": "A file on the worker, relative to `workdir`, of warnings that do not count: `FILE : TEXT` or `FILE : TEXT : START-END` on each line, regular expressions both; `#` begins a comment."}"#,
        r#""suppression_list": {"x-no-secrets": "they are expressions", "type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {"file": {"type": "string"}, "text": {"type": "string"}, "start": {"type": "integer", "minimum": 0}, "end": {"type": "integer", "minimum": 0}}}, "default": [], "description": "The same as a list of `{file, text, start, end}`, each as far as it matters."}"#,
        r#""max_warn_count": {"type": ["integer", "null"], "minimum": 0, "default": null, "description": "More warnings than that are a failure."}"#,
    ));
    const OPTIONS: &'static [(&'static str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    command: Option<Line>,
    #[serde(default, deserialize_with = "given")]
    warning_pattern: Pattern,
    warning_extractor: Option<String>,
    directory_enter_pattern: Option<String>,
    directory_leave_pattern: Option<String>,
    suppression_file: Option<String>,
    #[serde(default)]
    suppression_list: Vec<Listed>,
    max_warn_count: Option<u64>,
    #[serde(flatten)]
    shell: shell::Args,
}

/// Null means something else than nothing. So does the empty text, since a file of configuration has no null, and what
/// finds something in every line is of no use.
#[derive(Default)]
enum Pattern {
    #[default]
    Usual,
    None,
    Own(String),
}

fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Pattern, D::Error> {
    let own = Option::deserialize(from)?.filter(|own: &String| !own.is_empty());
    Ok(own.map_or(Pattern::None, Pattern::Own))
}

/// A suppression of the configuration.
#[derive(Deserialize)]
struct Listed {
    file: Option<String>,
    text: Option<String>,
    start: Option<u64>,
    end: Option<u64>,
}

impl BuildStep for Compile {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let command = args.command.clone().unwrap_or_else(|| Line::argv(["make", "all"]));
        let title = command.title();
        let shell = args.shell.shell(command)?;
        let finder = match args.finder()? {
            Ok(finder) => finder,
            Err((outcome, why)) => return Ok(ended(&title, outcome, &why)),
        };
        args.shell.make_logs()?;
        let Some(mut finder) = finder else { return Ok(args.shell.judge(&title, shell.run()?)) };
        let mut found = Found::default();
        let ending = shell.watch(&[STDIO], |lines| {
            if lines.from_stream != Origin::Header {
                let mut text = lines.text.lines();
                text.try_for_each(|line| finder.look(line).map_or(Ok(()), |_| found.add(line)))?;
            }
            Ok(())
        })?;
        found.write()?;
        let result = args.shell.judge(&title, ending);
        found.tell()?;
        Ok(found.judge(result, &title, args.max_warn_count))
    }
}

impl Args {
    /// None: warnings are not counted.
    fn finder(&self) -> Result<Result<Option<Finder>, Stop>, Failure> {
        let pattern = match &self.warning_pattern {
            Pattern::None => return Ok(Ok(None)),
            Pattern::Usual => None,
            Pattern::Own(pattern) => Some(pattern.as_str()),
        };
        let mut suppressions = Vec::new();
        for Listed { file, text, start, end } in &self.suppression_list {
            suppressions.push(Suppression::new(file.as_deref(), text.as_deref(), *start, *end)?);
        }
        if let Some(path) = &self.suppression_file {
            match read(&self.shell.below(path))? {
                Ok(text) => suppressions.extend(Suppression::read(&text)?),
                Err(stop) => return Ok(Err(stop)),
            }
        }
        let (enter, leave) = (&self.directory_enter_pattern, &self.directory_leave_pattern);
        let extractor = self.warning_extractor.as_deref();
        let finder = Finder::new(pattern, extractor, enter.as_deref(), leave.as_deref(), suppressions)?;
        Ok(Ok(Some(finder)))
    }
}

/// A file of suppressions on the worker.
fn read(path: &str) -> Result<Result<String, Stop>, Failure> {
    let shell = Shell { log: "suppressions".to_owned(), ..Shell::new(Line::argv(["cat", "--", path])) };
    Ok(match shell.read(MAX_SUPPRESSIONS)? {
        (Ending::Code(0), text) => Ok(text),
        (Ending::Code(_), _) => Err((Outcome::Failure, format!("the suppressions, {path}, cannot be read"))),
        (Ending::Other(outcome, why), _) => Err((outcome, format!("the suppressions, {path}: {why}"))),
    })
}

/// The warnings so far.
#[derive(Default)]
struct Found {
    count: u64,
    /// What of them is not in the log yet.
    text: String,
}

impl Found {
    fn add(&mut self, line: &str) -> Result<(), Failure> {
        const PIECE: usize = 32 * 1024;
        self.count += 1;
        self.text.push_str(&line[..line.floor_char_boundary(PIECE)]);
        self.text.push('\n');
        if self.text.len() > PIECE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Failure> {
        match std::mem::take(&mut self.text).as_str() {
            "" => Ok(()),
            text => step::log_text(LOG, Origin::Stdout, text),
        }
    }

    /// Leaves the count behind, for people and for later steps.
    fn tell(&self) -> Result<(), Failure> {
        #[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
        step::set_statistic("warnings", self.count as f64);
        let before = match step::get_property(PROPERTY) {
            Some(Value::Integer(before)) => before.cast_unsigned(),
            _ => 0,
        };
        step::set_property(PROPERTY, &Value::from(before + self.count))
    }

    fn judge(&self, result: StepResult, title: &str, most: Option<u64>) -> StepResult {
        let warnings = match self.count {
            0 => return result,
            1 => "1 warning".to_owned(),
            count => format!("{count} warnings"),
        };
        match (result.outcome, most) {
            (Outcome::Success | Outcome::Warnings, Some(most)) if self.count > most => {
                ended(title, Outcome::Failure, &format!("{warnings}, at most {most} are allowed"))
            }
            (Outcome::Success | Outcome::Warnings, _) => ended(title, Outcome::Warnings, &warnings),
            (outcome, _) => StepResult::new(
                outcome,
                format!("{}, {warnings}", result.summary.as_deref().unwrap_or(title)),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(outcome: Outcome, count: u64, most: Option<u64>) -> (Outcome, String) {
        let result = StepResult::new(outcome, "make all");
        let judged = Found { count, text: String::new() }.judge(result, "make all", most);
        (judged.outcome, judged.summary.expect("it has one"))
    }

    #[test]
    fn warnings_are_told_and_too_many_of_them_fail() {
        assert_eq!(judged(Outcome::Success, 0, Some(0)), (Outcome::Success, "make all".into()));
        assert_eq!(judged(Outcome::Success, 1, None), (Outcome::Warnings, "make all: 1 warning".into()));
        assert_eq!(judged(Outcome::Success, 3, Some(3)), (Outcome::Warnings, "make all: 3 warnings".into()));
        let too_many = "make all: 4 warnings, at most 3 are allowed".into();
        assert_eq!(judged(Outcome::Success, 4, Some(3)), (Outcome::Failure, too_many));
        assert_eq!(judged(Outcome::Failure, 4, Some(9)), (Outcome::Failure, "make all, 4 warnings".into()));
    }

    #[test]
    fn no_pattern_and_the_usual_one_are_two_things() {
        let args = |json: &str| serde_json::from_str::<Args>(json).expect("they fit");
        assert!(matches!(args("{}").warning_pattern, Pattern::Usual));
        for none in ["null", r#""""#] {
            assert!(matches!(
                args(&format!(r#"{{"warning_pattern":{none}}}"#)).warning_pattern,
                Pattern::None
            ));
        }
        assert!(
            matches!(args(r#"{"warning_pattern":"x"}"#).warning_pattern, Pattern::Own(own) if own == "x")
        );
    }
}
