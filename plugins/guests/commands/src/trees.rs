//! `mkdir`, `rmdir`, `cpdir` and `rmfile`: what changes paths.

use serde::Deserialize;
use windlass_sdk::files::{self, Kind};
use windlass_sdk::{Capability, Completion, Failure, Hook, SlaveCommand};

use crate::paths::{FILES, OneOrSeveral, Refused, check, ended};

const PATHS: Option<&str> = Some(
    r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["paths"],
  "description": "Answers `rc` 0; or the number of the error and the value `message`; or `rc` -1 and the value `interrupted`.",
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
#[serde(deny_unknown_fields)]
pub struct Paths {
    paths: OneOrSeveral,
}

/// The hook `mkdir`.
pub struct Mkdir;

impl Hook for Mkdir {
    const NAME: &'static str = "mkdir";
    const SUMMARY: &'static str = "makes directories with their parents; stops at the first that cannot be";
    const ARGS_SCHEMA: Option<&'static str> = PATHS;
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = Paths;
}

impl SlaveCommand for Mkdir {
    fn run(args: Paths) -> Result<Completion, Failure> {
        let paths = args.paths.all();
        check(paths)?;
        let made = paths.iter().try_for_each(|path| files::make_directory(path));
        ended(Mkdir::NAME, made.map(|()| Completion::rc(0)))
    }
}

/// The hook `rmdir`.
pub struct Rmdir;

impl Hook for Rmdir {
    const NAME: &'static str = "rmdir";
    const SUMMARY: &'static str = "removes files and whole directories; those that are not there are no error, and one that stays keeps none";
    const ARGS_SCHEMA: Option<&'static str> = PATHS;
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = Paths;
}

impl SlaveCommand for Rmdir {
    fn run(args: Paths) -> Result<Completion, Failure> {
        let paths = args.paths.all();
        check(paths)?;
        let mut worst: Option<Refused> = None;
        for path in paths {
            let Err(failure) = files::remove(path) else { continue };
            let refused = Refused::told(Rmdir::NAME, failure)?;
            if refused.is_interrupt() {
                return Ok(refused.completion());
            }
            if worst.as_ref().is_none_or(|worst| worst.rc < refused.rc) {
                worst = Some(refused);
            }
        }
        Ok(worst.map_or(Completion::rc(0), Refused::completion))
    }
}

/// The hook `cpdir`.
pub struct Cpdir;

/// As the schema says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromTo {
    from_path: String,
    to_path: String,
}

impl Hook for Cpdir {
    const NAME: &'static str = "cpdir";
    const SUMMARY: &'static str = "copies a directory, or a file, with modes and times; links stay links";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["from_path", "to_path"],
  "description": "Answers `rc` 0; or the number of the error and the value `message`; or `rc` -1 and the value `interrupted`.",
  "properties": {
    "from_path": { "type": "string", "description": "What to copy, relative to the builder's directory." },
    "to_path": { "type": "string", "description": "Its new place. The directories above it are made; a directory that stands there is filled up, a file replaced." }
  }
}"#,
    );
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = FromTo;
}

impl SlaveCommand for Cpdir {
    fn run(args: FromTo) -> Result<Completion, Failure> {
        check([&args.from_path, &args.to_path])?;
        let copied = files::stat(&args.from_path).and_then(|_| {
            if let Some((above, _)) = args.to_path.trim_end_matches('/').rsplit_once('/') {
                files::make_directory(above)?;
            }
            files::copy(&args.from_path, &args.to_path)
        });
        ended(Cpdir::NAME, copied.map(|()| Completion::rc(0)))
    }
}

/// The hook `rmfile`.
pub struct Rmfile;

/// As the schema says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    path: String,
}

/// The number of the error for a directory in the place of a file.
const IS_DIRECTORY: i32 = 21;

impl Hook for Rmfile {
    const NAME: &'static str = "rmfile";
    const SUMMARY: &'static str = "removes one file, which has to be there";
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "description": "Answers `rc` 0; or the number of the error and the value `message`.",
  "properties": {
    "path": { "type": "string", "description": "Relative to the builder's directory. A link is removed itself." }
  }
}"#,
    );
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = One;
}

impl SlaveCommand for Rmfile {
    fn run(args: One) -> Result<Completion, Failure> {
        check([&args.path])?;
        match files::stat(&args.path) {
            Ok(entry) if matches!(entry.kind, Kind::Directory) => {
                let message = format!("`{}` is a directory", args.path);
                Refused::of(Rmfile::NAME, IS_DIRECTORY, message).map(Refused::completion)
            }
            found => {
                let removed = found.and_then(|_| files::remove(&args.path));
                ended(Rmfile::NAME, removed.map(|()| Completion::rc(0)))
            }
        }
    }
}
