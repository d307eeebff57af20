//! What a record keeps, and whether the same question comes of it again.

use super::*;
use std::sync::Arc;

use crate::digest::Digest;
use crate::value::{Pair, Value};

fn decision(id: u64, answer: Answer) -> Decision {
    Decision {
        id: DecisionId(id),
        at: Timestamp(0),
        asked: Timestamp(0),
        policy: Component { kind: String::new(), hook: String::new(), digest: Digest::of(b"") },
        args: String::new(),
        builder: None,
        requests: Vec::new(),
        workers: Vec::new(),
        builders: Vec::new(),
        lookups: Vec::new(),
        answer: Some(answer),
        done: Done::Held,
        ignored: Vec::new(),
        fallback: None,
        usage: Usage::default(),
        build: None,
    }
}

#[test]
fn an_answer_that_names_more_than_anybody_offered_is_not_kept() {
    let names = |count: usize| Answer::Names(vec!["x".repeat(1_000); count]);
    assert!(Decision::worth_keeping(names(60)).is_some());
    assert!(Decision::worth_keeping(names(10_000)).is_none());
}

mod again {
    use super::super::replay::{Lost, Replay, Verified, compare};
    use super::*;
    use crate::policy::{Lookups, Question, RequestInfo};

    fn builder() -> BuilderInfo {
        BuilderInfo {
            name: "ci".to_owned(),
            tags: vec!["fast".to_owned()],
            pending: 3,
            building: 1,
            highest_priority: Some(7),
            oldest_request: Some(Timestamp(5)),
        }
    }

    fn info(id: u64, priority: i32) -> RequestInfo {
        RequestInfo {
            id,
            buildset: id,
            builder: "ci".to_owned(),
            stamps: Vec::new(),
            priority,
            submitted: Timestamp(5),
            waited_for: false,
            reason: "why not".to_owned(),
            properties: Vec::new(),
        }
    }

    fn slave(name: &str) -> SlaveInfo {
        SlaveInfo {
            name: name.to_owned(),
            running: 1,
            max_builds: Some(2),
            connected_since: Timestamp(1),
            last_built: None,
            last_outcome: None,
            load: Some(0.1),
            properties: Vec::new(),
        }
    }

    /// The record of a question about these requests.
    fn of(question: &Question) -> Decision {
        let (workers, builders) = match question.clone() {
            Question::NextSlave { builder, slaves, .. } | Question::CanStartBuild { builder, slaves, .. } => {
                (slaves.to_vec(), vec![builder])
            }
            Question::MergeRequests { builder, .. } | Question::NextBuild { builder, .. } => {
                (Vec::new(), vec![builder])
            }
            Question::PrioritizeBuilders { builders } => (Vec::new(), builders),
            Question::CodebaseGenerator { .. } => (Vec::new(), Vec::new()),
        };
        let seen = |info: &RequestInfo| Seen { id: RequestId(info.id), version: 2, priority: info.priority };
        let kind = question.kind().as_str().to_owned();
        Decision {
            policy: Component { kind, hook: "a:b".to_owned(), digest: Digest::of(b"") },
            requests: question.requests().map(seen).collect(),
            workers,
            builders,
            ..decision(1, Answer::Request(None))
        }
    }

    /// Rows as they are now: with another priority.
    fn rows(id: RequestId) -> Option<RequestInfo> {
        (id.0 < 10).then(|| info(id.0, 99))
    }

    #[test]
    fn every_question_is_made_again_as_it_was_also_after_a_priority_changed() {
        let slaves = || Arc::new(vec![slave("w1"), slave("w2")]);
        for question in [
            Question::NextBuild { builder: builder(), requests: vec![info(3, 1), info(2, 0)] },
            Question::MergeRequests { builder: builder(), first: info(4, 2), others: vec![info(1, -1)] },
            Question::NextSlave { builder: builder(), slaves: slaves(), request: info(3, 1) },
            Question::CanStartBuild { builder: builder(), slaves: slaves(), request: info(3, 1) },
            Question::PrioritizeBuilders { builders: vec![builder(), builder()] },
        ] {
            let again = Replay::of(&of(&question), rows).unwrap();
            assert_eq!(again.question, question);
        }
        let gone = Question::NextBuild { builder: builder(), requests: vec![info(3, 1), info(12, 0)] };
        assert_eq!(Replay::of(&of(&gone), rows), Err(Lost::Request(RequestId(12))));
        let nothing = decision(1, Answer::Request(None));
        assert_eq!(Replay::of(&nothing, rows), Err(Lost::Record(String::new())));
    }

