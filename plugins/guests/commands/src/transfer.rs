//! `upload-file`, `upload-directory` and `download-file`: files to the master and from it. Their bytes go from
//! host to host; this guest only says which.

use serde::Deserialize;
use windlass_sdk::command::log_text;
use windlass_sdk::files::{self, TransferOptions};
use windlass_sdk::{Capability, Completion, Failure, Hook, Origin, SlaveCommand};

const FILES: &[Capability] =
    &[Capability { capability: "files", scope: &[], reason: "reads and writes the files that steps name" }];

/// As the schemas of both uploads say.
#[derive(Deserialize)]
pub struct Upload {
    path: String,
    token: String,
    max_bytes: Option<u64>,
    #[serde(default)]
    keep_times: bool,
    compression: Option<String>,
    #[serde(default = "stdio")]
    log: String,
}

fn stdio() -> String {
    "stdio".to_owned()
}

impl Upload {
    fn run(
        &self,
        send: fn(&str, &str, &TransferOptions) -> Result<u64, Failure>,
    ) -> Result<Completion, Failure> {
        log_text(&self.log, Origin::Header, &format!("sending {}\n", self.path))?;
        let compression = self.compression.clone();
        let options = TransferOptions { max_bytes: self.max_bytes, keep_times: self.keep_times, compression };
        completed(&self.log, send(&self.token, &self.path, &options))
    }
}

/// The hook `upload-file`.
pub struct UploadFile;

impl Hook for UploadFile {
    const NAME: &'static str = "upload-file";
    const SUMMARY: &'static str = "sends a file to the master";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("upload-file.schema.json"));
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = Upload;
}

impl SlaveCommand for UploadFile {
    fn run(args: Upload) -> Result<Completion, Failure> {
        args.run(files::send_file)
    }
}

/// The hook `upload-directory`.
pub struct UploadDirectory;

impl Hook for UploadDirectory {
    const NAME: &'static str = "upload-directory";
    const SUMMARY: &'static str = "sends a directory with all that is in it to the master";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("upload-directory.schema.json"));
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = Upload;
}

impl SlaveCommand for UploadDirectory {
    fn run(args: Upload) -> Result<Completion, Failure> {
        args.run(files::send_tree)
    }
}

/// The hook `download-file`.
pub struct DownloadFile;

/// As the schema says.
#[derive(Deserialize)]
pub struct Download {
    path: String,
    token: String,
    max_bytes: Option<u64>,
    mode: Option<u32>,
    #[serde(default = "stdio")]
    log: String,
}

impl Hook for DownloadFile {
    const NAME: &'static str = "download-file";
    const SUMMARY: &'static str = "takes a file from the master";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("download-file.schema.json"));
    const CAPABILITIES: &'static [Capability] = FILES;
    type Args = Download;
}

impl SlaveCommand for DownloadFile {
    fn run(args: Download) -> Result<Completion, Failure> {
        log_text(&args.log, Origin::Header, &format!("receiving {}\n", args.path))?;
        completed(&args.log, files::receive_file(&args.token, &args.path, args.mode, args.max_bytes))
    }
}

/// What is the step's affair is an `rc` with a reason in the log; what is not stays a failure.
fn completed(log: &str, how: Result<u64, Failure>) -> Result<Completion, Failure> {
    match how {
        Ok(bytes) => {
            log_text(log, Origin::Header, &format!("{bytes} bytes\n"))?;
            Ok(Completion::rc(0).with("bytes", bytes))
        }
        Err(failure) if is_of_the_step(&failure) => {
            log_text(log, Origin::Stderr, &format!("{}\n", failure.message))?;
            Ok(Completion::rc(1).with("error", failure.code))
        }
        Err(failure) => Err(failure),
    }
}

fn is_of_the_step(failure: &Failure) -> bool {
    !failure.retryable
        && matches!(failure.code.as_str(), "not-found" | "io" | "too-large" | "bad-argument" | "denied")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_the_steps_affair_and_a_lost_one_is_not() {
        assert!(is_of_the_step(&Failure::new("not-found", "no")));
        assert!(is_of_the_step(&Failure::new("too-large", "no")));
        assert!(!is_of_the_step(&Failure::retryable("io", "the master's disk")));
        assert!(!is_of_the_step(&Failure::new("interrupted", "stop")));
    }
}
