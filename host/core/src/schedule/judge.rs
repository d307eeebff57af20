//! Judges what a policy answered against what it was offered. Whether the state of the moment still
//! allows it is the board's business.

use std::collections::BTreeSet;

use crate::id::RequestId;
use crate::policy::{Answer, Question};
use crate::request::Turn;

/// What a policy was offered, as far as its question does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) requests: Vec<RequestId>,
    /// The last of them, where they are a window of what waits.
    pub(super) end: Option<Turn>,
}

/// An answer that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Order(Vec<String>),
    Pick(Option<RequestId>),
    Allow(Vec<String>),
    Place(Option<String>),
    Join(Vec<RequestId>),
}

/// The verdict and the parts that were ignored; `Err`: the answer makes no sense, in words.
pub(super) fn judge(
    asked: &Question,
    offered: &Offered,
    answer: Answer,
) -> Result<(Verdict, Vec<String>), String> {
    let mut ignored = Vec::new();
    let verdict = match (asked, answer) {
        (Question::PrioritizeBuilders { .. }, Answer::Names(names)) => {
            Verdict::Order(known(names, asked, "builder", &mut ignored)?)
        }
        (Question::CanStartBuild { .. }, Answer::Names(names)) => {
            Verdict::Allow(known(names, asked, "worker", &mut ignored)?)
        }
        (Question::NextSlave { .. }, Answer::Slave(None)) => Verdict::Place(None),
        (Question::NextSlave { .. }, Answer::Slave(Some(name))) => {
            if !asked.names().any(|offered| offered == name) {
                return Err(format!("worker `{}` was not offered", clip(&name)));
            }
            Verdict::Place(Some(name))
        }
        (Question::NextBuild { .. }, Answer::Request(None)) => Verdict::Pick(None),
        (Question::NextBuild { .. }, Answer::Request(Some(id))) => {
            if !offered.requests.contains(&RequestId(id)) {
                return Err(format!("request {id} was not offered"));
            }
            Verdict::Pick(Some(RequestId(id)))
        }
        (Question::MergeRequests { .. }, Answer::Requests(ids)) => {
            let (mut seen, answered) = (BTreeSet::new(), ids.len());
            let mut joined = Vec::new();
            for id in ids {
                if !offered.requests.contains(&RequestId(id)) {
                    report(&mut ignored, || format!("request {id} was not offered"));
                } else if seen.insert(id) {
                    joined.push(RequestId(id));
                }
            }
            if joined.is_empty() && answered > 0 {
                return Err("none of the requests that it names was offered".to_owned());
            }
            Verdict::Join(joined)
        }
        (
            asked @ (Question::PrioritizeBuilders { .. }
            | Question::CanStartBuild { .. }
            | Question::NextSlave { .. }
            | Question::NextBuild { .. }
            | Question::MergeRequests { .. }
            | Question::CodebaseGenerator { .. }),
            _,
        ) => return Err(format!("it answers another question than `{}`", asked.kind())),
    };
    Ok((verdict, ignored))
}

/// The names that were offered, each once, in the order of the answer.
fn known(
    names: Vec<String>,
    asked: &Question,
    what: &str,
    ignored: &mut Vec<String>,
) -> Result<Vec<String>, String> {
    let offered: BTreeSet<&str> = asked.names().collect();
    let (mut seen, answered) = (BTreeSet::new(), names.len());
    let mut kept = Vec::new();
    for name in names {
        if !offered.contains(name.as_str()) {
            report(ignored, || format!("{what} `{}` was not offered", clip(&name)));
        } else if seen.insert(name.clone()) {
            kept.push(name);
        }
    }
    if kept.is_empty() && answered > 0 {
        return Err(format!("none of the {what}s that it names was offered"));
    }
    Ok(kept)
}

/// A guest may answer with thousands of wrong names: the first few tell enough.
fn report(ignored: &mut Vec<String>, text: impl FnOnce() -> String) {
    if ignored.len() < 8 {
        ignored.push(text());
    }
}

fn clip(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::policy::{BuilderInfo, RequestInfo, SlaveInfo};

    fn builder(name: &str) -> BuilderInfo {
        BuilderInfo {
            name: name.to_owned(),
            tags: Vec::new(),
            pending: 1,
            building: 0,
            highest_priority: None,
            oldest_request: None,
        }
    }

    fn slaves(names: &[&str]) -> Arc<Vec<SlaveInfo>> {
        let slave = |name: &&str| SlaveInfo {
            name: (*name).to_owned(),
            running: 0,
            max_builds: None,
            connected_since: crate::time::Timestamp(1),
            last_built: None,
            last_outcome: None,
            load: None,
            properties: Vec::new(),
        };
        Arc::new(names.iter().map(slave).collect())
    }

    fn request() -> RequestInfo {
        RequestInfo {
            id: 1,
            buildset: 1,
            builder: "b".to_owned(),
            stamps: Vec::new(),
            priority: 0,
            submitted: crate::time::Timestamp(1),
            waited_for: false,
            reason: String::new(),
            properties: Vec::new(),
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    fn check(question: Question, answer: Answer, expected: Result<(Verdict, usize), &str>) {
        let requests = vec![RequestId(1), RequestId(2)];
        let offered = Offered { requests, end: None };
        let found = judge(&question, &offered, answer).map(|(verdict, ignored)| (verdict, ignored.len()));
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn answers_are_judged_by_what_was_offered() {
        let (b, workers) = (|| builder("b"), || slaves(&["w1", "w2"]));
        let order = || Question::PrioritizeBuilders { builders: vec![builder("w1"), builder("w2")] };
        let slave = || Question::NextSlave { builder: b(), slaves: workers(), request: request() };
        let build = || Question::NextBuild { builder: b(), requests: Vec::new() };
        let allow = || Question::CanStartBuild { builder: b(), slaves: workers(), request: request() };
        let merge = || Question::MergeRequests { builder: b(), first: request(), others: Vec::new() };

        check(order(), Answer::Names(names(&["w2", "x", "w2"])), Ok((Verdict::Order(names(&["w2"])), 1)));
        check(order(), Answer::Names(Vec::new()), Ok((Verdict::Order(Vec::new()), 0)));
        check(slave(), Answer::Slave(Some("w1".to_owned())), Ok((Verdict::Place(Some("w1".to_owned())), 0)));
        check(slave(), Answer::Slave(None), Ok((Verdict::Place(None), 0)));
        check(slave(), Answer::Slave(Some("ghost".to_owned())), Err("worker `ghost` was not offered"));
        check(build(), Answer::Request(Some(2)), Ok((Verdict::Pick(Some(RequestId(2))), 0)));
        check(build(), Answer::Request(Some(9)), Err("request 9 was not offered"));
        check(allow(), Answer::Names(names(&["w1", "y"])), Ok((Verdict::Allow(names(&["w1"])), 1)));
        let none = Err("none of the workers that it names was offered");
        check(allow(), Answer::Names(names(&["y"])), none);
        check(merge(), Answer::Requests(vec![2, 2, 7]), Ok((Verdict::Join(vec![RequestId(2)]), 1)));
        check(merge(), Answer::Slave(None), Err("it answers another question than `merge-requests`"));
    }
}
