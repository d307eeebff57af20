//! What a master that was killed left of its running builds, as far as it can be read: a damaged row keeps no other from
//! being read.
//!
//! A build whose own row is damaged has another one here, made of what the indices and its requests say, so that it can be
//! ended as one that is known.

use redb::ReadableTable;
use windlass_core::id::{BuildId, Fence};
use windlass_core::properties::Properties;
use windlass_core::record::{BuildRow, LogRow, StepRow};
use windlass_core::request::Request;
use windlass_core::time::Timestamp;

use crate::Store;
use crate::encode::{self, Live, unpack};
use crate::fault::{ReadError, missing};
use crate::tables::Snapshot;

/// What is left of a running build.
#[derive(Debug)]
pub struct Remains {
    /// Its row; where that is damaged, what else is known of it.
    pub row: BuildRow,
    /// Its steps that can be read, by position.
    pub steps: Vec<StepRow>,
    /// Its logs that can be read.
    pub logs: Vec<LogRow>,
    /// What cannot be read.
    pub damage: Vec<ReadError>,
}

impl Store {
    /// Returns what is left of each running build; `held` are the requests that somebody holds.
    pub fn remains(&self, held: &[Request]) -> Result<Vec<Remains>, ReadError> {
        let snapshot = self.snapshot()?;
        let mut remains = Vec::new();
        for row in snapshot.live()?.iter()? {
            let (id, live) = row?;
            remains.push(read(&snapshot, id.value(), live.value(), held)?);
        }
        Ok(remains)
    }
}

fn read(snapshot: &Snapshot, id: u64, live: &[u8], held: &[Request]) -> Result<Remains, ReadError> {
    let mut damage = Vec::new();
    let live = readable(encode::to_live(id, live), &mut damage)?;
    let row = match snapshot.builds()?.get(id)? {
        Some(row) => unpack("builds", id, row.value()),
        None => Err(missing("builds", id)),
    };
    let row = match readable(row, &mut damage)? {
        Some(row) => row,
        None => made_up(snapshot, id, live, held)?,
    };
    let (mut steps, mut logs) = (Vec::<StepRow>::new(), Vec::new());
    let of_build = (id, 0)..=(id, u64::MAX);
    for step in snapshot.steps()?.range(of_build.clone())? {
        let (key, step) = step?;
        steps.extend(readable(unpack("steps", key.value(), step.value()), &mut damage)?);
    }
    steps.sort_by_key(|step| step.position);
    let rows = snapshot.logs()?;
    for log in snapshot.logs_by_build()?.range(of_build)? {
        let log = log?.0.value().1;
        if let Some(row) = rows.get(log)? {
            logs.extend(readable(unpack::<LogRow>("logs", log, row.value()), &mut damage)?);
        }
    }
    Ok(Remains { row, steps, logs, damage })
}

/// What was read, if it could be; damage goes to the rest of it.
fn readable<T>(read: Result<T, ReadError>, damage: &mut Vec<ReadError>) -> Result<Option<T>, ReadError> {
    match read {
        Ok(row) => Ok(Some(row)),
        Err(error) if error.is_damage() => {
            damage.push(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A row in the place of one that cannot be read.
fn made_up(
    snapshot: &Snapshot,
    id: u64,
    live: Option<Live>,
    held: &[Request],
) -> Result<BuildRow, ReadError> {
    let Live { fence, requests } = live.unwrap_or(Live { fence: Fence(0), requests: Vec::new() });
    let mut place = None;
    for pair in snapshot.by_pair()?.iter()? {
        let pair = pair?.0;
        let (builder, worker, of) = pair.value();
        if of == id {
            place = Some((builder.to_owned(), worker.to_owned()));
            break;
        }
    }
    let claimed: Vec<&Request> = held.iter().filter(|request| requests.contains(&request.id)).collect();
    let (builder, worker) = match (place, claimed.first()) {
        (Some(place), _) => place,
        (None, Some(request)) => (request.builder.clone(), String::new()),
        (None, None) => Default::default(),
    };
    // Its builder's numbers go up with the ids.
    let last = snapshot.build_numbers()?.get(builder.as_str())?.map_or(0, |last| last.value());
    let mut later = 0;
    for row in snapshot.by_builder()?.range((builder.as_str(), id + 1)..=(builder.as_str(), u64::MAX))? {
        row?;
        later += 1;
    }
    let started = claimed.iter().filter_map(|request| request.claim).map(|claim| claim.at).min();
    Ok(BuildRow {
        id: BuildId(id),
        number: last.saturating_sub(later),
        builder,
        requests,
        fence,
        worker,
        stamps: Vec::new(),
        reason: String::new(),
        generation: 0,
        plugins: Default::default(),
        components: Vec::new(),
        properties: Properties::default(),
        started: started.unwrap_or(Timestamp(0)),
        complete: None,
        summary: String::new(),
        plan: None,
    })
}
