//! `file-upload`, `directory-upload` and `multiple-file-upload`: from the worker into artifacts of the build.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;
use windlass_sdk::step::{self, StepResult};
use windlass_sdk::{BuildStep, Completion, Failure, Hook, Outcome, Value};

use crate::paths::{self, OneOrSeveral, base_name, below};
use crate::remote::Stop;
use crate::transfer::{Upload, Went, ended, size};

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

impl Several {
    fn run(&self) -> Result<StepResult, Failure> {
        let sources = match self.sources()? {
            Ok(sources) => sources,
            Err((outcome, why)) => return Ok(StepResult::new(outcome, why)),
        };
        if sources.is_empty() {
            return Ok(StepResult::new(Outcome::Skipped, "nothing to upload"));
        }
        if let Some((one, other)) = same_name(&sources) {
            let why = format!("{one} and {other} would be one artifact, `{}`", self.name(one));
            return Ok(StepResult::new(Outcome::Failure, why));
        }
        let mut bytes = 0;
        for source in &sources {
            // Files are told from directories.
            let stat = step::run_command("stat", &json!({ "path": below(&self.how.workdir, source) }))?;
            let command = match kind(&stat) {
                Some("directory") => "upload-directory",
                _ => "upload-file",
            };
            match self.how.upload(command, source, &self.name(source))? {
                Went::Well(more) => bytes += more,
                went @ Went::Otherwise(..) => return Ok(ended(went, &format!("uploading {source}"))),
            }
        }
        self.how.link(if self.master_dest.is_empty() { "artifacts" } else { &self.master_dest });
        let noun = if sources.len() == 1 { "upload" } else { "uploads" };
        Ok(StepResult::new(Outcome::Success, format!("{} {noun}: {}", sources.len(), size(bytes))))
    }

    /// The artifact that a source becomes.
    fn name(&self, source: &str) -> String {
        match self.master_dest.trim_end_matches('/') {
            "" => base_name(source).to_owned(),
            folder => format!("{folder}/{}", base_name(source)),
        }
    }

    /// Relative to the working directory.
    fn sources(&self) -> Result<Result<Vec<String>, Stop>, Failure> {
        let named = self.worker_srcs.all();
        if !self.glob {
            return Ok(Ok(named.to_vec()));
        }
        let found = paths::glob(named.iter().map(|pattern| below(&self.how.workdir, pattern)))?;
        let prefix = below(&self.how.workdir, "");
        let relative = |path: String| path.strip_prefix(&prefix).map(str::to_owned).unwrap_or(path);
        Ok(found.map(|paths| paths.into_iter().map(relative).collect()))
    }
}

/// Two sources of one name, the second of which would take the place of the first.
fn same_name(sources: &[String]) -> Option<(&str, &str)> {
    let mut named = HashMap::new();
    sources
        .iter()
        .find_map(|source| Some((named.insert(base_name(source), source.as_str())?, source.as_str())))
}

fn kind(stat: &Completion) -> Option<&str> {
    stat.get("kind").and_then(Value::as_text)
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
        assert!(several.glob && several.worker_srcs.all().len() == 2);
    }

    /// Symptom: of `a/report.xml` and `b/report.xml` only the second one was kept, and both were counted.
    /// Cause: each was uploaded as the artifact `report.xml`.
    /// Cure: equal names are found before the first upload.
    #[test]
    fn sources_of_one_name_are_found() {
        let same = |sources: &[&str]| {
            let sources: Vec<String> = sources.iter().map(|&source| source.to_owned()).collect();
            same_name(&sources).map(|(one, other)| format!("{one} {other}"))
        };
        assert_eq!(same(&["a/report.xml", "b/report.html", "c"]), None);
        assert_eq!(
            same(&["a/report.xml", "c", "b/report.xml"]).as_deref(),
            Some("a/report.xml b/report.xml")
        );
        assert_eq!(same(&["a/out", "b/out/"]).as_deref(), Some("a/out b/out/"));
    }
}
