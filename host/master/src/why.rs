//! Why a request waits, or a build came to be as it is: its decisions, and where it stands.

#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;

use windlass_core::claim::is_pending;
use windlass_core::decision::{Decision, Done};
use windlass_core::id::{BuildId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::policy::HookKind;
use windlass_core::record::BuildRow;
use windlass_core::request::Request;
use windlass_core::schedule::Status;
use windlass_store::{BuildFilter, ReadError, Store};

use self::verify::Verifier;
use crate::running::Running;
use crate::start::blocking;
use crate::view;

/// The newest decisions of each request that are shown.
const SHOWN: usize = 200;

/// The newest decisions of all among which those are looked for that passed a request over, and how many are
/// shown.
const LOOKED_THROUGH: usize = 500;
const PASSED_OVER: usize = 5;

/// So many requests before one are counted.
const COUNTED: usize = 100_000;

/// So many builds of its builder are looked through for those that served a request.
const BUILDS: usize = 2_000;

/// So many recent builds are what an estimate is made of.
const RECENT: usize = 20;

/// Why a request waits, or what became of it.
pub(crate) async fn request(
    running: &Arc<Running>,
    id: RequestId,
    verify: bool,
) -> Result<Option<view::Why>, ReadError> {
    bring_up_to_date(running).await;
    let reader = Arc::clone(running);
    let Some((request, decisions)) = blocking(move || of_request(&reader, id)).await? else {
        return Ok(None);
    };
    Ok(Some(answer(running, None, vec![request], decisions, verify).await))
}

/// What led to a build.
pub(crate) async fn build(
    running: &Arc<Running>,
    id: BuildId,
    verify: bool,
) -> Result<Option<view::Why>, ReadError> {
    bring_up_to_date(running).await;
    let reader = Arc::clone(running);
    let Some((row, requests, decisions)) = blocking(move || of_build(&reader, id)).await? else {
        return Ok(None);
    };
    Ok(Some(answer(running, Some(view::Build::of(&row)), requests, decisions, verify).await))
}

/// The policies that failed while a build was decided upon.
pub(crate) fn failed(store: &Store, build: &BuildRow) -> Result<Vec<view::FailedPolicy>, ReadError> {
    // What was decided for a build touched the request that it began for.
    let Some(first) = build.requests.first() else { return Ok(Vec::new()) };
    let decisions = store.decisions_of_request(*first, SHOWN)?.into_iter();
    Ok(decisions.filter(|d| d.build == Some(build.id)).filter_map(view::FailedPolicy::of).collect())
}

type OfRequest = (view::WhyRequest, Vec<Decision>);
type OfBuild = (BuildRow, Vec<view::WhyRequest>, Vec<Decision>);

fn of_request(running: &Running, id: RequestId) -> Result<Option<OfRequest>, ReadError> {
    let store = &running.store;
    let Some(request) = store.request(id)? else { return Ok(None) };
    let mut decisions = store.decisions_of_request(id, SHOWN)?;
    if is_pending(&request) {
        decisions.extend(passed_over(store, &request)?);
        decisions.sort_by_key(|decision| decision.id);
    }
    let builds = builds_of(store, std::slice::from_ref(&request))?;
    Ok(Some((one(running, &request, &builds)?, decisions)))
}

fn of_build(running: &Running, id: BuildId) -> Result<Option<OfBuild>, ReadError> {
    let store = &running.store;
    let Some(row) = store.build(id)? else { return Ok(None) };
    let mut decisions = Vec::new();
    for request in &row.requests {
        decisions.extend(store.decisions_of_request(*request, SHOWN)?);
    }
    // Others led to other builds of the same requests; some, that held them, to none.
    decisions.retain(|decision| match decision.build {
        Some(build) => build == row.id,
        None => decision.at <= row.started,
    });
    decisions.sort_by_key(|decision| decision.id);
    decisions.dedup_by_key(|decision| decision.id);
    let requests = store.requests(&row.requests)?;
    let builds = builds_of(store, &requests)?;
    let requests = requests.iter().map(|request| one(running, request, &builds)).collect::<Result<_, _>>()?;
    Ok(Some((row, requests, decisions)))
}

/// The newest builds of the builder of these requests, newest first; none where nobody ever claimed one of them.
fn builds_of(store: &Store, requests: &[Request]) -> Result<Vec<BuildRow>, ReadError> {
    let Some(claimed) = requests.iter().find(|request| request.last_fence.0 > 0) else {
        return Ok(Vec::new());
    };
    store.builds(&BuildFilter {
        builder: Some(claimed.builder.clone()),
        limit: BUILDS,
        ..BuildFilter::default()
    })
}

/// All that was decided and happened before is known from now on.
async fn bring_up_to_date(running: &Running) {
    running.dispatcher.keep_records().await;
    running.dispatcher.publish().await;
}

async fn answer(
    running: &Running,
    build: Option<view::Build>,
    mut requests: Vec<view::WhyRequest>,
    records: Vec<Decision>,
    verify: bool,
) -> view::Why {
    for request in &mut requests {
        let Some(waits) = &mut request.waits else { continue };
        let of = (request.request.builder.clone(), RequestId(request.request.id));
        if let Some(wait) = running.dispatcher.waits(vec![of]).await.pop() {
            waits.wait = wait;
        }
    }
    let world = running.world.load_full();
    let mut verifier = Verifier::new(&running.runtime, &running.store, &world.generation);
    let mut decisions = Vec::with_capacity(records.len());
    for record in records {
        let verified = if verify { Some(verifier.verify(&record).await) } else { None };
        decisions.push(view::Decision { record, verified });
    }
    view::Why { now: running.clock.now(), build, requests, decisions }
}

/// What became of a request, by its builder's newest `builds`.
fn one(running: &Running, request: &Request, builds: &[BuildRow]) -> Result<view::WhyRequest, ReadError> {
    let store = &running.store;
    let since = builds.iter().take_while(|row| row.started >= request.submitted);
    let mut builds: Vec<_> =
        since.filter(|row| row.requests.contains(&request.id)).map(view::Build::of).collect();
    builds.reverse();
    let waits = if is_pending(request) { Some(waits(running, request)?) } else { None };
    Ok(view::WhyRequest {
        request: view::Request::from(request),
        buildset: request.buildset.0,
        reason: store.buildset(request.buildset)?.map(|set| set.reason).unwrap_or_default(),
        builds,
        waits,
    })
}

fn waits(running: &Running, request: &Request) -> Result<view::Waits, ReadError> {
    let store = &running.store;
    let board = running.dispatcher.snapshot();
    let ahead = store.pending_before(request, COUNTED)?;
    let world = running.world.load_full();
    let builder = world.config.builders.iter().find(|builder| builder.name == request.builder);
    let workers = builder.map_or(&[][..], |builder| &builder.workers);
    let on_them: Vec<BuildRow> =
        store.running_builds()?.into_iter().filter(|row| workers.contains(&row.worker)).collect();
    let recent = BuildFilter {
        builder: Some(request.builder.clone()),
        complete: Some(true),
        limit: 3 * RECENT,
        ..BuildFilter::default()
    };
    let took: Vec<u64> = store.builds(&recent)?.iter().filter_map(took).take(RECENT).collect();
    let (slots, free) = slots(&board, workers, &request.builder, &on_them);
    Ok(view::Waits {
        ahead,
        ahead_is_cut: ahead == COUNTED,
        // Asked for once all has been read.
        wait: view::Wait::default(),
        running: on_them.iter().map(view::Build::of).collect(),
        estimate: estimate(ahead as u64, slots, free, took),
    })
}

/// How long a build took that succeeded.
fn took(row: &BuildRow) -> Option<u64> {
    let complete = row.complete?;
    let well = matches!(complete.outcome, Outcome::Success | Outcome::Warnings);
    well.then(|| complete.at.ms_since(row.started))
}

/// How many builds of a builder its connected workers can run, and how many of these more than now.
fn slots(board: &Status, workers: &[String], builder: &str, running: &[BuildRow]) -> (u64, u64) {
    let connected = board.workers.iter().filter(|w| workers.contains(&w.name) && w.connected_since.is_some());
    connected.fold((0, 0), |(slots, free), worker| {
        let own = running.iter().any(|row| row.worker == worker.name && row.builder == builder);
        let one_each = u64::from(!own);
        (slots + worker.max_builds.map_or(1, u64::from), free + worker.free.map_or(one_each, u64::from))
    })
}

/// How long it takes until those ahead have begun and a slot is free, if every build takes what half of the recent
/// ones did not exceed and nobody else wants the slots.
fn estimate(ahead: u64, slots: u64, free: u64, mut took: Vec<u64>) -> Option<view::Estimate> {
    took.sort_unstable();
    let median_ms = *took.get(took.len() / 2)?;
    let turns = (ahead + 1).checked_sub(free).filter(|turns| *turns > 0 && slots > 0)?;
    let ms = median_ms.saturating_mul(turns) / slots;
    Some(view::Estimate { ms, slots, median_ms, builds: took.len() })
}

/// The newest decisions that saw a request, or its builder, and chose others.
fn passed_over(store: &Store, request: &Request) -> Result<Vec<Decision>, ReadError> {
    let recent = store.decisions_before(None, LOOKED_THROUGH)?;
    let passes = |decision: &Decision| match (decision.kind(), &decision.done) {
        (Some(HookKind::NextBuild), done) => {
            *done != Done::Picked(request.id) && decision.requests.iter().any(|seen| seen.id == request.id)
        }
        (Some(HookKind::PrioritizeBuilders), Done::Ordered(order)) => {
            decision.builders.iter().any(|b| b.name == request.builder) && !order.contains(&request.builder)
        }
        (Some(HookKind::PrioritizeBuilders), Done::Held) => true,
        _ => false,
    };
    Ok(recent.into_iter().filter(passes).take(PASSED_OVER).collect())
}
