//! `file-upload`, `directory-upload` and `multiple-file-upload`: from the worker into artifacts of the build.

use serde::Deserialize;
use serde_json::json;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Completion, Failure, Hook, Outcome, Value};

use crate::transfer::{Upload, Went, base_name, below, ended, size};

/// A transfer that fails ends the build, as Buildbot has it.
const HALTS: &[(&str, bool)] = &[("halt-on-failure", true), ("flunk-on-failure", true)];

/// What all three take.
#[derive(Deserialize)]
struct How {
    #[serde(default = "build")]
    workdir: String,
    max_size: Option<u64>,
    #[serde(default)]
    keep_stamp: bool,
    compress: Option<String>,
    url: Option<String>,
    url_text: Option<String>,
}

fn build() -> String {
    "build".to_owned()
}

impl How {
    fn upload(&self, command: &str, source: &str, name: &str) -> Result<Went, Failure> {
        let upload = Upload {
            path: &below(&self.workdir, source),
            name,
            max_size: self.max_size,
            keep_stamp: self.keep_stamp,
            compress: self.compress.as_deref(),
        };
        upload.run(command)
    }

    /// Shows where it can be seen.
    fn link(&self, name: &str) {
        if let Some(url) = &self.url {
            step::add_url(self.url_text.as_deref().unwrap_or(name), url);
        }
    }
}

/// As the schemas of the first two say.
#[derive(Deserialize)]
pub struct One {
    worker_src: String,
    master_dest: Option<String>,
    #[serde(flatten)]
    how: How,
}

impl One {
    fn run(&self, command: &str) -> Result<StepResult, Failure> {
        let name = self.master_dest.as_deref().unwrap_or_else(|| base_name(&self.worker_src));
        let went = self.how.upload(command, &self.worker_src, name)?;
        if matches!(went, Went::Well(_)) {
            self.how.link(name);
        }
        Ok(ended(went, &format!("uploading {}", self.worker_src)))
    }
}

/// The hook `file-upload`.
pub struct FileUpload;

impl Hook for FileUpload {
    const NAME: &'static str = "file-upload";
    const SUMMARY: &'static str = "keeps a file of the worker as an artifact of the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("file-upload.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = HALTS;
    type Args = One;
}

impl BuildStep for FileUpload {
    fn run(args: One) -> Result<StepResult, Failure> {
        args.run("upload-file")
    }
}

/// The hook `directory-upload`.
pub struct DirectoryUpload;

impl Hook for DirectoryUpload {
    const NAME: &'static str = "directory-upload";
    const SUMMARY: &'static str = "keeps a directory of the worker as an artifact of the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("directory-upload.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = HALTS;
    type Args = One;
}

impl BuildStep for DirectoryUpload {
    fn run(args: One) -> Result<StepResult, Failure> {
        args.run("upload-directory")
    }
}

/// The hook `multiple-file-upload`.
pub struct MultipleFileUpload;

/// As the schema says.
#[derive(Deserialize)]
pub struct Several {
    worker_srcs: OneOrSeveral,
    #[serde(default)]
    glob: bool,
    #[serde(default)]
    master_dest: String,
    #[serde(flatten)]
    how: How,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

impl Hook for MultipleFileUpload {
    const NAME: &'static str = "multiple-file-upload";
    const SUMMARY: &'static str =
        "keeps several files and directories of the worker as artifacts of the build";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("multiple-file-upload.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = HALTS;
    type Args = Several;
}

impl BuildStep for MultipleFileUpload {
    fn run(args: Several) -> Result<StepResult, Failure> {
        args.run()
    }
}

/// Files are told from directories, and patterns become paths, by commands whose ends are these.
enum Found {
    Paths(Vec<String>),
    Ended(StepResult),
}

impl Several {
    fn run(&self) -> Result<StepResult, Failure> {
        let sources = match self.sources()? {
            Found::Paths(sources) => sources,
            Found::Ended(result) => return Ok(result),
        };
        if sources.is_empty() {
            return Ok(StepResult::new(Outcome::Skipped, "nothing to upload"));
        }
        let mut bytes = 0;
        for source in &sources {
            let name = match self.master_dest.trim_end_matches('/') {
                "" => base_name(source).to_owned(),
                folder => format!("{folder}/{}", base_name(source)),
            };
            let stat = step::run_command("stat", &json!({ "path": below(&self.how.workdir, source) }))?;
            let command = match kind(&stat) {
                Some("directory") => "upload-directory",
                _ => "upload-file",
            };
            match self.how.upload(command, source, &name)? {
                Went::Well(more) => bytes += more,
                went @ Went::Otherwise(..) => return Ok(ended(went, &format!("uploading {source}"))),
            }
        }
        self.how.link(if self.master_dest.is_empty() { "artifacts" } else { &self.master_dest });
        let noun = if sources.len() == 1 { "upload" } else { "uploads" };
        Ok(StepResult::new(Outcome::Success, format!("{} {noun}: {}", sources.len(), size(bytes))))
    }

    fn sources(&self) -> Result<Found, Failure> {
        let named = match &self.worker_srcs {
            OneOrSeveral::One(source) => std::slice::from_ref(source),
            OneOrSeveral::Several(sources) => sources,
        };
        if !self.glob {
            return Ok(Found::Paths(named.to_vec()));
        }
        let mut paths = Vec::new();
        for pattern in named {
            let found = step::run_command("glob", &json!({ "path": below(&self.how.workdir, pattern) }))?;
            if found.rc != Some(0) {
                let why = format!("`{pattern}` cannot be looked for; see the log");
                return Ok(Found::Ended(StepResult::new(Outcome::Failure, why)));
            }
            let prefix = below(&self.how.workdir, "");
            let relative = |path: &String| path.strip_prefix(&prefix).unwrap_or(path).to_owned();
            for path in files(&found).iter().map(relative) {
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        Ok(Found::Paths(paths))
    }
}

fn kind(stat: &Completion) -> Option<&str> {
    stat.get("kind").and_then(Value::as_text)
}

/// The paths in an answer of `glob`.
fn files(found: &Completion) -> Vec<String> {
    match found.get("files") {
        Some(Value::Json(json)) => serde_json::from_str(json).unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_names_of_the_configuration() {
        let one: One =
            serde_json::from_str(r#"{"worker_src":"dist/app.tar.gz","max_size":5,"url":"https://x"}"#)
                .expect("the arguments fit");
        assert_eq!((one.how.max_size, one.how.workdir.as_str()), (Some(5), "build"));
        let several: Several = serde_json::from_str(r#"{"worker_srcs":["a","b"],"glob":true,"workdir":"."}"#)
            .expect("the arguments fit");
        assert!(several.glob && matches!(several.worker_srcs, OneOrSeveral::Several(s) if s.len() == 2));
    }

    #[test]
    fn paths_of_a_glob_are_read() {
        let found = Completion::rc(0).with("files", Value::Json(r#"["build/a","build/b"]"#.into()));
        assert_eq!(files(&found), ["build/a", "build/b"]);
        assert_eq!(files(&Completion::rc(0)), [""; 0]);
    }
}
