//! `stat`, `glob` and `listdir`: what only looks.

use serde::Deserialize;
use windlass_sdk::command::update;
use windlass_sdk::files::{self, Kind};
use windlass_sdk::{Capability, Completion, Failure, Hook, Pair, SlaveCommand, Value};

use crate::paths::{FILES, check, ended};

/// As the schemas say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    path: String,
}

/// The hook `stat`.
pub struct Stat;

impl Hook for Stat {
    const NAME: &'static str = "stat";
    const SUMMARY: &'static str = "says what stands at a path";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "description": "Answers `rc` 0 and the values `kind` (`file`, `directory`, `link` or `other`), `size`, `mode` and `modified-ms`; or the number of the error, 2 if nothing stands there, and the value `message`.",
  "properties": {
    "path": { "type": "string", "description": "Relative to the builder's directory. A link is not followed." }
  }
}"#,
    );
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = One;
}

impl SlaveCommand for Stat {
    fn run(args: One) -> Result<Completion, Failure> {
        check([&args.path])?;
        let found = files::stat(&args.path).map(|entry| {
            let kind = match entry.kind {
                Kind::File => "file",
                Kind::Directory => "directory",
                Kind::Link => "link",
                Kind::Other => "other",
            };
            Completion::rc(0)
                .with("kind", kind)
                .with("size", entry.size)
                .with("mode", entry.mode)
                .with("modified-ms", entry.modified_ms)
        });
        ended(Stat::NAME, found)
    }
}

/// The hook `glob`.
pub struct Glob;

impl Hook for Glob {
    const NAME: &'static str = "glob";
    const SUMMARY: &'static str = "finds the paths that match a pattern";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "description": "Answers `rc` 0 and the value `files`: a sorted JSON list of paths relative to the builder's directory, maybe empty. Of a list that is too long for one message the first parts come as updates `files`.",
  "properties": {
    "path": { "type": "string", "description": "A pattern relative to the builder's directory: `*`, `?` and `[a-z]` stay within a name, `**` crosses directories." }
  }
}"#,
    );
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = One;
}

impl SlaveCommand for Glob {
    fn run(args: One) -> Result<Completion, Failure> {
        check([&args.path])?;
        match files::glob(&args.path) {
            Ok(paths) => list(paths.iter().map(String::as_str)),
            Err(failure) => ended(Glob::NAME, Err(failure)),
        }
    }
}

/// The hook `listdir`.
pub struct Listdir;

impl Hook for Listdir {
    const NAME: &'static str = "listdir";
    const SUMMARY: &'static str = "names what a directory holds";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "description": "Answers `rc` 0 and the value `files`: a sorted JSON list of names. Of a list that is too long for one message the first parts come as updates `files`. Or the number of the error and the value `message`.",
  "properties": {
    "path": { "type": "string", "description": "Relative to the builder's directory." }
  }
}"#,
    );
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = One;
}

impl SlaveCommand for Listdir {
    fn run(args: One) -> Result<Completion, Failure> {
        check([&args.path])?;
        match files::entries(&args.path) {
            Ok(entries) => {
                let name = |path: &'_ str| path.rfind('/').map_or(0, |slash| slash + 1);
                list(entries.iter().map(|entry| &entry.path[name(&entry.path)..]))
            }
            Err(failure) => ended(Listdir::NAME, Err(failure)),
        }
    }
}

/// The most bytes of one part of a list: half of what a message takes.
const PART: usize = 32 * 1024;

/// Answers a list; all but its last part as updates.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> Result<Completion, Failure> {
    let mut part = Part::default();
    for name in names {
        if part.0.len() + name.len() > PART {
            update(&[Pair::new("files", part.take())])?;
        }
        part.push(name);
    }
    Ok(Completion::rc(0).with("files", part.take()))
}

/// A JSON list that is being written.
#[derive(Default)]
struct Part(String);

impl Part {
    fn push(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        crate::json::quote(&mut self.0, name);
    }

    fn take(&mut self) -> Value {
        if self.0.is_empty() {
            self.0.push('[');
        }
        Value::Json(std::mem::take(&mut self.0) + "]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_json() {
        let mut part = Part::default();
        assert_eq!(part.take(), Value::Json("[]".into()));
        part.push("a");
        part.push("b\"c");
        assert_eq!(part.take(), Value::Json(r#"["a","b\"c"]"#.into()));
    }
}
