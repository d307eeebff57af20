//! Reading and following the logs of builds.

use windlass_core::id::{BuildId, LogId};
use windlass_core::lines::At;
use windlass_core::record::{LogPiece, LogRow, StepRow};
use windlass_store::{ReadError, Store};

use crate::handle::{LogError, QueryError};
use crate::start::blocking;
use crate::view;

impl From<ReadError> for LogError {
    fn from(error: ReadError) -> LogError {
        LogError::Query(QueryError::from(error))
    }
}

/// The log `log` of the step `step` of a build: its name or its position, `@3` its position alone.
pub(crate) fn find(store: &Store, build: BuildId, step: &str, log: &str) -> Result<LogRow, LogError> {
    let steps = store.steps(build)?;
    let found = find_step_of(store, build, &steps, step)?;
    let logs: Vec<LogRow> = store.logs(build)?.into_iter().filter(|l| l.step == found.id).collect();
    let there = list(logs.iter().map(|l| l.name.as_str()));
    logs.into_iter().find(|l| l.name == log).ok_or_else(|| {
        LogError::NotFound(format!("step `{}` of build {} has no log `{log}`; {there}", found.name, build.0))
    })
}

/// The step of this name or position among those of a build.
pub(crate) fn find_step_of<'a>(
    store: &Store,
    build: BuildId,
    steps: &'a [StepRow],
    step: &str,
) -> Result<&'a StepRow, LogError> {
    if let Some(found) = find_step(steps, step) {
        return Ok(found);
    }
    if store.build(build)?.is_none() {
        return Err(LogError::NotFound(format!("there is no build {}", build.0)));
    }
    let there = list(steps.iter().map(|s| s.name.as_str()));
    Err(LogError::NotFound(format!("build {} has no step `{step}`; {there}", build.0)))
}

fn find_step<'a>(steps: &'a [StepRow], step: &str) -> Option<&'a StepRow> {
    let place = step.strip_prefix('@');
    let position = place.unwrap_or(step).parse::<u32>().ok();
    // A step may be called `3`.
    let by_name = steps.iter().find(|s| s.name == step && (place.is_none() || position.is_none()));
    by_name.or_else(|| steps.iter().find(|s| Some(s.position) == position))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) }
}

/// At most `max_bytes` of a log from `offset`.
pub(crate) fn read(
    store: &Store,
    log: LogId,
    offset: u64,
    max_bytes: usize,
) -> Result<view::LogChunk, LogError> {
    // The row first: what is finished then has all of its bytes in the second look.
    let row = store.log(log)?;
    let pieces = store.read_log(log, offset, max_bytes)?;
    chunk(store, log, row, offset, pieces)
}

/// At most `lines` lines and `max_bytes` bytes of a log. It costs the window, however long the log is.
pub(crate) fn window(
    store: &Store,
    log: LogId,
    window: view::Window,
    lines: u64,
    max_bytes: usize,
) -> Result<view::LogChunk, LogError> {
    let row = store.log(log)?;
    let size = store.log_size(log)?;
    let first = match window {
        view::Window::From(first) => first,
        view::Window::Last(lines) => size.lines.saturating_sub(lines),
    };
    let pieces = store.read_log_lines(log, first, lines, max_bytes)?;
    let mut chunk = chunk(store, log, row, size.bytes, pieces)?;
    chunk.lines = Some(size.lines);
    number(&mut chunk.pieces, first);
    Ok(chunk)
}

/// Numbers pieces that begin with line `first`.
fn number(pieces: &mut [view::LogPiece], first: u64) {
    let (mut at, mut begun, mut last) = (At::Begin, first, None);
    for piece in pieces {
        if last.replace(piece.origin).is_some_and(|last| last != piece.origin) {
            at = At::Begin;
        }
        let data = &piece.data.0;
        begun += at.count(&data[..1]);
        piece.line = Some(begun - 1);
        begun += at.count(&data[1..]);
    }
}

/// What was read; with nothing, the reader is at `end`.
fn chunk(
    store: &Store,
    log: LogId,
    row: Option<LogRow>,
    end: u64,
    pieces: Vec<LogPiece>,
) -> Result<view::LogChunk, LogError> {
    let next = pieces.last().map_or(end, |piece| piece.offset + piece.data.len() as u64);
    let finished = row.as_ref().is_some_and(|row| row.finished) && next >= store.log_len(log)?;
    let one = |piece: LogPiece| view::LogPiece {
        offset: piece.offset,
        origin: piece.origin,
        line: None,
        data: view::LogBytes(piece.data),
    };
    Ok(view::LogChunk {
        pieces: pieces.into_iter().map(one).collect(),
        next,
        finished,
        lines: None,
        hash: row.as_ref().and_then(|row| row.hash),
        cut: row.as_ref().and_then(|row| row.cut),
        expired: row.is_some_and(|row| row.expired),
    })
}

/// As [`read`], but waits for the log to come and for something after `offset`.
pub(crate) async fn follow(
    store: &Store,
    build: BuildId,
    step: &str,
    log: &str,
    offset: u64,
    max_bytes: usize,
) -> Result<view::LogChunk, LogError> {
    // Listen first, look then: nothing that happens in between is missed.
    let mut changed = store.changed(build);
    let row = loop {
        changed.borrow_and_update();
        // Before the look: the commit that ends a build may be the one that brings the log.
        let runs = store.build(build)?.is_some_and(|row| row.complete.is_none());
        match find(store, build, step, log) {
            Ok(row) => break row,
            Err(error @ LogError::Query(_)) => return Err(error),
            Err(error @ LogError::NotFound(_)) => {
                if !runs || changed.changed().await.is_err() {
                    return Err(error);
                }
            }
        }
    };
    let mut progress = store.watch_log(row.id)?;
    loop {
        let now = *progress.borrow_and_update();
        // A closed store is the end of what can be followed.
        if now.length > offset || now.finished || progress.changed().await.is_err() {
            let (store, log) = (store.clone(), row.id);
            return blocking(move || read(&store, log, offset, max_bytes)).await;
        }
    }
}
