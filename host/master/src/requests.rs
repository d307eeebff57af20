//! Lists of requests. A page costs what it shows, whatever waits besides.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::claim::is_pending;
use windlass_core::id::RequestId;
use windlass_core::request::{Request, Turn};
use windlass_store::{ReadError, RequestFilter, Store};

use crate::running::Running;
use crate::start::blocking;
use crate::view::{self, ListedRequest, RequestPage, RequestState};

/// So many of a page, unless it says otherwise, and at most.
const PAGE: usize = 50;
const MOST: usize = 1_000;

/// No place in a line is larger.
const MAX_POSITION: u64 = u32::MAX as u64;

/// Why there is no such list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// That is no place to go on from.
    #[error("`{0}` is not what the page before this one said as its `next`")]
    BadCursor(String),
    /// The store did not answer.
    #[error("failed to read the store")]
    Read(#[from] ReadError),
}

pub(crate) async fn list(
    running: &Arc<Running>,
    filter: view::RequestFilter,
) -> Result<RequestPage, ListError> {
    let limit = filter.limit.unwrap_or(PAGE).min(MOST);
    let after = filter.after.as_deref().map(Cursor::parse).transpose()?;
    let held = match filter.state {
        RequestState::Held => {
            let after = after.map_or(RequestId(0), |after| after.request);
            running.dispatcher.held(filter.builder.clone(), after, limit).await
        }
        RequestState::Pending | RequestState::Claimed | RequestState::All => Vec::new(),
    };
    let store = running.store.clone();
    let mut page = blocking(move || read(&store, &filter, after, limit, &held)).await?;
    let waiting: Vec<(usize, (String, RequestId))> = page
        .requests
        .iter()
        .enumerate()
        .filter(|(_, listed)| !listed.request.claimed && listed.request.outcome.is_none())
        .map(|(place, listed)| (place, (listed.request.builder.clone(), RequestId(listed.request.id))))
        .collect();
    let (places, waiting): (Vec<usize>, Vec<_>) = waiting.into_iter().unzip();
    let waits = running.dispatcher.waits(waiting).await;
    for (place, wait) in places.into_iter().zip(waits) {
        page.requests[place].waits = Some(wait);
    }
    page.now = running.clock.now();
    Ok(page)
}

fn read(
    store: &Store,
    filter: &view::RequestFilter,
    after: Option<Cursor>,
    limit: usize,
    held: &[RequestId],
) -> Result<RequestPage, ListError> {
    let counts = store.pending_counts()?;
    let pending = match &filter.builder {
        Some(builder) => counts.get(builder).copied().unwrap_or_default(),
        None => counts.values().sum(),
    };
    // Where the page begins in the line, counted from 1.
    let mut first = None;
    let rows = match filter.state {
        RequestState::Pending => {
            first = Some(after.map_or(1, |after| after.position + 1));
            let turn = after.map(|after| turn(store, after)).transpose()?;
            store.line(filter.builder.as_deref(), turn, limit)?
        }
        // Of those that the dispatcher holds some may have gone meanwhile.
        RequestState::Held => store.requests(held)?.into_iter().filter(is_pending).collect(),
        RequestState::Claimed | RequestState::All => store.requests_listed(&RequestFilter {
            builder: filter.builder.clone(),
            claimed: filter.state == RequestState::Claimed,
            before: after.map(|after| after.request),
            limit,
        })?,
    };
    let is_full = if filter.state == RequestState::Held { held.len() } else { rows.len() } == limit;
    let last = held.last().copied().or_else(|| rows.last().map(|row| row.id)).filter(|_| is_full);
    let next = last.map(|request| {
        let position = first.map_or(0, |first| first + rows.len() as u64 - 1);
        Cursor { request, position }.to_string()
    });
    let mut builds = BTreeMap::new();
    if rows.iter().any(|row| row.claim.is_some() && row.complete.is_none()) {
        for build in store.running_builds()? {
            builds.extend(build.requests.iter().map(|request| (*request, build.id.0)));
        }
    }
    let mut requests = Vec::with_capacity(rows.len());
    for (row, place) in rows.iter().zip(0..) {
        requests.push(ListedRequest {
            request: view::Request::from(row),
            buildset: row.buildset.0,
            reason: reason(store, row)?,
            position: first.map(|first: u64| first + place),
            waits: None,
            build: builds.get(&row.id).copied(),
        });
    }
    Ok(RequestPage { now: Default::default(), pending, requests, next })
}

fn reason(store: &Store, request: &Request) -> Result<String, ReadError> {
    Ok(store.buildset(request.buildset)?.map(|set| set.reason).unwrap_or_default())
}

/// The turn of the last one of a page, whatever became of it since.
fn turn(store: &Store, after: Cursor) -> Result<Turn, ListError> {
    let row = store.request(after.request)?;
    row.map(|row| Turn::of(&row)).ok_or_else(|| ListError::BadCursor(after.to_string()))
}

/// Where a page ended: its last request, and how many came before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    request: RequestId,
    position: u64,
}

impl Cursor {
    fn parse(text: &str) -> Result<Cursor, ListError> {
        let (request, position) = text.split_once('.').unwrap_or((text, "0"));
        match (request.parse(), position.parse()) {
            (Ok(request), Ok(position @ ..=MAX_POSITION)) => {
                Ok(Cursor { request: RequestId(request), position })
            }
            (Ok(_) | Err(_), _) => Err(ListError::BadCursor(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.position {
            0 => write!(f, "{}", self.request.0),
            position => write!(f, "{}.{position}", self.request.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for cursor in [(7, 0), (7, 50)].map(|(id, position)| Cursor { request: RequestId(id), position }) {
            assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
        }
        for text in ["", "x", "7.", "7.x", ".7", "-1", "1.18446744073709551615"] {
            assert!(Cursor::parse(text).is_err(), "{text}");
        }
    }
}
