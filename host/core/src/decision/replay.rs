//! A recorded decision, asked again: the question and what could be looked up, made of the record and of rows
//! that never change; and what it means that the answer is the same, or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Decision, Seen};
use crate::id::RequestId;
use crate::policy::{Answer, HookKind, Lookup, Lookups, Question, RequestInfo};
use crate::value::Pair;

/// What was asked, as it was asked then.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The question.
    pub question: Question,
    /// What was looked up then, with the answers, and the moment. A look-up that was not made then finds nothing.
    pub lookups: Lookups,
}

/// Whether a component answers again as it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verified {
    /// The same answer after the same look-ups.
    Same,
    /// Another one; what, in words.
    Differs(String),
    /// There is nothing to compare; why, in words.
    Nothing(String),
}

/// Why a question cannot be made again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// A request that it saw has no row any more.
    #[error("{0} is not in the store any more")]
    Request(RequestId),
    /// The record does not hold what such a question is made of.
    #[error("the record is not that of a `{0}`")]
    Record(String),
}

impl Replay {
    /// Makes the question again. `rows` knows what never changes of a request.
    pub fn of(decision: &Decision, rows: impl Fn(RequestId) -> Option<RequestInfo>) -> Result<Replay, Lost> {
        let info = |seen: &Seen| {
            let row = rows(seen.id).ok_or(Lost::Request(seen.id))?;
            Ok(RequestInfo { priority: seen.priority, ..row })
        };
        let mut requests = decision.requests.iter().map(info).collect::<Result<Vec<_>, Lost>>()?.into_iter();
        let broken = || Lost::Record(decision.policy.kind.clone());
        let builder = || decision.builders.first().cloned().ok_or_else(broken);
        let slaves = || Arc::new(decision.workers.clone());
        let question = match decision.kind().ok_or_else(broken)? {
            HookKind::NextBuild => Question::NextBuild { builder: builder()?, requests: requests.collect() },
            HookKind::MergeRequests => Question::MergeRequests {
                builder: builder()?,
                first: requests.next().ok_or_else(broken)?,
                others: requests.collect(),
            },
            HookKind::CanStartBuild => {
                let request = requests.next().ok_or_else(broken)?;
                Question::CanStartBuild { builder: builder()?, slaves: slaves(), request }
            }
            HookKind::NextSlave => {
                let request = requests.next().ok_or_else(broken)?;
                Question::NextSlave { builder: builder()?, slaves: slaves(), request }
            }
            HookKind::PrioritizeBuilders => {
                Question::PrioritizeBuilders { builders: decision.builders.clone() }
            }
            HookKind::SlaveCommand
            | HookKind::BuildStep
            | HookKind::CodebaseGenerator
            | HookKind::Renderer
            | HookKind::Configurator
            | HookKind::Scheduler
            | HookKind::ChangeSource
            | HookKind::ChangeHook
            | HookKind::Reporter => return Err(broken()),
        };
        Ok(Replay { question, lookups: lookups(decision) })
    }
}

/// What can be looked up again: what was, with the same answers.
fn lookups(decision: &Decision) -> Lookups {
    let mut requests: BTreeMap<u64, Vec<Pair>> = BTreeMap::new();
    let mut slaves: BTreeMap<String, Vec<Pair>> = BTreeMap::new();
    for Lookup { question, answer } in &decision.lookups {
        // What was not there then is not there now.
        let Some(value) = answer.clone() else { continue };
        let Some((what, rest)) = question.split_once(' ') else { continue };
        let Some((of, name)) = rest.split_once(' ') else { continue };
        let pair = Pair { name: name.to_owned(), value };
        match (what, of.parse()) {
            ("request-property", Ok(id)) => requests.entry(id).or_default().push(pair),
            ("slave-property", _) => slaves.entry(of.to_owned()).or_default().push(pair),
            _ => {}
        }
    }
    let slaves = slaves.into_iter().map(|(name, pairs)| (name, Arc::new(pairs))).collect();
    Lookups { now: decision.asked, requests, slaves: Arc::new(slaves) }
}

/// Why there is nothing to compare a second answer with; none: there is an answer.
#[must_use]
pub fn nothing_to_compare(decision: &Decision) -> Option<String> {
    match (&decision.answer, &decision.fallback) {
        (Some(_), _) => None,
        (None, Some(why)) => Some(format!("it gave no answer: {why}")),
        (None, None) => Some("its answer was too long to be kept".to_owned()),
    }
}

/// Compares what a component does when it is asked again.
#[must_use]
pub fn compare(decision: &Decision, answer: Result<&Answer, String>, lookups: &[Lookup]) -> Verified {
    let Some(before) = &decision.answer else {
        return Verified::Nothing(nothing_to_compare(decision).unwrap_or_default());
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(fault) => return Verified::Differs(format!("it gives no answer now: {fault}")),
    };
    if answer != before {
        return Verified::Differs(format!("it answered {before}, and now {answer}"));
    }
    let differ = decision.lookups.iter().zip(lookups).position(|(then, now)| then != now);
    match differ {
        Some(at) => Verified::Differs(format!(
            "it looked up `{}`, and now `{}`",
            decision.lookups[at].question, lookups[at].question
        )),
        None if decision.lookups.len() != lookups.len() => Verified::Differs(format!(
            "it looked up {} things, and now {}",
            decision.lookups.len(),
            lookups.len()
        )),
        None => Verified::Same,
    }
}