    #[test]
    fn what_was_looked_up_is_found_again_and_nothing_else() {
        let looked_up =
            |question: &str, answer: Option<Value>| Lookup { question: question.to_owned(), answer };
        let lookups = vec![
            looked_up("request-property 3 the branch", Some("main".into())),
            looked_up("request-property 3 absent", None),
            looked_up("slave-property w1 os", Some("linux".into())),
        ];
        let asked = Timestamp(77);
        let question = Question::PrioritizeBuilders { builders: Vec::new() };
        let record = Decision { lookups, asked, ..of(&question) };
        let pair = |name: &str, value: &str| vec![Pair { name: name.to_owned(), value: value.into() }];
        let found = Lookups {
            now: asked,
            requests: [(3, pair("the branch", "main"))].into(),
            slaves: Arc::new([("w1".to_owned(), Arc::new(pair("os", "linux")))].into()),
        };
        assert_eq!(Replay::of(&record, rows).unwrap().lookups, found);
    }

    #[test]
    fn answer_and_look_ups_must_be_the_same() {
        let look = |question: &str| vec![Lookup { question: question.to_owned(), answer: None }];
        let record = Decision { lookups: look("a"), ..decision(1, Answer::Slave(None)) };
        let same = Answer::Slave(None);
        let other = Answer::Slave(Some("w1".to_owned()));
        let differs = |answer, lookups: &[Lookup]| match compare(&record, answer, lookups) {
            Verified::Differs(what) => what,
            Verified::Same | Verified::Nothing(_) => panic!("it should differ"),
        };
        assert_eq!(compare(&record, Ok(&same), &look("a")), Verified::Same);
        assert_eq!(differs(Ok(&other), &look("a")), "it answered none, and now w1");
        assert_eq!(differs(Ok(&same), &look("b")), "it looked up `a`, and now `b`");
        assert_eq!(differs(Ok(&same), &[]), "it looked up 1 things, and now 0");
        assert_eq!(differs(Err("boom".to_owned()), &[]), "it gives no answer now: boom");
        for (fallback, why) in [
            (Some("it trapped".to_owned()), "it gave no answer: it trapped"),
            (None, "its answer was too long to be kept"),
        ] {
            let none = Decision { answer: None, fallback, ..record.clone() };
            assert_eq!(compare(&none, Ok(&same), &[]), Verified::Nothing(why.to_owned()));
        }
    }

    #[test]
    fn a_decision_is_about_what_it_chose_and_joined_and_not_about_what_it_saw() {
        let (builder, slaves) = (builder, Arc::new(vec![slave("w1")]));
        let pick = of(&Question::NextBuild { builder: builder(), requests: vec![info(3, 1), info(2, 0)] });
        let place = of(&Question::NextSlave { builder: builder(), slaves, request: info(3, 1) });
        let others = vec![info(1, 0), info(2, 0)];
        let join = of(&Question::MergeRequests { builder: builder(), first: info(4, 2), others });
        let order = of(&Question::PrioritizeBuilders { builders: vec![builder()] });
        for (record, done, about) in [
            (&pick, Done::Picked(RequestId(2)), vec![2]),
            (&pick, Done::Held, vec![]),
            (&place, Done::Placed("w1".to_owned()), vec![3]),
            (&place, Done::Held, vec![3]),
            (&join, Done::Joined(vec![RequestId(2)]), vec![4, 2]),
            (&join, Done::Stale, vec![4]),
            (&order, Done::Ordered(vec!["ci".to_owned()]), vec![]),
        ] {
            let record = Decision { done, ..record.clone() };
            let found: Vec<u64> = record.about().iter().map(|id| id.0).collect();
            assert_eq!(found, about, "{:?}", record.done);
        }
    }
}
