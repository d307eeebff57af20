//! Configurator `my-plugin`: a builder for each compiler at each level of optimisation.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::json;
use windlass_sdk::{Configurator, Failure, Hook};

struct Matrix;

impl Hook for Matrix {
    // What master.toml says, in `[[configurators]]`: `use = "my-plugin:my-plugin"` and `args = { … }`.
    const NAME: &'static str = "my-plugin";
    const SUMMARY: &'static str = "a builder for each compiler at each level of optimisation";
    // The configuration's arguments are checked against this before anything runs.
    const ARGS_SCHEMA: Option<&'static str> = Some(
        r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["workers", "compilers", "levels"],
  "properties": {
    "workers": { "type": "array", "items": { "type": "string" }, "description": "Who builds." },
    "compilers": { "type": "array", "items": { "type": "string" }, "description": "Values of CC." },
    "levels": { "type": "array", "items": { "type": "string" }, "description": "As in -O2: \"2\"." },
    "command": { "type": "string", "description": "What each builds with; unless said, `make check`." }
  }
}"#,
    );
    type Args = Args;
}

#[derive(Deserialize)]
struct Args {
    workers: Vec<String>,
    compilers: Vec<String>,
    levels: Vec<String>,
    #[serde(default = "make_check")]
    command: String,
}

fn make_check() -> String {
    "make check".to_owned()
}

impl Configurator for Matrix {
    // The answer is TOML, which is joined to what stands in the files and checked with it. The same arguments
    // must always give the same answer. An error refuses the configuration.
    fn configure(args: Args) -> Result<String, Failure> {
        // Texts, and lists of them, are written in TOML as they are in JSON.
        let (workers, command) = (json!(args.workers), json!(args.command));
        let mut toml = String::new();
        for compiler in &args.compilers {
            for level in &args.levels {
                let name = json!(format!("{compiler}-O{level}"));
                let (cc, cflags) = (json!(compiler), json!(format!("-O{level}")));
                write!(
                    toml,
                    "[[builders]]\n\
                     name = {name}\n\
                     workers = {workers}\n\
                     env = {{ CC = {cc}, CFLAGS = {cflags} }}\n\
                     [[builders.steps]]\n\
                     use = \"shell-command\"\n\
                     args = {{ command = {command} }}\n"
                )
                .expect("a string takes everything");
            }
        }
        Ok(toml)
    }
}

windlass_sdk::export!(configurator: Matrix);
