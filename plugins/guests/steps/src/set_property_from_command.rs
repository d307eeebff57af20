//! `set-property-from-command`: sets properties from what a program says.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Origin, Outcome, Value, bad_argument};

use crate::remote::{Line, STDIO, ended};
use crate::shell::{self, command_property, shell_schema};
use crate::warnings::regex;

/// The most output that is read: a property has at most as much.
const MAX_OUTPUT: usize = 64 * 1024;

/// The hook.
pub struct SetPropertyFromCommand;

impl Hook for SetPropertyFromCommand {
    const NAME: &'static str = "set-property-from-command";
    const SUMMARY: &'static str = "sets properties from what a program says";
    const ARGS_SCHEMA: Option<&'static str> = Some(shell_schema!(
        r#""required": ["command"], "anyOf": [{"required": ["property"]}, {"required": ["extract"]}], "#,
        command_property!(""),
        r#""property": {"x-no-secrets": "it is a name", "type": "string", "minLength": 1, "description": "The property that becomes all of the output."}"#,
        r#""strip": {"type": "boolean", "default": true, "description": "White space at both ends does not belong to it."}"#,
        r#""extract": {"x-no-secrets": "they are expressions", "type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": {"type": "string", "minLength": 1}, "default": {}, "description": "Properties and the regular expressions that find them: the first group is the value, or all that is found if there is none; `(?m)` makes `^` and `$` those of lines. One that finds nothing fails the step."}"#,
        r#""include_stdout": {"type": "boolean", "default": true, "description": "Read its standard output."}"#,
        r#""include_stderr": {"type": "boolean", "default": false, "description": "Read its standard error."}"#,
    ));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    command: Line,
    property: Option<String>,
    #[serde(default = "yes")]
    strip: bool,
    #[serde(default)]
    extract: BTreeMap<String, String>,
    #[serde(default = "yes")]
    include_stdout: bool,
    #[serde(default)]
    include_stderr: bool,
    #[serde(flatten)]
    shell: shell::Args,
}

fn yes() -> bool {
    true
}

impl BuildStep for SetPropertyFromCommand {
    fn run(args: Args) -> Result<StepResult, Failure> {
        let title = args.command.title();
        let shell = args.shell.shell(args.command.clone())?;
        args.shell.make_logs()?;
        let (mut output, mut over) = (String::new(), false);
        let ending = shell.watch(&[STDIO], |lines| {
            let wanted = match lines.from_stream {
                Origin::Stdout => args.include_stdout,
                Origin::Stderr => args.include_stderr,
                Origin::Header => false,
            };
            over |= wanted && output.len() + lines.text.len() > MAX_OUTPUT;
            if wanted && !over {
                output.push_str(&lines.text);
            }
            Ok(())
        })?;
        let result = args.shell.judge(&title, ending);
        if !matches!(result.outcome, Outcome::Success | Outcome::Warnings) {
            return Ok(result);
        }
        if over {
            return Ok(ended(&title, Outcome::Failure, &format!("it wrote more than {MAX_OUTPUT} bytes")));
        }
        let properties = match args.found(&output)? {
            Ok(properties) => properties,
            Err(missing) => {
                let why = format!("nothing found for {}", missing.join(", "));
                return Ok(ended(&title, Outcome::Failure, &why));
            }
        };
        let mut names = Vec::new();
        for (name, value) in properties {
            step::set_property(&name, &Value::Text(value))?;
            names.push(name);
        }
        Ok(StepResult::new(result.outcome, names.join(", ")))
    }
}

impl Args {
    /// The properties that stand in the output, or those of which nothing was found.
    fn found(&self, output: &str) -> Result<Result<BTreeMap<String, String>, Vec<String>>, Failure> {
        let mut properties = BTreeMap::new();
        if let Some(property) = &self.property {
            if self.extract.contains_key(property) {
                return Err(bad_argument(format!("`{property}` is in `extract`, too")));
            }
            let value = if self.strip { output.trim() } else { output };
            properties.insert(property.clone(), value.to_owned());
        }
        let mut missing = Vec::new();
        for (name, pattern) in &self.extract {
            let found = regex(&format!("extract.{name}"), pattern)?.captures(output).and_then(|found| {
                let value = found.get(1).or_else(|| found.get(0))?.as_str();
                Some(if self.strip { value.trim() } else { value }.to_owned())
            });
            match found {
                Some(value) => drop(properties.insert(name.clone(), value)),
                None => missing.push(name.clone()),
            }
        }
        Ok(if missing.is_empty() { Ok(properties) } else { Err(missing) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(args: &str, output: &str) -> Result<Vec<(String, String)>, Vec<String>> {
        let args = format!(r#"{{"command":"x",{args}}}"#);
        let args: Args = serde_json::from_str(&args).expect("they fit");
        args.found(output).expect("the expressions are some").map(|found| found.into_iter().collect())
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn all_of_the_output_or_what_expressions_find_in_it() {
        let output = " version 1.2\nbuilt today\n";
        assert_eq!(found(r#""property":"p""#, output), Ok(vec![pair("p", "version 1.2\nbuilt today")]));
        assert_eq!(found(r#""property":"p","strip":false"#, output), Ok(vec![pair("p", output)]));
        let both = r#""extract":{"v":"version ([0-9.]+)","day":"(?m)^built .*$"}"#;
        assert_eq!(found(both, output), Ok(vec![pair("day", "built today"), pair("v", "1.2")]));
        assert_eq!(found(r#""extract":{"v":"version","w":"nothing"}"#, output), Err(vec!["w".to_owned()]));
    }
}
