//! `windlass:master/decision`: what a policy may look up, all of it recorded.

use windlass_core::policy::Lookup;
use windlass_core::value::{Pair, Value};

use crate::bindings::master::windlass::base::types as wit;
use crate::bindings::master::windlass::master::{decision, model};
use crate::state::{Decision, State};

const NAME: &str = "windlass:master/decision";

/// Look-ups that one call may make: each is kept with the record of the decision.
const MAX_LOOKUPS: usize = 10_000;

/// Bytes of the look-ups of one call, for the same reason.
const MAX_RECORDED: usize = 1024 * 1024;

impl model::Host for State {}

impl decision::Host for State {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.decision(NAME)?.lookups.now.0)
    }

    async fn request_property(&mut self, request: u64, name: String) -> wasmtime::Result<Option<wit::Value>> {
        let decision = self.decision(NAME)?;
        let found = find(decision.lookups.requests.get(&request), &name);
        decision.record(format!("request-property {request} {name}"), found)
    }

    async fn slave_property(&mut self, slave: String, name: String) -> wasmtime::Result<Option<wit::Value>> {
        let decision = self.decision(NAME)?;
        let found = find(decision.lookups.slaves.get(&slave).map(|pairs| &**pairs), &name);
        decision.record(format!("slave-property {slave} {name}"), found)
    }
}

fn find(properties: Option<&Vec<Pair>>, name: &str) -> Option<Value> {
    properties?.iter().find(|pair| pair.name == name).map(|pair| pair.value.clone())
}

impl Decision {
    fn record(&mut self, question: String, answer: Option<Value>) -> wasmtime::Result<Option<wit::Value>> {
        if self.made.len() >= MAX_LOOKUPS {
            wasmtime::bail!("a decision may make {MAX_LOOKUPS} look-ups, and this is one more");
        }
        let len = match &answer {
            Some(Value::Text(text) | Value::Json(text)) => text.len(),
            Some(Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Number(_)) | None => 0,
        };
        self.recorded = self.recorded.saturating_add(question.len() + len);
        if self.recorded > MAX_RECORDED {
            wasmtime::bail!(
                "the look-ups of a decision may have {MAX_RECORDED} bytes in all, and these have more"
            );
        }
        self.made.push(Lookup { question, answer: answer.clone() });
        Ok(answer.map(wit::Value::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_ups_are_bounded_by_what_they_leave_in_the_record() {
        let mut decision = Decision::default();
        let long = || "x".repeat(MAX_RECORDED / 2 - 1);
        assert!(decision.record(String::new(), Some(Value::Text(long()))).is_ok());
        assert!(decision.record(long(), None).is_ok());
        assert!(decision.record("another".to_owned(), None).is_err());
        assert_eq!(decision.made.len(), 2);
    }

    #[test]
    fn look_ups_are_bounded_in_number_however_little_they_leave() {
        let mut decision = Decision::default();
        for _ in 0..MAX_LOOKUPS {
            decision.record(String::new(), None).unwrap();
        }
        let fault = decision.record(String::new(), None).unwrap_err().to_string();
        assert_eq!(fault, "a decision may make 10000 look-ups, and this is one more");
        assert_eq!(decision.made.len(), MAX_LOOKUPS);
    }
}
