//! `logs`: the exact bytes of a build's logs, as they were written or as they are being written.

use std::io::Write as _;

use windlass_core::lines::{self, At};
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
    /// From this line on, counted from 0.
    pub first: Option<u64>,
    /// So many lines.
    pub lines: Option<u64>,
    /// The last so many lines.
    pub tail: Option<u64>,
}

impl Wanted {
    /// Which part of a log the API is asked for first.
    fn part(&self) -> String {
        match (self.first, self.tail, self.lines) {
            (None, Some(tail), _) => format!("tail={tail}"),
            (first, _, Some(lines)) => format!("first={}&lines={lines}", first.unwrap_or(0)),
            (Some(first), _, None) => format!("first={first}"),
            (None, None, None) => format!("offset=0&follow={}", self.follow),
        }
    }
}

/// Ends after so many lines, wherever the answers are cut.
struct Lines {
    wanted: u64,
    begun: u64,
    at: At,
    last: Option<Origin>,
}

impl Lines {
    /// Takes away what is behind the last line that is wanted; true: it was there.
    fn cut(&mut self, pieces: &mut Vec<view::LogPiece>) -> bool {
        for i in 0..pieces.len() {
            let piece = &mut pieces[i];
            if self.last.replace(piece.origin).is_some_and(|last| last != piece.origin) {
                self.at = At::Begin;
            }
            match self.at.find(&piece.data.0, self.wanted - self.begun) {
                Ok(end) => {
                    piece.data.0.truncate(end);
                    pieces.truncate(i + 1);
                    return true;
                }
                Err(begun) => self.begun += begun,
            }
        }
        self.begun == self.wanted && self.at == At::Begin
    }
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
    let path = format!("/api/v1/builds/{}/steps/@{}/logs/{}", wanted.build, step.position, encode(log));
    let mut part = wanted.part();
    let mut limit = wanted.lines.map(|wanted| Lines { wanted, begun: 0, at: At::Begin, last: None });
    loop {
        let mut chunk: view::LogChunk = client.get(&format!("{path}?{part}")).await?;
        let is_window = !part.starts_with("offset");
        let is_over = limit.as_mut().is_some_and(|lines| lines.cut(&mut chunk.pieces));
        if json {
            print_json(&chunk);
        } else {
            print_pieces(&chunk.pieces)?;
        }
        if chunk.expired && !json {
            anstream::eprintln!(
                "{} / {}: removed, because it was too old (`log_horizon`)",
                tame(&step.name),
                tame(log)
            );
        }
        let stopped = chunk.pieces.is_empty() && !wanted.follow && !is_window;
        if chunk.finished || stopped || is_over {
            return Ok(());
        }
        part = format!("offset={}&follow={}", chunk.next, wanted.follow);
    }
}

/// To a terminal, text without control characters; to anything else, the exact bytes.
fn print_pieces(pieces: &[view::LogPiece]) -> std::io::Result<()> {
    use std::io::IsTerminal as _;
    let mut out = anstream::stdout().lock();
    let terminal = std::io::stdout().is_terminal();
    for piece in pieces {
        if !terminal {
            std::io::stdout().lock().write_all(&piece.data.0)?;
            continue;
        }
        let text = tame_lines(&lines::text(&piece.data.0).0);
        match piece.origin {
            Origin::Header => write!(out, "{}", paint(FAINT, text))?,
            Origin::Stdout | Origin::Stderr => write!(out, "{text}")?,
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_master::view::{LogBytes, LogPiece};

    #[test]
    fn so_many_lines_are_shown_wherever_the_answers_are_cut() {
        let piece = |text: &'static str| LogPiece {
            offset: 0,
            origin: Origin::Stdout,
            line: None,
            data: LogBytes(text.into()),
        };
        let mut lines = Lines { wanted: 2, begun: 0, at: At::Begin, last: None };
        let mut first = vec![piece("a\nb")];
        assert!(!lines.cut(&mut first));
        let mut second = vec![piece("b\r"), piece("\nc\n")];
        assert!(lines.cut(&mut second));
        assert_eq!(second[1].data.0, "\n");
    }
}
