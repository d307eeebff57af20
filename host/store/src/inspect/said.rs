//! What rows say: whether each has the shape of its table, and in words where it has an encoding of its own.

use serde::de::DeserializeOwned;
use windlass_core::artifact::ArtifactRow;
use windlass_core::builder::{Builder, StepSpec};
use windlass_core::change::Change;
use windlass_core::decision::Decision;
use windlass_core::journal::{Entry, Mark};
use windlass_core::master::Master;
use windlass_core::record::{BuildRow, LogRow, StepRow, StopRow};
use windlass_core::report::{Event, Line};
use windlass_core::request::Buildset;
use windlass_core::test_result::TestResult;

use crate::encode;
use crate::fault::ReadError;
use crate::frames;
use crate::tokens::to_token;

use super::Written as _;

/// What a row says that has an encoding of its own; none: others can read it. An error: it is damaged. The key is as `keys`
/// writes it.
pub(super) fn said(table: &str, key: &str, bytes: &[u8]) -> Result<Option<String>, ReadError> {
    let number = || key.parse().unwrap_or_default();
    Ok(match table {
        "waiting" => Some(format!("{:?}", encode::to_request("waiting", number(), bytes)?)),
        "held" => Some(format!("{:?}", encode::to_request("held", number(), bytes)?)),
        "done" => Some(format!("{:?}", encode::to_request("done", number(), bytes)?)),
        "buildset_states" => Some(format!("{:?}", encode::to_buildset_state(number(), bytes)?)),
        "live" => Some(format!("{:?}", encode::to_live(number(), bytes)?)),
        "log_pieces" => Some(format!("{:?}", encode::to_piece(two(key), bytes)?)),
        "log_frames" => Some(format!("{:?}", frames::decode(two(key), bytes)?)),
        "worker_tokens" => {
            let (worker, token) = <(&'static str, u64)>::read(key).unwrap_or_default();
            Some(format!("{:?}", to_token((&worker, token), bytes)?))
        }
        "changes" => packed::<Change>("changes", key, bytes)?,
        "buildsets" => packed::<Buildset>("buildsets", key, bytes)?,
        "masters" => packed::<Master>("masters", key, bytes)?,
        "builds" => packed::<BuildRow>("builds", key, bytes)?,
        "steps" => packed::<StepRow>("steps", key, bytes)?,
        "test_results" => packed::<Vec<TestResult>>("test_results", key, bytes)?,
        "plans" => packed::<Builder>("plans", key, bytes)?,
        "added_steps" => packed::<Vec<StepSpec>>("added_steps", key, bytes)?,
        "stops" => packed::<StopRow>("stops", key, bytes)?,
        "journal" => packed::<Vec<Entry>>("journal", key, bytes)?,
        "marks" => packed::<Mark>("marks", key, bytes)?,
        "logs" => packed::<LogRow>("logs", key, bytes)?,
        "decisions" => packed::<Decision>("decisions", key, bytes)?,
        "artifacts" => packed::<ArtifactRow>("artifacts", key, bytes)?,
        "events" => packed::<Event>("events", key, bytes)?,
        "reporters" => packed::<Line>("reporters", key, bytes)?,
        // `state` is its owners'.
        _ => None,
    })
}

fn packed<T: DeserializeOwned>(
    table: &'static str,
    key: &str,
    bytes: &[u8],
) -> Result<Option<String>, ReadError> {
    encode::unpack::<T>(table, format_args!("{key}"), bytes).map(|_| None)
}

fn two(key: &str) -> (u64, u64) {
    let (first, second) = key.split_once(',').unwrap_or_default();
    let number = |text: &str| text.parse().unwrap_or_default();
    (number(first), number(second))
}
