//! A policy of every kind that goes wrong as it is told: by the reason of the request that it decides about
//! (`trap`, `spin` ...), or by its arguments where there is no request.

use windlass_sdk::model::{BuildRequest, BuilderInfo, Change, SlaveInfo};
use windlass_sdk::{CanStartBuild, CodebaseGenerator, Failure, Hook, MergeRequests, NextBuild, NextSlave};
use windlass_sdk::{NoArgs, PrioritizeBuilders};

struct Wayward;

impl Hook for Wayward {
    const NAME: &'static str = "wayward";
    const SUMMARY: &'static str = "goes wrong as it is told";
    type Args = NoArgs;
}

/// Goes wrong in the way that the last word of `how` says, if that is one that needs no answer to be wrong. True:
/// the answer is to name somebody who does not exist.
fn stray(how: &str) -> Result<bool, Failure> {
    match how.split_whitespace().next_back().unwrap_or_default() {
        "trap" => panic!("told to"),
        "spin" => loop {
            std::hint::black_box(how);
        },
        "hoard" => {
            std::hint::black_box(Vec::<u8>::with_capacity(1 << 30));
            Ok(false)
        }
        "err" => Err(Failure::new("unwilling", "told to")),
        how => Ok(how == "ghost"),
    }
}

impl NextSlave for Wayward {
    fn choose(
        _: NoArgs,
        _: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        request: BuildRequest,
    ) -> Result<Option<String>, Failure> {
        let ghost = stray(&request.reason)?;
        Ok(if ghost { Some("nobody".to_owned()) } else { slaves.into_iter().next().map(|slave| slave.name) })
    }
}

impl CanStartBuild for Wayward {
    fn allow(
        _: NoArgs,
        _: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        request: BuildRequest,
    ) -> Result<Vec<String>, Failure> {
        let ghost = stray(&request.reason)?;
        Ok(if ghost {
            vec!["nobody".to_owned()]
        } else {
            slaves.into_iter().map(|slave| slave.name).collect()
        })
    }
}

impl NextBuild for Wayward {
    fn choose(_: NoArgs, _: BuilderInfo, requests: Vec<BuildRequest>) -> Result<Option<u64>, Failure> {
        let Some(first) = requests.first() else { return Ok(None) };
        Ok(Some(if stray(&first.reason)? { u64::MAX >> 12 } else { first.id }))
    }
}

impl MergeRequests for Wayward {
    fn mergeable(
        _: NoArgs,
        _: BuilderInfo,
        first: BuildRequest,
        _: Vec<BuildRequest>,
    ) -> Result<Vec<u64>, Failure> {
        Ok(if stray(&first.reason)? { vec![u64::MAX >> 12] } else { Vec::new() })
    }
}

impl PrioritizeBuilders for Wayward {
    /// There is no request to be told by: a builder's first tag says how.
    fn order(_: NoArgs, builders: Vec<BuilderInfo>) -> Result<Vec<String>, Failure> {
        let how = builders.iter().find_map(|builder| builder.tags.first()).cloned().unwrap_or_default();
        let ghost = stray(&how)?;
        Ok(if ghost { vec!["nobody".to_owned()] } else { builders.into_iter().map(|b| b.name).collect() })
    }
}

impl CodebaseGenerator for Wayward {
    fn codebase(_: NoArgs, change: Change) -> Result<String, Failure> {
        stray(change.comments.trim()).map(|_| "well".to_owned())
    }
}

windlass_sdk::export!(
    next_slave: Wayward;
    can_start_build: Wayward;
    next_build: Wayward;
    merge_requests: Wayward;
    prioritize_builders: Wayward;
    codebase_generator: Wayward;
);
