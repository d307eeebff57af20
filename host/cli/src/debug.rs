//! `debug`: looks into the running master, once or until the input ends.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use anstream::{eprint, eprintln, print};
use clap::Parser as _;
use serde_json::Value as Json;
use windlass_master::view::{DebugLook, DebugOrder};
use windlass_web::client::Client;

use crate::args::{Line, Look};
use crate::exit::{Exit, Failed};
use crate::output::{BAD, FAINT, paint, tame, tame_lines};
use crate::password;
use crate::query::print_json;

const PATH: &str = "/api/v1/debug";

/// The most bytes of a line that is typed.
const MAX_LINE: u64 = 64 * 1024;

/// `windlass debug`.
pub async fn debug(
    client: &Client,
    password_file: Option<&Path>,
    look: Option<Look>,
    json: bool,
) -> Result<Exit, Failed> {
    let password = password::get(password_file)?;
    let by = std::env::var("USER").ok();
    let order = |look: DebugLook| DebugOrder { password: password.clone(), by: by.clone(), look };
    if let Some(look) = look {
        let answer: Json = client.post(PATH, &order(look.into())).await?;
        shown(&answer, json);
        return Ok(Exit::Success);
    }
    let hello: Json = client.post(PATH, &order(DebugLook::Password)).await?;
    let is_terminal = std::io::stdin().is_terminal();
    if is_terminal {
        let title = hello["title"].as_str().unwrap_or_default();
        let line = format!("{}: `help` lists what there is to see, an end of input leaves", tame(title));
        eprintln!("{}", paint(FAINT, line));
    }
    let mut all_well = true;
    while let Some(line) = next_line(is_terminal)? {
        let words = line.split_whitespace().map(str::to_owned);
        if line.trim().is_empty() {
            continue;
        }
        let look = match Line::try_parse_from(words) {
            Ok(line) => line.look,
            Err(error) => {
                eprint!("{error}");
                all_well &= !error.use_stderr();
                continue;
            }
        };
        match client.post::<Json>(PATH, &order(look.into())).await {
            Ok(answer) => shown(&answer, json),
            Err(windlass_web::client::ClientError::Refused(error)) => {
                eprintln!("{} {}", paint(BAD, "error:"), tame_lines(&error.message));
                all_well = false;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(if all_well || is_terminal { Exit::Success } else { Exit::Unsuccessful })
}

/// The next line that is typed; none at the end.
fn next_line(is_terminal: bool) -> Result<Option<String>, Failed> {
    use std::io::Read as _;
    if is_terminal {
        eprint!("debug> ");
        std::io::stderr().flush()?;
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().take(MAX_LINE).read_line(&mut line)?;
    Ok((read > 0).then_some(line))
}

fn shown(answer: &Json, json: bool) {
    if json {
        print_json(answer);
    } else {
        let mut text = String::new();
        write(&mut text, answer, 0);
        print!("{text}");
    }
}

/// As an outline: a name and its value on a line, what is inside of it below.
fn write(out: &mut String, value: &Json, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Json::Object(entries) => {
            for (name, value) in entries {
                match simple(value) {
                    Some(text) => line(out, format_args!("{indent}{}: {text}", tame(name))),
                    None => {
                        line(out, format_args!("{indent}{}:", tame(name)));
                        write(out, value, depth + 1);
                    }
                }
            }
        }
        Json::Array(items) => {
            for item in items {
                match simple(item) {
                    Some(text) => line(out, format_args!("{indent}- {text}")),
                    None => {
                        let mut inner = String::new();
                        write(&mut inner, item, depth + 1);
                        // The first line of it stands behind the dash.
                        let first = inner.strip_prefix(&format!("{indent}  ")).unwrap_or(&inner);
                        out.push_str(&format!("{indent}- {first}"));
                    }
                }
            }
        }
        other => line(out, format_args!("{indent}{}", simple(other).unwrap_or_default())),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a text takes all");
}

/// What fits on the line of its name.
fn simple(value: &Json) -> Option<String> {
    match value {
        Json::Null => Some("-".to_owned()),
        Json::String(text) => Some(tame(text)),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        Json::Array(items) if items.is_empty() => Some("none".to_owned()),
        Json::Object(entries) if entries.is_empty() => Some("none".to_owned()),
        Json::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            let items: Vec<String> = items.iter().filter_map(simple).collect();
            let short = items.join(", ");
            (short.len() <= 100).then_some(short)
        }
        Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_outline_without_control_characters() {
        let answer = serde_json::json!({
            "a": 1, "b": [], "c": [{ "d": null, "e": ["x", 2] }, { "d": "\u{1b}[31m" }], "f": { "g": { "h": true } },
        });
        let mut text = String::new();
        write(&mut text, &answer, 0);
        assert!(!text.contains('\u{1b}'), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..5], ["a: 1", "b: none", "c:", "  - d: -", "    e: x, 2"]);
        assert_eq!(lines[6..], ["f:", "  g:", "    h: true"]);
    }

    #[test]
    fn lines_are_parsed_as_commands_are() {
        let parsed = Line::try_parse_from(["row", "builds", "1,2"]).unwrap();
        assert_eq!(
            DebugLook::from(parsed.look),
            DebugLook::Row { table: "builds".into(), key: "1,2".into() }
        );
        let parsed = Line::try_parse_from(["rows", "builds", "--damaged", "--after", "7"]).unwrap();
        let (table, after) = ("builds".into(), Some("7".into()));
        assert_eq!(
            DebugLook::from(parsed.look),
            DebugLook::Rows { table, after, limit: None, damaged: true }
        );
        assert!(Line::try_parse_from(["nothing"]).is_err());
        let help = Line::try_parse_from(["help"]).unwrap_err();
        assert!(!help.use_stderr() && help.to_string().contains("board"), "{help}");
    }
}
