//! A store with a long backlog, and how its builders and workers are called.

use std::path::Path;
use std::time::Instant;

use windlass_core::change::SourceStamp;
use windlass_core::id::BuildsetId;
use windlass_core::persist::Persist;
use windlass_core::properties::Properties;
use windlass_core::request::{Buildset, Request};
use windlass_core::time::Timestamp;
use windlass_store::{Options, Store};

use super::Failed;

pub const BUILDERS: u64 = 500;
/// Builders that one buildset asks for.
pub const TOGETHER: u64 = 5;

/// Submits until so many requests wait.
pub async fn fill(folder: &Path, pending: u64) -> Result<(), Failed> {
    let store = Store::open(folder, Options::default())?;
    let mut there: u64 = store.pending_counts()?.values().sum();
    let began = Instant::now();
    while there < pending {
        let sets = (pending - there).div_ceil(TOGETHER).min(2_000);
        let batch = (0..sets).map(|_| submission(&store)).collect();
        store.commit(batch).await?;
        there += sets * TOGETHER;
    }
    println!("{there} requests wait ({:.1} s to submit what lacked)", began.elapsed().as_secs_f64());
    Ok(())
}

/// A buildset for some builders, one after the other.
pub fn submission(store: &Store) -> Persist {
    let id = store.ids().next_buildset();
    let builders = (0..TOGETHER).map(|n| name("builder", (id.0 * TOGETHER + n) % BUILDERS));
    order(store, id, builders.collect())
}

/// A buildset for these builders.
pub fn order(store: &Store, id: BuildsetId, builders: Vec<String>) -> Persist {
    let submitted = Timestamp(1_700_000_000_000 + id.0 * 1_000);
    let request = |builder| Request {
        priority: i32::try_from(id.0 % 7 / 5).unwrap_or_default(),
        ..Request::new(store.ids().next_request(), id, builder, submitted)
    };
    let requests: Vec<Request> = builders.into_iter().map(request).collect();
    let stamp = SourceStamp {
        repository: "https://example.org/project.git".to_owned(),
        branch: Some("main".to_owned()),
        revision: Some(format!("{:040x}", id.0)),
        ..SourceStamp::default()
    };
    let buildset = Buildset {
        id,
        reason: "the scheduler ci saw a change".to_owned(),
        submitter: "ci".to_owned(),
        stamps: vec![stamp],
        properties: Properties::default(),
        submitted,
        requests: requests.iter().map(|request| request.id).collect(),
        complete: None,
        parent: None,
    };
    Persist::AddBuildset { buildset, requests }
}

pub fn name(what: &str, number: u64) -> String {
    format!("{what}-{number:04}")
}
