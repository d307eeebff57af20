//! A start that is ready to be claimed, and the row of the build that it becomes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StartId;
use crate::builder::Builder;
use crate::digest::Digest;
use crate::id::{BuildId, DecisionId, Fence, MasterId};
use crate::merge::{merge_reasons, merge_stamps};
use crate::persist::Persist;
use crate::properties::Properties;
use crate::record::{BuildRow, Component};
use crate::request::{self, Buildset, Request};
use crate::time::Timestamp;
use crate::value::Value;

/// Requests that one build is to serve on a worker whose slot is reserved.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What [`super::Board::claimed`] and [`super::Board::refused`] are told.
    pub start: StartId,
    /// The builder as it is configured at the claim.
    pub builder: Arc<Builder>,
    /// The worker.
    pub worker: String,
    /// The requests with their buildsets; the first is the one that the start began for.
    pub requests: Vec<(Arc<Request>, Arc<Buildset>)>,
    /// The policies that had a part in it.
    pub acted: Vec<Component>,
    /// Their decisions.
    pub decisions: Vec<DecisionId>,
    /// Properties of the whole configuration and of the worker.
    pub given: Given,
}

/// Properties that a build gets from beyond its requests and its builder.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Of the configuration.
    pub global: Properties,
    /// Of the worker.
    pub worker: Properties,
}

/// Numbers that the store hands out, and what the build keeps for its life.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// The build's id.
    pub build: BuildId,
    /// Its number within the builder.
    pub number: u64,
    /// The fence of the claim.
    pub fence: Fence,
    /// The generation of plugins.
    pub generation: u64,
    /// Its plugins.
    pub plugins: BTreeMap<String, Digest>,
    /// The digest of its builder.
    pub plan: Digest,
}

impl Claim {
    /// The row of the build.
    #[must_use]
    pub fn row(&self, numbers: Numbers, now: Timestamp) -> BuildRow {
        let mut sets: Vec<&Buildset> = self.requests.iter().map(|(_, set)| &**set).collect();
        // The one that was taken up first may be newer than those that joined it.
        sets.sort_by_key(|set| set.id);
        let stamps = merge_stamps(sets.iter().copied());
        let mut properties = self.given.global.clone();
        for set in &sets {
            properties.extend(&set.properties);
        }
        properties.extend(&self.builder.properties);
        properties.extend(&self.given.worker);
        for (name, value) in [
            ("buildername", Value::from(self.builder.name.as_str())),
            ("buildnumber", Value::Integer(i64::try_from(numbers.number).unwrap_or(i64::MAX))),
            ("workername", Value::from(self.worker.as_str())),
            ("slavename", Value::from(self.worker.as_str())),
            ("builddir", Value::from(self.builder.builddir.as_str())),
        ] {
            properties.set(name, value, "Build");
        }
        if let [stamp] = stamps.as_slice() {
            let optional = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
            properties.set("branch", optional(&stamp.branch), "Build");
            properties.set("revision", optional(&stamp.revision), "Build");
            properties.set("repository", Value::from(stamp.repository.as_str()), "Build");
            properties.set("project", Value::from(stamp.project.as_str()), "Build");
            properties.set("codebase", Value::from(stamp.codebase.as_str()), "Build");
        }
        BuildRow {
            id: numbers.build,
            number: numbers.number,
            builder: self.builder.name.clone(),
            requests: self.requests.iter().map(|(r, _)| r.id).collect(),
            fence: numbers.fence,
            worker: self.worker.clone(),
            reason: merge_reasons(sets),
            stamps,
            generation: numbers.generation,
            plugins: numbers.plugins,
            components: self.acted.clone(),
            properties,
            started: now,
            complete: None,
            summary: String::new(),
            plan: Some(numbers.plan),
        }
    }

    /// The one commit that claims the requests and records the build.
    #[must_use]
    pub fn batch(&self, row: BuildRow, master: MasterId) -> Vec<Persist> {
        let (fence, at) = (row.fence, row.started);
        vec![Persist::Claim { requests: row.requests.clone(), master, fence, at }, Persist::PutBuild(row)]
    }

    /// The requests as the commit of `row` left them.
    #[must_use]
    pub fn claimed(&self, row: &BuildRow, master: MasterId) -> Vec<Request> {
        let claim = request::Claim { master, fence: row.fence, at: row.started };
        let held = |(r, _): &(Arc<Request>, Arc<Buildset>)| Request {
            claim: Some(claim),
            last_fence: row.fence,
            ..Request::clone(r)
        };
        self.requests.iter().map(held).collect()
    }
}
