//! What steps reported beside logs, for those who ask: test results by pages, figures from build to build.

use std::collections::BTreeMap;

use windlass_core::id::{BuildId, StepId};
use windlass_core::record::StepRow;
use windlass_store::{BuildFilter, ReadError, Store, TestFilter, TestPlace};

use crate::handle::LogError;
use crate::{logs, view};

/// The most results of one answer, and what their texts may take up together.
const MAX_PAGE: usize = 10_000;
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// How many results an answer has unless asked otherwise.
const PAGE: usize = 1_000;

/// The most builds that a figure is looked up in, and the most figures of one answer; that of one build are never cut.
const MAX_BUILDS: usize = 1_000;
const MAX_FIGURES: usize = 10_000;

/// Test results of a build.
pub(crate) fn tests(store: &Store, build: u64, query: &view::TestQuery) -> Result<view::Tests, LogError> {
    let id = BuildId(build);
    let steps = store.steps(id)?;
    let step = query.step.as_deref().map(|step| logs::find_step_of(store, id, &steps, step)).transpose()?;
    let filter = TestFilter {
        step: step.map(|step| step.id),
        failed: query.failed,
        after: query.after.as_deref().map(place).transpose()?,
        limit: query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE),
        max_bytes: MAX_PAGE_BYTES,
    };
    if steps.is_empty() && store.build(id)?.is_none() {
        return Err(LogError::NotFound(format!("there is no build {build}")));
    }
    let (found, more) = store.test_results(id, &filter)?;
    let next = found.last().filter(|_| more).map(|(place, _)| format!("{}.{}", place.step.0, place.index));
    let by_id: BTreeMap<StepId, &StepRow> = steps.iter().map(|step| (step.id, step)).collect();
    let of_these = |step: &&StepRow| filter.step.is_none_or(|id| id == step.id);
    Ok(view::Tests {
        counts: steps.iter().filter(of_these).fold(Default::default(), |sum, step| step.tests.and(sum)),
        results: found
            .into_iter()
            .map(|(place, result)| view::Test {
                step: by_id.get(&place.step).map(|step| step.name.clone()).unwrap_or_default(),
                name: result.name,
                outcome: result.outcome,
                text: result.text,
                duration_ms: result.duration_ms,
                log: result.log,
            })
            .collect(),
        next,
    })
}

/// A place in a list of results, as an answer gave it.
fn place(text: &str) -> Result<TestPlace, LogError> {
    let numbers =
        text.split_once('.').and_then(|(step, index)| Some((step.parse().ok()?, index.parse().ok()?)));
    match numbers {
        Some((step, index)) => Ok(TestPlace { step: StepId(step), index }),
        None => Err(LogError::NotFound(format!(
            "`{text}` is no place in a list of tests; `next` of an answer is"
        ))),
    }
}

/// The figures of a build's steps.
pub(crate) fn of_steps(
    store: &Store,
    build: BuildId,
) -> Result<BTreeMap<StepId, BTreeMap<String, f64>>, ReadError> {
    let mut by_step = BTreeMap::<_, BTreeMap<_, _>>::new();
    for (step, name, value) in store.statistics(build)? {
        by_step.entry(step).or_default().insert(name, value);
    }
    Ok(by_step)
}

/// A builder's figures of one name, the newest build first.
pub(crate) fn figures(
    store: &Store,
    builder: &str,
    query: &view::FigureQuery,
) -> Result<Vec<view::Figure>, ReadError> {
    let limit = query.limit.unwrap_or(50).min(MAX_BUILDS);
    let filter = BuildFilter {
        builder: Some(builder.to_owned()),
        complete: Some(true),
        limit,
        ..BuildFilter::default()
    };
    let mut figures = Vec::new();
    for build in store.builds(&filter)? {
        if figures.len() >= MAX_FIGURES {
            break;
        }
        let mut found = store.statistics(build.id)?;
        found.retain(|(_, name, _)| query.name.as_ref().is_none_or(|asked| asked == name));
        if found.is_empty() {
            // Its steps may hold a lot.
            continue;
        }
        let steps = store.steps(build.id)?;
        for (step, name, value) in found {
            let step =
                steps.iter().find(|row| row.id == step).map(|row| row.name.clone()).unwrap_or_default();
            if query.step.as_ref().is_none_or(|asked| *asked == step) {
                figures.push(view::Figure { build: build.id.0, number: build.number, step, name, value });
            }
        }
    }
    Ok(figures)
}
