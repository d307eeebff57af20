//! `logs`: the exact bytes of a build's logs, as they were written or as they are being written.

use std::io::Write as _;

use windlass_core::value::Origin;
use windlass_master::view;
use windlass_web::client::Client;

use crate::exit::{Exit, Failed};
use crate::output::{FAINT, HEADING, paint, tame, tame_lines};
use crate::query::{encode, print_json};

/// Which logs to print.
#[derive(Debug)]
pub struct Wanted {
    /// The build.
    pub build: u64,
    /// Only of this step.
    pub step: Option<String>,
    /// Only of this name.
    pub log: Option<String>,
    /// Until the build has ended.
    pub follow: bool,
}

/// `windlass logs`. Every log once, in the order of the steps.
pub async fn logs(client: &Client, wanted: &Wanted, json: bool) -> Result<Exit, Failed> {
    let mut printed = std::collections::BTreeSet::new();
    // What happens while we look is not missed: we listen before we read.
    let mut events = match wanted.follow {
        true => Some(client.follow::<view::Event>("/api/v1/events").await?),
        false => None,
    };
    loop {
        let detail: view::BuildDetail = client.get(&format!("/api/v1/builds/{}", wanted.build)).await?;
        if let Some(step) = wanted.step.as_deref()
            && (detail.build.ended.is_some() || !wanted.follow)
            && !detail.steps.iter().any(|s| s.name == step)
        {
            let known: Vec<&str> = detail.steps.iter().map(|s| s.name.as_str()).collect();
            let message =
                format!("build {} has no step `{step}`; it has: {}", wanted.build, known.join(", "));
            return Err(Failed { exit: Exit::Refused, error: anyhow::Error::msg(message) });
        }
        for step in detail.steps.iter().filter(|s| wanted.step.as_ref().is_none_or(|w| *w == s.name)) {
            for log in step.logs.iter().filter(|l| wanted.log.as_ref().is_none_or(|w| *w == l.name)) {
                if printed.insert((step.position, log.name.clone())) {
                    one(client, wanted, step, &log.name, json).await?;
                }
            }
        }
        let Some(events) = events.as_mut().filter(|_| detail.build.ended.is_none()) else {
            return Ok(Exit::Success);
        };
        // Any event of this build is a reason to look again: a new step, a new log, its end.
        while let Some(event) = events.next().await {
            if concerns(&event?, wanted.build) {
                break;
            }
        }
    }
}

fn concerns(event: &view::Event, build: u64) -> bool {
    match event {
        view::Event::StepStarted { build: b, .. }
        | view::Event::StepFinished { build: b, .. }
        | view::Event::LogStarted { build: b, .. } => *b == build,
        view::Event::BuildStarted(b) | view::Event::BuildFinished(b) => b.id == build,
        view::Event::Missed { .. } => true,
        view::Event::Change(_)
        | view::Event::Submitted { .. }
        | view::Event::WorkerConnected { .. }
        | view::Event::WorkerLost { .. }
        | view::Event::Reconfigured { .. } => false,
    }
}

async fn one(
    client: &Client,
    wanted: &Wanted,
    step: &view::Step,
    log: &str,
    json: bool,
) -> Result<(), Failed> {
    if !json {
        anstream::println!("{}", paint(HEADING, format_args!("== {} / {}", tame(&step.name), tame(log))));
    }
    let path = format!("/api/v1/builds/{}/steps/{}/logs/{}", wanted.build, step.position, encode(log));
    let mut offset = 0;
    loop {
        let chunk: view::LogChunk =
            client.get(&format!("{path}?offset={offset}&follow={}", wanted.follow)).await?;
        if json {
            print_json(&chunk);
        } else {
            print_pieces(&chunk.pieces)?;
        }
        let stopped = chunk.pieces.is_empty() && !wanted.follow;
        if chunk.finished || stopped {
            return Ok(());
        }
        offset = chunk.next;
    }
}

/// To a terminal, text without control characters; to anything else, the exact bytes.
fn print_pieces(pieces: &[view::LogPiece]) -> std::io::Result<()> {
    use std::io::IsTerminal as _;
    let mut out = anstream::stdout().lock();
    let terminal = std::io::stdout().is_terminal();
    for piece in pieces {
        match (terminal, piece.origin) {
            (false, _) => std::io::stdout().lock().write_all(&piece.data.0)?,
            (true, Origin::Header) => {
                write!(out, "{}", paint(FAINT, tame_lines(&String::from_utf8_lossy(&piece.data.0))))?;
            }
            (true, Origin::Stdout | Origin::Stderr) => {
                write!(out, "{}", tame_lines(&String::from_utf8_lossy(&piece.data.0)))?;
            }
        }
    }
    out.flush()
}
