//! `mkdir`, `rmdir` and `stat`: what steps do with paths below the builder's directory. The host does the work.

use serde::Deserialize;
use windlass_sdk::files::{self, Kind};
use windlass_sdk::{Capability, Completion, Failure, Hook, SlaveCommand};

const FILES: &[Capability] =
    &[Capability { capability: "files", scope: &[], reason: "makes, removes and looks at what steps name" }];

const PATHS: Option<&str> = Some(
    r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["paths"],
  "properties": {
    "paths": {
      "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
      "description": "One or several, relative to the builder's directory."
    }
  }
}"#,
);

/// As the schema says.
#[derive(Deserialize)]
pub struct Paths {
    paths: OneOrSeveral,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

impl Paths {
    fn each(&self, act: impl Fn(&str) -> Result<(), Failure>) -> Result<Completion, Failure> {
        let paths = match &self.paths {
            OneOrSeveral::One(path) => std::slice::from_ref(path),
            OneOrSeveral::Several(paths) => paths,
        };
        paths.iter().try_for_each(|path| act(path))?;
        Ok(Completion::rc(0))
    }
}

/// The hook `mkdir`.
pub struct Mkdir;

impl Hook for Mkdir {
    const NAME: &'static str = "mkdir";
    const SUMMARY: &'static str = "makes directories with their parents";
    const ARGS_SCHEMA: Option<&'static str> = PATHS;
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = Paths;
}

impl SlaveCommand for Mkdir {
    fn run(args: Paths) -> Result<Completion, Failure> {
        args.each(files::make_directory)
    }
}

/// The hook `rmdir`.
pub struct Rmdir;

impl Hook for Rmdir {
    const NAME: &'static str = "rmdir";
    const SUMMARY: &'static str =
        "removes files and whole directories; those that are not there are no error";
    const ARGS_SCHEMA: Option<&'static str> = PATHS;
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = Paths;
}

impl SlaveCommand for Rmdir {
    fn run(args: Paths) -> Result<Completion, Failure> {
        args.each(files::remove)
    }
}

/// The hook `stat`.
pub struct Stat;

/// As the schema says.
#[derive(Deserialize)]
pub struct StatArgs {
    path: String,
}

impl Hook for Stat {
    const NAME: &'static str = "stat";
    const SUMMARY: &'static str = "says what stands at a path";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "description": "Answers `rc` 0 and the values `kind` (`file`, `directory`, `link` or `other`), `size`, `mode` and `modified-ms`; or `rc` 1 if nothing stands there.",
  "properties": {
    "path": { "type": "string", "description": "Relative to the builder's directory." }
  }
}"#,
    );
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = StatArgs;
}

impl SlaveCommand for Stat {
    fn run(args: StatArgs) -> Result<Completion, Failure> {
        let entry = match files::stat(&args.path) {
            Ok(entry) => entry,
            Err(failure) if failure.code == "not-found" => return Ok(Completion::rc(1)),
            Err(failure) => return Err(failure),
        };
        let kind = match entry.kind {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Link => "link",
            Kind::Other => "other",
        };
        Ok(Completion::rc(0)
            .with("kind", kind)
            .with("size", entry.size)
            .with("mode", entry.mode)
            .with("modified-ms", entry.modified_ms))
    }
}
