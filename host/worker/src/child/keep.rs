//! What the holder keeps of a child, and under which names: its streams, and the files in memory that they lead
//! through.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::capture::{self, Through};
use super::{Plan, Streams, feed};

/// What a child that is started has in memory.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) input: Option<OwnedFd>,
    pub(super) through: Option<Through>,
}

/// What came of its start.
pub(super) const REPORT: &str = "report";
pub(super) const STDIN: &str = "stdin";
pub(super) const STDOUT: &str = "stdout";
pub(super) const STDERR: &str = "stderr";
pub(super) const INPUT: &str = "input";
pub(super) const SAID_OUT: &str = "said-out";
pub(super) const SAID_ERR: &str = "said-err";
pub(super) const THROUGH_IN: &str = "through-in";
pub(super) const THROUGH_OUT: &str = "through-out";

/// Under which name something of a child is kept.
pub(super) fn name_of(child: u32, what: &str) -> String {
    format!("{child}.{what}")
}

impl Files {
    pub(super) fn of(plan: &Plan, ours: &Streams) -> std::io::Result<Files> {
        let file = |pipe: &Option<OwnedFd>| pipe.as_ref().map(|_| capture::file()).transpose();
        // What is typed to a terminal goes no such way.
        let input = plan.input.as_ref().filter(|_| ours.stdin.is_some() && !plan.kept.terminal);
        let input = input.map(|input| feed::file(input)).transpose()?;
        let through = plan.kept.terminal.then(Through::new).transpose()?;
        Ok(Files { stdout: file(&ours.stdout)?, stderr: file(&ours.stderr)?, input, through })
    }

    /// What the holder keeps of a child.
    pub(super) fn kept<'a>(&'a self, child: u32, ours: &'a Streams) -> Vec<(String, BorrowedFd<'a>)> {
        let Files { stdout, stderr, input, through } = self;
        let pairs = [
            (STDOUT, &ours.stdout, SAID_OUT, stdout),
            (STDERR, &ours.stderr, SAID_ERR, stderr),
            // An input that stays open is not kept: its end would not show.
            (STDIN, &ours.stdin, INPUT, input),
        ];
        let both = pairs.into_iter().filter_map(|(pipe, ours, name, file)| {
            let (ours, file) = (ours.as_ref()?, file.as_ref()?);
            Some([(pipe, ours.as_fd()), (name, file.as_fd())])
        });
        let through = through
            .iter()
            .map(|through| [(THROUGH_OUT, through.read.as_fd()), (THROUGH_IN, through.write.as_fd())]);
        both.chain(through).flatten().map(|(name, kept)| (name_of(child, name), kept)).collect()
    }
}
