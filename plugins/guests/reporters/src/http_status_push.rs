//! `http-status-push`: each event as JSON in a request of its own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use windlass_sdk::fetch::{self, Request};
use windlass_sdk::{Capability, Failure, Hook, Reporter, bad_argument};

/// The hook.
pub struct HttpStatusPush;

impl Hook for HttpStatusPush {
    const NAME: &'static str = "http-status-push";
    const SUMMARY: &'static str = "sends each event as JSON to a granted host";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("http-status-push.schema.json"));
    const CAPABILITIES: &'static [Capability] = &[
        Capability {
            capability: "fetch",
            scope: &["*"],
            reason: "tells the host that its configuration names",
        },
        Capability { capability: "secret", scope: &["*"], reason: "a header may hold a token" },
    ];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    url: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    properties: Wanted,
    #[serde(default = "half_a_minute")]
    timeout: f64,
}

/// Which properties go along.
#[derive(Deserialize)]
#[serde(untagged)]
enum Wanted {
    All(bool),
    Named(Vec<String>),
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted::All(false)
    }
}

fn post() -> String {
    "POST".to_owned()
}

fn half_a_minute() -> f64 {
    30.0
}

/// What an answer may have; it is not read.
const MAX_RESPONSE: u32 = 16 * 1024 * 1024;

impl Reporter for HttpStatusPush {
    fn report(args: Args, event_id: String, kind: String, event: String) -> Result<(), Failure> {
        let response = fetch::send(&args.request(&event_id, &kind, &event)?).map_err(mended_by_people)?;
        judged(response.status)
    }
}

impl Args {
    fn request(&self, event_id: &str, kind: &str, event: &str) -> Result<Request, Failure> {
        let mut document: Json = serde_json::from_str(event)
            .map_err(|error| bad_argument(format!("the event is not JSON: {error}")))?;
        match (&self.properties, document.pointer_mut("/build/properties")) {
            (Wanted::All(true), _) | (_, None) => {}
            (Wanted::All(false), Some(all)) => *all = Json::Null,
            (Wanted::Named(names), Some(all)) => {
                if let Some(all) = all.as_object_mut() {
                    all.retain(|name, _| names.contains(name));
                }
            }
        }
        let own = [
            ("content-type", "application/json"),
            ("x-windlass-event", kind),
            ("x-windlass-event-id", event_id),
        ];
        let is_set = |name: &str| self.headers.keys().any(|set| set.eq_ignore_ascii_case(name));
        let own = own.into_iter().filter(|(name, _)| !is_set(name));
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(own);
        Ok(Request {
            method: self.method.to_uppercase(),
            url: self.url.clone(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect(),
            body: document.to_string().into_bytes(),
            timeout_ms: Some((self.timeout * 1_000.0) as u32),
            max_response: MAX_RESPONSE,
        })
    }
}

/// A grant that is missing is given by a reconfig: until then the event waits.
fn mended_by_people(failure: Failure) -> Failure {
    let retryable = failure.retryable || failure.code == "denied";
    Failure { retryable, ..failure }
}

/// What the receiver says of itself may pass; what it says of the event stays.
fn judged(status: u16) -> Result<(), Failure> {
    let failure = |retryable| Failure {
        code: "refused".to_owned(),
        message: format!("the receiver answered with status {status}"),
        detail: None,
        retryable,
    };
    match status {
        200..=299 => Ok(()),
        408 | 425 | 429 | 500..=599 => Err(failure(true)),
        _ => Err(failure(false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"build":{"id":1,"properties":{"a":1,"b":2}}}"#;

    fn sent(args: &str) -> (BTreeMap<String, String>, Json) {
        let args: Args = serde_json::from_str(args).expect("the arguments fit");
        let request = args.request("x-1-build-started", "build-started", EVENT).expect("it is complete");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = request.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        (headers, serde_json::from_slice(&request.body).expect("it is JSON"))
    }

    #[test]
    fn an_event_has_its_id_in_a_header_and_properties_on_request() {
        let (headers, body) = sent(r#"{"url":"http://x/"}"#);
        assert_eq!(headers["x-windlass-event-id"], "x-1-build-started");
        assert_eq!(headers["content-type"], "application/json");
        assert!(body["build"]["properties"].is_null());
        let (headers, body) =
            sent(r#"{"url":"http://x/","properties":["b","c"],"headers":{"Content-Type":"a/b"}}"#);
        assert_eq!(body["build"]["properties"], serde_json::json!({ "b": 2 }));
        assert_eq!(headers.get("Content-Type").map(String::as_str), Some("a/b"));
        assert!(!headers.contains_key("content-type"));
        let (_, body) = sent(r#"{"url":"http://x/","properties":true}"#);
        assert_eq!(body["build"]["properties"], serde_json::json!({ "a": 1, "b": 2 }));
    }

    #[test]
    fn the_status_says_whether_it_is_worth_another_try() {
        let retryable = |status| judged(status).map_err(|failure| failure.retryable);
        for status in [200, 201, 204] {
            assert_eq!(retryable(status), Ok(()));
        }
        for status in [408, 425, 429, 500, 503] {
            assert_eq!(retryable(status), Err(true), "{status}");
        }
        for status in [301, 400, 401, 404, 410] {
            assert_eq!(retryable(status), Err(false), "{status}");
        }
    }
}
