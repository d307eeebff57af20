//! Artifacts over HTTP: their list, and their bytes as a stream, whole or from anywhere.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use windlass_core::text::chain;
use windlass_master::{ArtifactContent, ArtifactError, view};

use crate::error::ApiError;
use crate::routes::Api;

/// Read at a time.
const PIECE: u64 = 64 * 1024;

pub(crate) async fn list(
    State(api): State<Api>,
    Path(build): Path<u64>,
) -> Result<Json<Vec<view::Artifact>>, ApiError> {
    Ok(Json(api.look(move |master| master.artifacts(build)).await?))
}

/// Which part of a tree.
#[derive(Deserialize)]
pub(crate) struct Part {
    /// What comes behind this path.
    after: Option<String>,
}

/// A file as its bytes; a tree as JSON, entry by entry.
pub(crate) async fn fetch(
    State(api): State<Api>,
    Path((build, name)): Path<(u64, String)>,
    Query(Part { after }): Query<Part>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (artifact, content) = api.master.open_artifact(build, &name, after).await?;
    let (file, length) = match content {
        ArtifactContent::Tree(entries) => return Ok(Json(entries).into_response()),
        ArtifactContent::File(file, length) => (file, length),
    };
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (status, from, to) = match asked.map_or(Range::Whole, |asked| Range::of(asked, length)) {
        Range::Whole => (StatusCode::OK, 0, length),
        Range::Part(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Range::Beyond => {
            let range = format!("bytes */{length}");
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, range)]).into_response());
        }
    };
    let mut file = tokio::fs::File::from_std(file);
    file.seek(std::io::SeekFrom::Start(from)).await.map_err(|error| internal(&error))?;
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        // Whoever opens it in a browser gets a file, not a page that runs.
        .header(header::CONTENT_DISPOSITION, "attachment")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_LENGTH, to - from);
    if artifact.name == name {
        response = response.header(header::ETAG, format!("\"{}\"", artifact.hash));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        response = response.header(header::CONTENT_RANGE, format!("bytes {from}-{}/{length}", to - 1));
    }
    let pieces = stream::try_unfold((file, to - from), |(mut file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let mut piece = Vec::new();
        (&mut file).take(left.min(PIECE)).read_to_end(&mut piece).await?;
        if piece.is_empty() {
            return Err(std::io::Error::other("the file became shorter while it was read"));
        }
        let left = left - piece.len() as u64;
        Ok(Some((piece, (file, left))))
    });
    response.body(Body::from_stream(pieces)).map_err(|error| internal(&error))
}

fn internal(error: &dyn std::error::Error) -> ApiError {
    ApiError::new("internal", chain(error))
}

/// Which bytes are wanted, the last one exclusive.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    Part(u64, u64),
    /// There are no such bytes.
    Beyond,
}

impl Range {
    /// What a header asks for. Several ranges, and what cannot be read, are the whole, as HTTP has it.
    fn of(asked: &str, length: u64) -> Range {
        let Some((from, to)) = asked.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return Range::Whole;
        };
        match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
            (Ok(from), Ok(to)) if from <= to && from < length => {
                Range::Part(from, length.min(to.saturating_add(1)))
            }
            (Ok(from), Err(_)) if to.trim().is_empty() && from < length => Range::Part(from, length),
            (Err(_), Ok(last)) if from.trim().is_empty() && last > 0 && length > 0 => {
                Range::Part(length - last.min(length), length)
            }
            (Ok(from), Ok(to)) if from > to => Range::Whole,
            (Ok(_), Ok(_)) => Range::Beyond,
            (Ok(_), Err(_)) if to.trim().is_empty() => Range::Beyond,
            (Err(_), Ok(_)) if from.trim().is_empty() => Range::Beyond,
            _ => Range::Whole,
        }
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> ApiError {
        match error {
            ArtifactError::NotFound(what) => ApiError::new("not-found", what),
            error @ (ArtifactError::Store(_) | ArtifactError::Io(_)) => internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (asked, expected) in [
            ("bytes=0-3", Range::Part(0, 4)),
            ("bytes=2-", Range::Part(2, 10)),
            ("bytes=-3", Range::Part(7, 10)),
            ("bytes=-30", Range::Part(0, 10)),
            ("bytes=5-99", Range::Part(5, 10)),
            ("bytes=10-", Range::Beyond),
            ("bytes=-0", Range::Beyond),
            ("bytes=12-13", Range::Beyond),
            ("bytes=3-2", Range::Whole),
            ("bytes=0-1,4-5", Range::Whole),
            ("lines=0-1", Range::Whole),
            ("bytes=a-b", Range::Whole),
        ] {
            assert_eq!(Range::of(asked, 10), expected, "{asked}");
        }
        assert_eq!(Range::of("bytes=0-", 0), Range::Beyond);
    }
}
